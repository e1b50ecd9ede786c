"""One VM whose outputs are known once its guest is customized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere  # noqa: TC002 -- Pulumi reads the hints of a resource at run time

from pulumi_customization_components.addresses import with_address_check
from pulumi_customization_components.gated_vm import GatedVm
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from pulumi_customization_components.gate_args import GateArgs
    from pulumi_customization_gate.resources.movable import Host


class GatedVirtualMachine(pulumi.ComponentResource):
    """A VM and its gate: a resource that uses an output of this component waits for the gate.

    Args:
        resource_name: The name of the component, its VM and its gate in the stack.
        vm_args: The arguments of the VM, as vsphere.VirtualMachine takes them. The waits of the VM resource are turned
            off.
        gate_args: The arguments of the gate, apart from `vms`.
        vm_opts: Options for the VM only, for example `delete_before_replace`, or aliases of an existing VM.
        opts: The component's options. Its resources inherit its providers.
        host: What runs the gate and the work in the guests: "dynamic" (default), or "plugin", the native provider.
        wait_for_address: Whether the gate also waits until the guest has a usable address. Turn it off for a VM without
            a network. An `address` check in `gate_args` takes its place.
    """

    vm: vsphere.VirtualMachine
    """The VM. Its own outputs are known before the gate is open. Its address outputs raise an error."""
    gate: CustomizationGate
    """The gate."""
    moid: Output[str]
    """The managed object ID of the VM, once the gate is open."""
    host_name: Output[str]
    """The host name of the guest when the gate opened."""
    ip_addresses: Output[list[str]]
    """The addresses of the guest when the gate opened."""
    address: Output[str]
    """The first usable address of the guest when the gate opened: not a link-local, loopback or multicast address.
    None only if the gate opened without an address, because of `wait_for_address=False` or `on_failure="report"`."""

    def __init__(
        self,
        resource_name: str,
        vm_args: vsphere.VirtualMachineArgs,
        *,
        gate_args: GateArgs | None = None,
        vm_opts: ResourceOptions | None = None,
        opts: ResourceOptions | None = None,
        host: Host = "dynamic",
        wait_for_address: bool = True,
    ) -> None:
        super().__init__("customization-gate:index:GatedVirtualMachine", resource_name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        all_vm_opts = pulumi.ResourceOptions.merge(vm_opts, inside)
        self._name = resource_name
        self._shared = {"config_namespace": (gate_args or {}).get("config_namespace"), "host": host}
        self.vm = GatedVm(
            resource_name, vm_args, all_vm_opts, component=resource_name, addresses=("address", "ip_addresses")
        )
        arguments = with_address_check(gate_args, is_wanted=wait_for_address)
        self.gate = CustomizationGate(resource_name, {resource_name: self.vm}, **arguments, host=host, opts=inside)
        self.moid = self.gate.after(self.vm.moid)
        self.host_name = self.gate.results.apply(lambda results: results[resource_name]["host_name"])
        self.ip_addresses = self.gate.results.apply(lambda results: results[resource_name]["ip_addresses"])
        addresses: Output[Any] = self.gate.addresses
        self.address = addresses.apply(lambda known: known.get(resource_name))
        self.register_outputs(
            {
                "moid": self.moid,
                "host_name": self.host_name,
                "ip_addresses": self.ip_addresses,
                "address": self.address,
            }
        )

    def script(
        self, name: str, script: Input[str] | None = None, *, opts: ResourceOptions | None = None, **arguments: Any
    ) -> GuestScript:
        """Runs a script in the guest once the gate is open.

        Args:
            name: The end of the resource's name: `<component>-<name>`.
            script: The script's text.
            opts: The script's options.
            arguments: Other arguments of GuestScript.
        """
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        return GuestScript(f"{self._name}-{name}", self.moid, script, **{**self._shared, **arguments}, opts=inside)

    def file(self, name: str, path: Input[str], *, opts: ResourceOptions | None = None, **arguments: Any) -> GuestFile:
        """Writes a file in the guest once the gate is open.

        Args:
            name: The end of the resource's name: `<component>-<name>`.
            path: The path in the guest.
            opts: The file's options.
            arguments: Other arguments of GuestFile.
        """
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        return GuestFile(f"{self._name}-{name}", self.moid, path, **{**self._shared, **arguments}, opts=inside)
