"""The example for Cloud Director: existing VMs, one gate, and work on each that waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from lab.order_probe import OrderProbe
from pulumi_customization_gate import CustomizationGate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cloud_director.client import CloudDirectorLab


def program() -> None:
    """Declares the stack. Its setting `vms` maps names to the URNs of VMs on the server."""
    vms: Mapping[str, str] = pulumi.Config().require_object("vms")
    gate = CustomizationGate("web", platform="cloud_director", vms=vms)

    # In a real stack the VMs are resources, say a vcd.Vm in place of each URN, and the work is another one.
    probes = {name: OrderProbe(name, vm=gate.after(_identifier(urn))) for name, urn in vms.items()}

    pulumi.export("ready", gate.ready)
    pulumi.export("vms", gate.results)
    pulumi.export("probes", {name: probe.ran_at for name, probe in probes.items()})


def connection(lab: CloudDirectorLab) -> dict[str, str]:
    """Returns the settings that are not secret; the password belongs into `vcd:password`, encrypted."""
    return {"vcd:url": lab.url, "vcd:org": lab.org, "vcd:user": lab.user, "customization:caFile": lab.ca_file}


def power_on(lab: CloudDirectorLab, fail: str = "", **plan: Any) -> None:
    """Powers all VMs on again, so that their customization starts now.

    Args:
        lab: The running Cloud Director.
        fail: The VM whose customization fails.
        plan: `start_delay` and `duration`, in seconds.
    """
    for name in lab.vms:
        lab.plan(name, outcome="failed" if name == fail else "succeeded", **plan)


def _identifier(urn: str) -> str:
    """Returns the key of a VM in the results of the gate."""
    return f"vm-{urn.rpartition(':')[2]}"
