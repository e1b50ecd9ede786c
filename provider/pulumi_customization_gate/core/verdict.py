"""The verdict of one virtual machine: a pure function of a set of observations, by one ordered table.

Any order and any duplicates of the observations give the same verdict. Two clocks never meet here: events are ordered
by the server's `key`; an event and a snapshot are compared by the server's clock; the guest's clock is not read at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import (
    CustomizationStatus,
    Event,
    Evidence,
    Observation,
    Progress,
    Remembered,
    Signal,
    Snapshot,
)

if TYPE_CHECKING:
    from datetime import datetime

EVENTS: Mapping[str, Signal] = MappingProxyType(
    {
        "VmStartingEvent": Signal.VM_STARTING,
        "VmPoweredOffEvent": Signal.VM_POWERED_OFF,
        "VmRemovedEvent": Signal.VM_REMOVED,
        "VmMigratedEvent": Signal.VM_MIGRATED,
        "DrsVmMigratedEvent": Signal.VM_MIGRATED,
        "CustomizationStartedEvent": Signal.CUSTOMIZATION_STARTED,
        "CustomizationSucceeded": Signal.CUSTOMIZATION_SUCCEEDED,
        "CustomizationFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationLinuxIdentityFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationNetworkSetupFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationSysprepFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationUnknownFailure": Signal.CUSTOMIZATION_FAILED,
    }
)
"""vSphere's event classes. Every concrete class is listed, because a filter by class may not cover its subclasses
(vSphere Web Services API, EventFilterSpec.eventTypeId)."""

STATES: Mapping[str, Progress] = MappingProxyType(
    {
        "TOOLSDEPLOYPKG_IDLE": Progress.IDLE,
        "TOOLSDEPLOYPKG_PENDING": Progress.PENDING,
        "TOOLSDEPLOYPKG_RUNNING": Progress.RUNNING,
        "TOOLSDEPLOYPKG_SUCCEEDED": Progress.SUCCEEDED,
        "TOOLSDEPLOYPKG_FAILED": Progress.FAILED,
        "GC_DISABLED": Progress.IDLE,
        "GC_PENDING": Progress.PENDING,
        "REBOOT_PENDING": Progress.RUNNING,
        "POST_GC_PENDING": Progress.RUNNING,
        "GC_COMPLETE": Progress.SUCCEEDED,
        "GC_FAILED": Progress.FAILED,
    }
)
"""vSphere's `guest.customizationInfo.customizationStatus` (GuestInfoCustomizationStatus, API 7.0.2) and Cloud
Director's `GuestCustStatus`; GC_DISABLED is ours for a machine whose guest customization is not enabled."""

MAY_BE_RUNNING = frozenset({"GC_PENDING"})
"""States that say "not started or in progress": a start is overdue only once VMware Tools could have begun."""

SWITCHED_OFF = frozenset({"GC_DISABLED"})
"""States that say that no customization can come, whatever VMware Tools do."""

TERMINAL = (Signal.CUSTOMIZATION_SUCCEEDED, Signal.CUSTOMIZATION_FAILED)
"""The signals that end a customization."""

OPEN = (Progress.PENDING, Progress.RUNNING)
"""What a state says while a customization is still to end."""


@dataclass(frozen=True)
class Facts:
    """What a set of observations of one machine amounts to."""

    anchor: Event | None = None
    """The newest power-on: what came before it belongs to an earlier life of the machine."""
    started: Event | None = None
    """The newest start of a customization after the anchor."""
    ended: Event | None = None
    """The newest end of a customization after the anchor."""
    ended_before: Event | None = None
    """The newest end of a customization before the anchor."""
    cut_short: Event | None = None
    """The start of a customization before the anchor that no end followed: the machine was restarted in its midst."""
    powered_off: Event | None = None
    """The newest power-off after the anchor."""
    removed: Event | None = None
    latest: Snapshot | None = None
    missing: Snapshot | None = None
    """The snapshot that found the machine gone."""
    remembered: bool = False
    """Whether an earlier wait found the machine customized."""
    was_there: bool = False
    """Whether the machine was ever observed in the inventory."""
    seen_open: bool = False
    """Whether a snapshot since the newest end found a customization pending or running."""
    seen_to_change: bool = False
    """Whether the snapshots since the newest end told another state than the latest one."""

    @property
    def is_gone(self) -> bool:
        """Whether the machine left the inventory."""
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
        """What the newest snapshot says, unless a terminal event is newer than it."""
        return STATES.get(self.latest.state) if self.latest is not None and self._is_fresh else None

    @property
    def is_pending(self) -> bool:
        """Whether a specification waits, unless a terminal event is newer than the snapshot that said so."""
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
    def _is_fresh(self) -> bool:
        return self.latest is not None and _is_since(self.latest, self.ended or self.ended_before)


