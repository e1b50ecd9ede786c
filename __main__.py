"""Three virtual machines are cloned and customized; work on them starts when the gate says that all are ready."""

import pulumi
import pulumi_vsphere as vsphere

from lab.witness import Witness
from pulumi_customization_gate import CustomizationGate

config = pulumi.Config()
datacenter = vsphere.get_datacenter(name=config.require("datacenter"))
cluster = vsphere.get_compute_cluster(name=config.require("cluster"), datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name=config.require("datastore"), datacenter_id=datacenter.id)
network = vsphere.get_network(name=config.require("network"), datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name=config.require("template"), datacenter_id=datacenter.id)

addresses = {"web-0": "192.168.10.10", "web-1": "192.168.10.11", "web-2": "192.168.10.12"}

vms = {
    name: vsphere.VirtualMachine(
        name,
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
                timeout=0,  # minutes; 0 leaves the waiting to the gate, which watches all machines at once
                linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                    host_name=name, domain="example.com"
                ),
                network_interfaces=[
                    vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs(ipv4_address=address, ipv4_netmask=24)
                ],
                ipv4_gateway="192.168.10.1",
            ),
        ),
        wait_for_guest_net_timeout=0,  # the same: an address before the customization is done says nothing
        opts=pulumi.ResourceOptions(delete_before_replace=True),  # its name is taken while the old one is there
    )
    for name, address in addresses.items()
}

gate = CustomizationGate("web", vms=vms)

# `after` hands a value on once the gate is open, so whatever uses it waits. A real stack has a `command.remote.Command`
# or any other resource in this place; it runs again when its machine is replaced, and only then.
witnesses = {name: Witness(name, vm=gate.after(vm.moid)) for name, vm in vms.items()}

pulumi.export("ready", gate.ready)
pulumi.export("machines", gate.results)
pulumi.export("witnesses", {name: witness.ran_at for name, witness in witnesses.items()})
