"""The source for Cloud Director against the lab's server: every way a customization can go."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import UNKNOWN, Cloud, Plan, SimulatedVm, vapp_uuid
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director import poller, tracked_vm
from pulumi_customization_gate.cloud_director.session import CONCURRENCY
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import GateReport, Snapshot
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import PowerState
from pulumi_customization_gate.core.wait import wait as wait_for_all
from tests.lab.sources import cloud_director_source, shorten_intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pulumi_customization_gate.cloud_director.source import CloudDirectorSource

STATUS = "guestcustomizationstatus"
FAST = Plan(start_delay=0.1, duration=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(Cloud("acme", "ann", "s3cret"), certificate(Home())) as running:
        yield running


@pytest.fixture
def lab(server: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    server.cloud.clear()
    shorten_intervals(monkeypatch)
    monkeypatch.setattr(poller, "POWER_INTERVAL", 0.2)
    return server


def settings(lab: Running) -> CloudDirectorSettings:
    ca_file = str(certificate(Home()) / "ca.pem")
    return CloudDirectorSettings(lab.url, lab.cloud.org, lab.cloud.user, lab.cloud.password, ca_file=ca_file)


def wait(lab: Running, references: Mapping[str, str], **rules: Any) -> GateReport:
    source = cloud_director_source(settings(lab), references)
    return wait_for_all(source, WaitRules(**{"timeout": 20.0, **rules}))


def observed_until(source: CloudDirectorSource, wanted: Callable[[Snapshot], bool]) -> list[Snapshot]:
    seen: list[Snapshot] = []
    deadline = time.monotonic() + 10
    while not any(map(wanted, seen)):
        assert time.monotonic() < deadline, seen
        seen += [observation for observation in source.poll(0.5) if isinstance(observation, Snapshot)]
    return seen


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(["GC_PENDING", "REBOOT_PENDING", "POST_GC_PENDING", "GC_COMPLETE"], id="the-long-way"),
        pytest.param(["GC_PENDING", "GC_COMPLETE"], id="no-reboot"),
        pytest.param(["GC_PENDING", "GC_FAILED"], id="failed-at-once"),
        pytest.param(["GC_PENDING", "REBOOT_PENDING", "GC_FAILED"], id="failed-before-the-reboot"),
        pytest.param(["GC_PENDING", "POST_GC_PENDING", "GC_FAILED"], id="failed-after-the-reboot"),
        pytest.param(["GC_PENDING", UNKNOWN, "GC_COMPLETE"], id="over-an-unknown-state"),
        pytest.param(["POST_GC_PENDING", "GC_PENDING", "GC_COMPLETE"], id="customized-again-on-a-reboot"),
        pytest.param(["GC_COMPLETE"], id="already-done"),
        pytest.param(["GC_FAILED"], id="already-failed"),
    ],
)
def test_every_state_is_reported_in_its_order(lab: Running, path: list[str]) -> None:
    """Each state is reported once, in the server's order, at growing times."""
    vm = lab.cloud.add("web-0")
    vm.set_state = path[0]
    source = cloud_director_source(settings(lab), {"web-0": vm.urn})
    try:
        source.start()
        seen: list[Snapshot] = []
        for word in path:
            vm.set_state = word
            seen += observed_until(source, partial(is_in, word))
    finally:
        source.close()
    changes = [snapshot.state for at, snapshot in enumerate(seen) if at == 0 or seen[at - 1].state != snapshot.state]
    assert path == changes
    assert [snapshot.at for snapshot in seen] == sorted({snapshot.at for snapshot in seen})


@pytest.mark.parametrize(
    ("outcome", "rules", "status", "event"),
    [
        pytest.param("succeeded", {}, "CustomizationSucceeded", "", id="succeeded"),
        pytest.param("failed", {}, "CustomizationFailed", "GC_FAILED", id="failed"),
        pytest.param("never-ends", {"timeout": 1.5}, "CustomizationStarted", "Timeout", id="never-ends"),
        pytest.param(
            "never-starts",
            {"timeout": 8.0, "start_timeout": 1.0},
            "CustomizationNotStarted",
            "StartTimeout",
            id="stuck",
        ),
        pytest.param("disabled", {}, "NotCustomized", "NoCustomization", id="disabled"),
        pytest.param(
            "disabled", {"requires_customization": False}, "NotCustomized", "", id="disabled-and-that-is-good"
        ),
        pytest.param(
            "succeeded",
            {"requires_customization": False},
            "CustomizationSucceeded",
            "",
            id="optional-waits-where-it-is-enabled",
        ),
    ],
)
def test_every_outcome_gets_its_verdict(
    lab: Running, outcome: str, rules: dict[str, Any], status: str, event: str
) -> None:
    """A wait ends with the status, and the failure if any, that belongs to what the VM did."""
    vm = lab.cloud.add("web-0", plan=Plan(outcome, FAST.start_delay, FAST.duration))
    (result,) = wait(lab, {"web-0": vm.urn}, **rules).outcomes
    assert (status, event) == (result.status.value, result.failure.name if result.failure else "")