def _key(event: Event) -> int:
    return event.key


def _is_since(snapshot: Snapshot, end: Event | None) -> bool:
    return end is None or snapshot.at > end.at


@dataclass(frozen=True)
class Rule:
    """One row of the table: the first that applies decides."""

    status: CustomizationStatus
    evidence: Evidence | None
    applies: Callable[[Facts], bool]
    because: str


@dataclass(frozen=True)
class Judgement:
    """The verdict of one machine at one moment, and the facts it stands on."""

    status: CustomizationStatus
    evidence: Evidence | None
    because: str
    facts: Facts

    @property
    def end(self) -> Event | None:
        """The terminal event that decided, if an event did."""
        if self.evidence is Evidence.EVENT:
            return self.facts.ended
        return self.facts.ended_before if self.evidence is Evidence.EARLIER_EVENT else None

    @property
    def is_untraced(self) -> bool:
        """Whether the machine runs and nothing at all tells of a customization."""
        facts = self.facts
        return (
            self.status in (CustomizationStatus.NOT_CUSTOMIZED, CustomizationStatus.CUSTOMIZATION_NOT_STARTED)
            and bool(facts.is_on)
            and facts.tools_running
            and facts.cut_short is None
            and not _is_open(facts)
        )

    @property
    def started_at(self) -> datetime | None:
        """The start of the customization after the last power-on, by the server's clock."""
        return self.facts.started.at if self.facts.started else None

    @property
    def completed_at(self) -> datetime | None:
        """The end of the customization by the server's clock; None where no event tells it."""
        return self.end.at if self.end else None

    @property
    def seconds(self) -> float | None:
        """From the last power-on to the end of the customization, where an event after it decided."""
        if self.evidence is not Evidence.EVENT or self.facts.anchor is None or self.completed_at is None:
            return None
        return (self.completed_at - self.facts.anchor.at).total_seconds()

    @property
    def powered_on_at(self) -> datetime | None:
        """The last power-on by the server's clock."""
        if self.facts.anchor:
            return self.facts.anchor.at
        return self.facts.latest.booted_at if self.facts.latest else None

    @property
    def start_can_be_overdue(self) -> bool:
        """Whether the customization should have started by now if it ever does.

        A state that nobody knows may mean anything: only the deadline ends the wait for it.
        """
        latest = self.facts.latest
        if latest is None or latest.state == "":
            return True
        if latest.state not in STATES:
            return False
        return latest.state not in MAY_BE_RUNNING or latest.powered_on is False or latest.tools_running


def _ended_with(signal: Signal, event: Event | None) -> bool:
    return event is not None and event.signal is signal


def _is_open(facts: Facts) -> bool:
    """Whether a customization was asked for, or began, whose end is still to come.

    A power-on uses the specification up before the guest says anything: that it was seen to wait stays true.
    """
    return facts.started is not None or facts.seen_open


def _runs(facts: Facts) -> bool:
    return facts.started is not None or facts.progress is Progress.RUNNING


def _seen_to_end(facts: Facts, progress: Progress) -> bool:
    return facts.seen_to_change and facts.progress is progress and not facts.is_pending


def _is_idle_for_good(facts: Facts) -> bool:
    """Whether an idle state cannot become another: VMware Tools have run, or customization is switched off."""
    return facts.tools_running or (facts.latest is not None and facts.latest.state in SWITCHED_OFF)


def _stands(signal: Signal, facts: Facts) -> bool:
    return facts.cut_short is None and _ended_with(signal, facts.ended_before)


