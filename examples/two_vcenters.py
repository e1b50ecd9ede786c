"""VMs on two vCenters: each vCenter has a config namespace, which its provider, gate and work share.

    pulumi config set east:vsphereServer vcenter.east.example.com
    pulumi config set east:user gate@vsphere.local
    pulumi config set --secret east:password

and the same for `west`. The scripts also need `guestUser` and `guestPassword` in both namespaces.
"""

import pulumi
import pulumi_vsphere as vsphere

from pulumi_customization_components import GatedVirtualMachine


def vm_on(site: str) -> GatedVirtualMachine:
    """Returns a VM with its gate on the vCenter of a site."""
    settings = pulumi.Config(site)
    provider = vsphere.Provider(
        site,
        vsphere_server=settings.require("vsphereServer"),
        user=settings.require("user"),
        password=settings.require_secret("password"),
    )
    there = pulumi.InvokeOptions(provider=provider)
    datacenter = vsphere.get_datacenter(name="DC0", opts=there)
    cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id, opts=there)
    datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id, opts=there)
    network = vsphere.get_network(name="VM Network", datacenter_id=datacenter.id, opts=there)
    template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id, opts=there)
    return GatedVirtualMachine(
        f"{site}-0",
        vsphere.VirtualMachineArgs(
            name=f"{site}-0",
            resource_pool_id=cluster.resource_pool_id,
            datastore_id=datastore.id,
            guest_id=template.guest_id,
            network_interfaces=[vsphere.VirtualMachineNetworkInterfaceArgs(network_id=network.id)],
            disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
            clone=vsphere.VirtualMachineCloneArgs(
                template_uuid=template.id,
                customize=vsphere.VirtualMachineCloneCustomizeArgs(
                    linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                        host_name=f"{site}-0", domain="example.com"
                    ),
                    network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
                ),
            ),
        ),
        gate_args={"config_namespace": site},
        opts=pulumi.ResourceOptions(providers={"vsphere": provider}),
    )


for site in ("east", "west"):
    vm = vm_on(site)
    vm.script("greet", "echo hello from $HOSTNAME")
    pulumi.export(site, vm.address)
