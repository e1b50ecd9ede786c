"""How often VMs are read, and what an answer changes, against the lab's API in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.cloud_director.cloud import UNKNOWN
from lab.cloud_director.faults import Fault
from pulumi_customization_gate.cloud_director.tracked_vm import (
    LONGEST_INTERVAL,
    RECONCILE_INTERVAL,
    SETTLED_INTERVAL,
)
from pulumi_customization_gate.core.errors import AuthenticationError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.core.recency import AGREEMENT
from pulumi_customization_gate.core.status import Progress

if TYPE_CHECKING:
    from lab.cloud_director.cloud import SimulatedVm
    from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
    from pulumi_customization_gate.core.model import Observation
    from tests.unit.cloud_director.in_memory import InMemory

STATUS = "guestcustomizationstatus"


def started(lab: InMemory, *vms: SimulatedVm) -> CloudDirectorSource:
    source = lab.source({vm.name: vm.urn for vm in vms})
    source.start()
    source.poll(0)
    lab.server.log.clear()
    return source


def poll_for(lab: InMemory, source: CloudDirectorSource, seconds: float) -> list[Observation]:
    """Polls for so many seconds of the clock."""
    end = lab.clock.now + seconds
    observations: list[Observation] = []
    while lab.clock.now < end:
        observations += source.poll(end - lab.clock.now)
    return observations


def refreshed(source: CloudDirectorSource, timeout: float) -> list[Observation]:
    """Reads everything once more, and returns what was observed."""
    source.refresh(timeout)
    return list(source.poll(0))


def states(observations: list[Observation]) -> list[str]:
    return [observation.state for observation in observations if isinstance(observation, Snapshot)]


def test_each_state_is_reported_once_in_order(lab: InMemory) -> None:
    """Whatever path the states take, each change is reported, at times that grow."""
    vm = lab.vm("web-0")
    source = started(lab, vm)
    path = ["REBOOT_PENDING", "POST_GC_PENDING", "GC_PENDING", UNKNOWN, "GC_FAILED", "GC_COMPLETE"]
    observations = []
    for state in path:
        vm.set_state = state
        observations += poll_for(lab, source, 1.2 * SETTLED_INTERVAL)
    changes = [
        state for at, state in enumerate(states(observations)) if at == 0 or states(observations)[at - 1] != state
    ]
    assert changes == path
    times = [observation.at for observation in observations if isinstance(observation, Snapshot)]
    assert times == sorted(set(times))


def test_a_vm_without_hints_is_read_less_often_while_nothing_changes(lab: InMemory) -> None:
    """The interval grows to LONGEST_INTERVAL: a minute costs a few requests and not sixty."""
    source = started(lab, lab.vm("web-0"))
    poll_for(lab, source, 60)
    assert 6 <= lab.server.count(STATUS) <= 15


def test_a_vm_with_hints_is_read_every_half_minute(lab: InMemory) -> None:
    """While its record agrees with its state, the inventory is what is read."""
    source = started(lab, lab.vm("web-0", record=None))
    poll_for(lab, source, 10 * RECONCILE_INTERVAL)
    assert 8 <= lab.server.count(STATUS) <= 11
    assert lab.server.count("/api/query") > 20


def test_a_hint_is_followed_at_once(lab: InMemory) -> None:
    """A record whose state differs makes the status be read, long before its interval is over."""
    vm = lab.vm("web-0", record=None)
    source = started(lab, vm)
    vm.set_state = "GC_COMPLETE"
    assert set(states(poll_for(lab, source, 3))) == {"GC_COMPLETE"}


def test_a_record_that_is_wrong_is_not_followed_for_long(lab: InMemory) -> None:
    """After three hints without a change the VM is read at its own pace."""
    source = started(lab, lab.vm("web-0", record="GC_COMPLETE"))
    assert states(poll_for(lab, source, 120)) == []
    assert lab.server.count(STATUS) < 30


def test_a_record_that_disappears_is_a_hint(lab: InMemory) -> None:
    """A VM that the inventory had and has no more is read at once, and again soon."""
    vm = lab.vm("web-0", "GC_COMPLETE", record=None)
    source = started(lab, vm)
    lab.cloud.remove(vm)
    assert [type(o) for o in poll_for(lab, source, 3 * LONGEST_INTERVAL)] == [Missing, Missing]


def test_many_vms_cost_few_requests_while_nothing_changes(lab: InMemory) -> None:
    """A round reads 60 records with two requests, and the status of none."""
    source = started(lab, *(lab.vm(f"vm-{number}", record=None) for number in range(60)))
    poll_for(lab, source, 4)
    assert set(lab.server.log) == {"GET /api/query"}
    assert len(lab.server.log) <= 8


@pytest.mark.parametrize("state", ["GC_COMPLETE", "GC_FAILED"])
def test_a_vm_that_has_ended_is_read_at_a_slower_pace(lab: InMemory, state: str) -> None:
    """Its status is read once per SETTLED_INTERVAL, and a change is found by that."""
    vm = lab.vm("web-0", state)
    source = started(lab, vm)
    assert poll_for(lab, source, 5 * SETTLED_INTERVAL) == []
    assert 4 <= lab.server.count(STATUS) <= 7
    vm.set_state = "GC_PENDING"
    assert states(poll_for(lab, source, 1.3 * SETTLED_INTERVAL))[:1] == ["GC_PENDING"]


def test_a_record_that_followed_the_status_confirms_the_end(lab: InMemory) -> None:
    """The last read of many VMs costs a query per 50, where their records were right; what differs is read."""
    vms = [lab.vm(f"vm-{number}", record=None) for number in range(20)]
    source = started(lab, *vms)
    for vm in vms:
        vm.set_state = "GC_COMPLETE"
    poll_for(lab, source, 5)
    lab.server.log.clear()
    assert refreshed(source, 5) == []
    assert lab.server.log == ["GET /api/query"]
    vms[7].set_state = "GC_PENDING"
    lab.cloud.remove(vms[8])
    seen = refreshed(source, 20)
    assert {(type(o), o.vm) for o in seen} == {
        (Snapshot, f"vm-{vms[7].uuid}"),
        (Missing, f"vm-{vms[8].uuid}"),
    }
    assert lab.server.count(STATUS) == 2


def test_without_the_inventory_the_status_confirms_the_end(lab: InMemory) -> None:
    """A record that cannot be read confirms nothing: the status is read."""
    vm = lab.vm("web-0", record=None)
    source = started(lab, vm)
    vm.set_state = "GC_COMPLETE"
    poll_for(lab, source, 5)
    lab.faults.add(Fault("status", "/api/query", status=503))
    vm.set_state = "GC_FAILED"
    assert set(states(refreshed(source, 5))) == {"GC_FAILED"}


def test_a_record_that_was_wrong_does_not_confirm_the_end(lab: InMemory) -> None:
    """A record that once hinted at nothing is not trusted: the status is read."""
    vm = lab.vm("web-0", record="GC_FAILED")
    source = started(lab, vm)
    poll_for(lab, source, 2)
    vm.record_state = None
    vm.set_state = "GC_COMPLETE"
    poll_for(lab, source, 40)
    vm.record_state, vm.set_state = "GC_COMPLETE", "GC_PENDING"
    assert states(refreshed(source, 5))[-1] == "GC_PENDING"


def test_a_refusal_is_reported_and_looked_at_again(lab: InMemory) -> None:
    """Each refusal is reported as one that needs a second look, which follows AGREEMENT seconds later."""
    vm = lab.vm("web-0")
    source = started(lab, vm)
    lab.cloud.remove(vm)
    first, second = poll_for(lab, source, 5)
    assert isinstance(first, Missing)
    assert isinstance(second, Missing)
    assert (first.needs_second_look, second.needs_second_look) == (True, True)
    assert second.asked_at - first.asked_at == pytest.approx(AGREEMENT)
    assert lab.server.count(STATUS) == 2


def test_a_missing_vm_is_looked_for_again(lab: InMemory) -> None:
    """A VM that can be read again is reported with a newer time than its absence."""
    vm = lab.vm("web-0", "GC_COMPLETE")
    source = started(lab, vm)
    lab.faults.add(Fault("no-right", vm.uuid))
    missing = refreshed(source, 20)[-1]
    lab.faults.clear()
    *_, snapshot = poll_for(lab, source, 1.3 * SETTLED_INTERVAL)
    assert isinstance(missing, Missing)
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.progress, snapshot.at > missing.at) == (Progress.SUCCEEDED, True)


def test_an_answer_that_is_overtaken_does_not_count(lab: InMemory) -> None:
    """Of two answers that arrive in the wrong order the older request's is dropped."""
    vm = lab.vm("web-0")
    source = started(lab, vm)
    lab.executor.is_held = True
    lab.clock.now += LONGEST_INTERVAL
    source.poll(0)
    source.refresh(0.1)
    lab.executor.run_newest()
    vm.set_state = "GC_COMPLETE"
    lab.executor.run_newest()
    vm.set_state = "GC_FAILED"
    lab.executor.release()
    assert {*states(list(source.poll(0)))[-1:], *states(list(source.poll(0)))} == {"GC_COMPLETE"}


