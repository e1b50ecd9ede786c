"""Looks at the server and at this process all the while: sessions, collectors, memory, and what is left at the end."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING

import psutil

from pulumi_customization_gate.vsphere import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.soak.waits import Wait
    from lab.soak.weather import Weather
    from lab.vcenter_client import Lab

EVERY = 2.0
"""Seconds between two looks."""
GRACE = 15.0
"""Seconds in which a wait that is over has given back what it held."""
WARM_UP = 0.3
"""The share of its length after which the memory of a soak has to stay as it is."""
MOST_GROWTH_MIB = 10.0
MOST_GROWTH = 0.05
"""Memory counts as flat if it grows by less than the larger of these two, MiB and share."""
OURS = "customization-gate"
"""What the names of the product's threads begin with."""
_MIB = 1 << 20


class Monitor:
    """Samples in a thread of its own.

    Args:
        lab: The server.
        weather: What may excuse a session that is left behind.
        waits: All waits of the soak.
        port: The port of the proxy, to which our connections lead.
    """

    def __init__(self, lab: Lab, weather: Weather, waits: Sequence[Wait], port: int) -> None:
        self._lab, self._weather, self._waits, self._port = lab, weather, waits, port
        self._process = psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-monitor", daemon=True)
        self._leak_since: float | None = None
        self.leaks: list[str] = []
        self.memory: list[tuple[float, float]] = []
        """Moment and MiB."""
        self.most_sessions = self.most_collectors = 0

    def begin(self) -> None:
        """Begins to look."""
        self._thread.start()

    def end(self) -> None:
        """Looks no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            counted, now = self._lab.stats(), time.monotonic()
            self.most_sessions = max(self.most_sessions, counted["sessions"])
            self.most_collectors = max(self.most_collectors, counted["collectors"])
            self.memory.append((now, self._process.memory_info().rss / _MIB))
            holding = {wait.settings for wait in self._waits if wait.is_running or 0 < now - wait.ended < GRACE}
            if counted["sessions"] <= len(holding) + self.excused():
                self._leak_since = None
            elif self._leak_since is None:
                self._leak_since = now
            elif now - self._leak_since > GRACE and len(self.leaks) < 1:
                self.leaks.append(f"{counted['sessions']} sessions while {len(holding)} were in use")

    def excused(self) -> int:
        """Returns how many sessions may be there that nobody could have given back.

        Those are sessions whose log-in was carried out in foul weather, in which its answer may have been lost, and
        sessions that were given up while the server was out of reach for as long as a log-out is tried again.
        """
        spells = self._weather.since_all_sessions_ended()
        since = spells[0].begin if spells else 0.0
        farewells = [wait.ended for wait in self._waits if wait.ended > since]
        lost = sum(self._weather.is_foul_throughout(ended, ended + session.FAREWELL) for ended in farewells)
        return sum(spell.logins for spell in spells) + lost

    def left(self) -> list[str]:
        """Returns what is left behind although all waits are over, after GRACE seconds at most.

        A long poll on a connection that is dead without a word has until it hears nothing for too long.
        """
        deadline = max(time.monotonic(), self._weather.deaf_until) + GRACE
        while (found := self._found()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def _found(self) -> list[str]:
        counted, excused = self._lab.stats(), self.excused()
        threads = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(OURS))
        sockets = sum(bool(c.raddr) and c.raddr.port == self._port for c in self._process.net_connections("tcp"))
        found = []
        if counted["sessions"] > excused:
            found.append(f"{counted['sessions']} sessions are left on the server")
        if counted["collectors"] > counted["sessions"]:
            found.append(f"{counted['collectors']} event collectors are left on the server")
        if threads:
            found.append(f"threads are left: {', '.join(threads)}")
        if sockets:
            found.append(f"{sockets} connections are left")
        return found


def growth(memory: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Returns the memory after the warm-up and at the end, medians; None where there are too few samples."""
    if not memory:
        return None
    begin, length = memory[0][0], memory[-1][0] - memory[0][0] or 1.0
    early = [mib for at, mib in memory if WARM_UP <= (at - begin) / length < 2 * WARM_UP]
    late = [mib for at, mib in memory if (at - begin) / length >= 1 - WARM_UP / 2]
    return (statistics.median(early), statistics.median(late)) if early and late else None


def is_flat(early: float, late: float) -> bool:
    """Tells whether memory has grown by no more than may be."""
    return late - early <= max(MOST_GROWTH_MIB, MOST_GROWTH * early)
