"""A Windows VM that joins a domain: the gate waits until the guest has rebooted after the join, and a script checks it.

pulumi config set template windows-2022
pulumi config set --secret adminPassword
pulumi config set --secret joinPassword
"""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedVirtualMachine

config = pulumi.Config()
datacenter = vsphere.get_datacenter(name="DC0")
cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id)
template = vsphere.get_virtual_machine(name=config.require("template"), datacenter_id=datacenter.id)

dc = GatedVirtualMachine(
    "win-0",
    vsphere.VirtualMachineArgs(
        name="win-0",
        resource_pool_id=cluster.resource_pool_id,
        datastore_id=datastore.id,
        guest_id=template.guest_id,
        network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid=template.id,
            customize=vsphere.VirtualMachineCloneCustomizeArgs(
                windows_options=vsphere.VirtualMachineCloneCustomizeWindowsOptionsArgs(
                    computer_name="win-0",
                    admin_password=config.require_secret("adminPassword"),
                    join_domain="example.com",
                    domain_admin_user="joiner",
                    domain_admin_password=config.require_secret("joinPassword"),
                ),
                network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
            ),
        ),
    ),
    # Sysprep takes minutes. `settle` is longer than the time between the success and the reboot after the join.
    gate_args={
        "timeout": "1h",
        "start_timeout": "20m",
        "ready_when": "guest_operations",
        "settle": config.get("settle") or "2m",
    },
)
# The customization succeeds even if the join was skipped, so a script checks the join in the guest.
dc.script(
    "is-member",
    "if (-not (Get-CimInstance Win32_ComputerSystem).PartOfDomain) { throw 'the domain join was skipped' }",
    username="Administrator",
    password=config.require_secret("adminPassword"),
)
pulumi.export("statuses", dc.gate.statuses)