def test_a_read_that_takes_longer_than_a_refresh_is_the_next_one_s(lab: InMemory) -> None:
    """No VM is read twice meanwhile, so that the read ends; it begins anew once a state has changed."""
    vms = [lab.vm(f"web-{number}", "GC_COMPLETE", record=None) for number in range(3)]
    source = started(lab, *vms)
    lab.executor.is_held = True
    assert not source.refresh(0.1)
    for _ in range(2):  # the inventory's record, and the state of the last VM
        lab.executor.run_newest()
    source.poll(0)
    assert not source.refresh(0.1)
    lab.executor.release()
    assert source.refresh(0.1)
    assert lab.server.count(STATUS) == len(vms)

    lab.executor.is_held = True
    assert not source.refresh(0.1)
    vms[-1].set_state = "GC_PENDING"
    for _ in range(2):  # the inventory's record, and the state of the last VM
        lab.executor.run_newest()
    source.poll(0)
    source.refresh(0.1)
    lab.executor.release()
    assert lab.server.count(STATUS) >= 3 * len(vms)


def test_faults_are_retried_and_noted_once_per_kind(lab: InMemory) -> None:
    """A server that fails now and then slows the wait down and does not break it."""
    vm = lab.vm("web-0")
    source = started(lab, vm)
    lab.faults.add(Fault("status", STATUS, times=3, status=500))
    lab.faults.add(Fault("broken-xml", STATUS, times=3))
    poll_for(lab, source, 60)
    vm.set_state = "GC_COMPLETE"
    assert set(states(poll_for(lab, source, 20))) == {"GC_COMPLETE"}
    assert [note.partition(":")[0] for note in source.notes()] == ["retried", "retried"]


