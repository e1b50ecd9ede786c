"""The policy pack with the rules of the library."""

from pulumi_policy import PolicyPack

from pulumi_customization_gate.policies import POLICIES

PolicyPack(
    name="customization-gate",
    policies=POLICIES,
    description="Requires a CustomizationGate between customized VMs and the work in their guests.",
)
