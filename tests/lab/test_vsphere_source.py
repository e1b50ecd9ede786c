"""The vSphere source on real sockets: what it finds, whom it trusts, what it notices, and what it costs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import (
    AuthenticationError,
    CertificateError,
    ConfigurationError,
    GateError,
    ServerError,
)
from pulumi_customization_gate.core.model import Event, GateReport, Target
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, Signal
from pulumi_customization_gate.core.wait import wait as wait_for_all
from pulumi_customization_gate.vsphere import event_listener, session
from pulumi_customization_gate.vsphere.identity import named_now
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from pulumi_customization_gate.vsphere.source import VsphereSource
from tests.lab.sources import vsphere_source
from tests.lab.vcenter_fixture import TEST_TIMEOUT, VCenter, finish, linux, running, status, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lab.vcenter_client import Lab
    from pulumi_customization_gate.core.progress import Update

SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED
RULES = WaitRules(timeout=TEST_TIMEOUT)


def settings(lab: Lab, **changes: Any) -> VsphereSettings:
    return replace(VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file), **changes)


def wait(vcenter: VCenter, references: Mapping[str, str], rules: WaitRules = RULES, **changes: Any) -> GateReport:
    return wait_for_all(vsphere_source(settings(vcenter.lab, **changes), references), rules)


@contextlib.contextmanager
def started(vcenter: VCenter, **references: str) -> Iterator[VsphereSource]:
    """Gives a source that has begun to watch."""
    source = vsphere_source(settings(vcenter.lab), references)
    try:
        source.start()
        yield source
    finally:
        source.close()


def moid(vm: Any) -> str:
    return str(vm._moId)


# ---- which VM it is


def test_a_vm_that_replaced_a_judged_one_is_found_by_its_path(vcenter: VCenter) -> None:
    """One read shows which judged VMs are where they were, also in a folder; the others are searched for."""
    folder = vcenter.content.rootFolder.childEntity[0].vmFolder.CreateFolder("identity")
    kept, moved, gone = (vcenter.clone(on=False) for _ in range(3))
    finish(folder.MoveIntoFolder_Task([kept]))
    name, judged = gone.name, [moid(vm) for vm in (kept, moved, gone)]
    finish(gone.Destroy_Task())
    new = vcenter.clone(on=False)
    finish(new.Rename_Task(name))
    paths = [f"/DC0/vm/identity/{kept.name}", f"/DC0/vm/{name}", "/DC0/vm/nobody"]
    references = [paths[0], moved.config.instanceUuid, moved.config.uuid, *paths[1:]]
    vcenter.lab.reset_stats()
    named = named_now(settings(vcenter.lab), [parse_reference(text) for text in references], judged)
    calls = vcenter.lab.stats()["calls"]
    first = {moid(moved): moved.config.instanceUuid}
    assert named == [
        {moid(kept): kept.config.instanceUuid},
        first,
        first,
        {moid(new): new.config.instanceUuid},
        {"/DC0/vm/nobody": ""},
    ]
    # One read for all, and one for the UUID of the VM that was searched for.
    assert (calls["Login"], calls["RetrievePropertiesEx"], calls["FindByInventoryPath"]) == (1, 2, 2)


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_vm_of_another_vcenter_is_refused(vcenter: VCenter, is_kept: bool) -> None:
    """The UUID of the program's VM is held against the VM with its ID, also where nothing else is judged."""
    vm = vcenter.clone(on=False)
    already_ready = {moid(vm)} if is_kept else set()
    right = VsphereSource(
        settings(vcenter.lab), [Target("web", parse_reference(moid(vm)), vm.config.uuid)], already_ready=already_ready
    )
    with contextlib.closing(right):
        right.start()
    wrong = VsphereSource(
        settings(vcenter.lab),
        [Target("web", parse_reference(moid(vm)), str(uuid.uuid4()))],
        already_ready=already_ready,
    )
    with contextlib.closing(wrong), pytest.raises(ConfigurationError, match="web: expected the VM with the UUID"):
        wrong.start()


# ---- whom a reference names


