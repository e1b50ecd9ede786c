"""Components: VMs whose outputs are known once their guests are customized."""

from pulumi_customization_components.fleet import GatedFleet
from pulumi_customization_components.gate_args import GateArgs
from pulumi_customization_components.virtual_machine import GatedVirtualMachine

__all__ = ["GateArgs", "GatedFleet", "GatedVirtualMachine"]
