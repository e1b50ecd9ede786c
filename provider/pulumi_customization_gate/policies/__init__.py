"""Policies that require a gate: what a stack with customized VMs must look like."""

from pulumi_customization_gate.policies.address_comes_from_gate import ADDRESS_COMES_FROM_GATE
from pulumi_customization_gate.policies.address_is_not_empty import ADDRESS_IS_NOT_EMPTY
from pulumi_customization_gate.policies.customized_vm_requires_gate import CUSTOMIZED_VM_REQUIRES_GATE
from pulumi_customization_gate.policies.gate_timeout_is_sane import GATE_TIMEOUT_IS_SANE
from pulumi_customization_gate.policies.gated_vm_does_not_wait_twice import GATED_VM_DOES_NOT_WAIT_TWICE
from pulumi_customization_gate.policies.guest_work_waits_for_gate import GUEST_WORK_WAITS_FOR_GATE

POLICIES = [
    CUSTOMIZED_VM_REQUIRES_GATE,
    GUEST_WORK_WAITS_FOR_GATE,
    ADDRESS_COMES_FROM_GATE,
    ADDRESS_IS_NOT_EMPTY,
    GATED_VM_DOES_NOT_WAIT_TWICE,
    GATE_TIMEOUT_IS_SANE,
]
"""All rules, in the order of the documentation."""

__all__ = [
    "ADDRESS_COMES_FROM_GATE",
    "ADDRESS_IS_NOT_EMPTY",
    "CUSTOMIZED_VM_REQUIRES_GATE",
    "GATED_VM_DOES_NOT_WAIT_TWICE",
    "GATE_TIMEOUT_IS_SANE",
    "GUEST_WORK_WAITS_FOR_GATE",
    "POLICIES",
]
