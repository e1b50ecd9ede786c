"""The source for Cloud Director against the lab's API in memory: by a clock of its own, without a socket."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director.cloud import Plan, vapp_uuid
from lab.cloud_director.faults import Fault
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ConfigurationError, ServerError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import Missing, PreviouslyCustomized, Snapshot
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import FailureKind
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.lifecycle.arguments import GateArguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.cloud_director.session import Session
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
    from tests.unit.cloud_director.in_memory import InMemory

STATUS = "guestcustomizationstatus"


def nobody(kind: str = "vm") -> str:
    return f"urn:vcloud:{kind}:{vapp_uuid('nobody')}"


# ---- the start


def test_a_new_source_has_sent_nothing(lab: InMemory) -> None:
    """The constructor assigns; only `start` acts."""
    lab.source({"web-0": lab.vm("web-0").urn})
    assert lab.server.log == []


@pytest.mark.parametrize(
    ("as_list", "key"), [pytest.param(False, "mine", id="map"), pytest.param(True, "web-0", id="list")]
)
def test_the_start_returns_the_names_that_the_inventory_has(lab: InMemory, as_list: bool, key: str) -> None:
    """A VM is reported under the user's key, or in a list under its name."""
    vm = lab.vm("web-0")
    source = lab.source([vm.urn] if as_list else {"mine": vm.urn})
    assert [(ref.key, ref.id, ref.name) for ref in source.start()] == [(key, f"vm-{vm.uuid}", "web-0")]


def test_the_first_poll_returns_what_the_start_read(lab: InMemory) -> None:
    """The state, the power and the address of each VM are there without another request."""
    vm = lab.vm("web-0", "GC_COMPLETE")
    source = lab.source({"web-0": vm.urn})
    source.start()
    sent = len(lab.server.log)
    *_, snapshot = source.poll(0)
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.state, snapshot.power.is_on, snapshot.ip_addresses) == ("GC_COMPLETE", True, (vm.ip_address,))
    assert len(lab.server.log) == sent


def test_a_vapp_represents_its_vms(lab: InMemory) -> None:
    """Each VM of a vApp has the user's key and its own name, or its own name alone."""
    for name in ("app", "db"):
        lab.cloud.add(name, "shop")
    vapp = f"urn:vcloud:vapp:{vapp_uuid('shop')}"
    assert [vm.key for vm in lab.source({"shop": vapp}).start()] == ["shop/app", "shop/db"]
    assert [vm.key for vm in lab.source([vapp]).start()] == ["app", "db"]


def test_a_start_that_acquires_the_login_after_close_releases_it(lab: InMemory) -> None:
    """A wait that is cancelled closes the source while its start still runs: no session is left behind."""
    held: list[str] = []
    source = lab.source([lab.vm("web-0").urn])
    connect = source._connect

    @contextlib.contextmanager
    def slow(settings: CloudDirectorSettings) -> Iterator[Session]:
        source.close()
        with connect(settings) as session:
            held.append("acquired")
            yield session
        held.append("released")

    source._connect = slow
    with contextlib.suppress(ServerError):
        source.start()
    assert held == ["acquired", "released"]


def test_a_vm_that_is_named_twice_is_an_error(lab: InMemory) -> None:
    """The same VM by itself and in its vApp is refused, with both keys."""
    vm = lab.cloud.add("db", "shop")
    source = lab.source({"shop": f"urn:vcloud:vapp:{vapp_uuid('shop')}", "mine": vm.urn})
    with pytest.raises(ConfigurationError, match="'shop/db' and 'mine', which are the same VM"):
        source.start()


def test_an_empty_vapp_is_an_error(lab: InMemory) -> None:
    """A vApp without VMs would open the gate for nothing."""
    lab.cloud.empty_vapps.add("bare")
    with pytest.raises(ConfigurationError, match="expected a vApp with at least one VM, got 'bare'"):
        lab.source({"bare": f"urn:vcloud:vapp:{vapp_uuid('bare')}"}).start()


