"""What a set of observations of one VM amounts to, whatever their order and however often each is there.

Events are ordered by the server's `key`. What was read before a state was asked for is not newer than that state; only
between a state and an event that was read later do the server's times decide. The guest's clock is not read at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.model import (
    Event,
    FailureKind,
    HistoryRead,
    Missing,
    Observation,
    PowerState,
    PreviouslyCustomized,
    Progress,
    Signal,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AGREEMENT = 2.0
"""Seconds between two looks that must agree before a VM counts as removed."""
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
_END_OF = {Signal.CUSTOMIZATION_SUCCEEDED: Progress.SUCCEEDED, Signal.CUSTOMIZATION_FAILED: Progress.FAILED}


@dataclass(frozen=True)
class Facts:
    """What a set of observations of one VM amounts to."""

    anchor: Event | None = None
    """The newest power-on: what came before it belongs to an earlier run of the VM."""
    is_restarted: bool = False
    """Whether the VM was powered on after the newest power-on that an event reports."""
    started: Event | None = None
    """The newest start of a customization after the last power-on."""
    is_unended: bool = False
    """Whether no end followed that start: no event, and no state that was still the same END_LAG after it."""
    ended: Event | None = None
    """The newest end of a customization after the last power-on."""
    ended_before: Event | None = None
    """The newest end of a customization before the last power-on, where none followed it."""
    is_contradicted: bool = False
    """Whether the state reports a failure although the newest event reports a success: one of them is late."""
    interrupted: Event | None = None
    """The start of a customization before the last power-on that no end followed: it was restarted while it ran."""
    power_event: Event | None = None
    """The newest power-on, power-off or the like."""
    power: PowerState = PowerState.UNKNOWN
    """Whether the VM runs, by the newest evidence."""
    removed: Event | None = None
    latest: Snapshot | None = None
    missing: Missing | None = None
    """The newest look at the VM, where it did not find it."""
    looks_agree: bool = False
    """Whether an earlier look agrees with it."""
    power_on_is_settled: bool = False
    """Whether a customization that was requested for the last power-on would have started by now."""
    history_was_read: bool = False
    """Whether what the server remembers of the VM's customizations was read."""
    previously_customized: bool = False
    """Whether an earlier wait found the VM customized."""
    was_there: bool = False
    """Whether the VM was ever observed in the inventory."""
    progress: Progress | None = None
    """What the newest snapshot means, unless an end is newer than it."""
    is_current: bool = False
    """Whether the newest snapshot is newer than the last power-on and the last start of a customization."""
    tools_running: bool = False
    """Whether VMware Tools were seen to run since the last power-on."""
    seen_waiting: bool = False
    """Whether a snapshot since the newest end found a customization, or a specification, pending."""
    seen_running: bool = False
    """Whether a snapshot since the newest end found a customization running."""
    seen_to_change: bool = False
    """Whether a snapshot since the newest end, and since a specification waited, had another progress than the latest.
    """

    @property
    def end(self) -> Event | None:
        """The newest end of a customization."""
        return self.ended or self.ended_before

    @property
    def is_removed(self) -> bool:
        """Whether the VM left the inventory, or was never there."""
        if self.removed is not None:
            return True
        return self.looks_agree and self.missing is not None and self.missing.kind is FailureKind.NOT_FOUND

    @property
    def is_unreadable(self) -> bool:
        """Whether the user may not read the VM, so that nothing more will be known of it."""
        return self.looks_agree and self.missing is not None and self.missing.kind is not FailureKind.NOT_FOUND

    @property
    def is_on(self) -> bool | None:
        """Whether the VM runs, None where there is no evidence."""
        return self.power.is_on

    @property
    def needs_look(self) -> bool:
        """Whether what was observed contradicts itself, so that only another look at the VM shows which part is late.

        A state may still be RUNNING just after the end, an end may be the state of before the last power-on or start,
        a VM may still be reported as on just after its power-off, and one that was not found may be there again.
        """
        if self.missing is not None:
            return not self.looks_agree
        if self.is_contradicted:
            return True
        if self.end is not None and not self.is_unended and not self.seen_waiting and self.is_open:
            return True
        if self.latest is None:
            return False
        if self.is_current and self.latest.power is PowerState.ON and self.is_on is False:
            return True
        is_end = self.latest.progress in _END_OF.values()
        return is_end and (self.is_unended or (not self.is_current and self.ended is None))

    @property
    def is_open(self) -> bool:
        """Whether a customization was requested, or started, whose end is still to come.

        A power-on consumes the specification before the guest reports anything: that it was seen to wait stays true.
        A state that says RUNNING just after the end may only be late: it counts until it reports that end, too.
        """
        if self.is_unended or self.seen_waiting or self.is_contradicted:
            return True
        return self.seen_running and not self._state_confirms_end

    @property
    def is_running(self) -> bool:
        """Whether a customization started."""
        return self.is_unended or self.progress is Progress.RUNNING

    @property
    def has_power_on(self) -> bool:
        """Whether it is known that the VM was powered on while the server kept events of it."""
        return self.anchor is not None or self.is_restarted

    @property
    def excludes_request(self) -> bool:
        """Whether a state that was read since the last power-on shows that none was requested for it or can run."""
        return self.is_current and (self.is_on is False or self.progress not in (None, Progress.UNKNOWN))

    @property
    def is_idle_for_good(self) -> bool:
        """Whether an idle state cannot become another: VMware Tools have run, or customization is disabled."""
        if self.progress is Progress.DISABLED:
            return True
        return self.progress is Progress.IDLE and self.tools_running and self.history_was_read

    def was_seen_to_end(self, progress: Progress) -> bool:
        """Returns whether the state changed to this end while it was observed."""
        return self.seen_to_change and self.reports(progress)

    def reports(self, progress: Progress) -> bool:
        """Returns whether the newest state is this one, and nothing is newer than it."""
        waits = self.latest is not None and self.latest.specification_pending
        return self.progress is progress and self.is_current and not waits

    def ended_with(self, signal: Signal) -> bool:
        """Returns whether this event ended the customization after the last power-on."""
        if self.ended is None or self.ended.signal is not signal:
            return False
        return not self.is_open or self.was_seen_to_end(_END_OF[signal])

    def ended_before_with(self, signal: Signal) -> bool:
        """Returns whether this event ended a customization before the last power-on, and none started since."""
        return self.interrupted is None and self.ended_before is not None and self.ended_before.signal is signal

    @property
    def _state_confirms_end(self) -> bool:
        return self.end is not None and self.progress is _END_OF[self.end.signal]


