"""One wait of a soak, and the check of what it reports."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.soak.scenarios import FAILURES
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import Evidence
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere.event_feed import LONGEST_POLL
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.session import CALL_TIMEOUT
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from lab.soak.fault_schedule import FaultSchedule
    from lab.soak.scenarios import VmRun
    from pulumi_customization_gate.core.model import GateReport, VmOutcome
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

START_GRACE = 30.0
"""Seconds for which a fault excuses a wait that cannot start."""
LONGEST_DELAY = LONGEST_POLL + CALL_TIMEOUT + 50.0
"""Seconds by which faults may delay an observation: the time in which a dead connection is noticed, and a margin."""


@dataclass(eq=False)
class Wait:
    """One wait; `run` blocks, so each runs in a thread of its own."""

    title: str
    at: float
    """Seconds since the start of the soak."""
    settings: VsphereSettings
    vms: Mapping[str, VmRun]
    """The VMs by their names."""
    timeout: float
    after: threading.Event | None = None
    """What must have happened before it starts."""
    by_path: bool = False
    """Whether it refers to VMs by inventory paths, else by managed object IDs."""
    began: float = 0.0
    late: float = 0.0
    """Seconds from the last end among its VMs to its own end, faults included."""
    verdicts: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self, soak_began: float, faults: FaultSchedule, cancelled: threading.Event) -> None:
        """Waits at its time, again where a fault prevents the start, and checks the report."""
        cancelled.wait(max(0.0, soak_began + self.at - time.monotonic()))
        if self.after is not None and not self.after.wait(START_GRACE):
            return  # The VM's own step failed, which is reported.
        targets = {name: f"DC0/vm/{name}" if self.by_path else vm.moid for name, vm in self.vms.items()}
        deadline = time.monotonic() + self.timeout
        while not cancelled.is_set():
            self.began = time.monotonic()
            try:
                report = wait(
                    VsphereSource(self.settings, targets_of(targets, parse_reference)),
                    # The start time-out is never reached: a VM whose customization does not start meets the deadline.
                    WaitRules(deadline - self.began, start_timeout=10 * self.timeout, stop_on_missing=False),
                    listener=self.listen,
                    cancelled=cancelled.is_set,
                )
                if not report.cancelled:
                    self._check(report, time.monotonic(), clock_was_set=faults.clock_was_set)
            except ServerError as error:
                if not faults.is_normal(self.began - START_GRACE, time.monotonic()) and self.began <= deadline:
                    continue
                self.wrong.append(f"{error}")
            except Exception as error:  # noqa: BLE001 -- it is reported at the end of the soak
                self.wrong.append(f"{type(error).__name__}: {error}")
            return

    def listen(self, update: Update) -> None:
        """Checks that no VM is reported as ready before it is."""
        for outcome in update.changed:
            vm = self.vms[outcome.key]
            if outcome.ready and not vm.may_be_ready(self.began):
                self.wrong.append(f"{vm.label} was reported as ready before its end")

    def _check(self, report: GateReport, ended: float, *, clock_was_set: bool) -> None:
        if report.fatal_error is not None:
            self.wrong.append(f"the wait ended early: {report.fatal_error}")
        for outcome in report.outcomes:
            vm = self.vms[outcome.key]
            if text := self._difference(vm, outcome, clock_was_set=clock_was_set):
                self.wrong.append(f"{vm.label}: {text}")
        if not report.timed_out:
            self.late = ended - max(self.began, *(vm.ended_at() for vm in self.vms.values()))
        if self.late > LONGEST_DELAY:
            self.wrong.append(f"the wait ended {self.late:.0f} s after the last end of its VMs")
        self.verdicts = len(report.outcomes)

    def _difference(self, vm: VmRun, outcome: VmOutcome, *, clock_was_set: bool) -> str:
        """Returns how an outcome differs from the verdict that follows from the scenario; empty if it does not.

        `clock_was_set`: whether the clock that dates events was wrong. Then a failure counts which is known by the
        state alone, or by the event of an earlier failure of the VM.
        """
        (status, expected), failure = vm.verdict, outcome.failure
        event = failure.name if failure else ""
        if clock_was_set and event and (outcome.evidence is Evidence.STATE or event in dict(vm.milestones)):
            event, failure = expected, None
        # A VM that is removed while the wait starts may be unknown to it.
        removed = dict(vm.milestones).get("removed")
        is_unknown = event == "NotFound" and removed is not None and removed < self.began + START_GRACE
        is_right = outcome.status is status and outcome.ready == (not expected)
        if not is_right or not (event == expected or is_unknown):
            got = f"{outcome.status.value} {event} by {outcome.evidence and outcome.evidence.value}"
            return f"expected {status.value} {expected}, got {got}"
        if failure is not None and FAILURES.get(event, texts := (failure.reason, failure.message)) != texts:
            return f"expected {FAILURES[event]} of {event}, got {texts}"
        return ""
