"""A gate for existing VMs: old-0 is in this stack, old-1 only in vCenter. Neither VM is changed or restarted.

The gate judges both by their history. After that, work behind the gate runs as on new VMs.
"""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_gate import CustomizationGate, GuestScript

datacenter = vsphere.get_datacenter(name="DC0")
cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)

# As before, with the wait of the VM resource. A change in `clone` would replace the VM. `ignore_changes` prevents that,
# even if the wait is turned off here by mistake.
in_stack = vsphere.VirtualMachine(
    "old-0",
    name="old-0",
    resource_pool_id=cluster.resource_pool_id,
    datastore_id=datastore.id,
    guest_id=template.guest_id,
    network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
    disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
    clone=vsphere.VirtualMachineCloneArgs(
        template_uuid=template.id,
        customize=vsphere.VirtualMachineCloneCustomizeArgs(
            timeout=10,
            linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(host_name="old-0", domain="example.com"),
            network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
        ),
    ),
    wait_for_guest_net_timeout=0,
    opts=pulumi.ResourceOptions(ignore_changes=["clone"]),
)

# Made by hand or by another tool: any reference is enough, for example the path in the inventory.
vms = {"old-0": in_stack.moid, "old-1": "/DC0/vm/old-1"}
gate = CustomizationGate("old", vms=vms)
for name, vm in vms.items():
    GuestScript(f"{name}-motd", gate.after(vm), script="echo managed by Pulumi > motd")
pulumi.export("statuses", gate.statuses)
