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

from benchmarks.machines import machines_by_name
from lab import vcenter_client
from lab.fault_proxy import proxy_for
from lab.soak.fault_schedule import FaultSchedule, FaultTarget, longest_fault
from lab.soak.monitor import Monitor, growth, is_flat
from lab.soak.scenarios import LAST, SCENARIOS, VmRun
from lab.soak.waits import MARGIN, Tally, Wait, dead_poll_seconds
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
_MOST_BETWEEN = 4
"""Waits of a group that start between two customizations of a VM."""
_FAULTS_END = 0.85
"""The share of a soak after which there are no faults any more."""
_MEMORY_COUNTS = 120.0
"""Seconds from which on a soak is long enough to judge its memory."""


@dataclass
class Group:
    """VMs whose scenarios run at the same time.

    The last VM ends after all others and is in every wait for several of them, so each wait lasts until all verdicts
    are final.
    """

    number: int
    begin: float
    length: float
    vms: list[VmRun]
    last: VmRun

    async def play(self, lab: Lab, began: float, report: Callable[[str], None]) -> None:
        """Runs all scenarios, and reports each step that failed."""

        async def play(vm: VmRun) -> None:
            try:
                await vm.play(lab, began)
            except OSError as error:
                report(f"{vm.name} ({vm.scenario.name}): a step failed: {error}")

        await asyncio.gather(*map(play, self.vms))
        await play(self.last)

    def waits(self, settings: VsphereSettings, numbers: random.Random) -> list[Wait]:
        """Returns the waits: for all VMs and for some, from the start, from later on, and after the end."""
        end = self.begin + self.length
        few = numbers.sample(self.vms, min(len(self.vms), numbers.randint(3, 10)))
        some = [vm for vm in self.vms if numbers.random() < 0.4]  # noqa: PLR2004 -- some of them
        timeout = self.length + 2 * (dead_poll_seconds() + MARGIN)

        def wait(title: str, at: float, vms: Sequence[VmRun]) -> Wait:
            names = {f"DC0/vm/{vm.name}" if title == "some" else vm.moid: vm for vm in vms}
            return Wait(f"group {self.number}, {title}", at, settings, names, timeout)

        waits = [
            wait("all", self.begin, [*self.vms, self.last]),
            wait("some", self.begin + numbers.uniform(0, 0.9) * self.length, [*some, self.last]),
            wait("few", self.begin + numbers.uniform(0, 0.9) * self.length, [*few, self.last]),
            wait("after the end", end + numbers.uniform(0.05, 0.25) * self.length, [*self.vms, self.last]),
        ]
        # A wait that starts after the first of two customizations must not take its end for the second's.
        twice = [(at, vm) for vm in self.vms if (at := vm.at("customize")) is not None]
        for at, vm in numbers.sample(twice, min(len(twice), _MOST_BETWEEN)):
            waits.append(replace(wait(f"between, {vm.name}", at, [vm]), after=vm.requested))
        return waits


