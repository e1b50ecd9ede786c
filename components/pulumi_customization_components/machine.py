"""One virtual machine that is ready for work when a program has its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components.waits import without_waits
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from pulumi_customization_components.gate_args import GateArgs


class GatedVirtualMachine(pulumi.ComponentResource):
    """A virtual machine and its gate: whatever uses an output of this component runs behind the gate.

    Args:
        resource_name: The name of the component, its machine and its gate in the stack.
        vm_args: The machine, as vsphere.VirtualMachine takes it. Its own waits are turned off.
        gate_args: What the gate takes beside the machine.
        vm_opts: Options of the machine alone, for example `delete_before_replace`, or aliases of machines that exist.
        opts: The component's options; providers and the like go on to what it is made of.
    """

    vm: vsphere.VirtualMachine
    """The machine. Its own outputs are known before the gate is open."""
    gate: CustomizationGate
    """The gate."""
    moid: Output[str]
    """The machine's managed object ID, once the gate is open."""
    host_name: Output[str]
    """The guest's host name when the gate opened."""
    ip_addresses: Output[list[str]]
    """The guest's addresses when the gate opened."""

    def __init__(
        self,
        resource_name: str,
        vm_args: vsphere.VirtualMachineArgs,
        *,
        gate_args: GateArgs | None = None,
        vm_opts: ResourceOptions | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("customization-gate:index:GatedVirtualMachine", resource_name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        machine_opts = pulumi.ResourceOptions.merge(vm_opts, inside)
        self._name = resource_name
        self._shared = {"config_namespace": (gate_args or {}).get("config_namespace")}
        self.vm = vsphere.VirtualMachine(resource_name, without_waits(vm_args), machine_opts)
        self.gate = CustomizationGate(resource_name, {resource_name: self.vm}, **(gate_args or {}), opts=inside)
        self.moid = self.gate.after(self.vm.moid)
        self.host_name = self.gate.results.apply(lambda results: results[resource_name]["host_name"])
        self.ip_addresses = self.gate.results.apply(lambda results: results[resource_name]["ip_addresses"])
        self.register_outputs({"moid": self.moid, "host_name": self.host_name, "ip_addresses": self.ip_addresses})

    def script(
        self, name: str, script: Input[str] | None = None, *, opts: ResourceOptions | None = None, **arguments: Any
    ) -> GuestScript:
        """Runs a script in the guest once the gate is open.

        Args:
            name: What the script does; the resource is called by it, after the component.
            script: The script's text.
            opts: The script's options.
            arguments: What GuestScript takes beside these.
        """
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        return GuestScript(f"{self._name}-{name}", self.moid, script, **{**self._shared, **arguments}, opts=inside)

    def file(self, name: str, path: Input[str], *, opts: ResourceOptions | None = None, **arguments: Any) -> GuestFile:
        """Puts a file into the guest once the gate is open.

        Args:
            name: What the file is; the resource is called by it, after the component.
            path: Where in the guest.
            opts: The file's options.
            arguments: What GuestFile takes beside these.
        """
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        return GuestFile(f"{self._name}-{name}", self.moid, path, **{**self._shared, **arguments}, opts=inside)
