"""The source of a vSphere wait, against a vCenter in memory."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import AuthenticationError, ConfigurationError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import (
    Event,
    HistoryRead,
    Missing,
    PreviouslyCustomized,
    Snapshot,
    Target,
    VmRef,
)
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.source import VsphereSource
from tests.unit.vsphere.fake_vcenter import NOON, SERVER_UUID, SETTINGS, TIMEOUT, FakeVcenter, connected, until

if TYPE_CHECKING:
    from collections.abc import Callable

STARTED, SUCCEEDED = vim.event.CustomizationStartedEvent, vim.event.CustomizationSucceeded
DONE = {"guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_SUCCEEDED"}


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    fake.state.add("vm-1")
    fake.state.add("vm-2")
    return fake


def source_of(*texts: str, keys: tuple[str | None, ...] = (), **options: Any) -> VsphereSource:
    targets = [
        Target(key, parse_reference(text)) for key, text in zip(keys or (None,) * len(texts), texts, strict=True)
    ]
    return VsphereSource(SETTINGS, targets, **options)


def polled(source: VsphereSource, found: Callable[[list[Any]], bool]) -> list[Any]:
    """Polls until something is among the observations."""
    observations: list[Any] = []
    deadline = time.monotonic() + TIMEOUT
    while not found(observations):
        assert time.monotonic() < deadline, observations
        observations += source.poll(0.05)
    return observations


def test_a_start_reads_state_and_history(vcenter: FakeVcenter) -> None:
    """The first poll has the state of each VM and what happened to it; nothing is left on the server afterwards."""
    vcenter.events.happen(STARTED, "vm-1", NOON - timedelta(seconds=30))
    source = source_of("vm-1", "vm-2")
    vms = source.start()
    first = list(source.poll(0))
    source.close()
    source.close()

    assert vms == [VmRef(f"name of {moid}", moid, f"name of {moid}", given=moid) for moid in ("vm-1", "vm-2")]
    assert sorted(type(one).__name__ + one.vm for one in first) == [
        "Eventvm-1",
        "HistoryReadvm-1",
        "HistoryReadvm-2",
        "Snapshotvm-1",
        "Snapshotvm-2",
    ]
    assert (vcenter.sessions, vcenter.events.collectors) == (set(), {})


def test_a_start_that_nobody_waits_for_reads_nothing(vcenter: FakeVcenter) -> None:
    """The wait ends before the server responds: a later response has no collector created, and the session ends."""
    vcenter.failures["RetrieveServiceContent"] = [ConnectionResetError(104, "reset")] * 3
    source = source_of("vm-1")
    with ThreadPoolExecutor() as threads:
        starting = threads.submit(source.start)
        until(lambda: len(vcenter.failures["RetrieveServiceContent"]) < 3)
        source.close()
        assert starting.result(TIMEOUT) == []

    assert (vcenter.calls["CreateCollectorForEvents"], vcenter.sessions) == (0, set())


def test_an_event_during_the_wait_is_polled(vcenter: FakeVcenter) -> None:
    """What happens after the start comes by the feed, once."""
    source = source_of("vm-1")
    source.start()
    key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
    observations = polled(source, lambda found: any(isinstance(one, Event) for one in found))
    source.close()

    assert [one.key for one in observations if isinstance(one, Event)] == [key]


def test_the_first_status_does_not_wait_for_the_collector(vcenter: FakeVcenter) -> None:
    """The events since the start are read once the next poll shows that the state and the history were judged."""
    source = source_of("vm-1")
    source.start()
    first = source.poll(0)
    assert (bool(first), vcenter.calls["WaitForUpdatesEx"]) == (True, 0)
    source.poll(0)
    until(lambda: vcenter.calls["WaitForUpdatesEx"] > 0)
    source.close()


@pytest.mark.usefixtures("vcenter")
def test_a_reference_without_a_vm_is_an_observation() -> None:
    """A path that leads to no VM is Missing under the text that the user wrote."""
    source = source_of("/DC/vm/typo", keys=("web",))
    (vm,) = source.start()
    (missing,) = source.poll(0)
    source.close()

    assert (vm, type(missing)) == (VmRef("web", "/DC/vm/typo", "web"), Missing)
    assert "vc.example.com has no virtual machine '/DC/vm/typo' that ann may see" in str(missing)


def test_two_references_to_one_vm_are_refused(vcenter: FakeVcenter) -> None:
    """The message names both, and the session is given back."""
    source = source_of("vm-1", "/DC/vm/name of vm-1", keys=("a", "b"))
    with pytest.raises(ConfigurationError, match="expected each VM once, got 'a' and 'b', which are the same VM, vm-1"):
        source.start()
    source.close()
    assert vcenter.sessions == set()


@pytest.mark.usefixtures("vcenter")
def test_what_an_earlier_wait_found_is_kept() -> None:
    """A VM that was ready is not observed; one that was customized is, and the verdict uses that."""
    source = source_of("vm-1", "vm-2", keys=("a", "b"), already_ready={"vm-1"}, previously_customized={"vm-2"})
    vms = source.start()
    observations = source.poll(0)
    source.close()

    assert ([vm.key for vm in vms], source.already_ready) == (["b"], [("a", "vm-1")])
    assert PreviouslyCustomized("vm-2") in observations


@pytest.mark.parametrize(
    ("judged", "kept"),
    [
        pytest.param(Identity(SERVER_UUID, "uuid-1"), ["vm-1"], id="the same VM"),
        pytest.param(Identity(SERVER_UUID, "uuid-2"), [], id="another VM under the same ID"),
        pytest.param(Identity("another server", "uuid-1"), [], id="another server"),
        pytest.param(Identity(), ["vm-1"], id="a state that knows no UUIDs"),
    ],
)
def test_only_the_same_vm_on_the_same_server_is_kept(vcenter: FakeVcenter, judged: Identity, kept: list[str]) -> None:
    """A verdict is about one VM on one server: another VM under the same ID is judged like a new one."""
    vcenter.state.add("vm-1", config__instanceUuid="uuid-1", config__uuid="bios-1")
    known: Any = {"previously_customized": {"vm-1"}, "judged_as": {"vm-1": judged}}
    ready, customized = source_of("vm-1", already_ready={"vm-1"}, **known), source_of("vm-1", **known)
    refs = ready.start()
    notes = ready.notes()
    customized.start()
    observations = list(customized.poll(0))
    ready.close()
    customized.close()

    assert [vm for _, vm in ready.already_ready] == kept
    assert ready.instance_uuids == dict.fromkeys(kept, "uuid-1")
    assert ready.server_id == SERVER_UUID
    assert [vm.id for vm in refs] == ([] if kept else ["vm-1"])
    assert notes == ([] if kept else ["vm-1: vm-1 is not the VM that was judged before, so it is judged again"])
    assert (PreviouslyCustomized("vm-1") in observations) == bool(kept)


def test_ready_vms_are_compared_in_one_read(vcenter: FakeVcenter) -> None:
    """However many VMs are kept, their UUIDs cost one call."""
    moids = [vcenter.state.add(f"vm-{number}", config__instanceUuid=f"uuid-{number}") for number in range(1, 51)]
    source = source_of(*moids, already_ready=set(moids))
    source.start()
    source.close()

    assert (len(source.already_ready), vcenter.calls["RetrievePropertiesEx"]) == (50, 1)


@pytest.mark.parametrize(
    ("uuid", "ready"),
    [
        pytest.param("bios-1", False, id="judged, by the BIOS UUID"),
        pytest.param("UUID-1", False, id="judged, by the instance UUID"),
        pytest.param("bios-1", True, id="kept"),
        pytest.param("", True, id="not known"),
    ],
)
def test_a_vm_has_the_uuid_that_the_program_knows(vcenter: FakeVcenter, uuid: str, ready: bool) -> None:
    """The UUID of the program's resource is one of the VM's two."""
    vcenter.state.add("vm-1", config__instanceUuid="uuid-1", config__uuid="bios-1")
    target = Target("web", parse_reference("vm-1"), uuid)
    source = VsphereSource(SETTINGS, [target], already_ready={"vm-1"} if ready else ())
    source.start()
    source.close()

    assert len(source.already_ready) == ready


@pytest.mark.parametrize("ready", [False, True])
def test_a_gate_on_the_wrong_vcenter_is_found_out(vcenter: FakeVcenter, ready: bool) -> None:
    """The same ID on another vCenter is another VM: the error names both UUIDs and the setting."""
    vcenter.state.add("vm-1", config__instanceUuid="uuid-1", config__uuid="bios-1")
    target = Target("web", parse_reference("vm-1"), "bios-7")
    source = VsphereSource(SETTINGS, [target], already_ready={"vm-1"} if ready else ())
    with pytest.raises(ConfigurationError) as caught:
        source.start()
    source.close()

    assert str(caught.value) == (
        "web: expected the VM with the UUID bios-7, got vm-1 on vc.example.com with the UUID bios-1. Set "
        "`vsphere:vsphereServer` or VSPHERE_SERVER to the vCenter on which the VM is."
    )
    assert vcenter.sessions == set()


def test_a_refresh_reads_what_the_start_left_out(vcenter: FakeVcenter) -> None:
    """Names and addresses are read at the end, once; the history only since the start."""
    source = source_of("vm-1")
    source.start()
    source.poll(0)
    vcenter.state.add("vm-1", guest__hostName="web-1", guest__ipAddress="192.0.2.1")
    vcenter.now = NOON + timedelta(minutes=5)
    vcenter.events.happen(SUCCEEDED, "vm-1", NOON + timedelta(minutes=4))
    is_complete = source.refresh(TIMEOUT)
    observations = source.poll(0)
    explained = source.diagnose(VmRef("web-1", "vm-1", "web-1"), 1)
    source.close()

    snapshots = [one for one in observations if isinstance(one, Snapshot)]
    assert is_complete
    assert [(one.host_name, one.ip_addresses) for one in snapshots] == [("web-1", ("192.0.2.1",))]
    assert any("CustomizationSucceeded" in line for line in explained)


def test_a_power_off_that_the_state_does_not_show_yet_is_found(vcenter: FakeVcenter) -> None:
    """A VM that booted days ago is powered off after the start: the read that confirms has its event, too."""
    vcenter.state.add("vm-1", summary__runtime__bootTime=NOON - timedelta(days=2), **DONE)
    source = source_of("vm-1")
    source.start()
    first = source.poll(0)
    vcenter.events.happen(vim.event.VmPoweredOffEvent, "vm-1", NOON)
    is_complete = source.refresh(TIMEOUT)
    second = source.poll(0)
    source.close()

    assert is_complete
    assert [type(one) for one in first] == [Snapshot]
    assert [type(one) for one in second] == [Event, Snapshot]


def no_permission(*_: object) -> list[Any]:
    raise vim.fault.NoPermission


@pytest.mark.parametrize("reason", ["invalid XML", "no permission"])
@pytest.mark.parametrize("requires_customization", [True, False], ids=["required", "optional"])
def test_an_idle_vm_whose_history_cannot_be_read_opens_no_gate(
    vcenter: FakeVcenter, reason: str, requires_customization: bool
) -> None:
    """Its customization may have failed before: the start time-out ends the wait, a note and the diagnosis say why."""
    failed = vcenter.events.happen(vim.event.CustomizationFailed, "vm-1", NOON - timedelta(hours=2))
    if reason == "invalid XML":
        vcenter.events.unreadable = {failed}
    else:
        vcenter.methods["QueryEvents"] = no_permission
    rules = WaitRules(timeout=TIMEOUT, start_timeout=0.05, requires_customization=requires_customization)
    report = wait(source_of("vm-1", "vm-2"), rules)
    first, second = report.outcomes

    assert (first.ready, first.status) == (False, CustomizationStatus.CUSTOMIZATION_NOT_STARTED)
    assert first.failure is not None
    assert first.failure.kind is FailureKind.START_TIMEOUT
    assert first.failure.diagnosis[0].startswith("likely cause: not all events of the VM could be read")
    assert second.ready == (not requires_customization and reason == "invalid XML")
    (note,) = (note for note in report.notes if "could be read" in note)
    names = "name of vm-1" if reason == "invalid XML" else "name of vm-1, name of vm-2"
    why = "malformed response (InvalidXmlError: not well-formed (invalid token))"
    assert note == (
        f"vc.example.com: not all events of {names} could be read "
        f"({why if reason == 'invalid XML' else 'NoPermission'}), "
        "so it is unknown whether an earlier customization failed"
    )


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
def test_the_state_decides_where_events_may_not_be_read(vcenter: FakeVcenter, state: str) -> None:
    """A user without a right to the events of a VM gets the verdict of its state, without a note."""
    vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus=f"TOOLSDEPLOYPKG_{state}")
    vcenter.methods["QueryEvents"] = no_permission
    report = wait(source_of("vm-1"), WaitRules(timeout=TIMEOUT))
    (outcome,) = report.outcomes

    assert (outcome.ready, outcome.evidence) == (state == "SUCCEEDED", Evidence.STATE)
    assert report.notes == ()


def test_a_history_that_can_be_read_later_is_read_from_its_beginning(vcenter: FakeVcenter) -> None:
    """The read at the start time-out finds the old failure that the first one could not read."""
    failed = vcenter.events.happen(vim.event.CustomizationFailed, "vm-1", NOON - timedelta(hours=2))
    vcenter.events.unreadable = {failed}
    source = source_of("vm-1")
    source.start()
    first = list(source.poll(0))
    vcenter.events.unreadable = set()
    source.refresh(TIMEOUT)
    later = list(source.poll(0))
    source.close()

    assert [one for one in first if isinstance(one, Event | HistoryRead)] == []
    assert [one.key for one in later if isinstance(one, Event)] == [failed]
    assert HistoryRead("vm-1") in later


def test_an_end_before_a_restart_is_not_read_again(vcenter: FakeVcenter) -> None:
    """The event of the end is known, although the newest event is another one: a refresh reads only what is new."""
    vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    vcenter.events.happen(SUCCEEDED, "vm-1", NOON - timedelta(minutes=3))
    vcenter.events.happen(vim.event.VmStartingEvent, "vm-1", NOON - timedelta(minutes=2))
    source = source_of("vm-1")
    source.start()
    source.poll(0)
    source.refresh(TIMEOUT)
    read_again = [one for one in source.poll(0) if isinstance(one, Event)]
    source.close()

    assert read_again == []


@pytest.mark.parametrize("happens", [False, True], ids=["nothing", "an event"])
def test_a_read_that_takes_longer_than_a_refresh_is_the_next_one_s(vcenter: FakeVcenter, happens: bool) -> None:
    """It is not begun anew each time, so that it ends; an event makes it too old to confirm anything."""
    source = source_of("vm-1")
    source.start()
    source.poll(0)
    read, held = vcenter.methods["RetrievePropertiesEx"], threading.Event()
    vcenter.methods["RetrievePropertiesEx"] = lambda *args: held.wait(TIMEOUT) and read(*args)
    before = vcenter.calls["RetrievePropertiesEx"]
    assert not source.refresh(0.05)
    until(lambda: vcenter.calls["RetrievePropertiesEx"] > before)
    if happens:
        vcenter.events.happen(STARTED, "vm-1", NOON)
        polled(source, lambda found: any(isinstance(one, Event) for one in found))
    held.set()
    assert source.refresh(TIMEOUT)
    reads = vcenter.calls["RetrievePropertiesEx"] - before
    source.close()

    assert reads == (2 if happens else 1)


def test_a_later_read_keeps_the_details_of_the_same_boot(vcenter: FakeVcenter) -> None:
    """The read that finds lost events leaves out names and addresses; a new boot may have others."""
    source = source_of("vm-1")
    source.start()
    source.poll(0)
    vcenter.state.add("vm-1", guest__hostName="web-1")
    source.refresh(TIMEOUT)
    feed = source._feed
    assert feed is not None
    reported = []
    for boot in (NOON - timedelta(minutes=1), NOON):
        running = {"guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_RUNNING"}
        vcenter.state.add("vm-1", guest__hostName="another", summary__runtime__bootTime=boot, **running)
        feed._state.soon()
        reported += polled(source, bool)
    source.close()

    assert [one.host_name for one in reported if isinstance(one, Snapshot)] == ["web-1", ""]


def test_a_refresh_of_a_server_that_is_gone_yields_nothing(vcenter: FakeVcenter) -> None:
    """A read that fails before a deadline is judged is not an error of the wait."""
    source = source_of("vm-1")
    assert not source.refresh(1)
    source.start()
    source.poll(0)
    vcenter.password = "changed"
    vcenter.end_sessions()
    vcenter.failures["RetrievePropertiesEx"] = [vim.fault.NotAuthenticated(), vim.fault.NotAuthenticated()]
    # The feed may meet the same refusal first, and raises it then.
    with contextlib.suppress(AuthenticationError):
        assert not source.refresh(TIMEOUT)
        assert [one for one in source.poll(0) if isinstance(one, Snapshot)] == []
    source.close()


def test_the_end_of_the_feed_is_the_end_of_the_wait(vcenter: FakeVcenter) -> None:
    """A password that is refused during the wait is raised by poll, after what was observed before."""
    source = source_of("vm-1")
    source.start()
    source.poll(0)
    vcenter.password = "changed"
    vcenter.end_sessions()
    with pytest.raises(AuthenticationError):
        polled(source, lambda _: False)
    notes = source.notes()
    source.close()

    assert "vc.example.com: session not authenticated (NotAuthenticated); retrying" in notes
    assert source.notes() == []
