"""The one waiting loop: observations of a source go to the verdict until every VM is settled or time is up."""

from __future__ import annotations

import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL, Background, wait_until_done
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import GateReport
from pulumi_customization_gate.core.outcomes import absence_of, failure_of, outcome_of
from pulumi_customization_gate.core.progress import HEARTBEAT, ProgressReporter
from pulumi_customization_gate.core.tracking import TrackedVms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulumi_customization_gate.core.model import VmOutcome, VmRef
    from pulumi_customization_gate.core.outcomes import Situation, WaitRules
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.core.source import Readiness, Source

FINAL_READ_TIMEOUT = 0.8
"""Seconds that the last read of the server may take once a deadline has passed."""
CONFIRM_TIMEOUT = 20.0
"""Seconds that it may take before that: to read a thousand VMs takes longer than FINAL_READ_TIMEOUT."""
CLOSE_TIMEOUT = 1.4
"""Seconds that releasing the source may take: with CANCEL_CHECK_INTERVAL less than a cancellation may last."""
CLOSE_TIMEOUT_UNRESPONSIVE = 0.1
"""The same for a server that did not answer the last read: with FINAL_READ_TIMEOUT less than a deadline may be late."""

_log = logging.getLogger(__name__)


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
        self._began = clock()
        self._deadline = self._began + rules.timeout
        # A start or a read that hangs keeps its thread; closing needs another one.
        self._background = Background("customization-gate-wait", threads=4)
        self._vms = TrackedVms((), rules, self._began)
        self._server_unresponsive = self._timed_out = self._was_cancelled = False
        self._fatal_error: ServerError | None = None

    def run(self) -> GateReport:
        """Waits, and returns the report."""
        self._vms = TrackedVms(self._start(), self._rules, self._began)
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

    def close(self) -> None:
        """Lets the source release what it holds; a server that hangs does not delay the report."""
        allowed = CLOSE_TIMEOUT_UNRESPONSIVE if self._server_unresponsive else CLOSE_TIMEOUT
        closing = self._background.submit(self._source.close)
        if wait_until_done(closing, time.monotonic() + allowed) and (error := closing.exception()) is not None:
            _log.debug("closing the source failed: %r", error)
        self._background.close()

    def _start(self) -> Sequence[VmRef]:
        starting = self._background.submit(self._source.start)
        if wait_until_done(starting, self._deadline, cancelled=self._cancelled, clock=self._clock):
            return starting.result()
        self._server_unresponsive = True
        if self._clock() < self._deadline:
            raise ServerError("the wait was cancelled before the server responded; no VM was judged")
        raise ServerError(
            f"the server did not respond within {self._rules.timeout:g} s, so no VM was judged; "
            "check that it can be reached, or wait longer"
        )

    def _is_over(self) -> bool:
        """Whether the wait ends here. An end counts once a read of the server confirms it.

        That read finds a start or an end whose event was lost, a VM that is customized a second time, and the names
        and addresses that the customization assigned.
        """
        if self._fatal_error is not None:
            return True
        if self._is_decided():
            # A start time-out that has decided is a deadline, too, and may be late by as little.
            is_late = self._vms.is_any_overdue(self._clock())
            left = min(CONFIRM_TIMEOUT, self._deadline - self._clock())
            self._refresh(FINAL_READ_TIMEOUT if is_late else max(FINAL_READ_TIMEOUT, left), confirms_readiness=True)
            if self._is_decided():
                return True
        if self._cancelled():
            self._was_cancelled = True
        elif self._clock() >= self._deadline:
            self._refresh(FINAL_READ_TIMEOUT, confirms_readiness=True)
            self._timed_out = not self._is_decided()
        else:
            return False
        return True

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

    def _refresh(self, timeout: float, *, confirms_readiness: bool = False) -> None:
        """Reads the server once more, and on request the guests that are ready.

        A cancellation does not wait for the answer. A guest that was ready minutes ago may not be so any more.
        """
        if self._cancelled():
            return
        asked = self._clock()
        reading = self._background.submit(lambda: self._source.refresh(timeout))
        readiness = self._readiness if confirms_readiness else None
        confirming = None if readiness is None else self._background.submit(partial(readiness.confirm, timeout))
        is_done = wait_until_done(reading, cancelled=self._cancelled)
        self._server_unresponsive = not is_done or self._clock() - asked >= timeout
        if is_done:
            try:
                self._vms.observe(reading.result(), self._clock())
            except ServerError as error:
                self._progress.note(str(error))
        if confirming is not None and wait_until_done(confirming, cancelled=self._cancelled):
            self._vms.mark_dirty(confirming.result())

    def _notify(self) -> None:
        for text in self._source.notes():
            self._progress.note(text)
        dirty = self._vms.take_dirty()
        # Of a thousand VMs one changes at a time: only the outcome of what may have changed is made again.
        changed = [vm for vm in self._vms.refs if vm.id in dirty or self._may_change_by_time(vm)]
        fresh = [outcome_of(seen, absence_of(seen.judgement)) for seen in map(self._situation, changed)]
        now = self._clock()
        self._progress.report(self._vms.refs, fresh, now, self._vms.server_now(now))

    def _may_change_by_time(self, vm: VmRef) -> bool:
        """Whether an outcome can change although nothing was observed: by readiness, or by the start time-out."""
        was_ready = self._progress.was_ready(vm)
        changes = self._readiness is not None or not self._rules.requires_customization
        return was_ready is None or (changes and not was_ready)

    def _situation(self, vm: VmRef) -> Situation:
        return self._vms.situation(vm, self._clock(), self._readiness)

    def _final_outcome(self, vm: VmRef) -> VmOutcome:
        seen, diagnose = self._situation(vm), partial(self._source.diagnose, vm, FINAL_READ_TIMEOUT)
        is_broken = self._fatal_error is not None
        failure = failure_of(seen, self._rules, timed_out=self._timed_out, diagnose=diagnose, is_broken=is_broken)
        return outcome_of(seen, failure)
