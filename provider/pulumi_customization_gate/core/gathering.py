"""Reduces the observations of one VM to facts, whatever their order and however often each is there.

Events are ordered by the server's `key`. What was read before a state was asked for is not newer than that state; only
between a state and an event that was read later do the server's times decide. Where the server's clock was set back
between two states, the earlier one is dated anew for what the clock dated since. The guest's clock is not read at all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.facts import END_OF, Facts
from pulumi_customization_gate.core.model import (
    Event,
    HistoryRead,
    Missing,
    Observation,
    PreviouslyCustomized,
    Snapshot,
)
from pulumi_customization_gate.core.recency import (
    age,
    agree,
    distinct,
    is_last,
    is_on_clock_of,
    is_since,
    redated,
)
from pulumi_customization_gate.core.status import PowerState, Progress, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

POWER_LAG = timedelta(seconds=2)
"""By how much a power state that was read may be older than the newest event."""
END_LAG = timedelta(seconds=30)
"""By how much the state of a customization may be older than the newest event of it."""
BOOT_TOLERANCE = timedelta(minutes=5)
"""By how much a boot time, which is the host's word, may differ from the server's time."""

_POWER = {
    Signal.VM_STARTING: PowerState.ON,
    Signal.VM_POWERED_ON: PowerState.ON,
    Signal.VM_RESUMING: PowerState.ON,
    Signal.CUSTOMIZATION_STARTED: PowerState.ON,
    Signal.VM_POWERED_OFF: PowerState.OFF,
    Signal.VM_SUSPENDED: PowerState.SUSPENDED,
}
_POWER_ON = (Signal.VM_STARTING, Signal.VM_POWERED_ON)


def gather(observations: Iterable[Observation]) -> Facts:
    """Reduces the observations of one VM to facts."""
    seen = distinct(observations)
    events = _without_repeated_power_ons(in_order(o for o in seen if isinstance(o, Event)))
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=age)
    misses = sorted((o for o in seen if isinstance(o, Missing)), key=age)
    latest = snapshots[-1] if snapshots else None

    def newest(*signals: Signal, after: int = -1, until: int = len(events)) -> int:
        return next((i for i in range(min(until, len(events) - 1), after, -1) if events[i].signal in signals), -1)

    def event(index: int) -> Event | None:
        return events[index] if index >= 0 else None

    dated_anew = redated(snapshots)

    def looks_for(event: Event) -> Sequence[Snapshot]:
        return dated_anew if latest is not None and is_on_clock_of(latest, event) else snapshots

    anchor = newest(*_POWER_ON)
    restart = _restart(events, anchor, latest, looks_for)
    last_power_on = max(anchor, restart)
    end, start = newest(*END_OF), newest(Signal.CUSTOMIZATION_STARTED)
    unended = start if start > end else -1
    if unended >= 0 and _outlasts(latest, event(unended), *END_OF.values()):
        unended = end = -1
    is_success = end >= 0 and events[end].signal is Signal.CUSTOMIZATION_SUCCEEDED
    if is_success and _outlasts(latest, event(end), Progress.FAILED):
        is_success, end = False, -1
    changed_power = newest(*(signal for signal in _POWER if signal is not Signal.CUSTOMIZATION_STARTED))
    # An end before the last power-on must not count because a look that found a request has another date now.
    looks = looks_for(events[end]) if end > last_power_on else snapshots
    current = [s for s in looks if is_since(s, event(end))]
    requests = current
    if end >= 0 and latest is not None and latest.progress is None and not is_on_clock_of(latest, events[end]):
        # A clock that has been set back since dated that end, and there is no state that shows what is newer.
        requests = current if end > last_power_on and latest.power is PowerState.ON else snapshots
    is_fresh = latest is not None and is_since(latest, event(end))
    waits = max((s.asked_at for s in current if s.specification_pending), default=0.0)
    missing = misses[-1] if misses and is_last(misses[-1], latest, events) else None
    return Facts(
        anchor=event(anchor) if anchor >= restart else None,
        is_restarted=restart > anchor,
        started=event(start) if start > last_power_on else None,
        is_unended=unended > last_power_on,
        ended=event(end) if end > last_power_on else None,
        ended_before=event(end) if end <= last_power_on else None,
        is_contradicted=is_success and is_fresh and latest is not None and latest.progress is Progress.FAILED,
        interrupted=event(unended) if unended <= last_power_on else None,
        power_event=event(changed_power),
        power=_power(event(newest(*_POWER)), latest),
        removed=event(newest(Signal.VM_REMOVED)),
        latest=latest,
        missing=missing,
        looks_agree=missing is not None and agree(missing, misses, latest),
        history_was_read=any(isinstance(o, HistoryRead) for o in seen),
        previously_customized=any(isinstance(o, PreviouslyCustomized) for o in seen),
        was_there=bool(events or snapshots),
        progress=latest.progress if latest is not None and is_fresh else None,
        is_current=latest is not None and all(is_since(latest, event(index)) for index in (changed_power, unended)),
        tools_running=latest is not None and latest.tools_running and is_since(latest, event(changed_power)),
        seen_waiting=any(_waits(s) for s in requests),
        seen_running=any(s.progress is Progress.RUNNING for s in current),
        seen_to_change=any(
            s.progress not in (None, Progress.UNKNOWN)
            and latest is not None
            and s.progress is not latest.progress
            and s.asked_at >= waits
            for s in current
        ),
    )


def _outlasts(latest: Snapshot | None, event: Event | None, *ends: Progress) -> bool:
    """Whether the state reports one of these ends so long after an event that it must be newer than the event."""
    if latest is None or latest.specification_pending or latest.progress not in ends:
        return False
    return is_since(latest, event, END_LAG)


def _waits(snapshot: Snapshot) -> bool:
    return snapshot.specification_pending or snapshot.progress in (Progress.PENDING, Progress.PENDING_OR_RUNNING)


def _without_repeated_power_ons(events: Sequence[Event]) -> list[Event]:
    """Drops each VM_POWERED_ON that belongs to the VM_STARTING before it: both report one power-on."""
    kept = []
    is_starting = False
    for event in events:
        if event.signal is Signal.VM_STARTING:
            is_starting = True
        elif event.signal is Signal.VM_POWERED_OFF or event.signal.is_end:
            is_starting = False
        elif event.signal is Signal.VM_POWERED_ON and is_starting:
            is_starting = False
            continue
        kept.append(event)
    return kept


def _restart(
    events: Sequence[Event],
    anchor: int,
    latest: Snapshot | None,
    looks_for: Callable[[Event], Sequence[Snapshot]],
) -> int:
    """Returns the newest event before the last power-on where no event reports that power-on, else -1.

    It shows by a VM that is on after it was off, and by a boot time that no known power-on explains.
    """
    if latest is None or latest.power is not PowerState.ON:
        return -1
    booted_at = latest.booted_at
    is_known = anchor >= 0 and booted_at is not None and events[anchor].at + BOOT_TOLERANCE >= booted_at

    def precedes(index: int, event: Event) -> bool:
        if event.signal is Signal.VM_POWERED_OFF and index > anchor and is_since(latest, event, POWER_LAG):
            return True
        if booted_at is not None and not is_known and event.at + BOOT_TOLERANCE < booted_at:
            return True
        return any(look.power is PowerState.OFF and is_since(look, event) for look in looks_for(event))

    return max((index for index, event in enumerate(events) if precedes(index, event)), default=-1)


def _power(event: Event | None, latest: Snapshot | None) -> PowerState:
    by_event = PowerState.UNKNOWN if event is None else _POWER[event.signal]
    if latest is None or latest.power is PowerState.UNKNOWN:
        return by_event
    # A gate must not open because a power-off has not yet reached the state.
    may_be_late = latest.power is PowerState.ON and by_event in (PowerState.OFF, PowerState.SUSPENDED)
    if is_since(latest, event, POWER_LAG if may_be_late else timedelta()):
        return latest.power
    # An event that a clock dated which has been set back since opens no gate of a VM that is off.
    is_dated = event is None or is_on_clock_of(latest, event)
    return by_event if is_dated or latest.power is PowerState.ON else latest.power