def test_the_failure_of_a_customization_that_does_not_start_says_how_to_force_it(lab: Running) -> None:
    """GC_PENDING with the VM on and Tools running fails after start_timeout with the hint about forcing it."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 0.0))
    (outcome,) = wait(lab, {"web-0": vm.urn}, start_timeout=0.5).outcomes
    assert outcome.failure is not None
    assert "forceCustomization" in outcome.failure.diagnosis[0]
    assert list(outcome.failure.diagnosis[2:]) == ["power: on", "VMware Tools: running"]


@pytest.mark.parametrize("reports_tools", [True, False], ids=["tools-not-running", "tools-not-reported"])
def test_pending_without_tools_is_not_late(lab: Running, reports_tools: bool) -> None:
    """GC_PENDING may mean that customization runs: a late start is a failure only where Tools are known to run."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 60.0 if reports_tools else 0.0))
    vm.reports_tools = reports_tools
    (outcome,) = wait(lab, {"web-0": vm.urn}, timeout=1.5, start_timeout=0.3).outcomes
    assert outcome.failure is not None
    assert outcome.failure.name == "Timeout"


def test_disabled_customization_passes_where_tools_is_not_reported(lab: Running) -> None:
    """An older server that says nothing of Tools does not keep `requires_customization=False` from passing."""
    vm = lab.cloud.add("web-0", plan=Plan("disabled"))
    vm.reports_tools = False
    (outcome,) = wait(lab, {"web-0": vm.urn}, requires_customization=False).outcomes
    assert (outcome.status.value, outcome.ready) == ("NotCustomized", True)


def test_customization_enabled_during_the_wait_counts(lab: Running) -> None:
    """A VM whose customization is enabled during the wait is waited for."""
    vm = lab.cloud.add("web-0", plan=Plan("disabled"), on=False)
    source = cloud_director_source(settings(lab), {"web-0": vm.urn})
    try:
        source.start()
        assert observed_until(source, lambda snapshot: snapshot.state == "GC_DISABLED")
        vm.plan = FAST
        assert observed_until(source, lambda snapshot: snapshot.state == "GC_PENDING")
    finally:
        source.close()


@pytest.mark.parametrize(
    ("state", "previous", "status"),
    [
        pytest.param("", False, "NotCustomized", id="disabled-and-unknown"),
        pytest.param("", True, "CustomizationSucceeded", id="disabled-since-its-success"),
        pytest.param("GC_FAILED", True, "CustomizationFailed", id="customized-again-and-failed"),
    ],
)
def test_a_success_of_an_earlier_wait_counts_where_the_server_forgets(
    lab: Running, state: str, previous: bool, status: str
) -> None:
    """Guest customization that was disabled since leaves no trace but what an earlier wait saw; news beat that."""
    vm = lab.cloud.add("web-0", plan=Plan("disabled"))
    vm.set_state = state
    known = [f"vm-{vm.uuid}"] if previous else []
    source = cloud_director_source(settings(lab), {"web-0": vm.urn}, previously_customized=known)
    (outcome,) = wait_for_all(source, WaitRules(timeout=10)).outcomes
    assert (outcome.status.value, outcome.ready) == (status, status == "CustomizationSucceeded")


def test_an_unknown_state_keeps_waiting_and_is_noted_once(lab: Running) -> None:
    """An undocumented state does not end the wait and is noted once."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 0.0))
    vm.set_state = UNKNOWN
    timer = threading.Timer(1.0, setattr, [vm, "set_state", "GC_COMPLETE"])
    timer.start()
    report = wait(lab, {"web-0": vm.urn}, start_timeout=0.3)
    timer.join()
    assert report.ready
    assert len([note for note in report.notes if UNKNOWN in note]) == 1


def test_a_vm_that_is_off_has_not_started(lab: Running) -> None:
    """A change of the power state during the wait is reported."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 0.0), on=False)
    source = cloud_director_source(settings(lab), {"web-0": vm.urn})
    try:
        source.start()
        assert observed_until(source, lambda snapshot: snapshot.power is PowerState.OFF)
        vm.powered_on_at = time.monotonic()
        assert observed_until(source, lambda snapshot: snapshot.power is PowerState.ON and snapshot.tools_running)
    finally:
        source.close()


