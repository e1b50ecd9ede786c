"""The one waiting loop: observations of a source go to the verdict until every VM is settled or time is up."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL
from pulumi_customization_gate.core.confirmation import (
    CONFIRM_TIMEOUT,
    CUT_SHORT,
    FINAL_READ_TIMEOUT,
    UNCONFIRMED,
    Confirmation,
)
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import GateReport
from pulumi_customization_gate.core.outcomes import absence_of, failure_of, outcome_of
from pulumi_customization_gate.core.progress import HEARTBEAT, ProgressReporter
from pulumi_customization_gate.core.source_calls import SourceCalls
from pulumi_customization_gate.core.tracking import TrackedVms

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.core.model import VmOutcome, VmRef
    from pulumi_customization_gate.core.outcomes import Situation, WaitRules
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.core.source import Readiness, Source


def wait(
    source: Source,
    rules: WaitRules,
    *,
    readiness: Readiness | None = None,
    listener: Callable[[Update], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    heartbeat: float = HEARTBEAT,
) -> GateReport:
    """Waits until the customization of every VM of the source has ended, or the deadline has passed.

    A deadline is judged once more after a last read of the server, so that an end which was reached in time counts
    although its message was lost.

    Returns:
        The report of all VMs; whether it is good enough is for the caller to decide.

    Raises:
        ServerError: If the wait cannot start. A server that is lost for good later ends it with a report that says so.
        ConfigurationError: If a reference is ambiguous.
    """
    progress = ProgressReporter(listener, clock(), heartbeat)
    loop = WaitLoop(source, rules, readiness=readiness, progress=progress, cancelled=cancelled, clock=clock)
    with contextlib.ExitStack() as held:
        held.callback(loop.close)
        if readiness is not None:
            held.callback(readiness.close)
        return loop.run()


class WaitLoop:
    """One wait; see `wait` for the arguments."""

    def __init__(
        self,
        source: Source,
        rules: WaitRules,
        *,
        readiness: Readiness | None,
        progress: ProgressReporter,
        cancelled: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._source, self._rules, self._readiness, self._progress = source, rules, readiness, progress
        self._cancelled, self._clock = cancelled, clock
        self._calls = SourceCalls(source, readiness, cancelled, clock)
        self._began = clock()
        self._deadline = self._began + rules.timeout
        self._confirmation = Confirmation()
        self._vms = TrackedVms((), rules, self._began)
        self._timed_out = self._was_cancelled = False
        self._fatal_error: ServerError | None = None

    def run(self) -> GateReport:
        """Waits, and returns the report."""
        started = self._calls.start(self._deadline, self._rules.timeout, self._note_start)
        self._vms = TrackedVms(started, self._rules, self._began)
        self._poll(0)
        while not self._is_over():
            self._notify()
            if self._vms.is_look_due(self._clock()):
                self._refresh(min(CONFIRM_TIMEOUT, self._deadline - self._clock()))
                continue
            left = self._vms.next_due(self._clock(), self._deadline) - self._clock()
            self._poll(max(0.0, min(left, CANCEL_CHECK_INTERVAL)))
        self._notify()
        return GateReport(
            outcomes=tuple(self._final_outcome(vm) for vm in self._vms.refs),
            wait_seconds=self._clock() - self._began,
            timed_out=self._timed_out,
            cancelled=self._was_cancelled,
            ended_at=self._vms.newest_read(),
            fatal_error=self._fatal_error,
            notes=tuple(self._progress.notes),
        )

    @property
    def _is_cut_short(self) -> bool:
        """Whether the caller or an error has ended the wait."""
        return self._was_cancelled or self._fatal_error is not None

    def _note_start(self, text: str) -> None:
        self._progress.note(text)
        self._progress.report((), self._clock())

    def close(self) -> None:
        """Releases the source."""
        self._calls.close()

    def _is_over(self) -> bool:
        """Whether the wait ends here: a gate opens once a read of the server confirms the end."""
        if self._fatal_error is not None:
            return True
        if self._is_read_due():
            self._notify()  # The read takes seconds with thousands of VMs.
            # A start time-out that has decided is a deadline, too, and may be late by as little.
            left = 0.0 if self._is_start_overdue() else self._deadline - self._clock()
            seconds = self._confirmation.begin(self._clock(), left)
            is_confirmed = self._refresh(seconds, confirms_readiness=True)
            self._confirmation.end(self._clock(), is_confirmed=is_confirmed)
            is_last = self._clock() >= self._deadline
            if self._is_decided() and (is_confirmed or is_last or self._is_failure_due()):
                if not is_confirmed:
                    self._progress.note(UNCONFIRMED)
                return True
            if is_last:
                self._timed_out = True
                return True
        self._was_cancelled = self._rules.judges_once or self._cancelled()
        return self._was_cancelled

    def _is_read_due(self) -> bool:
        """Whether the read that an end needs is due, or the one that a deadline needs."""
        now = self._clock()
        if now >= self._deadline:
            return self._is_decided() or not self._cancelled()
        return self._confirmation.is_due(now) and self._is_decided()

    def _is_start_overdue(self) -> bool:
        """Whether a start time-out has decided that the gate stays closed."""
        return not self._may_open() and self._vms.is_any_overdue(self._clock())

    def _is_failure_due(self) -> bool:
        """Whether the gate stays closed, although no read has confirmed it."""
        is_late = self._confirmation.is_overdue(self._clock())
        return self._is_start_overdue() or (is_late and not self._may_open())

    def _may_open(self) -> bool:
        return all(self._situation(vm).is_ready for vm in self._vms.refs)

    def _is_decided(self) -> bool:
        if self._rules.stop_on_missing and self._vms.is_any_missing():
            return True
        return all(self._situation(vm).is_settled for vm in self._vms.refs)

    def _poll(self, timeout: float) -> None:
        try:
            self._vms.observe(self._source.poll(timeout), self._clock())
            if self._readiness is not None:
                self._readiness.check()
        except ServerError as error:
            self._fatal_error = error

    def _refresh(self, timeout: float, *, confirms_readiness: bool = False) -> bool:
        """Reads the server once more, and on request the guests; returns whether the server reported every VM."""
        try:
            is_complete, unready = self._calls.refresh(timeout, self._observe, confirms_readiness=confirms_readiness)
        except ServerError as error:
            if str(error) not in self._progress.notes:
                self._progress.note(str(error))
            return False
        self._vms.mark_dirty(unready)
        self._poll(0)
        return is_complete

    def _observe(self) -> None:
        """Takes in and reports what happens during a read: that of thousands of VMs takes seconds."""
        self._poll(0)
        self._notify()

    def _notify(self) -> None:
        for text in self._source.notes():
            self._progress.note(text)
        dirty = self._vms.take_dirty()
        # Of a thousand VMs one changes at a time: only the outcome of what may have changed is made again.
        by_time = self._readiness is not None or not self._rules.requires_customization
        changed = [vm for vm in self._vms.refs if vm.id in dirty or (by_time and not self._progress.was_ready(vm))]
        fresh = [outcome_of(seen, absence_of(seen.judgement)) for seen in map(self._situation, changed)]
        now = self._clock()
        self._progress.report(fresh, now, self._vms.server_now(now))

    def _situation(self, vm: VmRef) -> Situation:
        return self._vms.situation(vm, self._clock(), self._readiness)

    def _final_outcome(self, vm: VmRef) -> VmOutcome:
        seen, diagnose = self._situation(vm), partial(self._source.diagnose, vm, FINAL_READ_TIMEOUT)
        if seen.is_ready and self._is_cut_short and not self._rules.judges_once:
            # No read has confirmed it: what happened since may be unknown, and no later wait judges a VM that is ready.
            seen = replace(seen, unmet=CUT_SHORT)
        is_broken, timed_out = self._is_cut_short, self._timed_out
        failure = failure_of(seen, self._rules, timed_out=timed_out, diagnose=diagnose, is_broken=is_broken)
        return outcome_of(seen, failure)
