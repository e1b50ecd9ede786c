"""What the source for Cloud Director reads a second time: VMs that have ended, and VMs that cannot be read."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, SimulatedVm, vapp_uuid
from lab.cloud_director.faults import Fault
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director import poller, tracked_vm
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.model import GateReport, Snapshot
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.recency import AGREEMENT
from pulumi_customization_gate.core.status import FailureKind
from pulumi_customization_gate.core.wait import wait
from tests.lab.sources import cloud_director_source, shorten_intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
    from pulumi_customization_gate.core.model import Observation

RECHECK = 0.4
STATUS = "guestcustomizationstatus"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(Cloud("acme", "ann", "s3cret"), certificate(Home())) as running:
        yield running


@pytest.fixture
def lab(server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    server.cloud.clear()
    shorten_intervals(monkeypatch, agreement=RECHECK)
    monkeypatch.setattr(poller, "POWER_INTERVAL", 0.2)
    yield server
    server.faults.clear()


def settings_of(lab: Running) -> CloudDirectorSettings:
    ca_file = str(certificate(Home()) / "ca.pem")
    return CloudDirectorSettings(lab.url, lab.cloud.org, lab.cloud.user, lab.cloud.password, ca_file=ca_file)


def source_of(lab: Running, *vms: SimulatedVm) -> CloudDirectorSource:
    return cloud_director_source(settings_of(lab), {vm.name: vm.urn for vm in vms})


def vm_in(lab: Running, name: str, state: str) -> SimulatedVm:
    """Returns a VM in a state, whose record does not report it: nothing hints at a change."""
    vm = lab.cloud.add(name)
    vm.set_state, vm.record_state = state, ""
    return vm


class Waiting:
    """A wait under way in another thread."""

    def __init__(self, source: CloudDirectorSource, **rules: Any) -> None:
        self._reports: list[GateReport] = []
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[source, WaitRules(**{"timeout": 20.0, **rules})])
        self._thread.start()
        assert self._settled.wait(10)

    def _run(self, source: CloudDirectorSource, rules: WaitRules) -> None:
        self._reports.append(wait(source, rules, listener=lambda _: self._settled.set()))

    def is_over_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def report(self) -> GateReport:
        self._thread.join(30)
        return self._reports[0]


# ---- VMs whose customization has ended


def test_a_vm_that_is_customized_again_holds_the_gate(lab: Running) -> None:
    """A VM that is pending again when the last one completes keeps the gate closed until it completes again."""
    again, late = vm_in(lab, "web-0", "GC_COMPLETE"), vm_in(lab, "web-1", "GC_PENDING")
    waiting = Waiting(source_of(lab, again, late))
    again.set_state = "GC_PENDING"
    late.set_state = "GC_COMPLETE"
    assert not waiting.is_over_within(1.5)
    again.set_state = "GC_COMPLETE"
    assert waiting.report().ready


def test_a_vm_that_fails_when_it_is_customized_again_fails_the_gate(lab: Running) -> None:
    """What counts is the state at the end of the wait, not the one in which a VM was first found complete."""
    again, late = vm_in(lab, "web-0", "GC_COMPLETE"), vm_in(lab, "web-1", "GC_PENDING")
    waiting = Waiting(source_of(lab, again, late))
    again.set_state = "GC_FAILED"
    late.set_state = "GC_COMPLETE"
    assert [o.status.value for o in waiting.report().outcomes] == ["CustomizationFailed", "CustomizationSucceeded"]


def test_a_vm_that_is_deleted_after_its_end_closes_the_gate(lab: Running) -> None:
    """A VM that was complete and is not there any more when the last one completes is VmRemoved."""
    deleted, late = vm_in(lab, "web-0", "GC_COMPLETE"), vm_in(lab, "web-1", "GC_PENDING")
    waiting = Waiting(source_of(lab, deleted, late))
    lab.cloud.remove(deleted)
    late.set_state = "GC_COMPLETE"
    assert [o.status.value for o in waiting.report().outcomes] == ["VmRemoved", "CustomizationSucceeded"]


def test_a_failed_vm_that_is_repaired_by_force_opens_the_gate(lab: Running) -> None:
    """A failure that a forced recustomization repaired during the wait does not count any more."""
    repaired, late = vm_in(lab, "web-0", "GC_FAILED"), vm_in(lab, "web-1", "GC_PENDING")
    waiting = Waiting(source_of(lab, repaired, late))
    repaired.set_state = "GC_COMPLETE"
    late.set_state = "GC_COMPLETE"
    assert waiting.report().ready


@pytest.mark.parametrize("state", ["GC_COMPLETE", "GC_FAILED"])
def test_a_vm_that_has_ended_is_read_at_a_slower_pace(
    lab: Running, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """After the end of its customization a VM is read once per SETTLED_INTERVAL, and a change is reported."""
    monkeypatch.setattr(tracked_vm, "SETTLED_INTERVAL", 1.0)
    vm = vm_in(lab, "web-0", state)
    with started(lab, vm) as source:
        lab.cloud.reset_stats()
        observed(source, lambda _: False, 2.5)
        assert 1 <= lab.cloud.calls[f"GET /api/vApp/vm/{STATUS}"] <= 3
        vm.set_state = "GC_PENDING"
        assert observed(source, lambda o: isinstance(o, Snapshot) and o.state == "GC_PENDING")


def test_a_record_hints_at_a_vm_that_is_customized_again(lab: Running) -> None:
    """Where records report the state, a VM that has ended is read as soon as its record differs."""
    vm = lab.cloud.add("web-0")
    vm.set_state = "GC_COMPLETE"
    with started(lab, vm) as source:
        vm.set_state = "GC_PENDING"
        assert observed(source, lambda o: isinstance(o, Snapshot) and o.state == "GC_PENDING", 3.0)


# ---- VMs that cannot be read


@pytest.mark.parametrize("kind", ["no-entity", "no-right"])
def test_one_refusal_does_not_remove_a_vm(lab: Running, kind: str) -> None:
    """A VM that is refused once and readable a moment later is neither removed nor without permission."""
    vm = vm_in(lab, "web-0", "GC_PENDING")
    waiting = Waiting(source_of(lab, vm))
    lab.faults.add(Fault(kind, vm.uuid, times=2))
    assert not waiting.is_over_within(RECHECK + 0.3)
    vm.set_state = "GC_COMPLETE"
    assert waiting.report().ready


@pytest.mark.parametrize("kind", ["no-entity", "no-right"])
def test_one_refusal_at_the_start_does_not_remove_a_vm(lab: Running, kind: str) -> None:
    """The start reads what was refused a second time before it ends the wait."""
    vm = vm_in(lab, "web-0", "GC_COMPLETE")
    lab.faults.add(Fault(kind, f"{vm.uuid}/{STATUS}", times=1))
    lab.faults.add(Fault(kind, f"vm-{vm.uuid}", times=1))
    assert wait(source_of(lab, vm), WaitRules(timeout=20)).ready


@pytest.mark.parametrize(
    ("kind", "path", "failure"),
    [
        pytest.param("no-entity", "vm-", FailureKind.NOT_FOUND, id="unknown-or-hidden"),
        pytest.param("no-right", "vm-", FailureKind.NO_PERMISSION, id="a-right-is-missing"),
        pytest.param("no-right", STATUS, FailureKind.NO_PERMISSION, id="on-the-status-alone"),
        pytest.param("no-entity", STATUS, FailureKind.NO_PERMISSION, id="the-vm-itself-is-readable"),
    ],
)
def test_a_refusal_says_whether_the_vm_or_a_right_is_missing(
    lab: Running, kind: str, path: str, failure: FailureKind
) -> None:
    """Two refusals end the wait at once, with the server's words, and a missing right is not a removal."""
    vm = vm_in(lab, "web-0", "GC_PENDING")
    lab.faults.add(Fault(kind, path))
    began = time.monotonic()
    (outcome,) = wait(source_of(lab, vm), WaitRules(timeout=20)).outcomes
    assert outcome.failure is not None
    assert outcome.failure.kind is failure
    assert "following rights" in outcome.failure.message
    assert AGREEMENT <= time.monotonic() - began < 5


