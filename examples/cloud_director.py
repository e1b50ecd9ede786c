"""VMs of VMware Cloud Director: the gate is the same resource, and the references are URNs.

pulumi config set vcd:url https://vcd.example.com
pulumi config set vcd:org acme
pulumi config set vcd:user deployer
pulumi config set --secret vcd:password
pulumi config set --path 'vms.web-0' urn:vcloud:vm:f10538f6-b54c-5f88-93eb-895058492ab5
"""

import pulumi

from pulumi_customization_gate import CustomizationGate

# In a stack that creates the VMs, `vms` maps names to the resources, for example vcd.Vm.
vms: dict[str, str] = pulumi.Config().require_object("vms")
gate = CustomizationGate("web", platform="cloud_director", vms=vms, timeout="45m")

# `gate.after(...)` returns the value once all VMs are customized. Usually it is an argument of a resource.
pulumi.export("urls", {name: gate.after(f"https://{name}.example.com") for name in vms})
pulumi.export("statuses", gate.statuses)
