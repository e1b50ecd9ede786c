"""Many waits in one process, beside one wait for the same VMs.

`python -m benchmarks.gates_at_once READY_FILE GATES VMS` is the process that is measured: it starts so many waits at
the same time, each for so many of a lab's VMs, as the host of dynamic resources does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.progress import peak_kib
from benchmarks.vms import list_vms
from lab import vcenter_client
from lab.paths import ROOT, LabError
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait as wait_for_all
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from pulumi_customization_gate.vsphere.source import VsphereSource

SPLITS = ((1, 1280), (64, 20))
"""The gates, and the VMs of each: the same VMs both times."""
CUSTOMIZATION_SECONDS = 6.0
"""How long each VM's customization takes; all are powered on just before the waits begin."""
MOST_TIMES, MOST_MIB = 1.5, 120
"""The targets: many gates take at most so many times as long as one for the same VMs, and less memory than this."""
TIMEOUT = 300.0
"""Seconds until a wait counts as failed."""


@dataclass(frozen=True)
class Measured:
    """What so many waits needed."""

    gates: int
    vms: int
    """VMs of each gate."""
    first_status: float
    """Seconds until the last of the waits reported its first status."""
    opened: float
    """Seconds until the last of the gates was open."""
    peak_mib: float
    """The most memory that the process ever had."""
    queries: int = 0
    """Queries of the event history."""


def measure(program: Path, gates: int, vms: int) -> Measured:
    """Runs the waits against a lab of their own.

    Raises:
        LabError: A gate did not open.
    """
    with tempfile.TemporaryDirectory() as folder:
        duration = f"{CUSTOMIZATION_SECONDS * 1000:.0f}ms"
        options = ("-vms", str(gates * vms + 1), "-customize", "-start-delay", "200ms", "-duration", duration)
        lab = vcenter_client.start(program, Path(folder), options)
        try:
            lab.power("*", "on")
            lab.reset_stats()
            command = [sys.executable, "-m", __spec__.name, str(Path(folder, "ready.json")), str(gates), str(vms)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise LabError(f"{gates} gates of {vms} VMs ended with exit status {done.returncode}")
            queries = int(lab.stats()["calls"].get("QueryEvents", 0))
        finally:
            vcenter_client.stop(program, Path(folder))
    return Measured(**{**json.loads(done.stdout), "queries": queries})


def wait(settings: VsphereSettings, moids: list[str], gates: int) -> tuple[float, float]:
    """Waits in so many threads for equal parts of the VMs.

    Returns:
        Seconds until the last of the waits reported its first status, and until the last gate was open.

    Raises:
        LabError: A gate did not open.
    """
    began = time.monotonic()

    def wait_for(own: list[str]) -> tuple[float, float]:
        reported: list[float] = []
        source = VsphereSource(settings, targets_of(own, parse_reference))
        rules = WaitRules(timeout=TIMEOUT, start_timeout=TIMEOUT)
        report = wait_for_all(source, rules, listener=lambda _: reported.append(time.monotonic() - began))
        if not all(outcome.ready for outcome in report.outcomes):
            raise LabError(f"a gate of {len(own)} VMs did not open")
        return reported[0], time.monotonic() - began

    parts = [moids[first::gates] for first in range(gates)]
    with ThreadPoolExecutor(gates) as pool:
        first_statuses, ends = zip(*pool.map(wait_for, parts), strict=True)
    return max(first_statuses), max(ends)


def main() -> None:
    """Runs the waits and prints what they needed."""
    lab = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    gates, vms = map(int, sys.argv[2:])
    settings = VsphereSettings(lab["server"], lab["user"], lab["password"], ca_file=lab["ca_file"])
    with acquire(settings) as session:
        moids = [moid_of(vm) for vm in list_vms(session.content)][: gates * vms]
    first_status, opened = wait(settings, moids, gates)
    print(json.dumps(asdict(Measured(gates, vms, first_status, opened, peak_kib() / 1024))))


if __name__ == "__main__":
    main()
