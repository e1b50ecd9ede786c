"""The VMs of another stack: this stack waits for them, and runs scripts in their guests.

The other stack exports a map of names to managed object IDs: pulumi.export("moids", {"far-0": vm.moid}).

    pulumi config set vmStack acme/network/production
"""

import pulumi

from pulumi_customization_gate import CustomizationGate, GuestScript

moids = pulumi.StackReference(pulumi.Config().require("vmStack")).require_output("moids")
gate = CustomizationGate("far", vms=moids)
for name in ("far-0", "far-1"):
    script = GuestScript(f"{name}-greet", gate.after(moids[name]), script="echo hello from $HOSTNAME")
    pulumi.export(name, script.stdout)
