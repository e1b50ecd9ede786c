"""The components on the real engine: what waits for what, and what moves when a fleet grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere
import pytest

from pulumi_customization_components import GatedFleet, GatedVirtualMachine
from pulumi_customization_gate import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine

GREETING = 'echo "$HOSTNAME says hello"'


def _vm(name: str, outcome: str = "succeeded") -> vsphere.VirtualMachineArgs:
    datacenter = vsphere.get_datacenter(name="DC0")
    cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
    datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
    network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
    template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
    return vsphere.VirtualMachineArgs(
        name=name,
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        extra_config={"lab.outcome": outcome},
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid=template.id,
            customize=vsphere.VirtualMachineCloneCustomizeArgs(
                linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                    host_name=name, domain="example.com"
                ),
                network_interfaces=[
                    vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs(
                        ipv4_address="192.168.10.10", ipv4_netmask=24
                    )
                ],
            ),
        ),
    )


def test_a_gated_vm_gives_its_outputs_behind_the_gate(engine: Engine) -> None:
    """One component makes VM and gate; its outputs are those of the customized guest, and a script follows."""
    name = engine.unique("single")

    def program() -> None:
        web = GatedVirtualMachine("web", _vm(name), gate_args={"timeout": 60, "start_timeout": 20})
        greeting = web.script("greet", GREETING, triggers={"a": 1})
        pulumi.export("moid", web.moid)
        pulumi.export("host_name", web.host_name)
        pulumi.export("ip_addresses", web.ip_addresses)
        pulumi.export("address", web.address)
        pulumi.export("said", greeting.stdout)
        with pytest.raises(ConfigurationError, match=r"write web\.address$"):
            _ = web.vm.default_ip_address

    stack = engine.stack(program)
    result = stack.up()

    assert result.succeeded, result.output
    assert stack.outputs["host_name"] == name
    assert stack.outputs["ip_addresses"] == ["192.168.10.10"]
    assert stack.outputs["address"] == "192.168.10.10"
    assert stack.outputs["said"] == f"{name} says hello\n"
    types = {resource["type"] for resource in stack.resources}
    assert "customization-gate:index:GatedVirtualMachine" in types
    gate = next(resource for resource in stack.resources if resource["type"].endswith(":CustomizationGate"))
    assert gate["inputs"]["timeout"] == 60
    assert gate["outputs"]["results"]["web"]["moid"] == stack.outputs["moid"]


def _fleet(names: dict[str, str], **plans: str) -> Callable[[], None]:
    def program() -> None:
        fleet = GatedFleet("web", {key: _vm(name, plans.get(key, "succeeded")) for key, name in names.items()})
        with pytest.raises(ConfigurationError, match=r'write web\.gate\.address\("web-a"\)$'):
            _ = fleet.vms["a"].default_ip_address
        scripts = fleet.script("greet", lambda key: f"{GREETING} from {key}")
        pulumi.export("said", {key: script.stdout for key, script in scripts.items()})
        pulumi.export("addresses", fleet.addresses)

    return program


def test_one_more_vm_moves_nothing_of_the_others(engine: Engine) -> None:
    """A fleet has one gate; a VM more is made, the gate judges it alone, and its script alone runs."""
    names = {"a": engine.unique("fleet-a"), "b": engine.unique("fleet-b")}
    stack = engine.stack(_fleet(names))
    first = stack.up()
    assert first.succeeded, first.output
    assert stack.outputs["said"] == {key: f"{name} says hello from {key}\n" for key, name in names.items()}
    started = {name: stack.resource(name)["outputs"]["started_at"] for name in ("web-a-greet", "web-b-greet")}

    grown = stack.up(_fleet({"c": engine.unique("fleet-c"), **names}))

    assert grown.succeeded, grown.output
    moved = {name: sorted(set(steps) - {"same"}) for name, steps in grown.changes.items()}
    assert moved == {"web": ["update"], "web-c": ["create"], "web-c-greet": ["create"]}
    assert {name: stack.resource(name)["outputs"]["started_at"] for name in started} == started
    assert sorted(stack.outputs["addresses"]) == ["a", "b", "c"]
    destroyed = stack.destroy()
    assert destroyed.succeeded, destroyed.output


def test_a_failed_vm_holds_every_script_back(engine: Engine) -> None:
    """The fleet's gate opens for all or for none."""
    names = {"a": engine.unique("fleet-a"), "b": engine.unique("fleet-b")}
    stack = engine.stack(_fleet(names, b="CustomizationFailed"))
    result = stack.up()
    assert not result.succeeded
    assert "web-b" in result.errors
    assert [resource for resource in stack.resources if resource["type"].endswith(":GuestScript")] == []


def test_providers_and_options_are_passed_on_to_what_a_component_is_made_of(engine: Engine) -> None:
    """An explicit provider makes the VMs; `vm_opts` count for the VMs alone; a number of them has names."""
    fleet_name = engine.unique("numbered")

    def program() -> None:
        provider = vsphere.Provider(
            "mine",
            vsphere_server=engine.lab.server,
            user=engine.lab.user,
            password=pulumi.Output.secret(engine.lab.password),
        )
        GatedFleet(
            fleet_name,
            1,
            _vm,
            vm_opts=pulumi.ResourceOptions(retain_on_delete=True),
            opts=pulumi.ResourceOptions(providers={"vsphere": provider}, protect=False),
        )

    stack = engine.stack(program)
    result = stack.up()
    assert result.succeeded, result.output
    vm = stack.resource(f"{fleet_name}-0")
    assert vm["inputs"]["name"] == f"{fleet_name}-0"
    assert "::mine::" in vm["provider"]
    assert vm["retainOnDelete"] is True
    gate = next(resource for resource in stack.resources if resource["type"].endswith(":CustomizationGate"))
    assert not gate.get("retainOnDelete")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((2,), "vm_args: expected a function", id="a number alone"),
        pytest.param(({}, _vm), "vm_args: expected nothing beside a map", id="a map and a maker"),
    ],
)
def test_a_fleet_is_a_map_or_a_number(arguments: tuple[Any, ...], message: str) -> None:
    """What does not go together is refused before anything is registered."""
    with pytest.raises(TypeError, match=message):
        GatedFleet("web", *arguments)
