"""Random faults at random times, one at a time, with normal conditions in between: network, server, single calls."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.fault_proxy import NORMAL, SILENT, LinkConditions

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from lab.fault_proxy import FaultProxy
    from lab.vcenter_client import Lab

_BUT_LOGIN = "[^L]*|Logout"
"""A pattern for every call but a login: a session whose ID was lost with the response cannot be logged out."""
_LENGTHS, _PAUSES = (0.3, 1.0), (0.5, 1.5)
"""Bounds of the length of a fault and of the pause before it, as shares of the longest fault."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    begin: Callable[[FaultSchedule], object]
    end: Callable[[FaultSchedule], object] = lambda _: None
    resets: bool = False
    """Whether connections are reset once it has begun, so that clients meet it on new ones."""


def _rule(kind: str, *, resets: bool = False, **rule: str | float | bool) -> Fault:
    return Fault(lambda s: s.lab.add_fault(kind, **rule), lambda s: s.lab.clear_faults(), resets)


def _link(conditions: LinkConditions, *, old: bool = True, old_recover: bool = True, resets: bool = False) -> Fault:
    return Fault(
        lambda s: s.proxy.set_conditions(conditions, old=old),
        lambda s: s.proxy.set_conditions(NORMAL, old=old_recover),
        resets,
    )


FAULTS: Mapping[str, Fault] = {
    # More events than a collector holds.
    "burst of events": Fault(lambda s: s.lab.post_event(s.noisy, "CustomizationStartedEvent", count=1500)),
    "session terminated": Fault(lambda s: s.lab.terminate_sessions()),
    "session terminated, waits cancelled": Fault(lambda s: s.lab.terminate_sessions(cancel_waits=True)),
    "server restarted": Fault(lambda s: s.lab.restart(s.numbers.uniform(0.05, _LENGTHS[0]) * s.longest)),
    "connections reset by the server": Fault(lambda s: s.lab.reset_connections()),
    "connections reset by the network": Fault(lambda s: s.proxy.reset()),
    "half-open connections": Fault(lambda s: s.proxy.half_open()),
    # Old connections stay silent: what was dropped is not sent again.
    "no answers": _link(SILENT, old_recover=False),
    "slow network": _link(LinkConditions(delay=0.2)),
    "connections cut during an answer": _link(LinkConditions(cut_after=6000)),
    "connections cut during the TLS handshake": _link(LinkConditions(cut_after=100), old=False, resets=True),
    "connections refused": Fault(lambda s: s.proxy.refuse(), lambda s: s.proxy.accept(), resets=True),
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
    "clock set forward, then right": Fault(lambda s: s.lab.set_clock(25_200), lambda s: s.lab.set_clock(0)),
    "clock set back, then right": Fault(lambda s: s.lab.set_clock(-25_200), lambda s: s.lab.set_clock(0)),
    "no permission on the inventory": _rule(
        "no_permission", method="CreateCollectorForEvents|QueryEvents", without_entity=True, resets=True
    ),
}


def longest_fault(seconds: float) -> float:
    """Returns the length of the longest fault, with which each kind comes at least once, except in a short run."""
    return min(8.0, max(0.5, seconds / len(FAULTS) / (1 + _PAUSES[1])))


@dataclass
class FaultSchedule:
    """Injects faults, and records when."""

    lab: Lab
    proxy: FaultProxy
    numbers: random.Random
    noisy: str
    """A VM that no wait watches."""
    longest: float
    """The length of the longest fault in seconds."""
    windows: list[tuple[str, float, float]] = field(default_factory=list)
    """The kind of each fault, its begin, and its end or infinity, by the monotonic clock."""

    @property
    def clock_was_set(self) -> bool:
        """Whether the server's clock was wrong for a while, so that events have wrong times."""
        return any(kind.startswith("clock set") for kind, _, _ in self.windows)

    def is_normal(self, begin: float, end: float) -> bool:
        """Whether there was no fault between two times."""
        return not any(first <= end and last >= begin for _, first, last in self.windows)

    async def run(self, seconds: float) -> None:
        """Injects faults for so many seconds, and then ends all sessions.

        A session whose login's response was lost cannot be logged out. Each session from then on must be.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._inject(), seconds)
        self.lab.terminate_sessions(cancel_waits=True)
        self.proxy.reset()

    async def _inject(self) -> None:
        """Injects one fault after the other; each kind comes once before one comes again.

        Bursts come first, and once only: they make the history longer, and reading that takes memory.
        """
        first, *others = FAULTS
        deck = [first]
        while True:
            await asyncio.sleep(self.numbers.uniform(*_PAUSES) * self.longest)
            deck = deck or self.numbers.sample(others, len(others))
            kind, began = deck.pop(), time.monotonic()
            fault = FAULTS[kind]
            self.windows.append((kind, began, math.inf))
            try:
                fault.begin(self)
                if fault.resets:
                    self.proxy.reset()
                await asyncio.sleep(self.numbers.uniform(*_LENGTHS) * self.longest)
            finally:
                fault.end(self)
                self.windows[-1] = (kind, began, time.monotonic())