TABLE: tuple[Rule, ...] = (
    Rule(
        CustomizationStatus.VM_REMOVED,
        Evidence.INVENTORY,
        lambda f: f.is_gone,
        "the machine is not in the inventory",
    ),
    Rule(
        CustomizationStatus.VM_NOT_STARTED,
        None,
        lambda f: f.is_on is False and f.is_pending,
        "the machine is off and a specification waits for its next power-on",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.EVENT,
        lambda f: _ended_with(Signal.CUSTOMIZATION_SUCCEEDED, f.ended),
        "the newest terminal event after the last power-on is a success",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_FAILED,
        Evidence.EVENT,
        lambda f: _ended_with(Signal.CUSTOMIZATION_FAILED, f.ended),
        "the newest terminal event after the last power-on is a failure",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.STATE,
        lambda f: _seen_to_end(f, Progress.SUCCEEDED),
        "this wait saw the server's state change to succeeded",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_FAILED,
        Evidence.STATE,
        lambda f: _seen_to_end(f, Progress.FAILED),
        "this wait saw the server's state change to failed",
    ),
    Rule(
        CustomizationStatus.VM_NOT_STARTED,
        None,
        lambda f: _is_open(f) and f.is_on is False,
        "a customization was asked for and the machine is off",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_STARTED,
        None,
        lambda f: _is_open(f) and _runs(f),
        "the customization began and has not ended",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_NOT_STARTED,
        None,
        _is_open,
        "a customization was asked for and has not begun",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.EARLIER_EVENT,
        lambda f: _stands(Signal.CUSTOMIZATION_SUCCEEDED, f),
        "it succeeded before the last power-on and nothing was asked for since",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_FAILED,
        Evidence.EARLIER_EVENT,
        lambda f: _stands(Signal.CUSTOMIZATION_FAILED, f),
        "it failed before the last power-on and nothing was asked for since",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.STATE,
        lambda f: f.progress is Progress.SUCCEEDED,
        "no event is in reach and the server's state is succeeded",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_FAILED,
        Evidence.STATE,
        lambda f: f.progress is Progress.FAILED,
        "no event is in reach and the server's state is failed",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.STORED,
        lambda f: f.remembered and f.cut_short is None,
        "an earlier wait found it customized, and the server remembers nothing else",
    ),
    Rule(
        CustomizationStatus.NOT_CUSTOMIZED,
        Evidence.NO_TRACE,
        lambda f: bool(f.is_on) and f.progress is Progress.IDLE and f.cut_short is None and _is_idle_for_good(f),
        "the machine and its VMware Tools run, nothing is pending and the server's state is idle",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_NOT_STARTED,
        None,
        lambda f: bool(f.is_on),
        "the machine is on and nothing tells of a customization yet",
    ),
    Rule(
        CustomizationStatus.VM_NOT_STARTED,
        None,
        lambda _: True,
        "nothing tells that the machine is on",
    ),
)
"""The whole decision, first match wins."""


def gather(observations: Iterable[Observation]) -> Facts:
    """Reduces the observations of one machine to facts, whatever their order and however often each is there."""
    seen = frozenset(observations)
    events = sorted((o for o in seen if isinstance(o, Event)), key=lambda e: (e.key, repr(e)))
    snapshots = sorted((o for o in seen if isinstance(o, Snapshot)), key=_age)

    def newest(*signals: Signal, after: int | None = None, before: int | None = None) -> Event | None:
        hits = (
            e
            for e in reversed(events)
            if e.signal in signals and (after is None or e.key > after) and (before is None or e.key < before)
        )
        return next(hits, None)

    anchor = newest(Signal.VM_STARTING)
    since = anchor.key if anchor else None
    ended = newest(*TERMINAL, after=since)
    ended_before = newest(*TERMINAL, before=since) if anchor else None
    end = ended or ended_before
    begun = newest(Signal.CUSTOMIZATION_STARTED, after=end.key if end else None)
    latest = snapshots[-1] if snapshots else None
    current = [s for s in snapshots if _is_since(s, end)]
    return Facts(
        anchor=anchor,
        started=newest(Signal.CUSTOMIZATION_STARTED, after=since),
        ended=ended,
        ended_before=ended_before,
        cut_short=begun if begun and anchor and begun.key < anchor.key else None,
        powered_off=newest(Signal.VM_POWERED_OFF, after=since),
        removed=newest(Signal.VM_REMOVED),
        remembered=any(isinstance(o, Remembered) for o in seen),
        latest=latest,
        missing=next((s for s in reversed(snapshots) if not s.exists), None),
        was_there=bool(events) or any(s.exists for s in snapshots),
        seen_open=any(s.specification_pending or STATES.get(s.state) in OPEN for s in current),
        seen_to_change=any(s.state in STATES and latest is not None and s.state != latest.state for s in current),
    )


def _age(snapshot: Snapshot) -> tuple[datetime, str]:
    return snapshot.at, repr(snapshot)


def judge(observations: Iterable[Observation]) -> Judgement:
    """Returns the verdict of one machine."""
    facts = gather(observations)
    rule = next(rule for rule in TABLE if rule.applies(facts))
    return Judgement(rule.status, rule.evidence, rule.because, facts)


def compact(observations: Iterable[Observation]) -> frozenset[Observation]:
    """Drops the snapshots that no verdict needs any more, now or with whatever else is observed later.

    A long wait reads the state again and again; this keeps its memory flat. Of the snapshots that say the same of a
    customization only the newest can ever matter, because the facts ask what was told since some event.
    """
    seen = frozenset(observations)
    newest: dict[tuple[bool, bool, str], Snapshot] = {}
    for snapshot in sorted((o for o in seen if isinstance(o, Snapshot)), key=_age):
        newest[snapshot.exists, snapshot.specification_pending, snapshot.state] = snapshot
    return frozenset(o for o in seen if not isinstance(o, Snapshot)) | frozenset(newest.values())