def compose(vms: Sequence[tuple[str, str]], numbers: random.Random, seconds: float) -> list[Group]:
    """Distributes VMs, each a name and a managed object ID, over groups that fill so many seconds."""
    count = min(_MOST_GROUPS, max(FEWEST_GROUPS, len(vms) // _GROUP_SIZE))
    distance = seconds / (count - 1 + _LENGTH)
    groups = []
    for number in range(count):
        begin, length = number * distance, _LENGTH * distance
        *rest, last = vms[number::count]
        runs = []
        for vm in rest:
            start = numbers.uniform(0.03, _LAST_START - _SHORTEST)
            end = numbers.uniform(start + _SHORTEST, _LAST_START)
            runs.append(VmRun.random(numbers, vm, SCENARIOS, begin + start * length, begin + end * length))
        closing = VmRun.random(numbers, last, [LAST], begin + _LAST_START * length, begin + length)
        groups.append(Group(number, begin, length, runs, closing))
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
        self.tally, self.monitor = Tally(), Monitor(lab, int(proxy.address.rpartition(":")[2]))
        self.faults = FaultSchedule(FaultTarget(lab, proxy, numbers, noisy[1], longest_fault(_FAULTS_END * seconds)))
        self._cancelled = threading.Event()

    def run(self, show: Callable[[str], None] = lambda _: None) -> dict[str, str]:
        """Runs the soak and returns its figures; what is wrong is in the tally."""
        self.lab.reset_stats()
        began = time.monotonic()
        asyncio.run(self._run(began, show))
        seconds, wrong = time.monotonic() - began, self.tally.wrong
        wrong += self.monitor.left()
        memory, stats = growth(self.monitor.memory), self.lab.stats()
        if memory is not None and self.seconds >= _MEMORY_COUNTS and not is_flat(*memory):
            wrong.append(f"memory grew from {memory[0]:.1f} to {memory[1]:.1f} MiB")
        kinds = Counter(window.kind for window in self.faults.windows)
        return {
            "waits, verdicts": f"{len(self.waits)}, {self.tally.verdicts}",
            "length": f"{seconds / 60:.1f} min",
            "wrong": f"{len(wrong)}",
            "faults": f"{sum(kinds.values())} of {len(kinds)} kinds",
            "last end to end of wait, slowest": f"{self.tally.slowest:.1f} s",
            "calls per minute, log-ins": f"{stats['total'] * 60 / seconds:.0f}, {stats['logins']['ok']}",
            "most sessions, most collectors": f"{self.monitor.most_sessions}, {self.monitor.most_collectors}",
            "memory after the warm-up / at the end": "{:.1f} / {:.1f} MiB".format(*memory) if memory else "unknown",
            **{f"  {kind}": str(count) for kind, count in sorted(kinds.items())},
        }

    async def _run(self, began: float, show: Callable[[str], None]) -> None:
        beside = (self._inject_faults(began), self.monitor.run(), self._show(began, show))
        side = [asyncio.create_task(each) for each in beside]
        with ThreadPoolExecutor(len(self.waits), "soak-wait") as pool:
            try:
                playing = [group.play(self.lab, began, self.tally.add_wrong) for group in self.groups]
                await asyncio.gather(*playing, *(self._wait(wait, pool, began) for wait in self.waits))
            finally:
                self._cancelled.set()
                for task in side:
                    task.cancel()
                await asyncio.gather(*side, return_exceptions=True)

    async def _wait(self, wait: Wait, pool: ThreadPoolExecutor, began: float) -> None:
        await asyncio.sleep(began + wait.at - time.monotonic())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, wait.run, self.tally, self.faults, self._cancelled.is_set)

    async def _inject_faults(self, began: float) -> None:
        """Injects faults until the last part of the soak, and then ends all sessions.

        A session whose log-in's answer was lost cannot be given back. Each session from then on must be.
        """
        try:
            await asyncio.wait_for(self.faults.run(), began + _FAULTS_END * self.seconds - time.monotonic())
        except asyncio.TimeoutError:
            self.lab.terminate_sessions(cancel_waits=True)
            self.proxy.reset()
        except Exception as error:  # noqa: BLE001 -- it is reported at the end of the soak
            self.tally.add_wrong(f"a fault could not be injected: {error}")

    async def _show(self, began: float, show: Callable[[str], None]) -> None:
        while True:
            newest = ", ".join(one.kind for one in self.faults.windows[-1:])
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            found = f"{self.tally.verdicts} verdicts, {len(self.tally.wrong)} wrong"
            show(f"{minutes}:{seconds:02d} of {self.seconds / 60:g} min, {found}; newest fault: {newest}")
            await asyncio.sleep(0.5)


@contextlib.contextmanager
def prepared(program: Path, folder: Path, *, machines: int, seconds: float, seed: int) -> Iterator[Soak]:
    """Starts a vCenter with so many VMs in a folder, and gives the soak for them."""
    # The template and the noisy VM come on top; no customization ends by itself.
    options = ("-vms", str(machines + 2), "-customize", "-start-delay", "200ms", "-duration", "24h")
    # Keys wrap while customizations end.
    first_key = ("-first-event-key", str(2**31 - 4 * machines))
    lab = vcenter_client.start(program, folder, (*options, *first_key))
    try:
        with lab.connected() as service:
            moids = {name: moid_of(vm) for name, vm in machines_by_name(service.content).items()}
        with proxy_for(lab.server) as proxy:
            yield Soak(lab, proxy, sorted(moids.items()), seconds, seed)
    finally:
        vcenter_client.stop(program, folder)
