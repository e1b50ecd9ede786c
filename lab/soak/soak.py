"""One soak from beginning to end, and what comes of it."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.machines import machines_by_name
from lab import vcenter_client
from lab.fault_proxy import proxy_for
from lab.soak.composition import Wave, compose, settings
from lab.soak.faults import Sky
from lab.soak.monitor import WARM_UP, Monitor, growth, is_flat
from lab.soak.running import Running
from lab.soak.waits import Tally, Wait
from lab.soak.weather import Weather
from pulumi_customization_gate.vsphere.events import moid_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.fault_proxy import FaultProxy
    from lab.vcenter_client import Lab

MEMORY_COUNTS = 120.0
"""Seconds of a soak from which on its memory is judged: a shorter one is still warming up."""
_LONGEST_SPELL = 8.0
_LOOK_UP = 0.5
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Progress:
    """Where a soak stands."""

    seconds: float
    living: int
    """Machines that are not through yet."""
    waiting: int
    weather: str
    wrong: int


@dataclass(frozen=True)
class Result:
    """What came of a soak."""

    wrong: tuple[str, ...]
    seconds: float
    machines: int
    waits: int
    tally: Tally
    weather: Counter[str]
    """How often it was foul, by kind."""
    stats: dict[str, int]
    most_sessions: int
    most_collectors: int
    given_back: float
    """Seconds from the end of the last wait until nothing was left."""
    excused: int
    """Sessions that may have been lost in foul weather, of those that are left."""
    memory: tuple[float, float] | None
    """After the warm-up and at the end, in MiB."""
    peak: float
    """The most memory, in MiB."""


class Soak:
    """A soak that is ready to run; get one from `prepared`.

    Args:
        lab: The server, with its machines.
        proxy: What stands before it.
        machines: Name and managed object ID of each machine.
        seconds: How long the machines live, all together.
        seed: Decides all that is random.
    """

    def __init__(self, lab: Lab, proxy: FaultProxy, machines: list[tuple[str, str]], seconds: float, seed: int) -> None:
        self.lab, self.proxy, self.seconds = lab, proxy, seconds
        numbers = random.Random(seed)  # noqa: S311 -- lives that are the same in every run, no secret
        noisy, *living = numbers.sample(machines, len(machines))
        self.waves: list[Wave] = compose(living, numbers, seconds)
        trusts = settings(lab, proxy.address)
        self.waits: list[Wait] = [w for wave in self.waves for w in wave.waits(trusts[wave.number % len(trusts)])]
        self.tally = Tally()
        self._cancelled = threading.Event()
        self._began = 0.0
        weather = random.Random(f"weather of {seed}")  # noqa: S311 -- the same
        sky = Sky(lab, proxy, weather, noisy=noisy[1], longest=min(_LONGEST_SPELL, seconds / 10))
        self.weather = Weather(sky, self._may_forget, self._is_warming_up)

    def run(self, show: Callable[[Progress], None] = lambda _: None) -> Result:
        """Runs it to its end."""
        lives = [life for wave in self.waves for life in wave.lives]
        running = Running(self.lab, lives, self.tally.blame)
        monitor = Monitor(self.lab, self.weather, self.waits, int(self.proxy.address.rpartition(":")[2]))
        self.lab.reset_stats()
        self._began = time.monotonic()
        running.begin(self._began)
        threads = [threading.Thread(target=self._wait, args=(wait,), name="soak-wait") for wait in self.waits]
        for thread in threads:
            thread.start()
        monitor.begin()
        self.weather.begin()
        try:
            while any(thread.is_alive() for thread in threads):
                waiting = sum(wait.is_running for wait in self.waits)
                gone = time.monotonic() - self._began
                show(Progress(gone, running.left, waiting, self.weather.now, len(self.tally.wrong)))
                time.sleep(_LOOK_UP)
        finally:
            self._cancelled.set()
            running.stop()
            self.weather.clear_up()
            for thread in threads:
                thread.join()
            monitor.end()
        return self._result(monitor, time.monotonic() - self._began)

    def _wait(self, wait: Wait) -> None:
        self._cancelled.wait(max(0.0, self._began + wait.at - time.monotonic()))
        while wait.after is not None and not wait.after.wait(_LOOK_UP) and not self._cancelled.is_set():
            ...
        if not self._cancelled.is_set():
            wait.run(self.tally, self.weather, self._cancelled.is_set)

    def _may_forget(self) -> bool:
        """Tells whether every verdict that is open now stands without events, too."""
        gone = time.monotonic() - self._began
        current = [
            wave for wave in self.waves if wave.begin <= gone + _LONGEST_SPELL and gone <= wave.begin + wave.length
        ]
        running = [wait for wait in self.waits if wait.is_running]
        return all(wave.forgetful for wave in current) and all(wait.forgetful for wait in running)

    def _is_warming_up(self) -> bool:
        return time.monotonic() - self._began < WARM_UP / 2 * self.seconds

    def _result(self, monitor: Monitor, seconds: float) -> Result:
        over = time.monotonic()
        left = monitor.left()
        given_back = time.monotonic() - over
        memory = growth(monitor.memory)
        wrong = [*self.tally.wrong, *monitor.leaks, *left]
        if self.weather.error is not None:
            wrong.append(f"the weather broke: {self.weather.error}")
        if memory is not None and self.seconds >= MEMORY_COUNTS and not is_flat(*memory):
            wrong.append(f"memory grew from {memory[0]:.1f} to {memory[1]:.1f} MiB")
        stats = self.lab.stats()
        return Result(
            wrong=tuple(wrong),
            seconds=seconds,
            machines=sum(len(wave.lives) for wave in self.waves),
            waits=len(self.waits),
            tally=self.tally,
            weather=self.weather.counted,
            stats={
                "calls": stats["total"],
                "logins": stats["logins"]["ok"],
                "sessions": stats["sessions"],
                "collectors": stats["collectors"],
            },
            most_sessions=monitor.most_sessions,
            most_collectors=monitor.most_collectors,
            given_back=given_back,
            excused=monitor.excused(),
            memory=memory,
            peak=max((mib for _, mib in monitor.memory), default=0.0),
        )


@contextlib.contextmanager
def prepared(program: Path, folder: Path, *, machines: int, seconds: float, seed: int) -> Iterator[Soak]:
    """Starts a vCenter with so many machines in a folder, and gives the soak over them."""
    # The template and the machine that makes noise come on top; no customization ends by itself.
    options = ("-vms", str(machines + 2), "-customize", "-start-delay", "200ms", "-duration", "24h")
    lab = vcenter_client.start(program, folder, options)
    try:
        with lab.connected() as service:
            moids = {name: moid_of(vm) for name, vm in machines_by_name(service.content).items()}
        with proxy_for(lab.server) as proxy:
            yield Soak(lab, proxy, sorted(moids.items()), seconds, seed)
    finally:
        vcenter_client.stop(program, folder)
