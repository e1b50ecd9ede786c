"""The rules. Each reads the graph of the stack first, because in a preview most values are unknown."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pulumi_policy import EnforcementLevel, StackValidationPolicy

from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.lifecycle.arguments import DEFAULT_TIMEOUT
from pulumi_customization_gate.lifecycle.description import seconds_or_none
from pulumi_customization_gate.policies.graph import direct_dependencies
from pulumi_customization_gate.policies.options import VSPHERE_VM, Options, schema
from pulumi_customization_gate.policies.properties import ABSENT, Missing, labels, lookup, number
from pulumi_customization_gate.policies.watch import WatchedStack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_policy import PolicyResource, ReportViolation, StackValidationArgs

_NAMES_SHOWN = 3
_LONGEST_NAME = 100
_OWN_WAITS = (
    ("clone.customize", "clone.customize.timeout", 10, "customize=VirtualMachineCloneCustomizeArgs(timeout=0, ...)"),
    (
        "clone.customizationSpec",
        "clone.customizationSpec.timeout",
        10,
        "customization_spec=VirtualMachineCloneCustomizationSpecArgs(timeout=0, ...)",
    ),
    ("", "waitForGuestNetTimeout", 5, "wait_for_guest_net_timeout=0"),
)
"""The waits of vSphere's own: the property that brings one along, its minutes, their default, and the line to write."""
_REPLACES = (
    "\nA machine that exists keeps its clone as it is, because pulumi-vsphere replaces a machine when anything in it "
    'changes: give it opts=pulumi.ResourceOptions(ignore_changes=["clone"])'
)


def _customized_vm_requires_gate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
    options = Options.read(CUSTOMIZED_VM_REQUIRES_GATE, args.get_config())
    stack = WatchedStack(args.resources, options)
    later = defaultdict(list)
    for gate in stack.gates:
        for urn in direct_dependencies(gate):
            later[urn].append(gate)
    for vm in stack.customized():
        if stack.watchers[vm.urn] or _exempt(vm, options):
            continue
        why = (
            "it is customized, and whatever depends on it can run before its guest is ready"
            if stack.customization(vm)
            else "whether it is customized is not known before the update, so it counts as customized"
        )
        if idle := later[vm.urn]:
            runs, its = ("runs", "its") if len(idle) == 1 else ("run", "their")
            why += f". {_gates(idle)} {runs} after it, but {its} vms are others"
        line = _gate_line(vm)
        if stack.gates:
            line = f"add {_reference(vm)} to the vms of CustomizationGate {_name((idle or stack.gates)[0])}, or {line}"
        report_violation(f"{_name(vm)} must be watched by a CustomizationGate: {why}.\nWrite: {line}", vm.urn)


def _guest_work_waits_for_gate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
    options = Options.read(GUEST_WORK_WAITS_FOR_GATE, args.get_config())
    stack = WatchedStack(args.resources, options)
    judged = [vm for vm in stack.customized() if not _exempt(vm, options)]
    for work, vms, more, through in stack.ungated(judged):
        if _exempt(work, options):
            continue
        gates = {gate.urn: gate for vm in vms for gate in stack.watchers[vm.urn]}
        machines = _names(vms, more)
        by_way_of = f" through {_names(through)}" if through else ""
        them = "it" if len(vms) + more == 1 else "them"
        report_violation(
            f"{_name(work)} must wait for the gate of {machines}: it depends on {machines}{by_way_of}, and not on a "
            f"CustomizationGate that watches {them}. {_cure(vms, list(gates.values()))}",
            work.urn,
        )


def _cure(vms: Sequence[PolicyResource], gates: Sequence[PolicyResource]) -> str:
    value = _reference(vms[0])
    if not gates:
        return (
            f"No gate of the stack watches {_name(vms[0])}.\nWrite: {_gate_line(vms[0])}, "
            f"and gate.after({value}) where this resource takes a value of it"
        )
    gate = _identifier(gates[0].name)
    return (
        f"{_gates(gates)} {'does' if len(gates) == 1 else 'do'}.\n"
        f"Write: {gate}.after({value}) in place of {value}, and so with its "
        f"other outputs, or opts=pulumi.ResourceOptions(depends_on=[{gate}])"
    )


def _gated_vm_does_not_wait_twice(args: StackValidationArgs, report_violation: ReportViolation) -> None:
    options = Options.read(GATED_VM_DOES_NOT_WAIT_TWICE, args.get_config())
    stack = WatchedStack(args.resources, options)
    for vm in stack.vms:
        if vm.resource_type != VSPHERE_VM or not stack.watchers[vm.urn] or _exempt(vm, options):
            continue
        found = []
        lines = []
        for needs, path, default, line in _OWN_WAITS:
            minutes = _minutes(lookup(vm, path), default)
            comes_along = not needs or lookup(vm, needs) is not ABSENT
            if minutes and comes_along and not _ignores(vm, path):
                found.append(f"{path} is {minutes}")
                lines.append(line)
        if found:
            gates = _gates(stack.watchers[vm.urn])
            cure = ", ".join(lines) + (_REPLACES if any(wait.startswith("clone.") for wait in found) else "")
            report_violation(
                f"{_name(vm)} must leave the wait to {gates}: {' and '.join(found)}, so the "
                f"machine's own wait comes first and can fail before the gate starts.\nWrite: {cure}",
                vm.urn,
            )


def _ignores(vm: PolicyResource, path: str) -> bool:
    """Whether a machine keeps what it was made with there, so that the program has no say in it any more."""
    return any(path == ignored or path.startswith(f"{ignored}.") for ignored in vm.opts.ignore_changes)