def test_references_of_every_form(vcenter: VCenter) -> None:
    """A managed object ID, either UUID in any case, and a path with or without a slash all find their VM."""
    folder = vcenter.content.rootFolder.childEntity[0].vmFolder.CreateFolder("web servers")
    vms = [vcenter.clone(on=False) for _ in range(5)]
    finish(folder.MoveIntoFolder_Task([vms[4]]))
    references = {
        "by ID": moid(vms[0]),
        "by instance UUID": vms[1].config.instanceUuid,
        "by BIOS UUID": vms[2].config.uuid.upper(),
        "by path": f"DC0/vm/{vms[3].name}",
        "by path in a folder": f"/DC0/vm/web servers/{vms[4].name}",
    }
    source = vsphere_source(settings(vcenter.lab), references)
    try:
        found = source.start()
    finally:
        source.close()

    assert [(vm.key, vm.id, vm.name) for vm in found] == [
        (key, moid(vm), vm.name) for key, vm in zip(references, vms, strict=True)
    ]


def test_a_vm_of_a_list_goes_by_its_name(vcenter: VCenter) -> None:
    """Without a key of the user's, people read the VM's name."""
    vm = vcenter.clone(on=False)
    source = vsphere_source(settings(vcenter.lab), [moid(vm)])
    try:
        found = source.start()
    finally:
        source.close()

    assert [(ref.key, ref.id) for ref in found] == [(vm.name, moid(vm))]


def test_a_key_is_the_user_s_even_where_it_is_the_reference(vcenter: VCenter) -> None:
    """A map's key is never replaced by the VM's name, whatever it looks like."""
    vm = vcenter.clone(on=False)
    source = vsphere_source(settings(vcenter.lab), {moid(vm): moid(vm)})
    try:
        found = source.start()
    finally:
        source.close()

    assert [(ref.key, ref.id, ref.name) for ref in found] == [(moid(vm), moid(vm), vm.name)]


def test_two_references_to_one_vm_are_refused(vcenter: VCenter) -> None:
    """One VM under two keys would be judged twice: it is said which two, before any wait."""
    vm = vcenter.clone(on=False)
    with pytest.raises(ConfigurationError) as refusal:
        wait(vcenter, {"a": moid(vm), "b": f"DC0/vm/{vm.name}"})

    assert str(refusal.value) == f"expected each VM once, got 'a' and 'b', which are the same VM, {moid(vm)}"


def test_a_uuid_of_two_vms_names_both_paths(vcenter: VCenter) -> None:
    """Copied VMs share a UUID: the error says where both are, so that one can be named by its path."""
    first = vcenter.clone(on=False)
    second = vcenter.clone(on=False)
    finish(second.ReconfigVM_Task(vim.vm.ConfigSpec(uuid=first.config.uuid)))
    assert second.config.uuid == first.config.uuid

    with pytest.raises(ConfigurationError) as refusal:
        wait(vcenter, {"web": first.config.uuid})

    paths = " and ".join(sorted(f"/DC0/vm/{vm.name} ({moid(vm)})" for vm in (first, second)))
    assert str(refusal.value) == f"UUID {first.config.uuid} belongs to {paths}; name the one you mean by path or vm-ID"


def test_what_does_not_exist_is_reported_by_name_at_once(vcenter: VCenter) -> None:
    """A reference that finds nothing ends the wait at once, with the others' verdicts so far."""
    vm = vcenter.clone(custom=linux())
    until(lambda: status(vm) == "SUCCEEDED")
    slow = vcenter.clone(custom=linux(), plan={"duration": "1h"})
    lost = {"id": "vm-999999", "uuid": "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e", "path": "DC0/vm/nobody"}
    report = wait(vcenter, {"good": moid(vm), "slow": moid(slow), **lost})

    lab = vcenter.lab
    reported = {outcome.key: outcome.failure.message for outcome in report.outcomes if outcome.failure is not None}
    assert {key: reported[key] for key in lost} == {
        "id": f"{lab.server} has no virtual machine vm-999999 that {lab.user} may see",
        "uuid": f"{lab.server} has no virtual machine '4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e' that {lab.user} may see",
        "path": f"{lab.server} has no virtual machine 'DC0/vm/nobody' that {lab.user} may see",
    }
    assert [outcome.key for outcome in report.outcomes if outcome.ready] == ["good"]
    assert report.wait_seconds < TEST_TIMEOUT


# ---- whom it trusts


def _fingerprint(lab: Lab) -> str:
    return lab.thumbprint.replace(":", "").lower()


