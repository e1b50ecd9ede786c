"""What a set of observations of one VM amounts to, whatever their order and however often each is there.

Two clocks never meet here: events are ordered by the server's `key`; an event and a snapshot are compared by the
server's clock; the guest's clock is not read at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import (
    Event,
    Missing,
    Observation,
    PreviouslyCustomized,
    Progress,
    Signal,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True)
class Facts:
    """What a set of observations of one VM amounts to."""

    anchor: Event | None = None
    """The newest power-on: what came before it belongs to an earlier run of the VM."""
    started: Event | None = None
    """The newest start of a customization after the anchor."""
    ended: Event | None = None
    """The newest end of a customization after the anchor."""
    ended_before: Event | None = None
    """The newest end of a customization before the anchor."""
    interrupted: Event | None = None
    """The start of a customization before the anchor that no end followed: the VM was restarted while it ran."""
    powered_off: Event | None = None
    """The newest power-off after the anchor."""
    removed: Event | None = None
    latest: Snapshot | None = None
    missing: Missing | None = None
    """The newest look at the VM, where it did not find it."""
    previously_customized: bool = False
    """Whether an earlier wait found the VM customized."""
    was_there: bool = False
    """Whether the VM was ever observed in the inventory."""
    seen_open: bool = False
    """Whether a snapshot since the newest end found a customization pending or running."""
    seen_to_change: bool = False
    """Whether a snapshot since the newest end had another progress than the latest one."""

    @property
    def is_gone(self) -> bool:
        """Whether the VM left the inventory."""
        return self.removed is not None or self.missing is not None

    @property
    def power_event(self) -> Event | None:
        """The newest power-on or power-off."""
        return self.powered_off or self.anchor

    @property
    def is_on(self) -> bool | None:
        """The power state by the newest evidence, None where there is none."""
        event = max((e for e in (self.power_event, self.started) if e), key=_key, default=None)
        by_event = None if event is None else event is not self.powered_off
        if self.latest is None or self.latest.powered_on is None or (event and self.latest.at <= event.at):
            return by_event
        return self.latest.powered_on

    @property
    def progress(self) -> Progress | None:
        """What the newest snapshot means, unless a terminal event is newer than it."""
        return self.latest.progress if self.latest is not None and self._is_fresh else None

    @property
    def is_pending(self) -> bool:
        """Whether a specification waits, unless a terminal event is newer than the snapshot that reported it."""
        return self._is_fresh and self.latest is not None and self.latest.specification_pending

    @property
    def tools_running(self) -> bool:
        """Whether VMware Tools were seen to run since the last power-on."""
        return (
            self.latest is not None
            and self.latest.tools_running
            and (self.anchor is None or self.latest.at > self.anchor.at)
        )

    @property
    def is_open(self) -> bool:
        """Whether a customization was requested, or started, whose end is still to come.

        A power-on consumes the specification before the guest reports anything: that it was seen to wait stays true.
        """
        return self.started is not None or self.seen_open

    @property
    def is_running(self) -> bool:
        """Whether a customization started."""
        return self.started is not None or self.progress is Progress.RUNNING

    @property
    def is_idle_for_good(self) -> bool:
        """Whether an idle state cannot become another: VMware Tools have run, or customization is disabled."""
        return self.progress is Progress.DISABLED or (self.progress is Progress.IDLE and self.tools_running)

    def was_seen_to_end(self, progress: Progress) -> bool:
        """Returns whether the state changed to this end while it was observed."""
        return self.seen_to_change and self.progress is progress and not self.is_pending

    def ended_with(self, signal: Signal) -> bool:
        """Returns whether this event ended the customization after the last power-on."""
        return self.ended is not None and self.ended.signal is signal

    def ended_before_with(self, signal: Signal) -> bool:
        """Returns whether this event ended a customization before the last power-on, and none started since."""
        return self.interrupted is None and self.ended_before is not None and self.ended_before.signal is signal

    @property
    def _is_fresh(self) -> bool:
        return self.latest is not None and _is_since(self.latest, self.ended or self.ended_before)


def gather(observations: Iterable[Observation]) -> Facts:
    """Reduces the observations of one VM to facts."""
    seen = frozenset(observations)
    events = sorted((o for o in seen if isinstance(o, Event)), key=lambda e: (e.key, repr(e)))
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=_age)
    misses = sorted((o for o in seen if isinstance(o, Missing)), key=_age)

    def newest(*signals: Signal, after: int | None = None, before: int | None = None) -> Event | None:
        hits = (
            e
            for e in reversed(events)
            if e.signal in signals and (after is None or e.key > after) and (before is None or e.key < before)
        )
        return next(hits, None)

    ends = tuple(signal for signal in Signal if signal.is_end)
    anchor = newest(Signal.VM_STARTING)
    since = anchor.key if anchor else None
    ended = newest(*ends, after=since)
    ended_before = newest(*ends, before=since) if anchor else None
    end = ended or ended_before
    unended = newest(Signal.CUSTOMIZATION_STARTED, after=end.key if end else None)
    latest = snapshots[-1] if snapshots else None
    current = [s for s in snapshots if _is_since(s, end)]
    return Facts(
        anchor=anchor,
        started=newest(Signal.CUSTOMIZATION_STARTED, after=since),
        ended=ended,
        ended_before=ended_before,
        interrupted=unended if unended and anchor and unended.key < anchor.key else None,
        powered_off=newest(Signal.VM_POWERED_OFF, after=since),
        removed=newest(Signal.VM_REMOVED),
        previously_customized=any(isinstance(o, PreviouslyCustomized) for o in seen),
        latest=latest,
        missing=misses[-1] if misses and (latest is None or misses[-1].at >= latest.at) else None,
        was_there=bool(events or snapshots),
        seen_open=any(s.specification_pending or (s.progress is not None and s.progress.is_open) for s in current),
        seen_to_change=any(
            s.progress not in (None, Progress.UNKNOWN) and latest is not None and s.progress is not latest.progress
            for s in current
        ),
    )


def compact(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Drops the snapshots that no verdict needs any more, now or with whatever else is observed later.

    A long wait reads the state again and again; this keeps its memory flat. Of the snapshots that mean the same for a
    customization only the newest can ever matter, because the facts ask what was reported since some event.
    """
    seen = frozenset(observations)
    newest: dict[object, Snapshot | Missing] = {}
    for look in sorted((o for o in seen if isinstance(o, Snapshot | Missing)), key=_age):
        newest[(look.specification_pending, look.progress) if isinstance(look, Snapshot) else Missing] = look
    return frozenset(o for o in seen if not isinstance(o, Snapshot | Missing)) | frozenset(newest.values())


def _key(event: Event) -> int:
    return event.key


def _age(look: Snapshot | Missing) -> tuple[datetime, str]:
    return look.at, repr(look)


def _is_since(snapshot: Snapshot, end: Event | None) -> bool:
    return end is None or snapshot.at > end.at
