"""How soon the next resource begins after a customization has succeeded, on the real engine.

Once the gate waits, and once the VM resource itself, by the algorithm of the provider's own waiter.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pulumi
import pulumi_vsphere as vsphere

from benchmarks.waiting import successes
from lab.bootstrap import prepare
from lab.paths import Home, LabError
from pulumi_customization_gate import CustomizationGate
from tests.stack.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Result

SAMPLES = 20
"""VMs, one after the other."""
FIRST_END, INTERVAL = 15.0, 0.5
"""Seconds from a VM's power-on to the first end, by when all waits have begun, and between two ends."""
WAITERS = {"customization gate": 0, "the VM resource (the provider's waiter, re-implemented)": 10}
"""Who waits, and the VM resource's own `timeout` in minutes: with 0 it leaves the wait to a gate."""
_WORK = "benchmark:index:Work"


class _Work(pulumi.ComponentResource):
    """What has to wait for the customization."""

    def __init__(self, name: str, after: pulumi.Resource) -> None:
        super().__init__(_WORK, name, opts=pulumi.ResourceOptions(depends_on=[after]))


@dataclass(frozen=True)
class Delay:
    """From the event of a success, as the server dates it, to the engine's first step of the next resource."""

    waiter: str
    samples: int
    median: float
    """Seconds."""
    longest: float
    """Seconds."""


def measure(home: Home) -> list[Delay]:
    """Returns the delays of both waiters.

    Raises:
        LabError: An `up` failed, which would be no measurement.
    """
    tools = prepare(home)
    with tempfile.TemporaryDirectory() as folder, Engine.running(tools, Home(Path(folder))) as engine:
        return [_measure(engine, waiter, timeout) for waiter, timeout in WAITERS.items()]


def _measure(engine: Engine, waiter: str, timeout: int) -> Delay:
    names = [engine.unique("vm") for _ in range(SAMPLES)]
    for number, name in enumerate(names):
        engine.lab.plan(name, duration=f"{(FIRST_END + number * INTERVAL) * 1000:.0f}ms")
    stack = engine.stack(_program(names, timeout))
    result = stack.up(parallel=100)
    if not result.succeeded:
        raise LabError(f"the VMs of {waiter!r} failed:\n{result.output}")
    moids = {name: stack.resource(name)["outputs"]["moid"] for name in names}
    begins, ends = _begins(result), successes(engine.lab)
    stack.destroy()
    delays = [begins[f"work-{name}"] - ends[moids[name]] for name in names]
    return Delay(waiter, len(delays), median(delays), max(delays))


def _program(names: list[str], timeout: int) -> Callable[[], None]:
    def program() -> None:
        cluster = vsphere.get_compute_cluster(name="DC0_C0")
        datastore = vsphere.get_datastore(name="LocalDS_0")
        template = vsphere.get_virtual_machine(name="linux-template")
        for name in names:
            vm = vsphere.VirtualMachine(
                name,
                name=name,
                resource_pool_id=cluster.resource_pool_id,
                datastore_id=datastore.id,
                disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
                clone=vsphere.VirtualMachineCloneArgs(
                    template_uuid=template.id,
                    customize=vsphere.VirtualMachineCloneCustomizeArgs(
                        timeout=timeout,
                        linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                            host_name=name, domain="example.com"
                        ),
                        network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
                    ),
                ),
                wait_for_guest_net_timeout=0,
            )
            _Work(f"work-{name}", vm if timeout else CustomizationGate(f"gate-{name}", vms=[vm]))

    return program


def _begins(result: Result) -> dict[str, float]:
    """Returns when the engine turned to each of the works, in seconds since the epoch."""
    ahead = time.time() - time.monotonic()
    steps = [(event.resource_pre_event, moment) for event, moment in zip(result.events, result.moments, strict=True)]
    return {
        step.metadata.urn.rpartition("::")[2]: moment + ahead
        for step, moment in steps
        if step and step.metadata.type == _WORK
    }
