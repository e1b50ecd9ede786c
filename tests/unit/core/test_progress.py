"""What a listener gets, and when."""

from __future__ import annotations

from pulumi_customization_gate.core.model import VmOutcome, VmRef
from pulumi_customization_gate.core.progress import ProgressReporter, Update
from pulumi_customization_gate.core.status import CustomizationStatus
from tests.unit.core.timeline import at

VMS = (VmRef("a", "vm-1", "a"), VmRef("b", "vm-2", "b"))
STATUS = CustomizationStatus


def outcome(vm: VmRef, status: CustomizationStatus, started: float | None = None) -> VmOutcome:
    is_ready = status is STATUS.CUSTOMIZATION_SUCCEEDED
    return VmOutcome(vm.key, vm.id, vm.name, status, is_ready, started_at=None if started is None else at(started))


def test_only_what_changed_is_named_and_everything_is_there() -> None:
    """An update has all outcomes, also those that were not made again, and names those with another status."""
    updates: list[Update] = []
    reporter = ProgressReporter(updates.append, 100.0)
    reporter.report([outcome(vm, STATUS.VM_NOT_STARTED) for vm in VMS], 100.0)

    reporter.report([outcome(VMS[1], STATUS.CUSTOMIZATION_SUCCEEDED)], 107.0)

    assert [o.key for o in updates[1].changed] == ["b"]
    assert [o.status for o in updates[1].outcomes] == [STATUS.VM_NOT_STARTED, STATUS.CUSTOMIZATION_SUCCEEDED]
    assert (updates[1].wait_seconds, updates[1].lasting) == (7.0, {"vm-1": 7.0, "vm-2": 0.0})
    assert [reporter.was_ready(vm) for vm in (*VMS, VmRef("c", "vm-3", "c"))] == [False, True, None]


def test_nothing_new_is_told_at_the_heartbeat_only() -> None:
    """Without a change the listener hears nothing until the heartbeat is due."""
    updates: list[Update] = []
    reporter = ProgressReporter(updates.append, 0.0, heartbeat=5.0)
    same = [outcome(VMS[0], STATUS.VM_NOT_STARTED)]
    for second in (0.0, 4.0, 5.0, 6.0):
        reporter.report(same, second)

    assert [update.wait_seconds for update in updates] == [0.0, 5.0]


def test_a_note_is_told_once_and_kept() -> None:
    """A note makes an update of its own, and stays for the report."""
    updates: list[Update] = []
    reporter = ProgressReporter(updates.append, 0.0)
    reporter.report([outcome(VMS[0], STATUS.VM_NOT_STARTED)], 0.0)
    reporter.note("retried")
    reporter.report([], 1.0)
    reporter.report([], 2.0)

    assert [update.notes for update in updates] == [(), ("retried",)]
    assert reporter.notes == ["retried"]


def test_a_status_lasts_by_the_server_s_clock_where_it_is_dated() -> None:
    """A customization that started before the wait is as old as the server reports."""
    updates: list[Update] = []
    reporter = ProgressReporter(updates.append, 0.0)
    running = outcome(VMS[0], STATUS.CUSTOMIZATION_STARTED, started=10)

    reporter.report([running], 0.0, at(45).timestamp())

    assert updates[0].lasting == {"vm-1": 35.0}
