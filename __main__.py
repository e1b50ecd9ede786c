"""Clones and customizes three VMs, and runs a script in each guest once the gate is open."""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedFleet

config = pulumi.Config()
datacenter = vsphere.get_datacenter(name=config.require("datacenter"))
cluster = vsphere.get_compute_cluster(name=config.require("cluster"), datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name=config.require("datastore"), datacenter_id=datacenter.id)
network = vsphere.get_network(name=config.require("network"), datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name=config.require("template"), datacenter_id=datacenter.id)


def arguments(name: str) -> vsphere.VirtualMachineArgs:
    """Returns the arguments of the VM with a name; its number decides the last part of its address."""
    address = f"192.168.10.{10 + int(name.rpartition('-')[2])}"
    return vsphere.VirtualMachineArgs(
        name=name,
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        num_cpus=2,
        memory=2048,
        guest_id=template.guest_id,
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid=template.id,
            customize=vsphere.VirtualMachineCloneCustomizeArgs(
                linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                    host_name=name, domain="example.com"
                ),
                network_interfaces=[
                    vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs(ipv4_address=address, ipv4_netmask=24)
                ],
                ipv4_gateway="192.168.10.1",
            ),
        ),
    )


# One gate waits for all three VMs. A VM must be deleted before its replacement can have its name.
fleet = GatedFleet("web", 3, arguments, vm_opts=pulumi.ResourceOptions(delete_before_replace=True))

# The script runs by VMware Tools once the gate is open, and again only if its VM is replaced.
ready = fleet.script("ready", 'echo "$HOSTNAME is ready for work at $(date -u +%T)" | tee ~/ready')

pulumi.export("ready", fleet.gate.ready)
pulumi.export("vms", fleet.gate.results)
pulumi.export("output", {key: script.stdout for key, script in ready.items()})
