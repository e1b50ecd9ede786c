"""The rule `guest-work-waits-for-gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, Severity

from pulumi_customization_gate.policies import phrases
from pulumi_customization_gate.policies.rule import Question, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_policy import PolicyResource, ReportViolation


def _check(question: Question, report_violation: ReportViolation) -> None:
    judged = [vm for vm in question.stack.customized() if not question.exempts(vm)]
    for work, vms, more, through in question.stack.ungated(judged):
        if question.exempts(work):
            continue
        shown = phrases.names(vms, more)
        by_way_of = f" through {phrases.names(through)}" if through else ""
        them = "it" if len(vms) + more == 1 else "them"
        report_violation(
            f"{phrases.name(work)} must wait for the gate of {shown}: it depends on {shown}{by_way_of}, and not on a "
            f"CustomizationGate that watches {them} and fails if a customization fails. {_fix(question, vms)}",
            work.urn,
        )


def _fix(question: Question, vms: Sequence[PolicyResource]) -> str:
    stack, vm = question.stack, vms[0]
    value = phrases.reference(vm)
    gates = list({gate.urn: gate for each in vms for gate in stack.strict_watchers(each)}.values())
    weak = stack.watchers[vm.urn]
    if not gates and weak:
        found = stack.weaknesses(weak[0], vm)
        return f"{phrases.weakness(weak[0], found)}.\nWrite {phrases.strict_line(weak[0], found)}"
    if not gates:
        return (
            f"No gate of the stack watches {phrases.name(vm)}.\nWrite: {phrases.gate_line(vm)}, and "
            f"gate.after({value}) where this resource takes a value of it, {phrases.address_line(None, vm)} where it "
            "takes its address"
        )
    gate = phrases.identifier(gates[0])
    return (
        f"{phrases.gate_names(gates)} {'does' if len(gates) == 1 else 'do'}.\n"
        f"Write: {gate}.after({value}) in place of {value}, {phrases.address_line(gates[0], vm)} in place of its "
        f"address, or opts=pulumi.ResourceOptions(depends_on=[{gate}])"
    )


GUEST_WORK_WAITS_FOR_GATE = rule(
    "guest-work-waits-for-gate",
    "Checks whether all work in a guest waits for a gate that watches the guest's VM.",
    _check,
    level=EnforcementLevel.MANDATORY,
    severity=Severity.HIGH,
    remediation="Take the values of the VM from the gate: gate.after(vm.moid), gate.address(key).",
    options=("exempt", "vmTypes", "workTypes", "allow"),
)
"""Work in a guest that depends on a customized VM, directly or through others, depends on a gate of the VM too."""
