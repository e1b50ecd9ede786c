"""Random faults at random times, one at a time, with normal conditions in between: network, server, single calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.fault_proxy import NORMAL, SILENT, LinkConditions

if TYPE_CHECKING:
    import random

    from lab.fault_proxy import FaultProxy
    from lab.vcenter_client import Lab

_BUT_LOGIN = "[^L]*|Logout"
"""A pattern for every call but a log-in: a session whose ID was lost with the response cannot be logged out."""
_BURST = 1500
"""Events at once: more than a collector holds."""
_SHORTEST = 0.3
"""The shortest fault, as a share of the longest."""
_PAUSES = 0.5, 1.5
"""The shortest and the longest pause between two faults, as shares of the longest fault."""


_LONGEST, _LEAST_LONGEST = 8.0, 0.5
"""Bounds of the longest fault in seconds; the lower one leaves short runs without some kinds."""


@dataclass(frozen=True)
class FaultTarget:
    """What faults are injected into."""

    lab: Lab
    proxy: FaultProxy
    numbers: random.Random
    noisy: str
    """A VM that no wait watches."""
    longest: float
    """The length of the longest fault in seconds."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    begin: Callable[[FaultTarget], object]
    end: Callable[[FaultTarget], object] = lambda _: None


def _rule(kind: str, **rule: str | float | bool) -> Fault:
    return Fault(lambda t: t.lab.add_fault(kind, **rule), lambda t: t.lab.clear_faults())


def _link(conditions: LinkConditions) -> Fault:
    return Fault(lambda t: t.proxy.set_conditions(conditions), lambda t: t.proxy.set_conditions(NORMAL))


def _clock(ahead: float) -> Fault:
    return Fault(lambda t: t.lab.set_clock(ahead), lambda t: t.lab.set_clock(0))


def _refuse(target: FaultTarget) -> None:
    target.proxy.refuse()
    target.proxy.reset()


def _cut_in_tls(target: FaultTarget) -> None:
    target.proxy.set_conditions(LinkConditions(cut_after=100), old=False)
    target.proxy.reset()


def _deny_inventory(target: FaultTarget) -> None:
    """Denies the events of the whole inventory; the reset makes clients create a new collector."""
    target.lab.add_fault("no_permission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    target.proxy.reset()


def longest_fault(seconds: float) -> float:
    """Returns the length of the longest fault, with which each kind comes at least once in so many seconds."""
    return min(_LONGEST, max(seconds / len(FAULTS) / (1 + _PAUSES[1]), _LEAST_LONGEST))


FAULTS: Mapping[str, Fault] = {
    "burst of events": Fault(lambda t: t.lab.post_event(t.noisy, "CustomizationStartedEvent", count=_BURST)),
    "session terminated": Fault(lambda t: t.lab.terminate_sessions()),
    "session terminated, waits cancelled": Fault(lambda t: t.lab.terminate_sessions(cancel_waits=True)),
    "server restarted": Fault(lambda t: t.lab.restart(t.numbers.uniform(0.05, _SHORTEST) * t.longest)),
    "connections reset by the server": Fault(lambda t: t.lab.reset_connections()),
    "connections reset by the network": Fault(lambda t: t.proxy.reset()),
    "half-open connections": Fault(lambda t: t.proxy.half_open()),
    # Old connections stay silent: what was dropped is not sent again.
    "no answers": Fault(lambda t: t.proxy.set_conditions(SILENT), lambda t: t.proxy.set_conditions(NORMAL, old=False)),
    "slow network": _link(LinkConditions(delay=0.2)),
    "connections cut during an answer": _link(LinkConditions(cut_after=6000)),
    "connections cut during the TLS handshake": Fault(_cut_in_tls, lambda t: t.proxy.set_conditions(NORMAL)),
    "connections refused": Fault(_refuse, lambda t: t.proxy.accept()),
    "HTTP 503, often": _rule("http503", probability=0.5),
    "HTTP 503": _rule("http503"),
    "HTTP 500": _rule("http500", probability=0.5),
    "late answers": _rule("delay", seconds=1.0, probability=0.5),
    "hanging calls": _rule("hang", probability=0.5),
    "truncated answers": _rule("truncate", method=_BUT_LOGIN, probability=0.5),
    "connections reset before the call": _rule("reset", probability=0.5),
    "connections reset after the call": _rule("reset", method=_BUT_LOGIN, probability=0.5, after=True),
    "HostCommunication fault": _rule("host_communication", method=_BUT_LOGIN, probability=0.5),
    "NotAuthenticated fault": _rule("not_authenticated", method=_BUT_LOGIN, count=2),
    "no collector available": _rule("invalid_state", method="CreateCollectorForEvents", count=2),
    "clock set forward, then right": _clock(25_200),
    "clock set back, then right": _clock(-25_200),
    "no permission on the inventory": Fault(_deny_inventory, lambda t: t.lab.clear_faults()),
}


@dataclass
class FaultWindow:
    """The time of one fault, by the monotonic clock."""

    kind: str
    begin: float = field(default_factory=time.monotonic)
    end: float = float("inf")


class FaultSchedule:
    """Injects faults until its `run` is cancelled, and records when.

    Args:
        target: What the faults are injected into.
    """

    def __init__(self, target: FaultTarget) -> None:
        self._target = target
        self._deck: list[str] = []
        self.windows: list[FaultWindow] = []

    @property
    def clock_was_set(self) -> bool:
        """Whether the server's clock was wrong for a while, so that events have wrong times."""
        return any(window.kind.startswith("clock set") for window in self.windows)

    def is_normal(self, begin: float, end: float) -> bool:
        """Whether there was no fault between two times."""
        return not any(window.begin <= end and window.end >= begin for window in self.windows)

    async def run(self) -> None:
        """Injects one fault after the other; each kind comes once before one comes again.

        Bursts come first, and once only: they make the history longer, and reading that takes memory.
        """
        first, *others = FAULTS
        self._deck = [first]
        while True:
            await asyncio.sleep(self._target.numbers.uniform(*_PAUSES) * self._target.longest)
            if not self._deck:
                self._deck = others[:]
                self._target.numbers.shuffle(self._deck)
            await self._inject(self._deck.pop())

    async def _inject(self, kind: str) -> None:
        fault, window = FAULTS[kind], FaultWindow(kind)
        self.windows.append(window)
        try:
            fault.begin(self._target)
            await asyncio.sleep(self._target.numbers.uniform(_SHORTEST, 1.0) * self._target.longest)
        finally:
            fault.end(self._target)
            window.end = time.monotonic()
