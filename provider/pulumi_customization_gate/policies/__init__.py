"""Policies that make the gate a rule: what a stack with customized virtual machines must look like."""

from pulumi_customization_gate.policies.rules import (
    CUSTOMIZED_VM_REQUIRES_GATE,
    GATE_TIMEOUT_IS_SANE,
    GATED_VM_DOES_NOT_WAIT_TWICE,
    GUEST_WORK_WAITS_FOR_GATE,
    POLICIES,
)

__all__ = [
    "CUSTOMIZED_VM_REQUIRES_GATE",
    "GATED_VM_DOES_NOT_WAIT_TWICE",
    "GATE_TIMEOUT_IS_SANE",
    "GUEST_WORK_WAITS_FOR_GATE",
    "POLICIES",
]
