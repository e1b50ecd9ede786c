"""Many VMs behind one gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
import pulumi_vsphere as vsphere  # noqa: TC002 -- Pulumi reads the hints of a resource at run time

from pulumi_customization_components.addresses import with_address_check
from pulumi_customization_components.gated_vm import GatedVm
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from pulumi_customization_components.gate_args import GateArgs
    from pulumi_customization_gate.resources.movable import Host

T = TypeVar("T")


class GatedFleet(pulumi.ComponentResource):
    """VMs behind one gate, which waits for all of them at once.

    The name of a VM is `<fleet>-<key>`, or for a number of VMs `<fleet>-0` and so on. Adding or removing a VM changes
    neither the other VMs nor their scripts.

    Args:
        resource_name: The name of the component and its gate in the stack.
        vms: A map of your own keys to the arguments of the VMs, as vsphere.VirtualMachine takes them; or a number of
            VMs.
        vm_args: For a number of VMs, a function that returns the arguments of the VM with a name.
        gate_args: The arguments of the gate, apart from `vms`.
        vm_opts: Options for the VMs only, for example `delete_before_replace`, or aliases of existing VMs.
        opts: The component's options. Its resources inherit its providers.
        host: What runs the gate and the work in the guests: "dynamic" (default), or "plugin", the native provider.
        wait_for_address: Whether the gate also waits until each guest has a usable address. Turn it off for VMs without
            a network. An `address` check in `gate_args` takes its place.

    Raises:
        TypeError: If a number is given without `vm_args`, or a map with it.
    """

    vms: dict[str, vsphere.VirtualMachine]
    """The VMs by their keys. Their own outputs are known before the gate is open. Their address outputs raise an error.
    """
    gate: CustomizationGate
    """The gate of all VMs."""
    moids: dict[str, Output[str]]
    """The managed object IDs of the VMs by their keys, once the gate is open."""
    host_names: Output[dict[str, str]]
    """The host names of the guests by the keys of their VMs, when the gate opened."""
    ip_addresses: Output[dict[str, list[str]]]
    """The addresses of the guests by the keys of their VMs, when the gate opened."""
    addresses: Output[dict[str, str]]
    """The first usable address of each guest by the key of its VM, when the gate opened. A VM is left out only if the
    gate opened without its address, because of `wait_for_address=False` or `on_failure="report"`."""

    def __init__(
        self,
        resource_name: str,
        vms: Mapping[str, vsphere.VirtualMachineArgs] | int,
        vm_args: Callable[[str], vsphere.VirtualMachineArgs] | None = None,
        *,
        gate_args: GateArgs | None = None,
        vm_opts: ResourceOptions | None = None,
        opts: ResourceOptions | None = None,
        host: Host = "dynamic",
        wait_for_address: bool = True,
    ) -> None:
        arguments = _by_key(resource_name, vms, vm_args)
        super().__init__("customization-gate:index:GatedFleet", resource_name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        names = {key: f"{resource_name}-{key}" for key in arguments}
        self._names = names
        self._shared = {"config_namespace": (gate_args or {}).get("config_namespace"), "host": host}
        self.vms = {
            key: GatedVm(
                names[key],
                args,
                pulumi.ResourceOptions.merge(vm_opts, inside),
                component=resource_name,
                addresses=(f'gate.address("{names[key]}")', f'ip_addresses["{key}"]'),
            )
            for key, args in arguments.items()
        }
        watched = {names[key]: vm for key, vm in self.vms.items()}
        gate_arguments = with_address_check(gate_args, is_wanted=wait_for_address)
        self.gate = CustomizationGate(resource_name, watched, **gate_arguments, host=host, opts=inside)
        self.moids = {key: self.gate.after(vm.moid) for key, vm in self.vms.items()}
        self.host_names = self._results("host_name")
        self.ip_addresses = self._results("ip_addresses")
        self.addresses = self.gate.addresses.apply(
            lambda addresses: {key: addresses[name] for key, name in names.items() if name in addresses}
        )
        self.register_outputs(
            {
                "moids": self.moids,
                "host_names": self.host_names,
                "ip_addresses": self.ip_addresses,
                "addresses": self.addresses,
            }
        )

    def _results(self, what: str) -> Output[dict[str, Any]]:
        return self.gate.results.apply(lambda results: {key: results[name][what] for key, name in self._names.items()})

    def script(
        self,
        name: str,
        script: Input[str] | Callable[[str], Input[str]] | None = None,
        *,
        opts: ResourceOptions | None = None,
        **arguments: Any,
    ) -> dict[str, GuestScript]:
        """Runs a script in every guest once the gate is open, and returns the resources by the keys of their VMs.

        Args:
            name: The end of the resources' names: `<fleet>-<key>-<name>`.
            script: The script's text, or a function that returns it for the key of a VM.
            opts: The scripts' options.
            arguments: Other arguments of GuestScript, or functions that return them for the key of a VM.
        """
        return self._work(GuestScript, name, {"script": script, **arguments}, opts)

    def file(
        self,
        name: str,
        path: Input[str] | Callable[[str], Input[str]],
        *,
        opts: ResourceOptions | None = None,
        **arguments: Any,
    ) -> dict[str, GuestFile]:
        """Writes a file in every guest once the gate is open, and returns the resources by the keys of their VMs.

        Args:
            name: The end of the resources' names: `<fleet>-<key>-<name>`.
            path: The path in the guest, or a function that returns it for the key of a VM.
            opts: The files' options.
            arguments: Other arguments of GuestFile, or functions that return them for the key of a VM.
        """
        return self._work(GuestFile, name, {"path": path, **arguments}, opts)

    def _work(
        self, kind: Callable[..., T], name: str, given: Mapping[str, Any], opts: ResourceOptions | None
    ) -> dict[str, T]:
        inside = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        return {
            key: kind(
                f"{self._names[key]}-{name}",
                moid,
                **{word: value(key) if callable(value) else value for word, value in {**self._shared, **given}.items()},
                opts=inside,
            )
            for key, moid in self.moids.items()
        }


def _by_key(
    fleet: str,
    vms: Mapping[str, vsphere.VirtualMachineArgs] | int,
    vm_args: Callable[[str], vsphere.VirtualMachineArgs] | None,
) -> dict[str, vsphere.VirtualMachineArgs]:
    if isinstance(vms, Mapping):
        if vm_args is not None:
            raise TypeError(
                "vm_args: expected nothing beside a map of VMs, which holds the arguments of each, got a function"
            )
        return dict(vms)
    if vm_args is None:
        raise TypeError("vm_args: expected a function that returns the arguments of the VM with a name, got nothing")
    return {str(number): vm_args(f"{fleet}-{number}") for number in range(vms)}
