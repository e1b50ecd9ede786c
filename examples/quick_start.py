"""The program of the README: two VMs, one gate, and a script in each guest."""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_gate import CustomizationGate, GuestScript

datacenter = vsphere.get_datacenter(name="DC0")
cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)


def clone(name: str) -> vsphere.VirtualMachine:
    customize = vsphere.VirtualMachineCloneCustomizeArgs(
        timeout=0,  # the gate waits, not the VM resource
        linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(host_name=name, domain="example.com"),
        network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
    )
    return vsphere.VirtualMachine(
        name,
        name=name,
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        guest_id=template.guest_id,
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        clone=vsphere.VirtualMachineCloneArgs(template_uuid=template.id, customize=customize),
        wait_for_guest_net_timeout=0,  # the same
    )


vms = {name: clone(name) for name in ("web-0", "web-1")}
gate = CustomizationGate("web", vms=vms)
for name, vm in vms.items():
    script = GuestScript(f"{name}-setup", gate.after(vm.moid), script="echo $HOSTNAME is ready")
    pulumi.export(name, {"address": gate.address(name), "output": script.stdout})
