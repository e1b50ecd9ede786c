"""Samples this process during a soak, and finds what is left open at its end."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.vcenter_client import Lab

INTERVAL = 2.0
"""Seconds between two samples."""
_FEWEST_SAMPLES = 60
GRACE = 15.0
"""Seconds after its end in which a wait must release what it held."""


class Monitor:
    """Samples memory, and finds what is open; `port` is the proxy's, to which the library's connections go."""

    def __init__(self, lab: Lab, port: int) -> None:
        self._lab, self._port, self._process = lab, port, psutil.Process()
        self._earlier_threads = set(threading.enumerate())
        self.memory: list[float] = []
        """MiB, a value per sample."""

    async def run(self) -> None:
        """Takes samples until it is cancelled."""
        while True:
            self.memory.append(self._process.memory_info().rss / 2**20)
            await asyncio.sleep(INTERVAL)

    def left(self) -> list[str]:
        """Returns what is still open GRACE seconds after the last wait has ended."""
        deadline = time.monotonic() + GRACE
        while (found := self._found()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def _found(self) -> list[str]:
        stats = self._lab.stats()
        later = set(threading.enumerate()) - self._earlier_threads
        threads = sorted(one.name for one in later if one.name.startswith("customization-gate"))
        sockets = sum(bool(c.raddr) and c.raddr.port == self._port for c in self._process.net_connections("tcp"))
        left = {
            f"{stats['sessions']} sessions on the server": stats["sessions"],
            f"{stats['collectors']} event collectors on the server": stats["collectors"],
            f"the threads {', '.join(threads)}": len(threads),
            f"{sockets} connections": sockets,
        }
        return [f"left open: {text}" for text, count in left.items() if count]


def growth(memory: Sequence[float]) -> tuple[float, float] | None:
    """Returns the median memory after the warm-up, 0.3 of a soak, and at the end; None for too few samples."""
    if len(memory) < _FEWEST_SAMPLES:
        return None
    early, late = (memory[int(begin * len(memory)) : int(end * len(memory))] for begin, end in ((0.3, 0.6), (0.85, 1)))
    return statistics.median(early), statistics.median(late)


def is_flat(early: float, late: float) -> bool:
    """Whether memory grew by no more than 10 MiB or a twentieth, whichever is more."""
    return late - early <= max(10.0, 0.05 * early)
