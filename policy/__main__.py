"""The policy pack that the engine starts; the rules are the library's."""

from pulumi_policy import PolicyPack

from pulumi_customization_gate.policies import POLICIES

PolicyPack(
    name="customization-gate",
    policies=POLICIES,
    description="Requires a CustomizationGate between customized virtual machines and what works in their guests.",
)
