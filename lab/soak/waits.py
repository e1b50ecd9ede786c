"""One wait of a soak, and the check of what it reports."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lab.soak.scenarios import FAILURES
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import Evidence, targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere import event_feed, session
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.soak.fault_schedule import FaultSchedule
    from lab.soak.scenarios import VmRun
    from pulumi_customization_gate.core.model import GateReport, VmOutcome
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

START_GRACE = 30.0
"""Seconds for which a fault excuses a wait that cannot start."""
MARGIN = 50.0
"""Seconds by which several faults in a row may delay an observation, in addition to a dead connection."""


def dead_poll_seconds() -> float:
    """Returns how long a feed may take to notice that its connection is dead."""
    return event_feed.LONGEST_POLL + session.CALL_TIMEOUT


@dataclass
class Tally:
    """What all waits found; each adds to it under the lock."""

    wrong: list[str] = field(default_factory=list)
    verdicts: int = 0
    slowest: float = 0.0
    """Seconds from the last end among its VMs to the end of a wait, faults included."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_wrong(self, text: str) -> None:
        """Records something that is wrong."""
        with self.lock:
            self.wrong.append(text)


@dataclass(eq=False)
class Wait:
    """One wait; `run` blocks, so each runs in a thread of its own."""

    title: str
    at: float
    """Seconds since the start of the soak."""
    settings: VsphereSettings
    vms: Mapping[str, VmRun]
    """The VMs by their references."""
    timeout: float
    after: threading.Event | None = None
    """What must have happened before it starts."""
    began: float = 0.0
    ended: float = 0.0

    def run(self, tally: Tally, faults: FaultSchedule, is_cancelled: Callable[[], bool]) -> None:
        """Waits, again where a fault prevents the start, and adds to the tally."""
        try:
            self._run(tally, faults, is_cancelled)
        except Exception as error:  # noqa: BLE001 -- it is reported at the end of the soak
            tally.add_wrong(f"{self.title}: {type(error).__name__}: {error}")

    def _run(self, tally: Tally, faults: FaultSchedule, is_cancelled: Callable[[], bool]) -> None:
        if self.after is not None and not self.after.wait(START_GRACE):
            return  # The VM's own step failed, which is reported.
        # The start time-out is never reached: a VM whose customization does not start meets the deadline.
        rules = WaitRules(self.timeout, start_timeout=10 * self.timeout, stop_on_missing=False)
        deadline = time.monotonic() + self.timeout
        while not is_cancelled():
            self.began = time.monotonic()
            try:
                references = {vm.name: reference for reference, vm in self.vms.items()}
                report = wait(
                    VsphereSource(self.settings, targets_of(references, parse_reference)),
                    replace(rules, timeout=deadline - self.began),
                    listener=lambda update: self.listen(update, tally),
                    cancelled=is_cancelled,
                )
            except ServerError as error:
                if faults.is_normal(self.began - START_GRACE, time.monotonic()) or self.began > deadline:
                    tally.add_wrong(f"{self.title}: {error}")
                    return
                continue
            finally:
                self.ended = time.monotonic()
            if not report.cancelled:
                self._check(report, tally, by_state=faults.clock_was_set)
            return

    def listen(self, update: Update, tally: Tally) -> None:
        """Checks that no VM is reported as ready before it is."""
        by_key = {vm.name: vm for vm in self.vms.values()}
        for outcome in update.changed:
            vm = by_key[outcome.key]
            if outcome.ready and vm.ready_since(self.began) is None:
                tally.add_wrong(f"{self.title}: {vm.name} ({vm.scenario.name}) was reported as ready before its end")

    def _check(self, report: GateReport, tally: Tally, *, by_state: bool) -> None:
        by_key = {vm.name: vm for vm in self.vms.values()}
        wrong = [f"the wait ended early: {report.fatal_error}"] if report.fatal_error is not None else []
        for outcome in report.outcomes:
            vm = by_key[outcome.key]
            if text := self._difference(vm, outcome, by_state=by_state):
                wrong.append(f"{vm.name} ({vm.moid}, {vm.scenario.name}): {text}")
        late = 0.0
        if not report.timed_out:
            late = self.ended - max(self.began, *(vm.last("ended", "removed") or 0.0 for vm in self.vms.values()))
            if late > dead_poll_seconds() + MARGIN:
                wrong.append(f"the wait ended {late:.0f} s after the last end of its VMs")
        with tally.lock:
            tally.slowest = max(tally.slowest, late)
            tally.verdicts += len(report.outcomes)
            tally.wrong += [f"{self.title}: {text}" for text in wrong]

    def _difference(self, vm: VmRun, outcome: VmOutcome, *, by_state: bool) -> str:
        """Returns how an outcome differs from the verdict that follows from the scenario; empty if it does not.

        Args:
            vm: The VM and its scenario.
            outcome: What was reported.
            by_state: Whether the state may decide where an event would, because the clock that dates events was wrong.
        """
        expected, failure, removed = vm.verdict, outcome.failure, vm.last("removed")
        event = failure.name if failure else ""
        if by_state and outcome.evidence is Evidence.STATE and event:
            event = expected.failure
            failure = None
        # A VM that is removed while the wait starts may be unknown to it.
        is_unknown = event == "NotFound" and removed is not None and removed < self.began + START_GRACE
        is_right = outcome.status is expected.status and outcome.ready == (not expected.failure)
        if not is_right or not (event == expected.failure or is_unknown):
            got = f"{outcome.status.value} {event} by {outcome.evidence and outcome.evidence.value}"
            return f"expected {expected.status.value} {expected.failure}, got {got}"
        if failure is not None and FAILURES.get(event, texts := (failure.reason, failure.message)) != texts:
            return f"expected {FAILURES[event]} of {event}, got {texts}"
        return ""