def test_a_vm_that_was_ready_before_is_not_read(lab: InMemory) -> None:
    """It is named with the user's key, and costs no request."""
    ready, new = lab.vm("ready"), lab.vm("new")
    source = lab.source({"a": ready.urn, "b": new.urn}, already_ready={f"vm-{ready.uuid}"})
    assert [vm.key for vm in source.start()] == ["b"]
    assert source.already_ready == [("a", f"vm-{ready.uuid}")]
    assert lab.server.count(ready.uuid) == 0


def test_a_vm_of_another_server_inherits_nothing(lab: InMemory) -> None:
    """What was found at another address is neither kept nor evidence; what is not known does not count."""
    vm = lab.vm("web-0", "GC_DISABLED")
    moid = f"vm-{vm.uuid}"
    for judged_on, kept in (("https://vcd2.example.com", False), ("https://vcd.example.com", True), ("", True)):
        known = {"previously_customized": {moid}, "judged_as": {moid: Identity(judged_on)}}
        ready = lab.source({"web-0": vm.urn}, already_ready={moid}, **known)
        ready.start()
        judged = lab.source({"web-0": vm.urn}, **known)
        judged.start()
        assert (bool(ready.already_ready), PreviouslyCustomized(moid) in judged.poll(0)) == (kept, kept)
        assert ready.server_id == "https://vcd.example.com"


def test_a_vapp_names_the_vms_that_are_in_it_now(lab: InMemory) -> None:
    """A diff finds out which VMs are in a vApp by one request; a vApp that is gone is named itself."""
    members = [lab.cloud.add(name, "shop") for name in ("app", "db")]
    named = lab.named_now(f"urn:vcloud:vapp:{vapp_uuid('shop')}", nobody("vapp"))
    assert named == [{f"vm-{vm.uuid}": "" for vm in members}, {f"vapp-{vapp_uuid('nobody')}": ""}]
    assert lab.server.count("/api/vApp/vapp-") == len(named)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_the_start_retries_what_may_pass(lab: InMemory, status: int) -> None:
    """A server that is not up yet is tried again, and noted once."""
    lab.faults.add(Fault("status", "/api/versions", times=2, status=status, retry_after="2"))
    source = lab.source({"web-0": lab.vm("web-0").urn})
    source.start()
    (note,) = source.notes()
    assert note.startswith(f"retried: https://vcd.example.com answered GET /api/versions with {status}")
    assert source.notes() == []


def test_the_start_gives_up_at_its_time_out(lab: InMemory) -> None:
    """A server that cannot be reached is an error that names it, after the time-out."""
    lab.server.is_reachable = False
    source = lab.source({"web-0": lab.vm("web-0").urn}, retry_timeout=10.0)
    with pytest.raises(ServerError, match="did not answer GET /api/versions: connection refused"):
        source.start()
    assert 1005.0 < lab.clock.now <= 1010.0


def test_the_start_does_not_retry_what_cannot_pass(lab: InMemory) -> None:
    """A redirect is an error at once."""
    lab.faults.add(Fault("redirect", "/api/versions", location="https://elsewhere.example.com/"))
    with pytest.raises(ApiError, match="redirects GET /api/versions to https://elsewhere"):
        lab.source({}).start()
    assert lab.server.log == ["GET /api/versions"]


def test_a_refused_login_ends_the_start(lab: InMemory) -> None:
    """A wrong password is sent once."""
    lab.cloud.password = "another"
    with pytest.raises(AuthenticationError, match="refuses the login of ann@acme"):
        lab.source({}).start()
    assert lab.server.count("POST") == 1


def test_a_start_whose_requests_hang_returns_at_its_time_out(lab: InMemory) -> None:
    """What has no answer by then is read by the wait."""
    lab.executor.is_held = True
    source = lab.source({"web-0": lab.vm("web-0").urn}, retry_timeout=10.0)
    assert [vm.name for vm in source.start()] == [f"vm-{lab.cloud.vms()[0].uuid}"]
    assert source.poll(0) == []
    lab.executor.release()
    assert [type(observation) for observation in source.poll(1)] == [Snapshot]