@pytest.mark.parametrize(
    "trust",
    [
        pytest.param(lambda lab: {"ca_file": lab.ca_file}, id="caFile"),
        pytest.param(lambda lab: {"thumbprint": lab.thumbprint}, id="thumbprint"),
        pytest.param(lambda lab: {"thumbprint": _fingerprint(lab), "allow_unverified_ssl": True}, id="bare digits"),
        pytest.param(lambda _: {"allow_unverified_ssl": True}, id="allowUnverifiedSsl"),
        pytest.param(lambda lab: {"environment": lab.ca_file}, id="trusted by the system"),
    ],
)
def test_a_server_is_trusted_in_four_ways(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, trust: Callable[[Lab], dict[str, Any]]
) -> None:
    """A file of authorities, a pinned certificate, no verification at all, or the system's own trust let it in."""
    changes = {"ca_file": "", **trust(vcenter.lab)}
    if "environment" in changes:
        monkeypatch.setenv("SSL_CERT_FILE", changes.pop("environment"))
    vm = vcenter.clone(on=False)
    source = vsphere_source(settings(vcenter.lab, **changes), {"web": moid(vm)})
    try:
        assert [ref.id for ref in source.start()] == [moid(vm)]
    finally:
        source.close()


WAYS_OUT = (
    "Set `customization:caFile` or VSPHERE_CA_FILE to the PEM file of the authority that signed it, "
    "or `customization:thumbprint` or VSPHERE_THUMBPRINT to its SHA-256 fingerprint. "
    "`vsphere:allowUnverifiedSsl` or VSPHERE_ALLOW_UNVERIFIED_SSL set to true trusts any certificate, "
    "which lets others read the password."
)


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        pytest.param({"ca_file": ""}, WAYS_OUT, id="untrusted"),
        pytest.param(
            {"thumbprint": "AB" * 32},
            "`customization:thumbprint` or VSPHERE_THUMBPRINT expects another. "
            "Find out which of the two is right before a password is sent there.",
            id="another certificate",
        ),
        pytest.param(
            {"thumbprint": "AB" * 32, "allow_unverified_ssl": True},
            "`customization:thumbprint` or VSPHERE_THUMBPRINT expects another. "
            "Find out which of the two is right before a password is sent there.",
            id="another certificate, unverified",
        ),
    ],
)
def test_a_server_that_is_not_trusted_gets_no_password(
    vcenter: VCenter, changes: dict[str, Any], reported: str
) -> None:
    """A certificate that is not trusted ends it at once, before any login, with what can be done."""
    before = vcenter.lab.stats()["logins"]
    began = time.monotonic()
    with pytest.raises(CertificateError) as refusal:
        wait(vcenter, {"web": "vm-1"}, **changes)

    assert time.monotonic() - began < TEST_TIMEOUT
    assert str(refusal.value).endswith(reported)
    assert vcenter.lab.server in str(refusal.value)
    assert vcenter.lab.stats()["logins"] == before


def test_a_file_that_holds_no_certificate_is_reported_at_once(vcenter: VCenter, tmp_path: Path) -> None:
    """A caFile that is not PEM is the user's mistake, not a server that does not answer."""
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate", encoding="utf-8")
    with pytest.raises(ConfigurationError) as refusal:
        wait(vcenter, {"web": "vm-1"}, ca_file=str(wrong))

    assert str(refusal.value).startswith(
        f"`customization:caFile` or VSPHERE_CA_FILE: expected a PEM file of certificates, got {str(wrong)!r} ("
    )


# ---- who answers


def test_a_wrong_password_is_sent_once_for_all(vcenter: VCenter) -> None:
    """However many sources ask at once, and ask again, a refused password is sent one time."""
    before = vcenter.lab.stats()["logins"]
    together = threading.Barrier(64, timeout=TEST_TIMEOUT)

    def ask(_: int) -> str:
        together.wait()
        with pytest.raises(AuthenticationError) as refusal:
            wait(vcenter, {"web": "vm-1"}, password="wrong-one")
        return str(refusal.value)

    with ThreadPoolExecutor(64) as pool:
        reported = set(pool.map(ask, range(64)))
    with pytest.raises(AuthenticationError):
        wait(vcenter, {"web": "vm-1"}, password="wrong-one")

    after = vcenter.lab.stats()["logins"]
    assert (after["ok"] - before["ok"], after["failed"] - before["failed"]) == (0, 1)
    assert len(reported) == 1
    assert reported.pop() == (
        f"{vcenter.lab.server} refused the user name or password of {vcenter.lab.user}. They were sent once and are "
        "not sent again: correct the password (`vsphere:password` or VSPHERE_PASSWORD), then try again."
    )