def test_mixed_outcomes_are_reported_in_the_order_of_the_request(lab: Running) -> None:
    """One wait distinguishes VMs that succeeded, that failed, that are off and that do not exist."""
    done = lab.cloud.add("done", plan=FAST)
    failed = lab.cloud.add("failed", plan=Plan("failed", 0.0, 0.5))
    off = lab.cloud.add("off", on=False)
    references = {"z": done.urn, "y": failed.urn, "x": off.urn, "w": f"vm-{vapp_uuid('nobody')}"}
    # A VM that is unknown counts as missing once another look agrees, two seconds later.
    report = wait(lab, references, timeout=4.0, start_timeout=4.0, stop_on_missing=False)
    seen = [(o.key, o.name, o.status.value, o.failure.name if o.failure else "") for o in report.outcomes]
    assert seen == [
        ("z", "done", "CustomizationSucceeded", ""),
        ("y", "failed", "CustomizationFailed", "GC_FAILED"),
        ("x", "off", "VmNotStarted", "StartTimeout"),
        ("w", f"vm-{vapp_uuid('nobody')}", "VmRemoved", "NotFound"),
    ]


def test_an_unknown_vm_ends_the_wait_by_name(lab: Running) -> None:
    """A VM that the server does not know is said at once, with the server's word and the request's number."""
    began = time.monotonic()
    (outcome,) = wait(lab, {"web-9": f"urn:vcloud:vm:{vapp_uuid('nobody')}"}).outcomes
    assert outcome.failure is not None
    assert "ACCESS_TO_RESOURCE_IS_FORBIDDEN" in outcome.failure.message
    assert "(request customization-gate-" in outcome.failure.message
    assert time.monotonic() - began < 5


def test_a_vm_that_is_deleted_during_the_wait_is_noticed(lab: Running) -> None:
    """A VM that vanishes is VmRemoved, and does not hold the wait up."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    timer = threading.Timer(0.5, lab.cloud.remove, [vm])
    timer.start()
    (outcome,) = wait(lab, {"web-0": vm.urn}).outcomes
    timer.join()
    assert outcome.status.value == "VmRemoved"


@pytest.mark.parametrize("form", ["urn:vcloud:vapp:{0}", "vapp-{0}", "{1}/api/vApp/vapp-{0}"])
def test_a_vapp_represents_all_vms_in_it(lab: Running, form: str) -> None:
    """A vApp's URN, identifier or href waits for each of its VMs, under the user's key and the VM's name."""
    for name in ("db", "app"):
        lab.cloud.add(name, "shop", FAST)
    lab.cloud.add("other", "elsewhere", Plan("failed"))
    report = wait(lab, {"shop": form.format(vapp_uuid("shop"), lab.url)})
    assert [(o.key, o.ready) for o in report.outcomes] == [("shop/db", True), ("shop/app", True)]


def test_an_unknown_vapp_is_reported_like_an_unknown_vm(lab: Running) -> None:
    """A vApp that the server does not know is missing, by the user's key."""
    (outcome,) = wait(lab, {"shop": f"urn:vcloud:vapp:{vapp_uuid('nobody')}"}).outcomes
    assert outcome.failure is not None
    assert (outcome.key, outcome.failure.name) == ("shop", "NotFound")
    assert "no such vApp" in outcome.failure.message


def test_an_empty_vapp_is_a_mistake(lab: Running) -> None:
    """A vApp without VMs would open the gate for nothing: it is refused."""
    lab.cloud.empty_vapps.add("bare")
    with pytest.raises(ConfigurationError, match="expected a vApp with at least one VM"):
        wait(lab, {"bare": f"urn:vcloud:vapp:{vapp_uuid('bare')}"})


def test_a_vm_named_twice_is_a_mistake(lab: Running) -> None:
    """A VM and the vApp that holds it are one VM too many."""
    vm = lab.cloud.add("db", "shop", FAST)
    with pytest.raises(ConfigurationError, match="'shop/db' and 'mine', which are the same VM"):
        wait(lab, {"shop": f"urn:vcloud:vapp:{vapp_uuid('shop')}", "mine": vm.urn})


def test_a_vm_that_was_judged_before_is_not_watched(lab: Running) -> None:
    """A kept VM is named, and not asked about."""
    kept, new = lab.cloud.add("kept", plan=Plan("never-ends")), lab.cloud.add("new", plan=FAST)
    source = cloud_director_source(settings(lab), {"a": kept.urn, "b": new.urn}, already_ready={f"vm-{kept.uuid}"})
    report = wait_for_all(source, WaitRules(timeout=20))
    assert ([o.key for o in report.outcomes], source.already_ready) == (["b"], [("a", f"vm-{kept.uuid}")])