# ---- VMs and vApps that cannot be read


@pytest.mark.parametrize("kind", ["vm", "vapp"])
def test_what_is_not_found_is_missing(lab: InMemory, kind: str) -> None:
    """An unknown VM or vApp is reported by the start, in the place that the user gave it."""
    source = lab.source({"x": nobody(kind), "web-0": lab.vm("web-0").urn})
    assert [vm.key for vm in source.start()] == ["x", "web-0"]
    (missing,) = [o for o in [*source.poll(0), *source.poll(0)] if isinstance(o, Missing)]
    assert missing.kind is FailureKind.NOT_FOUND
    assert f"no such {'VM' if kind == 'vm' else 'vApp'}, or it is hidden from the user" in missing.message
    # The members of a vApp are found once, by the start: it alone can look again.
    assert (missing.needs_second_look, lab.clock.now) == ((True, 1000.0) if kind == "vm" else (False, 1002.0))


@pytest.mark.parametrize("path", ["vm-", STATUS, "vapp-"])
def test_a_missing_right_is_a_kind_of_its_own(lab: InMemory, path: str) -> None:
    """A 403 that names a right, or one for the status of a VM that can be read, is not a removal."""
    vm = lab.vm("web-0")
    lab.faults.add(Fault("no-right", path))
    name = f"urn:vcloud:vapp:{vapp_uuid('web')}" if path == "vapp-" else vm.urn
    source = lab.source({"web-0": name})
    source.start()
    (missing,) = source.poll(0)
    assert isinstance(missing, Missing)
    assert missing.kind is FailureKind.NO_PERMISSION


def test_a_refused_query_does_not_hide_a_vm(lab: InMemory) -> None:
    """Where the query service is closed to the user, the VM's own document has its name and power state."""
    lab.faults.add(Fault("forbidden-page", "/api/query"))
    source = lab.source(["vm-" + lab.vm("web-0").uuid])
    assert [vm.key for vm in source.start()] == ["web-0"]


def test_a_vm_that_is_not_in_the_inventory_costs_no_fault(lab: InMemory) -> None:
    """A VM that neither query nor document reports is left to its status."""
    source = lab.source({"web-0": nobody()})
    source.start()
    assert source.notes() == []


# ---- the wait, by the clock


def test_a_wait_opens_once_all_vms_are_complete(lab: InMemory) -> None:
    """The gate opens with the state as evidence."""
    vm = lab.vm("web-0", "GC_COMPLETE")
    report = wait(lab.source({"web-0": vm.urn}), WaitRules(timeout=60), clock=lab.clock)
    assert (report.ready, lab.server.is_closed) == (True, True)


def test_a_vm_that_is_customized_again_is_found_at_the_end(lab: InMemory) -> None:
    """The last read before the gate opens reads every VM, and one that is pending again keeps it closed."""
    again, late = lab.vm("web-0", "GC_COMPLETE"), lab.vm("web-1")
    seen: list[str] = []

    def change(_: object) -> None:
        if not seen:
            seen.append("first update")
            again.set_state, late.set_state = "GC_PENDING", "GC_COMPLETE"

    vms = {"web-0": again.urn, "web-1": late.urn}
    report = wait(lab.source(vms), WaitRules(timeout=60, start_timeout=60), clock=lab.clock, listener=change)
    assert [(o.ready, o.failure and o.failure.kind) for o in report.outcomes] == [
        (False, FailureKind.TIMEOUT),
        (True, None),
    ]