@pytest.mark.parametrize("kind", ["reset", "not_authenticated"])
def test_a_session_that_could_not_be_ended_is_ignored(vcenter: VCenter, kind: str) -> None:
    """A new login does not go into the old session, where a server would refuse the right password."""
    with session.acquire(settings(vcenter.lab)) as live:
        vcenter.done("POST", "/faults", {"kind": kind, "method": "Logout"})
        try:
            live.log_in_again(live.generation)
        finally:
            vcenter.done("DELETE", "/faults")
        assert live.current_time()
        assert live.generation == 2


def test_a_host_is_not_a_vcenter(tmp_path: Path) -> None:
    """An ESXi host raises no customization events: it is refused before any login."""
    with running(tmp_path, "-esxi") as host:
        before = host.lab.stats()["logins"]
        with pytest.raises(ServerError, match="not a vCenter: an ESXi host raises no customization events") as refusal:
            wait(host, {"web": "vm-1"})
        after = host.lab.stats()["logins"]

    assert str(refusal.value).endswith("Set `vsphere:vsphereServer` or VSPHERE_SERVER to the vCenter that manages it.")
    assert after == before


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All times of a session at a twentieth."""
    monkeypatch.setattr(session, "CALL_TIMEOUT", session.CALL_TIMEOUT / 20)
    monkeypatch.setattr(session, "START_TIMEOUT", session.START_TIMEOUT / 20)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("trust", [{"ca_file": ""}, {"ca_file": "", "thumbprint": "AB" * 32}], ids=["CA", "thumbprint"])
def test_a_host_that_never_answers_is_given_up_in_time(trust: dict[str, Any]) -> None:
    """Of many gates on a host that takes connections and says nothing, each gives up within the start's time."""
    assert session.START_TIMEOUT * 20 + session.CALL_TIMEOUT <= 30
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        silence = VsphereSettings(address, "ann", "s3cret", **trust)

        def ask(_: int) -> str:
            with pytest.raises(ServerError) as refusal:
                wait_for_all(vsphere_source(silence, {"web": "vm-1"}), RULES)
            return str(refusal.value)

        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            reported = set(pool.map(ask, range(8)))
        took = time.monotonic() - began

    assert took < 30 / 20 + 1
    assert {text.split(":")[0] for text in reported} == {"127.0.0.1"}
    assert all("did not respond within " in text and "timed out" in text for text in reported), reported


