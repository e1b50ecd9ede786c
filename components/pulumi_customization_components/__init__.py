"""Virtual machines that are ready for work when a program has them, as components."""

from pulumi_customization_components.fleet import GatedFleet
from pulumi_customization_components.gate_args import GateArgs
from pulumi_customization_components.machine import GatedVirtualMachine

__all__ = ["GateArgs", "GatedFleet", "GatedVirtualMachine"]