@pytest.mark.parametrize(
    ("minutes", "failure"),
    [
        pytest.param(12, None, id="in time"),
        pytest.param(17, FailureKind.TIMEOUT, id="too late"),
    ],
)
def test_a_windows_guest_is_pending_throughout_sysprep(
    lab: InMemory, minutes: int, failure: FailureKind | None
) -> None:
    """Only the deadline limits GC_PENDING while VMware Tools run, also after the ten minutes of another platform."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", start_delay=0.0))

    def sysprep(_: object) -> None:
        if lab.clock.now >= 1000 + 60 * minutes:
            vm.set_state = "GC_COMPLETE"

    rules = GateArguments.of({"vms": [vm.urn], "platform": "cloud_director", "timeout": "15m"}).rules
    (outcome,) = wait(lab.source({"web-0": vm.urn}), rules, clock=lab.clock, listener=sysprep, heartbeat=10.0).outcomes
    assert (outcome.ready, outcome.failure and outcome.failure.kind) == (failure is None, failure)


def test_a_vm_that_stays_off_is_called_a_missed_start(lab: InMemory) -> None:
    """A powered-off VM cannot have started, whatever its state may mean."""
    vm = lab.cloud.add("web-0", on=False)
    rules = GateArguments.of({"vms": [vm.urn], "platform": "cloud_director", "timeout": 60}).rules
    (outcome,) = wait(lab.source({"web-0": vm.urn}), rules, clock=lab.clock).outcomes
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.START_TIMEOUT


def test_a_refusal_in_the_last_read_needs_a_second_look(lab: InMemory) -> None:
    """A VM that is complete and refused in the last read is read again soon, and is there."""
    vm = lab.vm("web-0", "GC_COMPLETE")
    source = lab.source({"web-0": vm.urn})
    source.start()
    source.poll(0)
    lab.faults.add(Fault("no-entity", vm.uuid, times=2))
    assert source.refresh(20.0)
    refused = source.poll(0)[-1]
    assert isinstance(refused, Missing)
    assert refused.needs_second_look
    assert [type(o) for o in source.poll(20.0)] == [Snapshot]


def test_a_refused_login_in_the_last_read_keeps_what_came_before(lab: InMemory) -> None:
    """A refresh returns what it has, and the next poll says that the login was refused."""
    source = lab.source({"web-0": lab.vm("web-0").urn})
    source.start()
    lab.cloud.end_sessions()
    lab.cloud.password = "another"
    assert not source.refresh(5.0)
    assert [type(observation) for observation in source.poll(0)] == [Snapshot]
    lab.clock.now += 60
    with pytest.raises(AuthenticationError):
        source.poll(0)


def test_an_earlier_success_follows_what_the_server_reports(lab: InMemory) -> None:
    """Who was customized by an earlier wait is said after the state, never before it."""
    vm = lab.cloud.add("web-0", plan=Plan("disabled"))
    vm.record_state = ""
    source = lab.source({"web-0": vm.urn}, previously_customized={f"vm-{vm.uuid}"})
    source.start()
    assert [type(observation) for observation in source.poll(0)] == [Snapshot, PreviouslyCustomized]
    report = wait(
        lab.source({"web-0": vm.urn}, previously_customized={f"vm-{vm.uuid}"}),
        WaitRules(timeout=9),
        clock=lab.clock,
    )
    assert report.ready


def test_a_diagnosis_is_as_old_as_the_last_answer(lab: InMemory) -> None:
    """What is known and for how long, and that the server has stopped answering."""
    vm = lab.vm("web-0")
    source = lab.source({"web-0": vm.urn})
    (ref,) = source.start()
    source.poll(0)
    lab.clock.now += 90
    assert source.diagnose(ref, 0.5)[1:] == [
        "status: GC_PENDING for 1 min 30 s",
        "power: on",
        "VMware Tools: not running",
    ]
    lab.faults.add(Fault("status", STATUS, status=503))
    source.poll(0)
    cause, status, *_ = source.diagnose(ref, 0.5)
    assert "has not reported the VM's state for 1 min 30 s" in cause
    assert status == "status: GC_PENDING for 0 s"


def test_close_logs_out_and_may_come_twice(lab: InMemory) -> None:
    """The session ends with its last user."""
    source = lab.source({"web-0": lab.vm("web-0").urn})
    source.start()
    source.close()
    source.close()
    assert lab.server.count("DELETE /cloudapi/1.0.0/sessions/current") == 1
    assert lab.cloud.stats()["sessions"] == 0
