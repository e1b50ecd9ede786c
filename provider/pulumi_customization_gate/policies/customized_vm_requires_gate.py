"""The rule `customized-vm-requires-gate`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, Severity

from pulumi_customization_gate.policies import phrases
from pulumi_customization_gate.policies.graph import direct_dependencies
from pulumi_customization_gate.policies.rule import Question, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_policy import PolicyResource, ReportViolation


def _check(question: Question, report_violation: ReportViolation) -> None:
    stack = question.stack
    dependents = defaultdict(list)
    for gate in stack.gates:
        for urn in direct_dependencies(gate):
            dependents[urn].append(gate)
    for vm in stack.customized():
        if stack.strict_watchers(vm) or question.exempts(vm):
            continue
        if weak := stack.watchers[vm.urn]:
            message = _too_weak(question, vm, weak)
        else:
            message = _not_watched(question, vm, dependents[vm.urn])
        report_violation(message, vm.urn)


def _too_weak(question: Question, vm: PolicyResource, gates: Sequence[PolicyResource]) -> str:
    first = question.stack.weaknesses(gates[0], vm)
    why = "; ".join(phrases.weakness(gate, question.stack.weaknesses(gate, vm)) for gate in gates)
    return (
        f"{phrases.name(vm)} must be watched by a CustomizationGate that fails if its customization fails: {why}."
        f"\nWrite {phrases.strict_line(gates[0], first)}"
    )


def _not_watched(question: Question, vm: PolicyResource, dependents: Sequence[PolicyResource]) -> str:
    why = (
        "it is customized, and whatever depends on it can run before its guest is ready"
        if question.stack.customization(vm)
        else "whether it is customized is not known before the update, so it counts as customized"
    )
    if dependents:
        depends, its = ("depends", "its vms do") if len(dependents) == 1 else ("depend", "their vms do")
        why += f". {phrases.gate_names(dependents)} {depends} on it, but {its} not hold it"
    line = phrases.gate_line(vm)
    if gates := dependents or question.stack.gates:
        line = f"add {phrases.reference(vm)} to the vms of CustomizationGate {phrases.name(gates[0])}, or {line}"
    return f"{phrases.name(vm)} must be watched by a CustomizationGate: {why}.\nWrite: {line}"


CUSTOMIZED_VM_REQUIRES_GATE = rule(
    "customized-vm-requires-gate",
    "Checks whether a CustomizationGate watches every VM that has a customization.",
    _check,
    level=EnforcementLevel.MANDATORY,
    severity=Severity.HIGH,
    remediation="Add the VM to the vms of a CustomizationGate without on_failure, expect and accept.",
    options=("exempt", "vmTypes", "allow"),
)
"""A gate watches every customized VM, and fails if the customization fails."""