def gather(observations: Iterable[Observation]) -> Facts:
    """Reduces the observations of one VM to facts."""
    seen = distinct(observations)
    events = _without_repeated_power_ons(in_order(o for o in seen if isinstance(o, Event)))
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=_age)
    misses = sorted((o for o in seen if isinstance(o, Missing)), key=_age)
    latest = snapshots[-1] if snapshots else None

    def newest(*signals: Signal, after: int = -1, until: int = len(events)) -> int:
        return next((i for i in range(min(until, len(events) - 1), after, -1) if events[i].signal in signals), -1)

    def event(index: int) -> Event | None:
        return events[index] if index >= 0 else None

    anchor = newest(*_POWER_ON)
    restart = _restart(events, anchor, snapshots)
    last_power_on = max(anchor, restart)
    end, start = newest(*_END_OF), newest(Signal.CUSTOMIZATION_STARTED)
    unended = start if start > end else -1
    if unended >= 0 and _outlasts(latest, event(unended), *_END_OF.values()):
        unended = end = -1
    is_success = end >= 0 and events[end].signal is Signal.CUSTOMIZATION_SUCCEEDED
    if is_success and _outlasts(latest, event(end), Progress.FAILED):
        is_success, end = False, -1
    changed_power = newest(*(signal for signal in _POWER if signal is not Signal.CUSTOMIZATION_STARTED))
    current = [s for s in snapshots if _is_since(s, event(end))]
    is_fresh = latest is not None and _is_since(latest, event(end))
    waits = max((s.asked_at for s in current if s.specification_pending), default=0.0)
    missing = misses[-1] if misses and _is_last(misses[-1], latest, events) else None
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
        looks_agree=missing is not None and _agree(missing, misses, latest),
        history_was_read=any(isinstance(o, HistoryRead) for o in seen),
        previously_customized=any(isinstance(o, PreviouslyCustomized) for o in seen),
        was_there=bool(events or snapshots),
        progress=latest.progress if latest is not None and is_fresh else None,
        is_current=latest is not None and all(_is_since(latest, event(index)) for index in (changed_power, unended)),
        tools_running=latest is not None and latest.tools_running and _is_since(latest, event(changed_power)),
        seen_waiting=any(_waits(s) for s in current),
        seen_running=any(s.progress is Progress.RUNNING for s in current),
        seen_to_change=any(
            s.progress not in (None, Progress.UNKNOWN)
            and latest is not None
            and s.progress is not latest.progress
            and s.asked_at >= waits
            for s in current
        ),
    )


