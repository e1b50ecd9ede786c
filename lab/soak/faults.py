"""The kinds of foul weather: on the network, at the server, in single calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.fault_proxy import NORMAL, SILENT, LinkConditions

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from lab.fault_proxy import FaultProxy
    from lab.vcenter_client import Lab

BUT_LOGIN = "[^L]*|Logout"
"""A pattern for every call but a log-in: a session whose log-in's answer is lost cannot be given back by anybody."""
BURST = 1500
"""Events at once: more than a collector holds."""
NOISY = "CustomizationStartedEvent"
SHORTEST = 0.3
"""The share of the longest spell that one lasts at least."""


@dataclass(frozen=True)
class Sky:
    """Where it may be foul."""

    lab: Lab
    """The server."""
    proxy: FaultProxy
    """What stands before it."""
    numbers: random.Random
    noisy: str
    """A machine that nobody waits for."""
    longest: float
    """Seconds that a spell lasts at most."""


@dataclass(frozen=True)
class Fault:
    """One kind of foul weather."""

    begin: Callable[[Sky], None]
    end: Callable[[Sky], None] = lambda _: None
    lasts: bool = True
    """Whether it lasts, or is over at once."""
    deafens: bool = False
    """Whether a long poll may be left on a connection that is dead without a word."""
    heals: bool = False
    """Whether it ends such connections."""
    ends_sessions: bool = False
    is_early: bool = False
    """Whether it comes in the warm-up only: it leaves a longer history, which takes more memory to read."""
    forgets: bool = False
    """Whether the server forgets events: no verdict then stands on more than the state."""


def _rule(kind: str, **rule: str | float | bool) -> Fault:
    """Has calls go wrong by a rule of the server's."""

    def begin(sky: Sky) -> None:
        sky.lab.add_fault(kind, **rule)

    return Fault(begin, lambda sky: sky.lab.clear_faults())


def _connection(kind: LinkConditions) -> Fault:
    """Has the connections behave in a way, those that are open and those to come."""
    return Fault(lambda sky: sky.proxy.set_conditions(kind), lambda sky: sky.proxy.set_conditions(NORMAL))


def _reset(sky: Sky) -> None:
    sky.proxy.reset()


def _fall_silent(sky: Sky) -> None:
    sky.proxy.set_conditions(SILENT)


def _refuse(sky: Sky) -> None:
    sky.proxy.refuse()
    sky.proxy.reset()


def _cut_in_tls(sky: Sky) -> None:
    sky.proxy.set_conditions(LinkConditions(cut_after=100), old=False)
    sky.proxy.reset()


def _forbid_the_inventory(sky: Sky) -> None:
    """Takes the right to the whole inventory's events away; a new collector has to find out."""
    sky.lab.add_fault("no_permission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    sky.proxy.reset()


def _burst(sky: Sky) -> None:
    sky.lab.post_event(sky.noisy, NOISY, count=BURST)


def _restart(events: str) -> Fault:
    def begin(sky: Sky) -> None:
        sky.lab.restart(sky.numbers.uniform(0.05, SHORTEST) * sky.longest, events=events)

    return Fault(begin, heals=True, ends_sessions=True, forgets=events == "lost")


FAULTS: Mapping[str, Fault] = {
    "session terminated": Fault(
        lambda sky: sky.lab.terminate_sessions(), lasts=False, deafens=True, ends_sessions=True
    ),
    "session terminated, waits cancelled": Fault(
        lambda sky: sky.lab.terminate_sessions(cancel_waits=True), lasts=False, ends_sessions=True
    ),
    "server restarted, events kept": _restart("kept"),
    "server restarted, events lost": _restart("lost"),
    "events purged": Fault(lambda sky: sky.lab.purge_events(), lasts=False, forgets=True),
    "burst of events": Fault(_burst, lasts=False, is_early=True),
    "connections reset by the server": Fault(lambda sky: sky.lab.reset_connections(), lasts=False, heals=True),
    "connections reset by the network": Fault(_reset, lasts=False, heals=True),
    "half-open connections": Fault(lambda sky: sky.proxy.half_open(), lasts=False, deafens=True),
    # What was silent stays so: nobody sends again what was swallowed.
    "silence": Fault(_fall_silent, lambda sky: sky.proxy.set_conditions(NORMAL, old=False), deafens=True),
    "slow network": _connection(LinkConditions(delay=0.2)),
    "cut in mid answer": _connection(LinkConditions(cut_after=6000)),
    "cut in mid TLS": Fault(_cut_in_tls, lambda sky: sky.proxy.set_conditions(NORMAL), heals=True),
    "connections refused": Fault(_refuse, lambda sky: sky.proxy.accept(), heals=True),
    "http 503, often": _rule("http503", probability=0.5),
    "http 503": _rule("http503"),
    "http 500": _rule("http500", probability=0.5),
    "late answers": _rule("delay", seconds=1.0, probability=0.5),
    "hanging calls": _rule("hang", probability=0.5),
    "truncated answers": _rule("truncate", method=BUT_LOGIN, probability=0.5),
    "broken calls": _rule("reset", probability=0.5),
    "lost answers": _rule("reset", method=BUT_LOGIN, probability=0.5, after=True),
    "host communication": _rule("host_communication", method=BUT_LOGIN, probability=0.5),
    "not authenticated": _rule("not_authenticated", method=BUT_LOGIN, count=2),
    "no collector left": _rule("invalid_state", method="CreateCollectorForEvents", count=2),
    "no permission on the inventory": Fault(_forbid_the_inventory, lambda sky: sky.lab.clear_faults(), heals=True),
}
