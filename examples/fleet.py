"""A fleet: VMs with different roles behind one gate, and work in each. Adding a VM does not change the others."""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedFleet

datacenter = vsphere.get_datacenter(name="DC0")
cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)


def vm(role: str, memory: int) -> vsphere.VirtualMachineArgs:
    """Returns the arguments of a VM; the component turns off the waits of the VM resource."""
    return vsphere.VirtualMachineArgs(
        name=f"shop-{role}",
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        memory=memory,
        guest_id=template.guest_id,
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid=template.id,
            customize=vsphere.VirtualMachineCloneCustomizeArgs(
                linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                    host_name=f"shop-{role}", domain="example.com"
                ),
                network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
            ),
        ),
    )


fleet = GatedFleet(
    "shop",
    {"web": vm("web", 2048), "db": vm("db", 4096)},
    gate_args={"timeout": "30m"},
    vm_opts=pulumi.ResourceOptions(delete_before_replace=True),
)
roles = fleet.file("role", "/srv/role", content=lambda key: f"{key}\n")
setup = fleet.script(
    "setup", lambda key: f"echo $HOSTNAME is a {key}", opts=pulumi.ResourceOptions(depends_on=[*roles.values()])
)
pulumi.export("addresses", fleet.addresses)
pulumi.export("output", {key: script.stdout for key, script in setup.items()})
