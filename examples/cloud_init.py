"""A VM that cloud-init sets up, without a customization: the gate waits for cloud-init in the guest."""

import base64

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedVirtualMachine

USER_DATA = """\
#cloud-config
packages: [nginx]
"""

datacenter = vsphere.get_datacenter(name="DC0")
cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)

web = GatedVirtualMachine(
    "ci-0",
    vsphere.VirtualMachineArgs(
        name="ci-0",
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        guest_id=template.guest_id,
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        clone=vsphere.VirtualMachineCloneArgs(template_uuid=template.id),
        extra_config={
            "guestinfo.userdata": base64.b64encode(USER_DATA.encode()).decode(),
            "guestinfo.userdata.encoding": "base64",
        },
    ),
    # vCenter has no events for cloud-init. `cloud-init status` in the guest reports when it is done.
    gate_args={"expect": "optional", "checks": [{"kind": "cloud_init"}]},
)
pulumi.export("statuses", web.gate.statuses)
pulumi.export("address", web.address)
