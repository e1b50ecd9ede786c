"""Measures a wait beside its peers on the same lab: latency, calls, bytes, memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from pyVmomi import vim

from benchmarks.subjects import machines
from lab import data_centre
from pulumi_customization_gate.vsphere.events import moid_of

if TYPE_CHECKING:
    from lab.data_centre import Lab

IDLE_SECONDS = 60.0
"""How long nothing happens while the idle calls are counted."""
SPREAD = 15.0
"""Seconds over which the machines' ends are spread once the idle time is over."""
LEAD = 25.0
"""Seconds from power-on to the idle minute: the slowest subject needs them to start."""
PATIENCE = 60.0
"""Seconds that a subject may need beyond the last end."""


@dataclass(frozen=True)
class Row:
    """What one subject needed for a number of machines."""

    subject: str
    machines: int
    setup: float
    """Seconds from knowing the machines to the wait proper: log-in, subscription, state, history."""
    p50: float
    """Seconds from the event to its being noticed, the median."""
    p99: float
    idle_calls: float
    """Calls per minute while nothing happened."""
    idle_bytes: float
    """Bytes per minute from the server while nothing happened."""
    calls: int
    """Calls of the whole wait."""
    peak_mib: float
    missed: int
    """Machines whose end was not noticed."""


def measure(program: Path, subject: str, count: int) -> Row:
    """Runs one subject against a lab of its own with so many machines, booted at the start."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        options = ("-vms", str(count + 1), "-customize", "-start-delay", "200ms", "-duration", "1h")
        lab = data_centre.start(program, home, options)
        try:
            return _measure(lab, home / "ready.json", subject, count)
        finally:
            data_centre.stop(program, home)


def _measure(lab: Lab, ready: Path, subject: str, count: int) -> Row:
    lead = LEAD + count * 0.02
    numbers = random.Random(count)  # noqa: S311 -- a schedule that is the same in every run, no secret
    for i in range(count):
        ends = lead + IDLE_SECONDS + numbers.uniform(2, 2 + SPREAD)
        lab.plan(f"vm-{i}", duration=f"{ends * 1000:.0f}ms")
    lab.power("*", "on")
    powered_on = time.monotonic()
    lab.reset_stats()
    total = lead + IDLE_SECONDS + SPREAD + PATIENCE
    command = [sys.executable, "-m", "benchmarks.subjects", subject, str(ready), str(total)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(max(0.0, powered_on + lead - time.monotonic()))
        before = lab.stats()
        time.sleep(IDLE_SECONDS)
        after = lab.stats()
        said = json.loads(process.stdout.read())
    end = lab.stats()
    latencies = _latencies(lab, said["noticed"])
    p50, p99 = _p50_p99(latencies)
    return Row(
        subject=subject,
        machines=count,
        setup=said["setup"],
        p50=p50,
        p99=p99,
        idle_calls=(_calls(after) - _calls(before)) * 60 / IDLE_SECONDS,
        idle_bytes=(after["bytes_out"] - before["bytes_out"]) * 60 / IDLE_SECONDS,
        calls=_calls(end),
        peak_mib=said["peak_kib"] / 1024,
        missed=count - len(latencies),
    )


def _calls(stats: dict[str, dict[str, int]]) -> int:
    return sum(stats["calls"].values())


def _latencies(lab: Lab, noticed: dict[str, float]) -> list[float]:
    """Returns how long after its event each machine's end was noticed; server and subject share one clock here."""
    ends: dict[str, float] = {}
    with lab.connected() as service:
        spec = vim.event.EventFilterSpec
        for vm in machines(service.content):
            entity = spec.ByEntity(entity=vm, recursion="self")
            found = service.content.eventManager.QueryEvents(
                spec(entity=entity, eventTypeId=["CustomizationSucceeded"])
            )
            if found:
                ends[moid_of(vm)] = found[0].createdTime.timestamp()
    return [at - ends[moid] for moid, at in noticed.items() if moid in ends]


def _p50_p99(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:  # noqa: PLR2004 -- quantiles need two
        value = values[0] if values else float("nan")
        return value, value
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