def test_without_the_inventory_every_vm_is_read_at_its_own_pace(lab: InMemory) -> None:
    """A query service that fails gives no hints: no VM waits for them."""
    vm = lab.vm("web-0", record=None)
    source = started(lab, vm)
    lab.faults.add(Fault("status", "/api/query", status=503))
    vm.set_state = "GC_COMPLETE"
    assert set(states(poll_for(lab, source, 1.5 * LONGEST_INTERVAL))) == {"GC_COMPLETE"}


def test_a_pause_that_the_server_requests_is_kept(lab: InMemory) -> None:
    """After a 429 with Retry-After nothing is sent until that time has passed."""
    source = started(lab, *(lab.vm(f"web-{number}") for number in range(3)))
    lab.faults.add(Fault("status", STATUS, times=1, status=429, retry_after="30"))
    poll_for(lab, source, 2)
    sent = len(lab.server.log)
    poll_for(lab, source, 25)
    assert len(lab.server.log) == sent
    poll_for(lab, source, 10)
    assert len(lab.server.log) > sent


def test_an_undocumented_state_is_noted_once(lab: InMemory) -> None:
    """It ends nothing, and is named with the user's key."""
    vm = lab.vm("web-0", UNKNOWN)
    source = started(lab, vm)
    poll_for(lab, source, 60)
    assert source.notes() == [f"web-0: Cloud Director reports a state that is not documented, {UNKNOWN}"]


def test_a_login_that_is_refused_during_the_wait_ends_it(lab: InMemory) -> None:
    """When the new login is refused, a longer wait cannot help."""
    source = started(lab, lab.vm("web-0"))
    lab.cloud.password = "another"
    lab.cloud.end_sessions()
    with pytest.raises(AuthenticationError, match="refuses the login"):
        poll_for(lab, source, 60)


def test_no_vm_means_no_work(lab: InMemory) -> None:
    """A wait for nothing waits without a request."""
    source = started(lab)
    assert poll_for(lab, source, 60) == []
    assert lab.server.log == []
