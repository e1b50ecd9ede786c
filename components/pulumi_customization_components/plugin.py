"""The gate for programs in other languages: a component behind a plugin, with scalars and maps on its surface.

Other languages can use neither a dynamic resource nor the typed arguments of a VM, but a component with plain values.
Pulumi's analyzer makes the package's schema from the annotations and docstrings below.
"""

from typing import Any, TypedDict

import pulumi
from pulumi.provider.experimental import component_provider_host

from pulumi_customization_gate import CustomizationGate as DynamicGate
from pulumi_customization_gate.version import __version__

PLUGIN = "customization-gate"
VERSION = __version__


class CustomizationGateArgs(TypedDict):
    """The arguments of a gate; other languages have their own spelling (`startTimeout`)."""

    vms: pulumi.Input[dict[str, pulumi.Input[str]]]
    """A map of your own keys to references: a managed object ID (the VM's `moid`), a UUID, an inventory path, or a
    Cloud Director URN or href."""
    platform: pulumi.Input[str] | None
    """"vsphere" (default) or "cloud_director"."""
    config_namespace: pulumi.Input[str] | None
    """The namespace of stack config that holds server and credentials; default "vsphere" or "vcd"."""
    timeout: pulumi.Input[float] | None
    """The time for the whole wait, in seconds; default 1800."""
    start_timeout: pulumi.Input[float] | None
    """The time in seconds in which customization must have started; default the smaller of 600 and `timeout`, on Cloud
    Director `timeout`."""
    expect: pulumi.Input[str] | None
    """"required" (default), or "optional": a VM with no trace of a customization passes."""
    ready_when: pulumi.Input[str] | None
    """"customized" (default), or "guest_operations": guest operations must stay ready for `settle`."""
    settle: pulumi.Input[float] | None
    """The time in seconds for which guest operations must stay ready; default 30."""
    on_failure: pulumi.Input[str] | None
    """"fail" (default), or "report": the gate opens, and `statuses` says what failed."""
    triggers: pulumi.Input[dict[str, pulumi.Input[str]]] | None
    """A map of anything; a change judges all VMs again."""


class CustomizationGate(pulumi.ComponentResource):
    """Blocks until the guest customization of VMs has succeeded.

    Args:
        name: The gate's name in the stack.
        args: The arguments.
        opts: The component's options.
    """

    ready: pulumi.Output[bool]
    """Whether every VM is ready."""
    statuses: pulumi.Output[dict[str, str]]
    """The status of each VM, by your key."""
    results: pulumi.Output[dict[str, Any]]
    """The result of each VM, by your key."""
    vms: pulumi.Output[dict[str, str]]
    """The references by your key, once the gate is open: a resource that uses one waits for the gate."""

    def __init__(self, name: str, args: CustomizationGateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PLUGIN}:index:CustomizationGate", name, None, opts)
        given: Any = args
        gate = DynamicGate(
            name,
            args["vms"],
            platform=given.get("platform"),
            config_namespace=given.get("config_namespace"),
            timeout=given.get("timeout"),
            start_timeout=given.get("start_timeout"),
            expect=given.get("expect"),
            ready_when=given.get("ready_when"),
            settle=given.get("settle"),
            on_failure=given.get("on_failure"),
            triggers=given.get("triggers"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready, self.statuses, self.results = gate.ready, gate.statuses, gate.results
        names: pulumi.Output[Any] = pulumi.Output.from_input(args["vms"])
        self.vms = gate.after(names)
        self.register_outputs(
            {"ready": self.ready, "statuses": self.statuses, "results": self.results, "vms": self.vms}
        )


def main() -> None:
    """Serves the component until the engine ends the plugin."""
    component_provider_host([CustomizationGate], PLUGIN, version=VERSION)


if __name__ == "__main__":
    main()
