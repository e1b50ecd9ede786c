"""The report of one waiter to the benchmark: it runs in a process of its own and prints a JSON object at the end.

This module uses the standard library only, because it also runs in the environment of Ansible's module.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

SUCCEEDED = "succeeded"
FAILED = "failed"
NOT_CUSTOMIZED = "not customized"
NOT_STARTED = "not started"
TIMED_OUT = "timed out"
BROKE_OFF = "broke off"

NO_VERDICT = (TIMED_OUT, BROKE_OFF)
"""Reports of a waiter that does not know what happened to the VM."""


class Progress:
    """Times the steps of one waiter and records its verdict for each VM."""

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._began_at = 0.0
        self._verdicts: dict[str, dict[str, Any]] = {}

    def began(self) -> None:
        """Marks the time when the VMs are known and the set-up starts."""
        self._began_at = time.time()
        self._steps.append(time.monotonic())

    def watching(self) -> None:
        """Marks the time when the set-up is done and the wait itself starts."""
        self._steps.append(time.monotonic())
        print("watching", flush=True)

    def report(self, moid: str, verdict: str, detail: str = "") -> None:
        """Records the verdict on the VM with this managed object ID; the first one counts."""
        self._verdicts.setdefault(moid, {"at": time.time(), "verdict": verdict, "detail": detail})

    def finish(self) -> None:
        """Prints the records and the peak memory of this process."""
        setup = self._steps[1] - self._steps[0]
        for entry in self._verdicts.values():
            entry["seconds"] = entry["at"] - self._began_at
        print(json.dumps({"setup": setup, "verdicts": self._verdicts, "peak_kib": peak_kib()}))


def peak_kib() -> int:
    """Returns the most memory that this process has had, in KiB.

    `getrusage` counts what the parent had when it started this process: the kernel is asked where it can say better.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