def test_a_vm_that_can_be_read_again_counts_again(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest look counts: a right that is granted during the wait undoes the refusal."""
    monkeypatch.setattr(tracked_vm, "SETTLED_INTERVAL", 0.3)
    hidden, late = vm_in(lab, "web-0", "GC_COMPLETE"), vm_in(lab, "web-1", "GC_PENDING")
    lab.faults.add(Fault("no-right", hidden.uuid))
    waiting = Waiting(source_of(lab, hidden, late), stop_on_missing=False)
    lab.faults.clear()
    late.set_state = "GC_COMPLETE"
    assert waiting.report().ready


def test_a_deadline_leaves_no_time_for_a_second_look(lab: Running) -> None:
    """A VM that was complete and whose last read was refused keeps the gate closed, though it was refused once."""
    vm, late = vm_in(lab, "web-0", "GC_COMPLETE"), vm_in(lab, "web-1", "GC_PENDING")
    waiting = Waiting(source_of(lab, vm, late), stop_on_missing=False, timeout=3.0)
    assert not waiting.is_over_within(2.2)
    lab.cloud.remove(vm)
    outcome = waiting.report().outcomes[0]
    assert outcome.failure is not None
    assert (outcome.ready, outcome.failure.kind) == (False, FailureKind.NOT_FOUND)


def test_a_vapp_that_is_refused_once_is_read_again(lab: Running) -> None:
    """One refusal of a vApp does not make it missing; two do."""
    vm = lab.cloud.add("db", "shop")
    vm.set_state = "GC_COMPLETE"
    lab.faults.add(Fault("no-entity", "vapp-", times=1))
    vapp = {"shop": f"urn:vcloud:vapp:{vapp_uuid('shop')}"}
    found = wait(cloud_director_source(settings_of(lab), vapp), WaitRules(timeout=20))
    assert [(o.key, o.ready) for o in found.outcomes] == [("shop/db", True)]
    lab.faults.add(Fault("no-right", "vapp-"))
    (outcome,) = wait(cloud_director_source(settings_of(lab), vapp), WaitRules(timeout=20)).outcomes
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.NO_PERMISSION


@contextmanager
def started(lab: Running, *vms: SimulatedVm) -> Iterator[CloudDirectorSource]:
    source = source_of(lab, *vms)
    try:
        source.start()
        source.poll(0)
        yield source
    finally:
        source.close()


def observed(source: CloudDirectorSource, wanted: Callable[[Observation], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(map(wanted, source.poll(0.2))):
            return True
    return False
