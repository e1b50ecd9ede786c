"""The stand-in for the vSphere plugin, and the probe, on the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_vsphere as vsphere

from lab.order_probe import OrderProbe

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine


def _program(name: str, memory: int = 1024, extra: dict[str, str] | None = None) -> Callable[[], None]:
    def program() -> None:
        datacenter = vsphere.get_datacenter(name="DC0")
        cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
        datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
        network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
        template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
        vm = vsphere.VirtualMachine(
            "vm",
            name=name,
            resource_pool_id=cluster.resource_pool_id,
            datastore_id=datastore.id,
            disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
            memory=memory,
            network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
            extra_config=extra,
            clone=vsphere.VirtualMachineCloneArgs(
                template_uuid=template.id,
                customize=vsphere.VirtualMachineCloneCustomizeArgs(
                    timeout=0,
                    linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                        host_name="web", domain="example.com"
                    ),
                    network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
                ),
            ),
            wait_for_guest_net_timeout=0,
        )
        probe = OrderProbe("probe", vm=vm.moid)
        pulumi.export("moid", vm.moid)
        pulumi.export("ran_at", probe.ran_at)

    return program


def test_a_vm_comes_stays_changes_and_goes(engine: Engine) -> None:
    """A VM is made once; a second up and a refresh change nothing; memory changes in place; a lost one is fine."""
    name = engine.unique("web")
    stack = engine.stack(_program(name, extra={"lab.duration": "100ms"}))

    preview = stack.preview()
    assert preview.steps == {"vm": ["create"], "probe": ["create"]}, preview.output

    first = stack.up()
    assert first.succeeded, first.output
    made = stack.outputs
    assert str(made["moid"]).startswith("vm-")

    second = stack.up()
    assert second.steps == {"vm": ["same"], "probe": ["same"]}, second.output
    assert made == stack.outputs

    refreshed = stack.refresh()
    assert refreshed.changes == {}, refreshed.output

    changed = stack.up(_program(name, memory=2048, extra={"lab.duration": "100ms"}))
    assert changed.changes == {"vm": ["update"]}, changed.output
    assert made["moid"] == stack.outputs["moid"]
    with engine.lab.connected() as service:
        vm = service.content.searchIndex.FindByInventoryPath(f"DC0/vm/{name}")
        assert vm.config.hardware.memoryMB == 2048
        assert {option.key: option.value for option in vm.config.extraConfig}["lab.duration"] == "100ms"
        vm.PowerOffVM_Task()
        vm.Destroy_Task()

    assert stack.destroy().succeeded


def test_an_unknown_config_key_is_refused(engine: Engine) -> None:
    """Like the real plugin, the stand-in refuses an unknown key in its namespace."""
    stack = engine.stack(_program(engine.unique("web")), config={"vsphere:caFile": "somewhere.pem"})
    result = stack.preview()
    assert not result.succeeded
    assert "`vsphere:caFile` is not a valid configuration key" in result.output