@pytest.mark.usefixtures("impatient")
def test_a_port_that_refuses_connections_is_reported() -> None:
    """A refused connection is retried for a while, and reported in words."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"did not respond within .*: connection refused"):
        wait_for_all(vsphere_source(VsphereSettings(address, "ann", "s3cret", ca_file=""), {"web": "vm-1"}), RULES)


# ---- what it knows and notices


def test_what_happened_before_the_wait_counts(vcenter: VCenter) -> None:
    """A VM whose customization ended before the wait is judged by its events, whether it succeeded or failed."""
    good = vcenter.clone(custom=linux())
    bad = vcenter.clone(custom=linux(), plan={"outcome": "CustomizationNetworkSetupFailed", "message": "no adapter"})
    until(lambda: status(good) == "SUCCEEDED" and status(bad) == "FAILED")
    report = wait(vcenter, {"good": moid(good), "bad": moid(bad)})

    assert [(outcome.key, outcome.ready, outcome.evidence) for outcome in report.outcomes] == [
        ("good", True, Evidence.EVENT),
        ("bad", False, Evidence.EVENT),
    ]
    failure = report.outcomes[1].failure
    assert failure is not None
    assert (failure.name, failure.message) == ("CustomizationNetworkSetupFailed", "no adapter")
    assert report.outcomes[0].powered_on_at is not None


def test_vms_of_yesterday_are_settled_without_a_query(tmp_path: Path) -> None:
    """For VMs that were customized long ago the state is enough: no history is read."""
    with running(tmp_path, "-vms", "40", "-history", "customized", "-history-age", "30h") as vcenter:
        folder = vcenter.content.rootFolder.childEntity[0].vmFolder
        references = {str(number): moid(vm) for number, vm in enumerate(folder.childEntity) if vm != vcenter.template}
        vcenter.lab.reset_stats()
        report = wait(vcenter, references)
        calls = vcenter.lab.stats()["calls"]

    assert [outcome.status for outcome in report.outcomes] == [SUCCEEDED] * 39
    assert {outcome.evidence for outcome in report.outcomes} == {Evidence.STATE}
    assert "QueryEvents" not in calls


def test_a_power_off_and_a_removal_are_noticed_when_they_happen(vcenter: VCenter) -> None:
    """A power-off during the wait sets the VM back to not started, and a removal ends the wait for it."""
    vm = vcenter.clone(custom=linux(), plan={"duration": "1h"})
    until(lambda: status(vm) == "RUNNING")
    seen: list[tuple[str, float]] = []
    changed = threading.Condition()

    def listen(update: Update) -> None:
        with changed:
            seen.extend((outcome.status.value, time.monotonic()) for outcome in update.changed)
            changed.notify_all()

    def reported_at(word: str) -> float:
        with changed:
            assert changed.wait_for(lambda: word in [status for status, _ in seen], TEST_TIMEOUT), seen
            return next(at for status, at in seen if status == word)

    source = vsphere_source(settings(vcenter.lab), {"web": moid(vm)})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_all, source, WaitRules(timeout=4 * TEST_TIMEOUT), listener=listen)
        reported_at("CustomizationStarted")
        off_at = time.monotonic()
        finish(vm.PowerOffVM_Task())
        was_off = reported_at("VmNotStarted") - off_at
        gone_at = time.monotonic()
        finish(vm.Destroy_Task())
        report = waiting.result(TEST_TIMEOUT)
        was_gone = reported_at("VmRemoved") - gone_at

    # The slow reconciliation comes after minutes, the long poll alone would take one.
    assert max(was_off, was_gone) < 5
    assert [status for status, _ in seen] == ["CustomizationStarted", "VmNotStarted", "VmRemoved"]
    failure = report.outcomes[0].failure
    assert failure is not None
    assert failure.name == "VmRemoved"
    assert failure.message.startswith("it left the inventory at ")


# ---- what it costs


def test_many_sources_share_one_session_and_one_collector(vcenter: VCenter) -> None:
    """Sources that watch at the same time log in once and hold one collector; the last one gives both back."""
    before = vcenter.lab.stats()
    vms = [vcenter.clone(custom=linux(), plan={"duration": "1h"}) for _ in range(12)]
    with contextlib.ExitStack() as held:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda vm: held.enter_context(started(vcenter, web=moid(vm))), vms))
        during = vcenter.lab.stats()
    after = vcenter.lab.stats()

    assert during["logins"]["ok"] - before["logins"]["ok"] == 1
    assert [counted["sessions"] - before["sessions"] for counted in (during, after)] == [1, 0]
    assert [counted["collectors"] - before["collectors"] for counted in (during, after)] == [1, 0]


def test_a_source_that_fails_gives_everything_back(vcenter: VCenter) -> None:
    """A wait that cannot start leaves no session and no collector behind."""
    before = vcenter.lab.stats()
    vm = vcenter.clone(on=False)
    with pytest.raises(GateError):
        wait(vcenter, {"a": moid(vm), "b": vm.config.instanceUuid})
    after = vcenter.lab.stats()

    assert (after["sessions"], after["collectors"]) == (before["sessions"], before["collectors"])


def test_a_server_without_a_collector_to_spare_says_who_holds_them(tmp_path: Path) -> None:
    """Where other clients hold all collectors the wait says so at once, and leaves no session behind."""
    with running(tmp_path, "-max-collectors", "1") as vcenter:
        vm = vcenter.clone(on=False)
        held = vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
        before = vcenter.lab.stats()["sessions"]
        with pytest.raises(ServerError) as refusal:
            wait(vcenter, {"web": moid(vm)})
        after = vcenter.lab.stats()["sessions"]
        held.DestroyCollector()

    assert str(refusal.value) == (
        f"{vcenter.lab.server} has no event collector left for {vcenter.lab.user}: it allows about 32 at once, and "
        "other clients of this user hold them. Run fewer of those at the same time, or end their sessions, then try "
        "again."
    )
    assert before == after


def test_a_collector_that_overflows_loses_nothing(tmp_path: Path) -> None:
    """More events at once than a collector holds: it is rewound, and what the wait is for is found."""
    with running(tmp_path, "-vms", "2") as vcenter:
        vm = vcenter.clone(custom=linux(), plan={"duration": "1h"})
        until(lambda: status(vm) == "RUNNING")
        with started(vcenter, web=moid(vm)) as source:
            observed = [*source.poll(0), *source.poll(0)]
            until(lambda: vcenter.lab.stats()["calls"].get("WaitForUpdatesEx", 0) > 1)
            vcenter.lab.add_fault("delay", method="ReadNextEvents", seconds=TEST_TIMEOUT)
            for _ in range(2):
                noise = {"vm": "vm-0", "type": "CustomizationStartedEvent", "count": 2000}
                vcenter.done("POST", "/events", noise)
            vcenter.lab.post_event(moid(vm), "CustomizationSucceeded")
            vcenter.lab.clear_faults()  # nothing is read before
            deadline = time.monotonic() + TEST_TIMEOUT
            while not any(isinstance(o, Event) and o.signal is Signal.CUSTOMIZATION_SUCCEEDED for o in observed):
                assert time.monotonic() < deadline
                observed += source.poll(0.5)
            until(lambda: vcenter.lab.stats()["calls"].get("RewindCollector", 0) >= 1)

    assert {o.vm for o in observed} == {moid(vm)}


# ---- users who may not see everything, and old servers


@pytest.fixture
def faulty(vcenter: VCenter) -> Iterator[Callable[..., None]]:
    """Lets calls go wrong until the test ends."""

    def add(kind: str, **rule: Any) -> None:
        vcenter.done("POST", "/faults", {"kind": kind, **rule})

    yield add
    vcenter.done("DELETE", "/faults")


def test_a_user_of_one_folder_watches_that_folder(vcenter: VCenter, faulty: Callable[..., None]) -> None:
    """Where events of the whole inventory are refused, a collector on the VMs' folder does as well."""
    faulty("NoPermission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    vm = vcenter.clone(custom=linux(), plan={"duration": "1h"})
    with started(vcenter, web=moid(vm)) as source:
        notes = until(lambda: (source.poll(0.1) and None) or source.notes())
        collectors = vcenter.lab.stats()["collectors"]
        vcenter.lab.post_event(moid(vm), "CustomizationSucceeded")
        assert until(lambda: [o for o in source.poll(1) if isinstance(o, Event) and o.name == "CustomizationSucceeded"])

    assert list(notes) == [f"{vcenter.lab.user} may not read events of the whole inventory; reading those of vm"]
    assert collectors == 1


def test_a_user_of_single_vms_asks_for_each(
    vcenter: VCenter, faulty: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every collector is refused, each VM's events are queried at intervals, and the log says so."""
    monkeypatch.setattr(event_listener, "SCOPED_INTERVAL", 0.2)
    faulty("NoPermission", method="CreateCollectorForEvents")
    faulty("NoPermission", method="QueryEvents", without_entity=True)
    vms = {f"web-{number}": moid(vcenter.clone(custom=linux(), plan={"duration": "1s"})) for number in range(3)}
    report = wait(vcenter, vms)

    assert {outcome.status for outcome in report.outcomes} == {SUCCEEDED}
    assert {outcome.evidence for outcome in report.outcomes} == {Evidence.EVENT}
    assert (
        f"{vcenter.lab.user} may read events of single VMs only; querying each every 0.2 s. "
        "With the privilege System.View on their folder, one call reads the events of all VMs."
    ) in report.notes


def test_a_vcenter_that_reports_no_state_is_judged_by_events(tmp_path: Path) -> None:
    """Before 7.0.2 there is no customizationInfo: events decide, and start_timeout shows that none was requested."""
    with running(tmp_path, "-api-version", "7.0.1.0") as vcenter:
        done = vcenter.clone(custom=linux())
        until(lambda: "CustomizationSucceeded" in vcenter.story(done))
        vms = {"done": done, "new": vcenter.clone(custom=linux()), "plain": vcenter.clone()}
        references = {key: moid(vm) for key, vm in vms.items()}
        auto = wait(vcenter, references, WaitRules(timeout=TEST_TIMEOUT, start_timeout=1, requires_customization=False))
        required = wait(vcenter, references, WaitRules(timeout=TEST_TIMEOUT, start_timeout=1))

    assert [(outcome.key, outcome.status.value, outcome.ready) for outcome in auto.outcomes] == [
        ("done", "CustomizationSucceeded", True),
        ("new", "CustomizationSucceeded", True),
        ("plain", "NotCustomized", True),
    ]
    assert [outcome.failure.name for outcome in required.outcomes if outcome.failure] == ["StartTimeout"]