def _minutes(value: Any, default: int) -> str:
    # Zero and less turn a wait off.
    if value is ABSENT:
        return f"left at its default of {default} minutes"
    if isinstance(value, Missing):
        return "not known before the update"
    length = number(value)
    if length is not None and length <= 0:
        return ""
    return f"{length:g} minutes" if length is not None else "not a number"


def _gate_timeout_is_sane(args: StackValidationArgs, report_violation: ReportViolation) -> None:
    options = Options.read(GATE_TIMEOUT_IS_SANE, args.get_config())
    stack = WatchedStack(args.resources, options)
    for gate in stack.gates:
        if _exempt(gate, options):
            continue
        vms = stack.watched[gate.urn]
        families = sorted({_family(vm) for vm in vms}) or ["other"]
        shortest = max(options.bounds[family][0] for family in families)
        longest = max(options.bounds[family][1] for family in families)
        seconds = _timeout(gate)
        if seconds is not None and shortest <= seconds <= longest:
            continue
        states = "is not known before the update" if seconds is None else f"is {seconds:g} s"
        nearest = shortest if seconds is not None and seconds < shortest else min(longest, max(shortest, 1800))
        machines = f"{' and '.join(families)} machines" + (f" ({_names(vms)})" if vms else "")
        report_violation(
            f"{_name(gate)} must have a timeout from {shortest:g} s to {longest:g} s for {machines}: it {states}."
            f"\nWrite: timeout={nearest:g}",
            gate.urn,
        )


def _timeout(gate: PolicyResource) -> float | None:
    """Returns the seconds for which a gate waits, None where they are not known."""
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


_LINUX = re.compile(
    r"almalinux|amazonlinux|asianux|centos|coreos|crx|debian|fedora|kylin|mandr|miracle|opensuse|oracle|other.*linux"
    r"|other\dxlinux|pardus|prolinux|redhat|rhel|rocky|sjds|sles|suse|turbolinux|ubuntu|vmwarephoton|fusionos",
    re.IGNORECASE,
)
"""How the guest IDs of Linux begin (VirtualMachineGuestOsIdentifier in the vSphere API)."""


def _exempt(resource: PolicyResource, options: Options) -> bool:
    if not options.exempt:
        return False
    tags = labels(resource)
    return any(exemption.covers(resource.name, tags) for exemption in options.exempt)


def _name(resource: PolicyResource) -> str:
    return f'"{sanitize(resource.name, _LONGEST_NAME)}"'


def _names(resources: Sequence[PolicyResource], more: int = 0) -> str:
    shown = [_name(resource) for resource in resources[:_NAMES_SHOWN]]
    more += len(resources) - len(shown)
    last = f"{more} more" if more else shown.pop()
    return f"{', '.join(shown)} and {last}" if shown else last


def _gates(gates: Sequence[PolicyResource]) -> str:
    return f"CustomizationGate{'' if len(gates) == 1 else 's'} {_names(gates)}"


def _identifier(name: str) -> str:
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return word if word.isidentifier() else f"resource_{word}"


def _reference(vm: PolicyResource) -> str:
    attribute = "moid" if vm.resource_type == VSPHERE_VM else "id"
    return f"{_identifier(vm.name)}.{attribute}"


def _gate_line(vm: PolicyResource) -> str:
    platform = ', platform="cloud_director"' if vm.resource_type.startswith("vcd:") else ""
    return f'gate = CustomizationGate("{sanitize(vm.name, _LONGEST_NAME)}-gate", vms=[{_reference(vm)}]{platform})'


CUSTOMIZED_VM_REQUIRES_GATE = StackValidationPolicy(
    name="customized-vm-requires-gate",
    description="Checks whether a CustomizationGate watches every virtual machine that has a customization.",
    validate=_customized_vm_requires_gate,
    enforcement_level=EnforcementLevel.MANDATORY,
    config_schema=schema("exempt", "vmTypes"),
)
"""A gate watches every customized virtual machine: by its input, by a dependency, or by a component they belong to."""

GUEST_WORK_WAITS_FOR_GATE = StackValidationPolicy(
    name="guest-work-waits-for-gate",
    description="Checks whether all work in a guest waits for a gate that watches the guest's machine.",
    validate=_guest_work_waits_for_gate,
    enforcement_level=EnforcementLevel.MANDATORY,
    config_schema=schema("exempt", "vmTypes", "workTypes"),
)
"""What works in a guest and depends on a customized machine, directly or through others, depends on its gate too."""

GATED_VM_DOES_NOT_WAIT_TWICE = StackValidationPolicy(
    name="gated-vm-does-not-wait-twice",
    description="Checks whether the own waits of a gated virtual machine are off.",
    validate=_gated_vm_does_not_wait_twice,
    enforcement_level=EnforcementLevel.ADVISORY,
    config_schema=schema("exempt", "vmTypes"),
)
"""The waits of pulumi-vsphere's own, for the customization and for the guest's network, are off in a gated machine."""

GATE_TIMEOUT_IS_SANE = StackValidationPolicy(
    name="gate-timeout-is-sane",
    description="Checks whether the timeout of every CustomizationGate suits the guests that it watches.",
    validate=_gate_timeout_is_sane,
    enforcement_level=EnforcementLevel.ADVISORY,
    config_schema=schema("exempt", "vmTypes", "bounds"),
)
"""The timeout of a gate is neither too short for the slowest of its guests nor longer than anybody would wait."""

POLICIES = [
    CUSTOMIZED_VM_REQUIRES_GATE,
    GUEST_WORK_WAITS_FOR_GATE,
    GATED_VM_DOES_NOT_WAIT_TWICE,
    GATE_TIMEOUT_IS_SANE,
]
"""All rules, in the order of their names in the documentation."""
