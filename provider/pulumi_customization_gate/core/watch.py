"""The one waiting loop: observations of a source go to the verdict until every machine is settled or time is up."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import (
    CustomizationStatus,
    Evidence,
    Failure,
    GateReport,
    Observation,
    Snapshot,
    VmOutcome,
    VmRef,
)
from pulumi_customization_gate.core.report import STOPPED_EARLY, clock_time
from pulumi_customization_gate.core.verdict import Facts, Judgement, compact, judge

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.source import Source

LONGEST_POLL = 0.5
"""Seconds after which the loop looks up: how late a cancellation can be noticed."""
HEARTBEAT = 30.0
"""Seconds between two reports of progress when nothing changes."""
LAST_LOOK = 0.8
"""Seconds that the last look at the server may take once a deadline has passed."""
CONFIRMATION = 20.0
"""Seconds that it may take before that: to read a thousand machines takes longer than LAST_LOOK."""
GOODBYE = 1.4
"""Seconds that giving back what the source holds may take: with LONGEST_POLL less than a cancellation may last."""
SHORT_GOODBYE = 0.1
"""The same for a server that left the last look unanswered: with LAST_LOOK less than a deadline may be late."""

_WAITING = (CustomizationStatus.VM_NOT_STARTED, CustomizationStatus.CUSTOMIZATION_NOT_STARTED)


@dataclass(frozen=True)
class WaitRules:
    """How long to wait, and for what."""

    timeout: float = 1800.0
    """Seconds for the whole wait."""
    start_timeout: float = 600.0
    """Seconds in which a customization must have started, from the start of the wait or the last power-on.

    A power-off counts like a power-on: the cluster may need a while to restart the machine on another host.
    """
    expect: str = "required"
    """"required", or "auto": a machine of which nobody asked a customization is good."""
    stop_on_missing: bool = True
    """Whether a machine that the server does not know ends the wait at once."""


class Readiness(Protocol):
    """Says whether a customized machine is ready for work."""

    def unmet(self, vm: VmRef) -> str:
        """Returns at once what is still missing, in words, or nothing once the machine is ready."""

    def ready_at(self, vm: VmRef) -> datetime | None:
        """Returns when the machine was found ready, by the server's clock."""

    def close(self) -> None:
        """Stops whatever still asks."""


@dataclass(frozen=True)
class Update:
    """What a listener hears: on every change of a status, and every `heartbeat` seconds."""

    outcomes: tuple[VmOutcome, ...]
    changed: tuple[VmOutcome, ...]
    """Those whose status, or goodness, is another than at the last update."""
    waited: float
    """The length of the wait so far in seconds."""
    lasting: Mapping[str, float]
    """Seconds for which each VM has had its present status, by its identifier.

    By the server's clock where the server says since when: a customization may have started before the wait. Otherwise
    since this wait first saw the status.
    """
    notes: tuple[str, ...] = ()
    """What the source rode out since the last update."""