def distinct(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Returns the observations without those that were read again: of an event the earliest reading counts."""
    seen = frozenset(observations)
    earliest: dict[object, Event] = {}
    for event in sorted((o for o in seen if isinstance(o, Event)), key=lambda e: (e.read_at, repr(e))):
        earliest.setdefault((event.key, event.signal, event.at), event)
    return frozenset(o for o in seen if not isinstance(o, Event)) | frozenset(earliest.values())


def compact(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Drops the looks that no verdict needs any more, now or with whatever else is observed later.

    A long wait reads the state again and again; this keeps its memory flat. The facts ask which kinds of snapshots are
    newer than some event, by the order of reading or by the server's time: of those that mean the same, one that
    another is newer than in both ways can never matter. Of the looks that did not find the VM, those matter that are
    newer than the last one that did, back to the newest that is old enough to agree with the last.
    """
    seen = distinct(observations)
    kept: dict[object, list[Snapshot]] = {}
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=_age, reverse=True)
    for look in snapshots:
        same = kept.setdefault((look.power, look.specification_pending, look.progress), [])
        if not same or look.at > same[-1].at:
            same.append(look)
    misses = sorted((o for o in seen if isinstance(o, Missing)), key=_age, reverse=True)
    needed = []
    for miss in misses:
        if snapshots and _age(miss)[:2] < _age(snapshots[0])[:2]:
            break
        needed.append(miss)
        if misses[0].asked_at - miss.asked_at >= AGREEMENT:
            break
    rest = frozenset(o for o in seen if not isinstance(o, Snapshot | Missing))
    return rest | frozenset(needed) | frozenset(look for looks in kept.values() for look in looks)


def _age(look: Snapshot | Missing) -> tuple[float, datetime, str]:
    return look.asked_at, look.at, repr(look)


def _is_since(look: Snapshot | Missing, event: Event | None, lag: timedelta = timedelta()) -> bool:
    """Whether a look is newer than an event; what was read before the look was asked for happened before it.

    Args:
        look: The look.
        event: The event.
        lag: By how much what the look found may be older than the look.
    """
    return event is None or event.read_at + lag.total_seconds() < look.asked_at or look.at - event.at > lag


def _outlasts(latest: Snapshot | None, event: Event | None, *ends: Progress) -> bool:
    """Whether the state reports one of these ends so long after an event that it must be newer than the event."""
    if latest is None or latest.specification_pending or latest.progress not in ends:
        return False
    return _is_since(latest, event, END_LAG)


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


def _restart(events: Sequence[Event], anchor: int, snapshots: Sequence[Snapshot]) -> int:
    """Returns the newest event before the last power-on where no event reports that power-on, else -1.

    It shows by a VM that is on after it was off, and by a boot time that no known power-on explains.
    """
    latest = snapshots[-1] if snapshots else None
    if latest is None or latest.power is not PowerState.ON:
        return -1
    offs = [s for s in snapshots if s.power is PowerState.OFF]
    booted_at = latest.booted_at

    def precedes(index: int, event: Event) -> bool:
        if event.signal is Signal.VM_POWERED_OFF and index > anchor and _is_since(latest, event, POWER_LAG):
            return True
        if booted_at is not None and event.at + BOOT_TOLERANCE < booted_at:
            return True
        return any(_is_since(off, event) for off in offs)

    return max((index for index, event in enumerate(events) if precedes(index, event)), default=-1)


def _power(event: Event | None, latest: Snapshot | None) -> PowerState:
    by_event = PowerState.UNKNOWN if event is None else _POWER[event.signal]
    if latest is None or latest.power is PowerState.UNKNOWN:
        return by_event
    # A gate must not open because a power-off has not yet reached the state.
    may_be_late = latest.power is PowerState.ON and by_event in (PowerState.OFF, PowerState.SUSPENDED)
    return latest.power if _is_since(latest, event, POWER_LAG if may_be_late else timedelta()) else by_event


def _is_last(miss: Missing, latest: Snapshot | None, events: Sequence[Event]) -> bool:
    """Whether nothing that was observed of the VM is newer than a look that did not find it."""
    is_seen_since = latest is not None and _age(miss)[:2] < _age(latest)[:2]
    return not is_seen_since and all(_is_since(miss, e) for e in events if e.signal is not Signal.VM_REMOVED)


def _agree(last: Missing, misses: Sequence[Missing], latest: Snapshot | None) -> bool:
    since = [miss for miss in misses if latest is None or _age(miss)[:2] >= _age(latest)[:2]]
    return not last.needs_second_look or last.asked_at - since[0].asked_at >= AGREEMENT
