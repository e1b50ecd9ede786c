"""The verdict of one VM: a pure function of a set of observations, by one ordered table.

Any order and any duplicates of the observations give the same verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.facts import Facts
from pulumi_customization_gate.core.gathering import gather
from pulumi_customization_gate.core.recency import is_same_event
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, Progress, Signal

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, Observation


@dataclass(frozen=True)
class Rule:
    """One row of the table: the first that applies decides."""

    status: CustomizationStatus
    evidence: Evidence | None
    applies: Callable[[Facts], bool]
    because: str


@dataclass(frozen=True)
class Judgement:
    """The verdict of one VM at one moment, and the facts that it is based on."""

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
        """Whether the VM runs and nothing at all indicates a customization."""
        facts = self.facts
        return (
            self.status in (CustomizationStatus.NOT_CUSTOMIZED, CustomizationStatus.CUSTOMIZATION_NOT_STARTED)
            and bool(facts.is_on)
            and facts.tools_running
            and facts.history_was_read
            and facts.interrupted is None
            and facts.end is None
            and not facts.is_open
        )

    @property
    def is_held(self) -> bool:
        """Whether an earlier end would count if it were certain that the last power-on brought no customization.

        A vCenter before 7.0.2 reports no state that would show it: only time does, or VMware Tools that have run.
        """
        facts = self.facts
        is_known = facts.previously_customized or facts.ended_before is not None
        return (
            is_known
            and self.status is CustomizationStatus.CUSTOMIZATION_NOT_STARTED
            and facts.interrupted is None
            and not facts.is_open
        )

    @property
    def needs_look(self) -> bool:
        """Whether another look at the VM, soon, is what decides."""
        return self.facts.needs_look or self.is_held

    def is_of_same_run(self, earlier: Judgement) -> bool:
        """Returns whether the VM was neither customized nor powered on, off or the like since an earlier judgement.

        The event of an end that only the state had reported may be read later: it is the same end.
        """
        now, before = self.facts, earlier.facts
        if now.is_on is False or before.is_restarted is not now.is_restarted:
            return False
        if not is_same_event(before.power_event, now.power_event):
            return False
        return earlier.evidence is Evidence.STATE or is_same_event(before.end, now.end)

    @property
    def started_at(self) -> datetime | None:
        """The start of the customization after the last power-on, by the server's clock."""
        return self.facts.started.at if self.facts.started else None

    @property
    def completed_at(self) -> datetime | None:
        """The end of the customization by the server's clock; None where no event reports it."""
        return self.end.at if self.end else None

    @property
    def customization_seconds(self) -> float | None:
        """From the last power-on to the end of the customization, where an event after it decided."""
        if self.evidence is not Evidence.EVENT or self.facts.anchor is None or self.completed_at is None:
            return None
        seconds = (self.completed_at - self.facts.anchor.at).total_seconds()
        # Unknown where the server's clock was set back in between.
        return seconds if seconds >= 0 else None

    @property
    def powered_on_at(self) -> datetime | None:
        """The last power-on by the server's clock."""
        if self.facts.anchor:
            return self.facts.anchor.at
        return self.facts.latest.booted_at if self.facts.latest else None

    @property
    def start_can_be_overdue(self) -> bool:
        """Whether the customization should have started by now if it ever does.

        A state that is not documented may mean anything: only the deadline ends the wait for it.
        """
        latest = self.facts.latest
        if latest is None or latest.progress is None:
            return True
        if latest.progress is Progress.PENDING_OR_RUNNING:
            return latest.power.is_on is False or latest.tools_running
        return latest.progress is not Progress.UNKNOWN


_ENDS = (
    ("succeeded", CustomizationStatus.CUSTOMIZATION_SUCCEEDED, Signal.CUSTOMIZATION_SUCCEEDED, Progress.SUCCEEDED),
    ("failed", CustomizationStatus.CUSTOMIZATION_FAILED, Signal.CUSTOMIZATION_FAILED, Progress.FAILED),
)


def _ended_by_event(evidence: Evidence, applies: Callable[[Facts, Signal], bool], because: str) -> Iterator[Rule]:
    for word, status, signal, _ in _ENDS:
        yield Rule(status, evidence, lambda facts, end=signal: applies(facts, end), because.format(word))  # type: ignore[misc]


def _ended_by_state(applies: Callable[[Facts, Progress], bool], because: str) -> Iterator[Rule]:
    for word, status, _, progress in _ENDS:
        yield Rule(status, Evidence.STATE, lambda facts, end=progress: applies(facts, end), because.format(word))  # type: ignore[misc]


def _excludes_request(facts: Facts) -> bool:
    return facts.excludes_request or facts.power_on_is_settled or not facts.has_power_on


TABLE: tuple[Rule, ...] = (
    Rule(
        CustomizationStatus.VM_REMOVED,
        Evidence.INVENTORY,
        lambda f: f.is_removed,
        "the VM is not in the inventory",
    ),
    *_ended_by_event(
        Evidence.EVENT,
        Facts.ended_with,
        "the newest terminal event after the last power-on reports that the customization {}",
    ),
    *_ended_by_state(
        Facts.was_seen_to_end,
        "the state changed to {} during this wait",
    ),
    Rule(
        CustomizationStatus.VM_NOT_STARTED,
        None,
        lambda f: f.is_open and f.is_on is False,
        "customization was requested and the VM is not powered on",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_STARTED,
        None,
        lambda f: f.is_open and f.is_running,
        "the customization started and has not ended",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_NOT_STARTED,
        None,
        lambda f: f.is_open,
        "customization was requested and has not started",
    ),
    *_ended_by_event(
        Evidence.EARLIER_EVENT,
        lambda f, signal: f.ended_before_with(signal) and _excludes_request(f),
        "the customization {} before the last power-on and none was requested since",
    ),
    *_ended_by_state(
        Facts.reports,
        "no event is available and the state is {}",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        Evidence.STORED,
        lambda f: f.previously_customized and f.end is None and f.interrupted is None and _excludes_request(f),
        "an earlier wait found it customized and the server has no newer record",
    ),
    Rule(
        CustomizationStatus.NOT_CUSTOMIZED,
        Evidence.NO_TRACE,
        lambda f: bool(f.is_on) and f.is_idle_for_good and f.interrupted is None and f.end is None,
        "the VM and its VMware Tools are running, no specification is pending and the state is idle",
    ),
    Rule(
        CustomizationStatus.CUSTOMIZATION_NOT_STARTED,
        None,
        lambda f: bool(f.is_on),
        "the VM is powered on and there is no sign of a customization yet",
    ),
    Rule(
        CustomizationStatus.VM_NOT_STARTED,
        None,
        lambda _: True,
        "there is no sign that the VM is powered on",
    ),
)
"""The whole decision, first match wins."""


def judge(observations: Iterable[Observation], *, power_on_is_settled: bool = False) -> Judgement:
    """Returns the verdict of one VM.

    Args:
        observations: What was observed, in any order.
        power_on_is_settled: Whether a customization that was requested for the last power-on would have started by now.
    """
    facts = replace(gather(observations), power_on_is_settled=power_on_is_settled)
    rule = next(rule for rule in TABLE if rule.applies(facts))
    return Judgement(rule.status, rule.evidence, rule.because, facts)
