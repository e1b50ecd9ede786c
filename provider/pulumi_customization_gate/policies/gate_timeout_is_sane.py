"""The rule `gate-timeout-is-sane`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, Severity

from pulumi_customization_gate.lifecycle.value_types import seconds_or_none
from pulumi_customization_gate.platforms import DEFAULT_TIMEOUT
from pulumi_customization_gate.policies import phrases
from pulumi_customization_gate.policies.properties import ABSENT, lookup, number
from pulumi_customization_gate.policies.rule import Question, rule

if TYPE_CHECKING:
    from pulumi_policy import PolicyResource, ReportViolation

_LINUX = re.compile(
    r"almalinux|amazonlinux|asianux|centos|coreos|crx|debian|fedora|kylin|mandr|miracle|opensuse|oracle|other.*linux"
    r"|other\dxlinux|pardus|prolinux|redhat|rhel|rocky|sjds|sles|suse|turbolinux|ubuntu|vmwarephoton|fusionos",
    re.IGNORECASE,
)
"""How the guest IDs of Linux begin (VirtualMachineGuestOsIdentifier in the vSphere API)."""


def _check(question: Question, report_violation: ReportViolation) -> None:
    bounds = question.options.bounds
    for gate in question.stack.gates:
        if question.exempts(gate):
            continue
        vms = question.stack.watched[gate.urn]
        families = sorted({_family(vm) for vm in vms}) or ["other"]
        shortest = max(bounds[family][0] for family in families)
        longest = max(bounds[family][1] for family in families)
        seconds = _timeout(gate)
        if seconds is not None and shortest <= seconds <= longest:
            continue
        states = "is not known before the update" if seconds is None else f"is {seconds:g} s"
        nearest = (
            shortest if seconds is not None and seconds < shortest else min(longest, max(shortest, DEFAULT_TIMEOUT))
        )
        of = f"{' and '.join(families)} VMs" + (f" ({phrases.names(vms)})" if vms else "")
        report_violation(
            f"{phrases.name(gate)} must have a timeout from {shortest:g} s to {longest:g} s for {of}: it {states}."
            f"\nWrite: timeout={nearest:g}",
            gate.urn,
        )


def _timeout(gate: PolicyResource) -> float | None:
    """Returns the seconds that a gate waits, or None where they are not known."""
    value = lookup(gate, "timeout")
    if value is not ABSENT:
        return seconds_or_none(value) if isinstance(value, str) else number(value)
    custom = gate.opts.custom_timeouts if gate.opts else None
    return (custom.create_seconds if custom else 0) or DEFAULT_TIMEOUT


def _family(vm: PolicyResource) -> str:
    for key, family in (("windowsOptions", "windows"), ("windowsSysprepText", "windows"), ("linuxOptions", "linux")):
        if lookup(vm, f"clone.customize.{key}") is not ABSENT:
            return family
    guest = lookup(vm, "guestId")
    guest = lookup(vm, "osType") if guest is ABSENT else guest
    if not isinstance(guest, str) or not guest:
        return "other"
    if guest.lower().startswith("win"):
        return "windows"
    return "linux" if _LINUX.match(guest) else "other"


GATE_TIMEOUT_IS_SANE = rule(
    "gate-timeout-is-sane",
    "Checks whether the timeout of every CustomizationGate is long enough, and not too long, for its VMs.",
    _check,
    level=EnforcementLevel.ADVISORY,
    severity=Severity.LOW,
    remediation="Set timeout within the bounds of the slowest guest that the gate watches.",
    options=("exempt", "vmTypes", "bounds"),
)
"""The timeout of a gate is within the bounds of its slowest guest."""
