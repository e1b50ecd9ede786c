"""Many virtual machines behind one gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components.waits import without_waits
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from pulumi_customization_components.gate_args import GateArgs

T = TypeVar("T")


class GatedFleet(pulumi.ComponentResource):
    """Virtual machines that are ready for work together: one gate waits for all of them at once.

    The machines are called `<fleet>-<key>`, for a number of them `<fleet>-0` and so on. So one more, or one less, moves
    nothing of the others: neither the machine, nor a script in it.

    Args:
        resource_name: The name of the component and its gate in the stack.
        vms: The machines by keys of your own, as vsphere.VirtualMachine takes them; or how many there are.
        vm_args: For a number of machines, what makes the arguments of one out of its name.
        gate_args: What the gate takes beside the machines.
        vm_opts: Options of the machines alone, for example `delete_before_replace`, or aliases of machines that exist.
        opts: The component's options; providers and the like go on to what it is made of.

    Raises:
        TypeError: If a number comes without `vm_args`, or a map with them.
    """

    vms: dict[str, vsphere.VirtualMachine]
    """The machines by their keys. Their own outputs are known before the gate is open."""
    gate: CustomizationGate
    """The one gate."""
    moids: dict[str, Output[str]]
    """The machines' managed object IDs by their keys, once the gate is open."""
    host_names: Output[dict[str, str]]
    """The guests' host names by the machines' keys, when the gate opened."""
    ip_addresses: Output[dict[str, list[str]]]
    """The guests' addresses by the machines' keys, when the gate opened."""

    def __init__(
        self,
        resource_name: str,
        vms: Mapping[str, vsphere.VirtualMachineArgs] | int,
        vm_args: Callable[[str], vsphere.VirtualMachineArgs] | None = None,
        *,
        gate_args: GateArgs | None = None,
        vm_opts: ResourceOptions | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        wanted = _by_key(resource_name, vms, vm_args)
        super().__init__("customization-gate:index:GatedFleet", resource_name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        names = {key: f"{resource_name}-{key}" for key in wanted}
        self._names = names
        self._shared = {"config_namespace": (gate_args or {}).get("config_namespace")}
        self.vms = {
            key: vsphere.VirtualMachine(names[key], without_waits(args), pulumi.ResourceOptions.merge(vm_opts, inside))
            for key, args in wanted.items()
        }
        machines = {names[key]: vm for key, vm in self.vms.items()}
        self.gate = CustomizationGate(resource_name, machines, **(gate_args or {}), opts=inside)
        self.moids = {key: self.gate.after(vm.moid) for key, vm in self.vms.items()}
        self.host_names = self._results("host_name")
        self.ip_addresses = self._results("ip_addresses")
        self.register_outputs({"moids": self.moids, "host_names": self.host_names, "ip_addresses": self.ip_addresses})

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
        """Runs a script in every guest once the gate is open, and returns the resources by the machines' keys.

        Args:
            name: What the script does; the resources are called by it, after fleet and key.
            script: The script's text, or what makes it out of a machine's key.
            opts: The scripts' options.
            arguments: What GuestScript takes beside these, or what makes it out of a machine's key.
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
        """Puts a file into every guest once the gate is open, and returns the resources by the machines' keys.

        Args:
            name: What the file is; the resources are called by it, after fleet and key.
            path: Where in the guest, or what makes that out of a machine's key.
            opts: The files' options.
            arguments: What GuestFile takes beside these, or what makes it out of a machine's key.
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
