"""How long a gate takes to start where others' events, newer than its own, fill the history."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.vms import vms_by_name
from lab import vcenter_client
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.vsphere import event_feed
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from lab.vcenter_client import Lab

FOREIGN = 66_000
"""Events of another VM, of a class that the gate asks for, that happened after the power-on of the gate's VMs."""
COUNTS = (3, 10, 100)
"""The VMs of a gate."""
MOST_SECONDS = 3.0
"""The target."""
_AT_ONCE = 3000


@dataclass(frozen=True)
class Start:
    """The start of one gate."""

    vms: int
    before: float
    """Seconds before the others' events."""
    after: float
    """Seconds after them."""
    queries: int
    """Queries of the event history, after them."""


def measure(program: Path) -> list[Start]:
    """Measures gates of each size, before and after the others' events."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("-vms", str(COUNTS[-1] + 2), "-customize", "-start-delay", "200ms", "-duration", "1h")
        lab = vcenter_client.start(program, Path(folder), options)
        try:
            lab.power("*", "on")
            time.sleep(1)
            with lab.connected() as service:
                other, *ours = map(moid_of, vms_by_name(service.content).values())
            before = {count: _start(lab, ours[:count]) for count in COUNTS}
            for _ in range(FOREIGN // _AT_ONCE):
                lab.post_event(other, "VmPoweredOnEvent", count=_AT_ONCE)
            # A collector begins with the last ten seconds: the events are history only after those.
            time.sleep(event_feed.FIRST_REACH.total_seconds() + 1)
            starts = []
            for count in COUNTS:
                lab.reset_stats()
                after = _start(lab, ours[:count])
                queries = int(lab.stats()["calls"].get("QueryEvents", 0))
                starts.append(Start(count, before[count], after, queries))
        finally:
            vcenter_client.stop(program, Path(folder))
    return starts


def _start(lab: Lab, moids: list[str]) -> float:
    settings = VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)
    source = VsphereSource(settings, targets_of(moids, parse_reference))
    began = time.monotonic()
    try:
        source.start()
        return time.monotonic() - began
    finally:
        source.close()
