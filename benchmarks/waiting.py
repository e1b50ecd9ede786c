"""Measures what a wait costs, with one waiter and one vCenter: latency, calls, bytes, sessions, memory."""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from benchmarks.progress import SUCCEEDED
from lab import vcenter_client
from pulumi_customization_gate.vsphere.events import moid_of

if TYPE_CHECKING:
    from benchmarks.waiters import Waiter
    from lab.vcenter_client import Lab

IDLE_SECONDS = 120.0
"""How long nothing happens while the idle calls are counted: the longest interval at which any waiter asks again."""
SPREAD = 15.0
"""Seconds over which the ends of customization are spread after the idle time."""
LEAD = 25.0
"""Seconds from power-on to the idle time, more where there are many VMs: the slowest waiter needs them."""
MARGIN = 60.0
"""Seconds that a waiter may need beyond the last end."""
_PAGE = 1000


@dataclass(frozen=True)
class Row:
    """What one waiter needed for a number of VMs."""

    waiter: str
    vms: int
    setup: float
    """Seconds from knowing the VMs to the wait itself: login, subscription, state, history."""
    p50: float
    """Seconds from the event to its being noticed, the median."""
    p99: float
    idle_calls: float
    """Calls per minute while nothing happened."""
    idle_bytes: float
    """Bytes per minute from the server while nothing happened."""
    calls: int
    """Calls of the whole wait."""
    received: int
    """Bytes from the server in the whole wait."""
    sessions: int
    """Sessions held while nothing happened."""
    collectors: int
    """Event collectors held while nothing happened."""
    peak_mib: float
    """The most memory that the process ever had."""
    early: int
    """VMs that were reported as customized before they were."""
    missed: int
    """VMs whose end was not noticed."""


def measure(program: Path, waiter: Waiter, count: int, idle_seconds: float | None = None) -> Row:
    """Runs one waiter against a vCenter of its own with so many VMs, booted at the start.

    Args:
        program: The lab's vCenter.
        waiter: The waiter.
        count: The number of VMs.
        idle_seconds: How long nothing happens before the customizations end; IDLE_SECONDS by default.

    Raises:
        LabError: The waiter or the vCenter failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        options = ("-vms", str(count + 1), "-customize", "-start-delay", "200ms", "-duration", "1h")
        lab = vcenter_client.start(program, home, options)
        try:
            return _measure(
                lab, home / "ready.json", waiter, count, IDLE_SECONDS if idle_seconds is None else idle_seconds
            )
        finally:
            vcenter_client.stop(program, home)


def _measure(lab: Lab, ready: Path, waiter: Waiter, count: int, idle_seconds: float) -> Row:
    lead = LEAD + count * waiter.slowness
    numbers = random.Random(count)  # noqa: S311 -- a schedule that is the same in every run, no secret
    for i in range(count):
        ends = lead + idle_seconds + numbers.uniform(2, 2 + SPREAD)
        lab.plan(f"vm-{i}", duration=f"{ends * 1000:.0f}ms")
    powered_on = time.monotonic()  # of the first: each customization ends so long after its own VM's
    lab.power("*", "on")
    lab.reset_stats()
    waiting = waiter.start(lab, ready, lead + idle_seconds + SPREAD + MARGIN)
    try:
        waiting.until_set_up()
        time.sleep(max(0.0, powered_on + lead - time.monotonic()))
        before = lab.stats()
        time.sleep(idle_seconds)
        after = lab.stats()
        result = waiting.result()
    finally:
        waiting.end()
    end = lab.stats()
    # A waiter that ended without logging out may hold all collectors.
    lab.terminate_sessions()
    latencies, early = _latencies(lab, result["verdicts"])
    p50, p99 = p50_p99(latencies)
    return Row(
        waiter=waiter.name,
        vms=count,
        setup=result["setup"],
        p50=p50,
        p99=p99,
        idle_calls=(after["total"] - before["total"]) * 60 / idle_seconds,
        idle_bytes=(after["bytes_out"] - before["bytes_out"]) * 60 / idle_seconds,
        calls=end["total"],
        received=end["bytes_out"],
        sessions=after["sessions"],
        collectors=after["collectors"],
        peak_mib=result["peak_kib"] / 1024,
        early=early,
        missed=count - len(latencies) - early,
    )


def successes(lab: Lab) -> dict[str, float]:
    """Returns when each VM's customization succeeded, in seconds since the epoch, by managed object ID.

    Server and waiter share one clock here.
    """
    ends: dict[str, float] = {}
    with lab.connected() as service:
        spec = vim.event.EventFilterSpec(eventTypeId=["CustomizationSucceeded"])
        collector = service.content.eventManager.CreateCollectorForEvents(spec)
        while page := collector.ReadNextEvents(_PAGE):
            ends.update({moid_of(event.vm.vm): event.createdTime.timestamp() for event in page})
        collector.DestroyCollector()
    return ends


def _latencies(lab: Lab, verdicts: dict[str, dict[str, Any]]) -> tuple[list[float], int]:
    """Returns how long after its event each end was noticed, and how many were reported before there was an event."""
    ends = successes(lab)
    lateness = [
        entry["at"] - ends[moid] for moid, entry in verdicts.items() if entry["verdict"] == SUCCEEDED and moid in ends
    ]
    return [late for late in lateness if late >= 0], sum(late < 0 for late in lateness)


def p50_p99(values: list[float]) -> tuple[float, float]:
    """Returns the median and the 99th percentile; NaN where there is no value."""
    if len(values) < 2:  # noqa: PLR2004 -- quantiles need two
        value = values[0] if values else float("nan")
        return value, value
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
