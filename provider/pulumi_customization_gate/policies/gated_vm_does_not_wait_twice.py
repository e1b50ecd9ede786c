"""The rule `gated-vm-does-not-wait-twice`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_policy import EnforcementLevel, Severity

from pulumi_customization_gate.policies import phrases
from pulumi_customization_gate.policies.options import VSPHERE_VM
from pulumi_customization_gate.policies.properties import ABSENT, Missing, lookup, number
from pulumi_customization_gate.policies.rule import Question, rule

if TYPE_CHECKING:
    from pulumi_policy import PolicyResource, ReportViolation

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
"""The waits of pulumi-vsphere: the property that a wait belongs to, its minutes, their default, the line to write."""
_REPLACES = (
    '\nFor an existing VM, write opts=pulumi.ResourceOptions(ignore_changes=["clone"]) instead of a change in clone, '
    "because pulumi-vsphere replaces a VM when anything in its clone changes"
)


def _check(question: Question, report_violation: ReportViolation) -> None:
    watchers = question.stack.watchers
    for vm in question.stack.vms:
        if vm.resource_type != VSPHERE_VM or not watchers[vm.urn] or question.exempts(vm):
            continue
        found = []
        lines = []
        for owner, path, default, line in _OWN_WAITS:
            minutes = _minutes(lookup(vm, path), default)
            applies = not owner or lookup(vm, owner) is not ABSENT
            if minutes and applies and not _ignores(vm, path):
                found.append(f"{path} is {minutes}")
                lines.append(line)
        if found:
            fix = ", ".join(lines) + (_REPLACES if any(wait.startswith("clone.") for wait in found) else "")
            report_violation(
                f"{phrases.name(vm)} must leave the wait to {phrases.gate_names(watchers[vm.urn])}: "
                f"{' and '.join(found)}, so pulumi-vsphere waits first and can fail before the gate starts."
                f"\nWrite: {fix}",
                vm.urn,
            )


def _ignores(vm: PolicyResource, path: str) -> bool:
    """Returns whether a VM keeps the value that it was created with, whatever the program says."""
    return any(path == ignored or path.startswith(f"{ignored}.") for ignored in vm.opts.ignore_changes)


def _minutes(value: Any, default: int) -> str:
    # Zero and negative values turn a wait off.
    if value is ABSENT:
        return f"left at its default of {default} minutes"
    if isinstance(value, Missing):
        return "not known before the update"
    length = number(value)
    if length is not None and length <= 0:
        return ""
    return f"{length:g} minutes" if length is not None else "not a number"


GATED_VM_DOES_NOT_WAIT_TWICE = rule(
    "gated-vm-does-not-wait-twice",
    "Checks whether the waits of pulumi-vsphere are off for every VM that a gate watches.",
    _check,
    level=EnforcementLevel.ADVISORY,
    severity=Severity.LOW,
    remediation="Set the timeout in the customization and wait_for_guest_net_timeout to 0.",
    options=("exempt", "vmTypes"),
)
"""The waits of pulumi-vsphere, for the customization and for the guest's network, are off for a gated VM."""
