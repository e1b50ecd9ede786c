"""Which of two observations is newer, and which are not needed any more."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.event_order import ByText
from pulumi_customization_gate.core.model import Event, Missing, Observation, Snapshot
from pulumi_customization_gate.core.status import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ANSWER_LAG = timedelta(seconds=10)
"""By how much the server's time of a look may differ from that of the request: a response takes that long at most."""
AGREEMENT = 2.0
"""Seconds between two looks that must agree before a VM counts as removed."""


def _identity(event: Event) -> object:
    return event.key, event.signal, event.at


def distinct(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Returns the observations without those that were read again: of an event the earliest reading counts."""
    seen = frozenset(observations)
    readings: dict[object, list[Event]] = {}
    for event in seen:
        if isinstance(event, Event):
            readings.setdefault(_identity(event), []).append(event)
    again = (sorted(same, key=lambda e: (e.read_at, ByText(e)))[1:] for same in readings.values() if len(same) > 1)
    return seen.difference(*again)


def is_same_event(one: Event | None, other: Event | None) -> bool:
    """Whether two readings are of one event, or there is none."""
    return one is other or (one is not None and other is not None and _identity(one) == _identity(other))


def compact(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Drops the looks that no verdict needs any more, now or with whatever else is observed later.

    A long wait reads the state again and again; this keeps its memory flat. The facts ask which kinds of snapshots are
    newer than some event, by the order of reading or by the server's time: of those that mean the same, one that
    another is newer than in both ways can never matter. Of the looks that did not find the VM, those matter that are
    newer than the last one that did, back to the newest that is old enough to agree with the last.
    """
    seen = distinct(observations)
    dropped: list[Observation] = []
    kept: dict[object, Snapshot] = {}
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=age, reverse=True)
    for look in snapshots:
        meaning = look.power, look.specification_pending, look.progress
        if meaning in kept and look.at <= kept[meaning].at:
            dropped.append(look)
        else:
            kept[meaning] = look
    misses = sorted((o for o in seen if isinstance(o, Missing)), key=age, reverse=True)
    needed = 0
    for miss in misses:
        if snapshots and age(miss)[:2] < age(snapshots[0])[:2]:
            break
        needed += 1
        if misses[0].asked_at - miss.asked_at >= AGREEMENT:
            break
    return seen.difference(dropped, misses[needed:])


def age(look: Snapshot | Missing) -> tuple[float, datetime, ByText]:
    """Returns what looks are sorted by: when they were asked for, then the server's time."""
    return look.asked_at, look.at, ByText(look)


def is_since(look: Snapshot | Missing, event: Event | None, lag: timedelta = timedelta()) -> bool:
    """Whether a look is newer than an event; what was read before the look was asked for happened before it.

    Args:
        look: The look.
        event: The event.
        lag: By how much what the look found may be older than the look.
    """
    return event is None or event.read_at + lag.total_seconds() < look.asked_at or look.at - event.at > lag


def redated(looks: Sequence[Snapshot]) -> list[Snapshot]:
    """Dates looks, in their order, by the clock of the last one: the server's may have been set back in between."""
    latest = [_by_clock_of(looks[-1], look.asked_at) for look in looks]
    return [look if look.at <= at else replace(look, at=at) for look, at in zip(looks, latest, strict=True)]


def is_on_clock_of(last: Snapshot, event: Event) -> bool:
    """Whether an event may be dated by the clock of a look, by which it must not be newer than its own reading."""
    return event.read_at == math.inf or event.at <= _by_clock_of(last, event.read_at)


def _by_clock_of(last: Snapshot, instant: float) -> datetime:
    """Returns the latest date that the clock of a look can have shown at an instant of the reader's clock."""
    return last.at + timedelta(seconds=instant - last.asked_at) + ANSWER_LAG


def is_last(miss: Missing, latest: Snapshot | None, events: Sequence[Event]) -> bool:
    """Whether nothing that was observed of the VM is newer than a look that did not find it."""
    is_seen_since = latest is not None and age(miss)[:2] < age(latest)[:2]
    return not is_seen_since and all(is_since(miss, e) for e in events if e.signal is not Signal.VM_REMOVED)


def agree(last: Missing, misses: Sequence[Missing], latest: Snapshot | None) -> bool:
    """Whether another look, AGREEMENT seconds before the last one and after the VM was last found, agrees with it."""
    since = [miss for miss in misses if latest is None or age(miss)[:2] >= age(latest)[:2]]
    return not last.needs_second_look or last.asked_at - since[0].asked_at >= AGREEMENT
