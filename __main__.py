"""Three virtual machines are cloned and customized; a script runs in each when the gate says that all are ready."""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedFleet

config = pulumi.Config()
datacenter = vsphere.get_datacenter(name=config.require("datacenter"))
cluster = vsphere.get_compute_cluster(name=config.require("cluster"), datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name=config.require("datastore"), datacenter_id=datacenter.id)
network = vsphere.get_network(name=config.require("network"), datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name=config.require("template"), datacenter_id=datacenter.id)


def machine(name: str) -> vsphere.VirtualMachineArgs:
    """Describes one machine; the last part of its address goes by its number."""
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


# One gate waits for all three at once. A machine gives its name up before another one can take it.
fleet = GatedFleet("web", 3, machine, vm_opts=pulumi.ResourceOptions(delete_before_replace=True))

# It runs behind the gate, by VMware Tools; and again where its machine is replaced, and only there.
ready = fleet.script("ready", 'echo "$HOSTNAME is ready for work at $(date -u +%T)" | tee ~/ready')

pulumi.export("ready", fleet.gate.ready)
pulumi.export("machines", fleet.gate.results)
pulumi.export("output", {key: script.stdout for key, script in ready.items()})
