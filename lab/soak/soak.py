"""One soak: groups of VMs and waits, run by one event loop, with faults in between."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.vms import vms_by_name
from lab import vcenter_client
from lab.fault_proxy import proxy_for
from lab.soak.fault_schedule import FaultSchedule, longest_fault
from lab.soak.monitor import Monitor, growth, is_flat
from lab.soak.scenarios import LAST, SCENARIOS, VmRun
from lab.soak.waits import LONGEST_DELAY, Wait
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.settings import VsphereSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lab.fault_proxy import FaultProxy
    from lab.vcenter_client import Lab

FEWEST_GROUPS, _MOST_GROUPS, _GROUP_SIZE = 3, 10, 100
_LENGTH = 1.8
"""The length of a group, in distances from one to the next: two groups run at any time."""
_LAST_START, _SHORTEST = 0.93, 0.25
"""Shares of a group: when its last VM starts, and the shortest scenario."""
_FAULTS_END = 0.85
"""The share of a soak after which there are no faults any more."""


@dataclass
class Group:
    """VMs whose scenarios run at the same time.

    The last VM ends after all others and is in every wait for several of them, so that each wait lasts until all
    verdicts are final.
    """

    number: int
    begin: float
    length: float
    vms: list[VmRun]

    async def play(self, lab: Lab, began: float, report: Callable[[str], None]) -> None:
        """Runs all scenarios, and reports each step that failed."""
        *others, last = self.vms
        await asyncio.gather(*(vm.play(lab, began, report) for vm in others))
        await last.play(lab, began, report)

    def waits(self, settings: VsphereSettings, numbers: random.Random) -> list[Wait]:
        """Returns the waits: for all VMs and for some, from the start, from later on, and after the end."""
        *others, last = self.vms
        few = numbers.sample(others, min(len(others), numbers.randint(3, 10)))
        some = numbers.sample(others, int(0.4 * len(others)))

        def wait(title: str, at: float, *vms: VmRun) -> Wait:
            names, timeout = {vm.name: vm for vm in vms}, self.length + 2 * LONGEST_DELAY
            return Wait(f"group {self.number}, {title}", at, settings, names, timeout, by_path=title == "some")

        def share(earliest: float, latest: float) -> float:
            return self.begin + numbers.uniform(earliest, latest) * self.length

        waits = [
            wait("all", self.begin, *self.vms),
            wait("some", share(0, 0.9), *some, last),
            wait("few", share(0, 0.9), *few, last),
            wait("after the end", share(1.05, 1.25), *self.vms),
        ]
        # A wait that starts after the first of two customizations must not take its end for the second's.
        twice = [(at, vm) for vm in self.vms for at, action in vm.steps if action == "customize"]
        for at, vm in numbers.sample(twice, min(len(twice), 4)):
            waits.append(replace(wait(f"between, {vm.name}", at, vm), after=vm.requested))
        return waits


def compose(vms: Sequence[tuple[str, str]], numbers: random.Random, seconds: float) -> list[Group]:
    """Distributes VMs, each a name and a managed object ID, over groups that fill so many seconds."""
    count = min(_MOST_GROUPS, max(FEWEST_GROUPS, len(vms) // _GROUP_SIZE))
    distance = seconds / (count - 1 + _LENGTH)
    length, groups = _LENGTH * distance, []
    for number in range(count):
        begin, runs = number * distance, []
        *rest, last = vms[number::count]
        for vm in rest:
            start = numbers.uniform(0.03, _LAST_START - _SHORTEST)
            end = numbers.uniform(start + _SHORTEST, _LAST_START)
            runs.append(VmRun.random(numbers, vm, SCENARIOS, begin + start * length, begin + end * length))
        runs.append(VmRun.random(numbers, last, [LAST], begin + _LAST_START * length, begin + length))
        groups.append(Group(number, begin, length, runs))
    return groups


class Soak:
    """A soak that is ready to run; `prepared` makes one."""

    def __init__(self, lab: Lab, proxy: FaultProxy, vms: list[tuple[str, str]], seconds: float, seed: int) -> None:
        self.lab, self.proxy, self.seconds = lab, proxy, seconds
        numbers = random.Random(seed)  # noqa: S311 -- the same scenarios for the same seed, no secret
        noisy, *watched = numbers.sample(vms, len(vms))
        self.groups = compose(watched, numbers, seconds)
        # Waits that trust the server in different ways share no session.
        by_ca = VsphereSettings(proxy.address, lab.user, lab.password, ca_file=lab.ca_file)
        by_thumbprint = replace(by_ca, ca_file="", thumbprint=lab.thumbprint)
        trusts = (by_ca, by_thumbprint, replace(by_ca, ca_file="", allow_unverified_ssl=True))
        self.waits = [wait for group in self.groups for wait in group.waits(trusts[group.number % 3], numbers)]
        self.monitor = Monitor(lab, int(proxy.address.rpartition(":")[2]))
        self.faults = FaultSchedule(lab, proxy, numbers, noisy[1], longest_fault(_FAULTS_END * seconds))
        self._wrong: list[str] = []

    @property
    def wrong(self) -> list[str]:
        """What is wrong so far, a line each."""
        return self._wrong + [f"{wait.title}: {text}" for wait in self.waits for text in wait.wrong]

    @property
    def verdicts(self) -> int:
        """The number of verdicts that waits have reported so far."""
        return sum(wait.verdicts for wait in self.waits)

    def run(self, show: Callable[[str], None] = lambda _: None) -> dict[str, str]:
        """Runs the soak and returns its figures; see also `wrong`."""
        began = time.monotonic()
        asyncio.run(self._run(began, show))
        self._wrong += self.monitor.left()
        memory = growth(self.monitor.memory)
        if memory is not None and not is_flat(*memory):
            self._wrong.append(f"memory grew from {memory[0]:.1f} to {memory[1]:.1f} MiB")
        kinds = Counter(kind for kind, _, _ in self.faults.windows)
        return {
            "waits, verdicts": f"{len(self.waits)}, {self.verdicts}",
            "wrong": f"{len(self.wrong)}",
            "faults": f"{sum(kinds.values())} of {len(kinds)} kinds",
            "last end to end of wait, slowest": f"{max(wait.late for wait in self.waits):.1f} s",
            "memory after the warm-up / at the end": "{:.1f} / {:.1f} MiB".format(*memory) if memory else "unknown",
            **{f"  {kind}": str(count) for kind, count in sorted(kinds.items())},
        }

    async def _run(self, began: float, show: Callable[[str], None]) -> None:
        beside = (self.faults.run(_FAULTS_END * self.seconds), self.monitor.run(), self._show(began, show))
        side, loop = [asyncio.create_task(each) for each in beside], asyncio.get_running_loop()
        cancelled = threading.Event()
        with ThreadPoolExecutor(len(self.waits), "soak-wait") as pool:
            try:
                playing = [group.play(self.lab, began, self._wrong.append) for group in self.groups]
                waits = [loop.run_in_executor(pool, one.run, began, self.faults, cancelled) for one in self.waits]
                await asyncio.gather(*playing, *waits)
            finally:
                cancelled.set()
                for task in side:
                    task.cancel()
                ends = await asyncio.gather(*side, return_exceptions=True)
                self._wrong += [f"the soak's own fault: {end!r}" for end in ends if isinstance(end, Exception)]

    async def _show(self, began: float, show: Callable[[str], None]) -> None:
        while True:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            found = f"{self.verdicts} verdicts, {len(self.wrong)} wrong, {len(self.faults.windows)} faults"
            show(f"{minutes}:{seconds:02d} of {self.seconds / 60:g} min: {found}")
            await asyncio.sleep(0.5)


@contextlib.contextmanager
def prepared(program: Path, folder: Path, *, vms: int, seconds: float, seed: int) -> Iterator[Soak]:
    """Starts a vCenter with so many VMs in a folder, and gives the soak for them."""
    # The template and the noisy VM come on top; no customization ends by itself; keys wrap while customizations end.
    options = ("-vms", str(vms + 2), "-customize", "-start-delay", "200ms", "-duration", "24h")
    lab = vcenter_client.start(program, folder, (*options, "-first-event-key", str(2**31 - 4 * vms)))
    try:
        with lab.connected() as service:
            moids = {name: moid_of(vm) for name, vm in vms_by_name(service.content).items()}
        with proxy_for(lab.server) as proxy:
            yield Soak(lab, proxy, sorted(moids.items()), seconds, seed)
    finally:
        vcenter_client.stop(program, folder)
