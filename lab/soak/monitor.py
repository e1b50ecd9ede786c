"""Samples the server and this process during a soak, and finds what is left open at its end."""

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
GRACE = 15.0
"""Seconds after its end in which a wait must release what it held."""
_WARM_UP = 0.3
"""The share of a soak after which its memory must not grow any more."""
_MOST_GROWTH_MIB = 10.0
_MOST_GROWTH = 0.05
"""Growth below the larger of these two, MiB and share, does not count."""
_OUR_THREADS = "customization-gate"
"""The prefix of the names of the library's threads."""
_MIB = 1 << 20


class Monitor:
    """Samples sessions, collectors and memory.

    Args:
        lab: The server.
        port: The port of the proxy, to which the library's connections go.
    """

    def __init__(self, lab: Lab, port: int) -> None:
        self._lab, self._port, self._process = lab, port, psutil.Process()
        self._earlier_threads = set(threading.enumerate())
        self.memory: list[tuple[float, float]] = []
        """Time and MiB."""
        self.most_sessions = self.most_collectors = 0

    async def run(self) -> None:
        """Takes samples until it is cancelled."""
        while True:
            stats = await asyncio.to_thread(self._lab.stats)
            self.most_sessions = max(self.most_sessions, stats["sessions"])
            self.most_collectors = max(self.most_collectors, stats["collectors"])
            self.memory.append((time.monotonic(), self._process.memory_info().rss / _MIB))
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
        threads = sorted(one.name for one in later if one.name.startswith(_OUR_THREADS))
        sockets = sum(bool(c.raddr) and c.raddr.port == self._port for c in self._process.net_connections("tcp"))
        left = {
            f"{stats['sessions']} sessions on the server": stats["sessions"],
            f"{stats['collectors']} event collectors on the server": stats["collectors"],
            f"the threads {', '.join(threads)}": len(threads),
            f"{sockets} connections": sockets,
        }
        return [f"left open: {text}" for text, count in left.items() if count]


def growth(memory: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Returns the median memory after the warm-up and at the end; None where there are too few samples."""
    if not memory:
        return None
    begin, length = memory[0][0], memory[-1][0] - memory[0][0] or 1.0
    early = [mib for at, mib in memory if _WARM_UP <= (at - begin) / length < 2 * _WARM_UP]
    late = [mib for at, mib in memory if (at - begin) / length >= 1 - _WARM_UP / 2]
    return (statistics.median(early), statistics.median(late)) if early and late else None


def is_flat(early: float, late: float) -> bool:
    """Whether memory grew by no more than is allowed."""
    return late - early <= max(_MOST_GROWTH_MIB, _MOST_GROWTH * early)