def watch(
    source: Source,
    rules: WaitRules,
    *,
    readiness: Readiness | None = None,
    listener: Callable[[Update], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    heartbeat: float = HEARTBEAT,
) -> GateReport:
    """Waits until the customization of every machine of the source has ended, or the deadline has passed.

    A deadline is judged once more on a last look at the server, so that an end which was reached in time counts
    although its message was lost.

    Returns:
        The report of all machines; whether it is good enough is for the caller to say.

    Raises:
        ServerError: If the wait cannot start. A server that is lost for good later ends it with a report that says so.
        ConfigurationError: If a reference is ambiguous.
    """
    wait = _Wait(
        source, rules, readiness=readiness, listener=listener, cancelled=cancelled, clock=clock, heartbeat=heartbeat
    )
    with contextlib.ExitStack() as held:
        held.callback(wait.close)
        if readiness is not None:
            held.callback(readiness.close)
        return wait.run()


class _Wait:
    def __init__(
        self,
        source: Source,
        rules: WaitRules,
        *,
        readiness: Readiness | None,
        listener: Callable[[Update], None],
        cancelled: Callable[[], bool],
        clock: Callable[[], float],
        heartbeat: float,
    ) -> None:
        self.source, self.rules, self.readiness = source, rules, readiness
        self.listener, self.cancelled, self.clock, self.heartbeat = listener, cancelled, clock, heartbeat
        self.began = clock()
        self.deadline = self.began + rules.timeout
        self.vms: tuple[VmRef, ...] = ()
        self.observations: dict[str, frozenset[Observation]] = {}
        self.judgements: dict[str, Judgement] = {}
        self.power_changes: dict[str, float] = {}
        self.outcomes: dict[str, VmOutcome] = {}
        self.touched: set[str] = set()
        self.told: dict[str, tuple[CustomizationStatus, bool]] = {}
        self.since: dict[str, float] = {}
        self.server_ahead = float("-inf")
        """Seconds by which the server's clock is ahead of this wait's; a snapshot that arrives late says less."""
        self.told_at = self.began
        self.is_hopeless = self.is_unanswered = self.timed_out = self.was_cancelled = False
        self.trouble: ServerError | None = None
        self.untold: list[str] = []
        self.notes: list[str] = []

    def run(self) -> GateReport:
        self.vms = self._start()
        self.observations = {vm.id: frozenset() for vm in self.vms}
        self.judgements = {vm.id: judge(()) for vm in self.vms}
        self.power_changes = dict.fromkeys(self.judgements, self.began)
        self._poll(0)
        missing = any(judgement.facts.missing for judgement in self.judgements.values())
        self.is_hopeless = missing and self.rules.stop_on_missing
        while not self._is_over():
            self._tell()
            self._poll(max(0.0, min(self._next_due() - self.clock(), LONGEST_POLL)))
        self._tell()
        return GateReport(
            outcomes=tuple(self._outcome(vm, at_the_end=True) for vm in self.vms),
            waited=self.clock() - self.began,
            timed_out=self.timed_out,
            cancelled=self.was_cancelled,
            ended_at=self._ended_at(),
            trouble=self.trouble,
            notes=tuple(self.notes),
        )

    def _start(self) -> tuple[VmRef, ...]:
        """Starts the source in a thread of its own: a server that never answers costs no more than the time-out."""
        found: list[Sequence[VmRef]] = []
        failed: list[BaseException] = []

        def start() -> None:
            try:
                found.append(self.source.start())
            except BaseException as error:  # noqa: BLE001 -- it is raised again where it belongs
                failed.append(error)

        starting = threading.Thread(target=start, name="customization-gate-start", daemon=True)
        starting.start()
        while starting.is_alive():
            starting.join(max(0.0, min(LONGEST_POLL, self.deadline - self.clock())))
            self.is_unanswered = starting.is_alive()
            if self.is_unanswered and self.cancelled():
                raise ServerError("the wait was cancelled before the server answered; nothing was judged")
            if self.is_unanswered and self.clock() >= self.deadline:
                raise ServerError(
                    f"the server did not answer within {self.rules.timeout:g} s, so nothing was judged; "
                    "see whether it can be reached, or make `timeout` longer"
                )
        for error in failed:
            raise error
        return tuple(found[0])

    def close(self) -> None:
        """Lets the source give back what it holds; where its server hangs, the report does not wait for that."""
        closing = threading.Thread(target=self.source.close, name="customization-gate-close", daemon=True)
        closing.start()
        closing.join(SHORT_GOODBYE if self.is_unanswered else GOODBYE)

    def _is_over(self) -> bool:
        """Whether the wait ends here. Its end is believed if a look at the server confirms it.

        That look finds a start or an end whose event was lost, a machine that is customized a second time, and the
        names and addresses that the customization gave.
        """
        if self.trouble is not None:
            return True
        if self._is_decided():
            self._look(
                LAST_LOOK if self._is_late() else max(LAST_LOOK, min(CONFIRMATION, self.deadline - self.clock()))
            )
            if self._is_decided():
                return True
        if self.cancelled():
            self.was_cancelled = True
        elif self.clock() >= self.deadline:
            self._look(LAST_LOOK)
            self.timed_out = not self._is_decided()
        else:
            return False
        return True

    def _next_due(self) -> float:
        """Returns the next moment at which time alone may decide something."""
        now = self.clock()
        waiting = [vm for vm, judgement in self.judgements.items() if judgement.status in _WAITING]
        dues = (self.power_changes[vm] + self.rules.start_timeout for vm in waiting)
        return min((due for due in dues if now < due < self.deadline), default=self.deadline)

    def _is_late(self) -> bool:
        """Whether `start_timeout` has decided: it is a deadline like the other, and may be late by as little."""
        return any(self._is_overdue(vm) for vm in self.vms)

    def _is_decided(self) -> bool:
        return self.is_hopeless or all(self._is_settled(vm) for vm in self.vms)

    def _poll(self, timeout: float) -> None:
        try:
            self._learn(self.source.poll(timeout))
        except ServerError as error:
            self.trouble = error

    def _look(self, longest: float) -> None:
        """Looks at the server in a thread of its own, so that a cancellation need not wait for the answer."""
        asked = self.clock()
        told: list[Observation] = []
        failed: list[BaseException] = []

        def look() -> None:
            try:
                told.extend(self.source.look(longest))
            except BaseException as error:  # noqa: BLE001 -- it is raised again where it belongs
                failed.append(error)

        looking = threading.Thread(target=look, name="customization-gate-confirm", daemon=True)
        looking.start()
        while looking.is_alive() and not self.cancelled():
            looking.join(LONGEST_POLL)
        self.is_unanswered = looking.is_alive() or self.clock() - asked >= longest
        self._learn(tuple(told))
        for error in failed:
            if not isinstance(error, ServerError):
                raise error
            self.untold.append(str(error))

    def _learn(self, batch: Iterable[Observation]) -> None:
        touched: dict[str, set[Observation]] = {}
        for observation in batch:
            if observation.vm in self.observations:
                touched.setdefault(observation.vm, set()).add(observation)
            if isinstance(observation, Snapshot):
                self.server_ahead = max(self.server_ahead, observation.at.timestamp() - self.clock())
        for vm, new in touched.items():
            self.observations[vm] = compact(self.observations[vm] | new)
            before, judgement = self.judgements[vm].facts, judge(self.observations[vm])
            self.judgements[vm] = judgement
            self.touched.add(vm)
            self._learn_power_change(vm, before, judgement.facts)

    def _learn_power_change(self, vm: str, before: Facts, now: Facts) -> None:
        """Dates the last power-on or power-off by the clock of the wait, also one that is heard of late."""
        if now.power_event is not None and now.power_event != before.power_event:
            age = (now.latest.at - now.power_event.at).total_seconds() if now.latest else 0.0
            self.power_changes[vm] = max(self.began, self.clock() - max(0.0, age))
        elif {before.is_on, now.is_on} == {True, False}:
            self.power_changes[vm] = self.clock()

    def _tell(self) -> None:
        notes = (*self.untold, *self.source.notes())
        self.untold.clear()
        self.notes.extend(notes)
        now = self.clock()
        # Of a thousand machines one moves at a time: only what may have changed is put in words again.
        fresh = [self._outcome(vm) for vm in self.vms if vm.id in self.touched or self._may_change_by_time(vm)]
        self.touched.clear()
        self.outcomes.update({o.id: o for o in fresh})
        changed = tuple(o for o in fresh if self.told.get(o.id) != (o.status, o.good))
        self.told.update({o.id: (o.status, o.good) for o in changed})
        self.since.update({o.id: now for o in changed})
        if changed or notes or now - self.told_at >= self.heartbeat:
            self.told_at = now
            lasting = {o.id: self._lasting(o, now) for o in self.outcomes.values()}
            outcomes = tuple(self.outcomes[vm.id] for vm in self.vms)
            self.listener(Update(outcomes, changed, now - self.began, lasting, notes))

    def _lasting(self, outcome: VmOutcome, now: float) -> float:
        since = {
            CustomizationStatus.CUSTOMIZATION_NOT_STARTED: outcome.powered_on_at,
            CustomizationStatus.CUSTOMIZATION_STARTED: outcome.started_at,
            CustomizationStatus.CUSTOMIZATION_SUCCEEDED: outcome.completed_at,
        }.get(outcome.status)
        if since is None or math.isinf(self.server_ahead):
            return now - self.since[outcome.id]
        return max(0.0, now + self.server_ahead - since.timestamp())

    def _may_change_by_time(self, vm: VmRef) -> bool:
        """Whether an outcome can change although nothing was observed: readiness, and patience with expect="auto"."""
        if vm.id not in self.outcomes:
            return True
        is_open = not self.outcomes[vm.id].good
        return is_open and (self.readiness is not None or self.rules.expect == "auto")

    def _ended_at(self) -> datetime | None:
        latest = (judgement.facts.latest for judgement in self.judgements.values())
        return max((snapshot.at for snapshot in latest if snapshot is not None), default=None)

    def _is_overdue(self, vm: VmRef) -> bool:
        """Whether the customization should have begun: a later start still makes good for it."""
        judgement = self.judgements[vm.id]
        if judgement.status not in _WAITING or not judgement.start_can_be_overdue:
            return False
        return self.clock() >= self.power_changes[vm.id] + self.rules.start_timeout

    def _is_customized(self, vm: VmRef) -> bool:
        judgement = self.judgements[vm.id]
        if judgement.status is CustomizationStatus.CUSTOMIZATION_SUCCEEDED:
            return True
        if self.rules.expect != "auto":
            return False
        # A server too old to tell the state of a customization: time has to tell that nobody asked for one.
        return judgement.status is CustomizationStatus.NOT_CUSTOMIZED or (
            judgement.is_untraced and self._is_overdue(vm)
        )

    def _unmet(self, vm: VmRef) -> str:
        return "" if self.readiness is None else self.readiness.unmet(vm)

    def _ready_at(self, vm: VmRef, judgement: Judgement) -> datetime | None:
        return judgement.completed_at if self.readiness is None else self.readiness.ready_at(vm)

    def _is_settled(self, vm: VmRef) -> bool:
        if self._is_customized(vm):
            return not self._unmet(vm)
        return self.judgements[vm.id].status.is_terminal or self._is_overdue(vm)

    def _outcome(self, vm: VmRef, *, at_the_end: bool = False) -> VmOutcome:
        judgement = self.judgements[vm.id]
        customized = self._is_customized(vm)
        good = customized and not self._unmet(vm)
        untraced = customized and judgement.is_untraced
        latest = judgement.facts.latest
        return VmOutcome(
            key=vm.key,
            id=vm.id,
            name=(latest.name if latest else "") or vm.name,
            status=CustomizationStatus.NOT_CUSTOMIZED if untraced else judgement.status,
            good=good,
            evidence=Evidence.NO_TRACE if untraced else judgement.evidence,
            powered_on_at=judgement.powered_on_at,
            started_at=judgement.started_at,
            completed_at=judgement.completed_at,
            ready_at=self._ready_at(vm, judgement) if good else None,
            seconds=judgement.seconds,
            # Of a machine that is not there nothing more will be known at the end.
            failure=self._failure(vm, judgement) if not good and (at_the_end or judgement.facts.is_gone) else None,
            host_name=latest.host_name if latest else "",
            ip_addresses=latest.ip_addresses if latest else (),
        )

    def _failure(self, vm: VmRef, judgement: Judgement) -> Failure:
        facts, end = judgement.facts, judgement.end
        if facts.removed is not None:
            failure = Failure("VmRemoved", message=f"it left the inventory at {clock_time(facts.removed.at)}")
        elif facts.missing is not None and facts.was_there and not facts.missing.state:
            failure = Failure("VmRemoved", message="it left the inventory")
        elif facts.missing is not None:
            failure = Failure(facts.missing.state or "NotFound", message=facts.missing.message)
        elif self._is_customized(vm):
            failure = Failure("NotReady", message=self._unmet(vm), diagnosis=self._diagnosis(vm))
        elif end is not None:
            failure = Failure(end.name, end.reason, end.message, end.log_location)
        elif judgement.status is CustomizationStatus.CUSTOMIZATION_FAILED and facts.latest is not None:
            failure = Failure(facts.latest.state, message=facts.latest.message)
        elif judgement.status is CustomizationStatus.NOT_CUSTOMIZED:
            failure = Failure("NoCustomization", message=judgement.because, diagnosis=self._diagnosis(vm))
        elif self._is_overdue(vm):
            late = f"{judgement.because}, {self.rules.start_timeout:g} s after the later of its power-on and the wait"
            failure = Failure("StartTimeout", message=late, diagnosis=self._diagnosis(vm))
        elif self.timed_out:
            failure = Failure("Timeout", message=judgement.because, diagnosis=self._diagnosis(vm))
        else:
            failure = Failure(STOPPED_EARLY, message=judgement.because)
        return failure

    def _diagnosis(self, vm: VmRef) -> tuple[str, ...]:
        return tuple(self.source.diagnose(vm, LAST_LOOK))
