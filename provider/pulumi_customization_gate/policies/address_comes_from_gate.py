"""The rule `address-comes-from-gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, Severity

from pulumi_customization_gate.policies import phrases
from pulumi_customization_gate.policies.addresses import empty_addresses, has_no_address
from pulumi_customization_gate.policies.rule import Question, rule

if TYPE_CHECKING:
    from pulumi_policy import ReportViolation

_PROVIDER_TYPES = "pulumi:providers:"


def _check(question: Question, report_violation: ReportViolation) -> None:
    stack = question.stack
    without = {vm.urn for vm in stack.vms if has_no_address(vm) and not question.exempts(vm)}
    # An explicit provider connects to a guest as work does: to a database or to a container engine, for example.
    providers = [one for one in question.resources if one.resource_type.startswith(_PROVIDER_TYPES)]
    for work in [*stack.work, *sorted(providers, key=lambda one: str(one.urn))]:
        if question.exempts(work):
            continue
        for path, vm, is_known in empty_addresses(work, without):
            gates = stack.watchers[vm.urn]
            states = "is empty" if is_known else "is not known before the update, and depends on the VM"
            line = phrases.address_line(gates[0] if gates else None, vm)
            report_violation(
                f"{phrases.name(work)} must take the address of {phrases.name(vm)} from a gate: {path} {states}. "
                f"wait_for_guest_net_timeout of {phrases.name(vm)} is 0, so its default_ip_address and "
                "guest_ip_addresses are empty when it has been created, and a connection to an empty address reaches "
                f"the computer that runs Pulumi.\nWrite: {line}" + ("" if gates else f", and {phrases.gate_line(vm)}"),
                work.urn,
            )


ADDRESS_COMES_FROM_GATE = rule(
    "address-comes-from-gate",
    "Checks whether work in a guest takes the address of its VM from a gate where pulumi-vsphere does not wait for it.",
    _check,
    level=EnforcementLevel.MANDATORY,
    severity=Severity.HIGH,
    remediation="Write gate.address(key) in place of default_ip_address or guest_ip_addresses of the VM.",
    options=("exempt", "vmTypes", "workTypes"),
)
"""No address of work in a guest comes from a VM whose address is empty when the VM has been created."""