def is_in(word: str, snapshot: Snapshot) -> bool:
    return snapshot.state == word


def test_a_large_wait_reads_power_in_few_requests(lab: Running) -> None:
    """Power state and VMware Tools of many VMs come in one query per 50."""
    vms = [lab.cloud.add(f"vm-{number}") for number in range(60)]
    for vm in vms:
        vm.set_state = "GC_COMPLETE"
    source = cloud_director_source(settings(lab), {vm.name: vm.urn for vm in vms})
    try:
        assert [vm.name for vm in vms] == [ref.name for ref in source.start()]
    finally:
        source.close()
    assert lab.cloud.calls["GET /api/query"] == 2


@pytest.mark.parametrize("record_state", [None, "", "GC_PENDING", "GC_COMPLETE"], ids=["true", "none", "old", "early"])
def test_the_status_decides_whatever_the_query_service_says(
    lab: Running, monkeypatch: pytest.MonkeyPatch, record_state: str | None
) -> None:
    """The query service only hints: a record that is right, empty or wrong changes no verdict."""
    monkeypatch.setattr(tracked_vm, "RECONCILE_INTERVAL", 1.0)
    vm = lab.cloud.add("web-0", plan=Plan("failed", 0.0, 0.7))
    vm.record_state = record_state
    (outcome,) = wait(lab, {"web-0": vm.urn}).outcomes
    assert outcome.failure is not None
    assert (outcome.status.value, outcome.failure.name) == ("CustomizationFailed", "GC_FAILED")


def test_a_record_that_hints_at_nothing_is_ignored(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose state never agrees with the status costs a few requests, not one a round."""
    monkeypatch.setattr(tracked_vm, "RECONCILE_INTERVAL", 60.0)
    monkeypatch.setattr(tracked_vm, "LONGEST_INTERVAL", 0.5)
    vm = lab.cloud.add("web-0", plan=Plan("never-ends", 0.0, 0.0))
    vm.record_state = "GC_COMPLETE"
    source = cloud_director_source(settings(lab), {"web-0": vm.urn})
    try:
        source.start()
        seen = observed_for(source, 2.0)
    finally:
        source.close()
    assert {snapshot.state for snapshot in seen} == {"POST_GC_PENDING"}
    assert lab.cloud.calls[f"GET /api/vApp/vm/{STATUS}"] < 15


def test_many_vms_are_watched_by_a_few_requests(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes, 100 VMs cost two requests a round, not one each; a change is still seen at once."""
    monkeypatch.setattr(tracked_vm, "RECONCILE_INTERVAL", 60.0)
    vms = [lab.cloud.add(f"vm-{number}", plan=Plan("never-ends")) for number in range(100)]
    for vm in vms:
        vm.set_state = "POST_GC_PENDING"
    source = cloud_director_source(settings(lab), {vm.name: vm.urn for vm in vms})
    try:
        source.start()
        lab.cloud.reset_stats()
        observed_for(source, 1.0)
        assert {"GET /api/query"} == set(lab.cloud.calls)
        vms[77].set_state = "GC_FAILED"
        (seen,) = observed_until(source, partial(is_in, "GC_FAILED"))
        assert (seen.vm, lab.cloud.calls[f"GET /api/vApp/vm/{STATUS}"]) == (f"vm-{vms[77].uuid}", 1)
    finally:
        source.close()


def observed_for(source: CloudDirectorSource, seconds: float) -> list[Snapshot]:
    seen: list[Snapshot] = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        seen += [observation for observation in source.poll(left) if isinstance(observation, Snapshot)]
    return seen


def test_64_sources_share_one_login_and_a_few_threads(lab: Running) -> None:
    """64 waits at once log in once, use a bounded number of threads, and the last one logs out."""
    vms: list[SimulatedVm] = [lab.cloud.add(f"vm-{number}", plan=FAST) for number in range(64)]
    good: list[bool] = []
    most = 0

    def gate(vm: SimulatedVm) -> None:
        good.append(wait(lab, {vm.name: vm.urn}).ready)

    threads = [threading.Thread(target=gate, args=[vm]) for vm in vms]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        names = [thread.name for thread in threading.enumerate()]
        most = max(most, sum(name.startswith("customization-gate-cloud-director-") for name in names))
        time.sleep(0.01)
    stats = lab.cloud.stats()
    assert good == [True] * 64
    assert (stats["logins"], stats["logouts"], stats["sessions"]) == ({"ok": 1, "failed": 0}, 1, 0)
    assert 0 < most <= CONCURRENCY
