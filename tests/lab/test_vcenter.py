"""The lab's vCenter on real sockets, called with pyVmomi: every other test relies on it."""

from __future__ import annotations

import http.client
import stat
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyVmomi import vim, vmodl

from lab import vcenter_client
from tests.lab.vcenter_fixture import (
    TEST_TIMEOUT,
    VERSION,
    VCenter,
    connection,
    finish,
    kind,
    linux,
    program,
    running,
    session,
    status,
    until,
)

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., contextlib.AbstractContextManager[VCenter]]:
    return lambda *options: running(tmp_path_factory.mktemp("vcenter"), *options)


@pytest.fixture(scope="module")
def vcenter(start: Callable[..., Any]) -> Iterator[VCenter]:
    """A lab that the tests of this module share: each has VMs of its own."""
    with start("-vms", "2", "-hosts", "2") as vcenter:
        yield vcenter


# ---- what it is


def test_it_says_that_it_is_a_lab(vcenter: VCenter) -> None:
    """The lab cannot be mistaken for a real vCenter."""
    about = vcenter.content.about

    assert "lab" in about.fullName
    assert "not a VMware product" in about.fullName
    assert (about.apiVersion, about.apiType) == (VERSION, "VirtualCenter")


def test_the_inventory_is_the_promised_one(vcenter: VCenter) -> None:
    """The inventory has the names that the example stack looks up."""
    datacenter = vcenter.content.rootFolder.childEntity[0]
    cluster = datacenter.hostFolder.childEntity[0]
    networks = [network.name for network in datacenter.network]

    assert (datacenter.name, cluster.name, [store.name for store in datacenter.datastore]) == (
        "DC0",
        "DC0_C0",
        ["LocalDS_0"],
    )
    assert "VM Network" in networks
    assert {vm.name for vm in (vcenter.template, vcenter.find("vm-0"))} == {"linux-template", "vm-0"}


def test_the_whole_vm_is_readable(vcenter: VCenter) -> None:
    """PyVmomi can read every large property of a VM, before and after it has run."""
    for vm in (vcenter.template, vcenter.clone(on=True)):
        assert vm.runtime.recordReplayState == "inactive"
        assert vm.summary.runtime.faultToleranceState == "notConfigured"
        assert str(vm.guestHeartbeatStatus) in ("gray", "green")
        assert vm.config.uuid
        assert vm.guest.toolsStatus


def test_the_ready_file_is_private(vcenter: VCenter, tmp_path: Path) -> None:
    """The ready file, with the password in it, can be read by its owner alone; every lab has a password of its own."""
    lab = vcenter_client.start(program(), tmp_path)
    try:
        mode = stat.S_IMODE((tmp_path / "ready.json").stat().st_mode)
    finally:
        vcenter_client.stop(program(), tmp_path)

    assert oct(mode) == "0o600"
    assert lab.password != vcenter.lab.password


def test_it_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that is stopped has removed the simulator's files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    vcenter_client.start(program(), tmp_path / "lab")
    while_running = list((tmp_path / "temporary").iterdir())
    vcenter_client.stop(program(), tmp_path / "lab")

    assert len(while_running) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


# ---- logging in


def test_a_wrong_password_is_refused_and_counted(vcenter: VCenter) -> None:
    """A wrong password is InvalidLogin, and the control endpoint counts it."""
    before = vcenter.lab.stats()["logins"]

    with connection(vcenter.lab) as service, pytest.raises(vim.fault.InvalidLogin):
        service.content.sessionManager.Login(vcenter.lab.user, "wrong")

    after = vcenter.lab.stats()["logins"]
    assert (after["ok"] - before["ok"], after["failed"] - before["failed"]) == (0, 1)


def test_nothing_is_readable_without_a_session(vcenter: VCenter) -> None:
    """A property of a VM read after the session has ended is NotAuthenticated, not a value."""
    with session(vcenter.lab) as service:
        vm = vim.VirtualMachine(vcenter.template._moId, service._stub)
        name = vm.name
        service.content.sessionManager.Logout()

        with pytest.raises(vim.fault.NotAuthenticated):
            _ = vm.name
    assert name == "linux-template"


def test_terminated_sessions_end_and_free_what_they_held(start: Callable[..., Any]) -> None:
    """After the sessions are terminated a call is NotAuthenticated, and no session or collector is left."""
    with start() as vcenter:
        vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
        held = vcenter.lab.stats()
        vcenter.done("POST", "/sessions/terminate")
        left = vcenter.lab.stats()

        with pytest.raises(vim.fault.NotAuthenticated):
            vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())

    assert (held["sessions"], held["collectors"]) == (1, 1)
    assert (left["sessions"], left["collectors"]) == (0, 0)


# ---- customization


def test_a_customized_clone_goes_through_all_states(vcenter: VCenter) -> None:
    """A clone with a specification is customized after its power-on, and its name and addresses move with success."""
    vm = vcenter.clone(custom=linux("10.9.8.7", host_name="db-7"), plan={"startDelay": "400ms", "duration": "400ms"})
    at_power_on = (status(vm), vm.guest.toolsRunningStatus, vm.config.tools.pendingCustomization, vm.guest.ipAddress)
    until(lambda: status(vm) == "RUNNING")
    while_running = (vm.guest.toolsRunningStatus, vm.guest.toolsVersionStatus2, vm.guest.hostName)
    until(lambda: status(vm) == "SUCCEEDED")

    info = vm.guest.customizationInfo
    assert at_power_on == ("PENDING", "guestToolsNotRunning", None, None)
    assert while_running == ("guestToolsRunning", "guestToolsCurrent", "localhost")
    assert (vm.guest.hostName, vm.guest.ipAddress, vm.guest.net[0].ipAddress) == ("db-7", "10.9.8.7", ["10.9.8.7"])
    assert timedelta(seconds=0.4) <= info.endTime - info.startTime < timedelta(seconds=0.4 + TEST_TIMEOUT)
    assert vcenter.story(vm) == [
        "VmStartingEvent",
        "VmPoweredOnEvent",
        "CustomizationStartedEvent",
        "CustomizationSucceeded",
    ]


def test_a_vm_of_the_inventory_is_customized_at_its_next_power_on(vcenter: VCenter) -> None:
    """CustomizeVM_Task only asks; the power-on customizes, and uses the request up."""
    vm = vcenter.clone(on=False)
    finish(vm.CustomizeVM_Task(linux()))
    asked = (status(vm), bool(vm.config.tools.pendingCustomization), str(vm.runtime.bootTime))
    finish(vm.PowerOnVM_Task())
    pending = vm.config.tools.pendingCustomization
    until(lambda: status(vm) == "SUCCEEDED")

    assert asked == ("PENDING", True, "None")
    assert pending is None
    assert abs(vm.runtime.bootTime - vcenter.service.CurrentTime()) < timedelta(seconds=TEST_TIMEOUT)
    assert vm.runtime.bootTime == vm.summary.runtime.bootTime


def test_a_second_specification_is_refused(vcenter: VCenter) -> None:
    """While one specification waits another one is CustomizationPending."""
    vm = vcenter.clone(on=False)
    finish(vm.CustomizeVM_Task(linux()))

    with pytest.raises(vim.fault.CustomizationPending):
        finish(vm.CustomizeVM_Task(linux()))


def test_a_specification_for_other_adapters_makes_no_clone(vcenter: VCenter) -> None:
    """A specification with the wrong number of network adapters fails at once, and leaves no VM."""
    with pytest.raises(vim.fault.NicSettingMismatch):
        vcenter.clone("two-adapters", custom=linux("", ""))

    with pytest.raises(KeyError):
        vcenter.find("two-adapters")


@pytest.mark.parametrize(
    "outcome",
    [
        "CustomizationFailed",
        "CustomizationLinuxIdentityFailed",
        "CustomizationNetworkSetupFailed",
        "CustomizationSysprepFailed",
        "CustomizationUnknownFailure",
    ],
)
def test_a_failure_has_its_class_and_its_texts(vcenter: VCenter, outcome: str) -> None:
    """A planned failure posts the planned class, with reason, message and log location, and sets errorMsg."""
    plan = {
        "outcome": outcome,
        "reason": "userDefinedScriptDisabled",
        "message": "no name",
        "logLocation": "/var/log/lab.log",
    }
    vm = vcenter.clone(custom=linux(), plan=plan)
    until(lambda: status(vm) == "FAILED")
    only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    event = until(lambda: vcenter.events(entity=only, eventTypeId=[outcome]))[0]

    assert (event.reason, event.fullFormattedMessage, event.logLocation) == (
        "userDefinedScriptDisabled",
        "no name",
        "/var/log/lab.log",
    )
    assert vm.guest.customizationInfo.errorMsg == "no name"
    assert vm.guest.hostName == "localhost"


def test_a_plan_by_name_reaches_a_vm_that_does_not_exist_yet(vcenter: VCenter) -> None:
    """The control endpoint sets the plan of a name; DELETE removes it."""
    vcenter.done("PUT", "/vms/planned", {"outcome": "CustomizationFailed", "duration": 0.05})
    vm = vcenter.clone("planned", custom=linux())
    until(lambda: status(vm) == "FAILED")
    vcenter.done("DELETE", "/vms/planned")
    finish(vm.PowerOffVM_Task())
    finish(vm.CustomizeVM_Task(linux()))
    finish(vm.PowerOnVM_Task())

    assert until(lambda: status(vm) == "SUCCEEDED")


@pytest.mark.parametrize(("outcome", "state"), [("never-starts", "PENDING"), ("never-ends", "RUNNING")])
def test_a_customization_may_hang(vcenter: VCenter, outcome: str, state: str) -> None:
    """Nothing more comes from a customization that never starts or never ends, though VMware Tools run."""
    vm = vcenter.clone(custom=linux(), plan={"outcome": outcome, "startDelay": "50ms", "duration": "50ms"})
    until(lambda: status(vm) == state and vm.guest.toolsRunningStatus == "guestToolsRunning")
    time.sleep(0.3)  # six times what a customization of this plan would take

    assert status(vm) == state
    assert "CustomizationSucceeded" not in vcenter.story(vm)


def test_a_vm_without_a_specification_boots_only(vcenter: VCenter) -> None:
    """Without a specification VMware Tools come up, customizationInfo is IDLE, and no customization event comes."""
    vm = vcenter.clone()
    until(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning")

    assert status(vm) == "IDLE"
    assert vm.guest.ipAddress
    assert vcenter.story(vm) == ["VmStartingEvent", "VmPoweredOnEvent"]


def test_power_off_ends_a_customization(vcenter: VCenter) -> None:
    """A power-off in mid-customization posts no end, and the next power-on neither repeats it nor changes its state."""
    vm = vcenter.clone(custom=linux(), plan={"duration": "1h"})
    until(lambda: status(vm) == "RUNNING")
    finish(vm.PowerOffVM_Task())
    off = (vm.guest.toolsRunningStatus, vm.runtime.bootTime)
    finish(vm.PowerOnVM_Task())
    until(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning")

    assert off == ("guestToolsNotRunning", None)
    assert status(vm) == "RUNNING"
    assert vcenter.story(vm) == ["VmStartingEvent", "VmPoweredOnEvent"]


@pytest.mark.parametrize("outcome", ["succeeded", "CustomizationSysprepFailed"])
def test_a_customization_ends_on_request(vcenter: VCenter, outcome: str) -> None:
    """An order ends a customization that would never have ended by itself; only one that runs can be ended."""
    vm = vcenter.clone(custom=linux(), plan={"outcome": "never-ends"})
    until(lambda: status(vm) == "RUNNING")
    vcenter.lab.end(vm.name, outcome, message="because")
    event = vcenter.events(entity=vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self"))[0]

    assert status(vm) == ("SUCCEEDED" if outcome == "succeeded" else "FAILED")
    assert kind(event) == ("CustomizationSucceeded" if outcome == "succeeded" else outcome)
    assert (event.fullFormattedMessage == "because") == (outcome != "succeeded")
    assert vcenter.control("POST", f"/vms/{vm.name}/end", {"outcome": outcome}).status_code == 400
    assert vcenter.control("POST", f"/vms/{vm.name}/end", {"outcome": "never-ends"}).status_code == 400


def test_a_vm_is_customized_again_and_deleted_on_request(vcenter: VCenter) -> None:
    """A VM that is off takes a specification for its next power-on, or goes; one that is on does neither."""
    vm = vcenter.clone(custom=linux())
    until(lambda: status(vm) == "SUCCEEDED")
    refused = [vcenter.control("POST", f"/vms/{vm.name}/{deed}").status_code for deed in ("customize", "destroy")]
    vcenter.lab.power(vm.name, "off")
    vcenter.lab.customize(vm.name)
    pending = status(vm)
    vcenter.lab.power(vm.name, "on")
    until(lambda: status(vm) == "SUCCEEDED")
    vcenter.lab.power(vm.name, "off")
    name = vm.name
    vcenter.lab.destroy(name)

    assert (refused, pending) == ([400, 400], "PENDING")
    assert kind(vcenter.events()[0]) == "VmRemovedEvent"
    assert vcenter.control("POST", f"/vms/{name}/destroy").status_code == 404
    assert vcenter.control("POST", "/vms/*/destroy").status_code == 400


def test_a_later_power_on_keeps_the_old_state(vcenter: VCenter) -> None:
    """After a success a power-cycle posts no customization event, and customizationInfo keeps its value."""
    vm = vcenter.clone(custom=linux())
    until(lambda: status(vm) == "SUCCEEDED")
    vcenter.done("POST", f"/vms/{vm.name}/power", {"kind": "ha_restart"})
    until(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning")

    assert status(vm) == "SUCCEEDED"
    assert vcenter.story(vm, since="VmPoweredOffEvent") == ["VmPoweredOffEvent", "VmStartingEvent", "VmPoweredOnEvent"]


def test_the_guest_has_a_clock_of_its_own(vcenter: VCenter) -> None:
    """A guest clock that is off moves the times of customizationInfo and of nothing else."""
    vm = vcenter.clone(custom=linux(), plan={"guestClockOffset": "-3h"})
    until(lambda: status(vm) == "SUCCEEDED")
    only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    event = vcenter.events(entity=only, eventTypeId=["CustomizationSucceeded"])[0]

    behind = event.createdTime - vm.guest.customizationInfo.endTime
    assert abs(behind - timedelta(hours=3)) < timedelta(seconds=1)
    assert abs(event.createdTime - vcenter.service.CurrentTime()) < timedelta(seconds=TEST_TIMEOUT)


def test_a_bulk_power_on_customizes_too(vcenter: VCenter) -> None:
    """PowerOnMultiVM_Task of the datacenter starts customizations like any other power-on."""
    vms = [vcenter.clone(on=False, custom=linux()) for _ in range(3)]
    finish(vcenter.content.rootFolder.childEntity[0].PowerOnMultiVM_Task(vms))

    for vm in vms:
        assert until(lambda vm=vm: status(vm) == "SUCCEEDED")  # type: ignore[misc]


def test_an_invalid_plan_fails_the_one_vm(vcenter: VCenter) -> None:
    """A plan that makes no sense fails its VM's customization, says why, and stops no other."""
    bad = vcenter.clone(custom=linux(), plan={"duration": "soon"})
    good = vcenter.clone(custom=linux())
    until(lambda: status(bad) == "FAILED")

    assert "duration" in bad.guest.customizationInfo.errorMsg
    assert until(lambda: status(good) == "SUCCEEDED")


def test_clones_inherit_the_plan_of_their_source(vcenter: VCenter) -> None:
    """The plan's extraConfig keys go over to clones, as extraConfig does; the clone's own keys win."""
    source = vcenter.clone(on=False, plan={"outcome": "CustomizationFailed", "message": "inherited"})
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(),
        powerOn=True,
        customization=linux(),
        config=vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key="lab.message", value="own")]),
    )
    vm = finish(source.CloneVM_Task(source.parent, f"{source.name}-clone", spec))
    until(lambda: status(vm) == "FAILED")

    assert vm.guest.customizationInfo.errorMsg == "own"


def test_a_guest_reboots_after_success(vcenter: VCenter) -> None:
    """A plan with reboots takes VMware Tools away after success, and brings them back, without any event."""
    plan = {"rebootAfter": "50ms", "rebootDuration": "400ms", "reboots": "2"}
    vm = vcenter.clone(custom=linux(), plan=plan)
    until(lambda: status(vm) == "SUCCEEDED")
    until(lambda: not vm.guest.guestOperationsReady and vm.guest.toolsRunningStatus == "guestToolsNotRunning")
    until(lambda: vm.guest.guestOperationsReady and str(vm.guestHeartbeatStatus) == "green")
    until(lambda: not vm.guest.guestOperationsReady)
    until(lambda: vm.guest.guestOperationsReady)

    assert vcenter.story(vm)[-1] == "CustomizationSucceeded"


def test_migrations_are_events(vcenter: VCenter) -> None:
    """MigrateVM_Task and RelocateVM_Task move a VM to another host and post VmMigratedEvent."""
    vm = vcenter.clone()
    here, there = sorted(vm.resourcePool.owner.host, key=lambda host: bool(host != vm.runtime.host))
    finish(vm.MigrateVM_Task(None, there, "defaultPriority"))
    moved = vm.runtime.host
    finish(vm.RelocateVM_Task(vim.vm.RelocateSpec(host=here)))

    assert (moved, vm.runtime.host) == (there, here)
    assert vcenter.story(vm)[-2:] == ["VmMigratedEvent", "VmMigratedEvent"]


# ---- events


def test_the_history_is_complete_and_newest_first(start: Callable[..., Any]) -> None:
    """QueryEvents reaches every event, a thousand at a time, newest first, however many there are."""
    with start("-vms", "2") as vcenter:
        vm = vcenter.find("vm-0")
        vcenter.done("POST", "/events", {"vm": vm._moId, "type": "CustomizationSucceeded", "count": 2500})
        newest = vcenter.events(eventTypeId=["CustomizationSucceeded"])
        few = vcenter.events(eventTypeId=["CustomizationSucceeded"], maxCount=3)
        keys: set[int] = set()
        end = None
        while True:
            page = vcenter.events(
                eventTypeId=["CustomizationSucceeded"], time=vim.event.EventFilterSpec.ByTime(endTime=end)
            )
            if {event.key for event in page} <= keys:
                break
            keys |= {event.key for event in page}
            end = page[-1].createdTime

        with pytest.raises(vmodl.fault.InvalidArgument):
            vcenter.events(maxCount=1001)

    assert len(newest) == 1000
    assert [event.key for event in newest] == sorted((event.key for event in newest), reverse=True)
    assert [event.key for event in few] == [event.key for event in newest[:3]]
    assert len(keys) == 2500


def test_events_are_found_by_entity(vcenter: VCenter) -> None:
    """A folder's children include its VMs' events, its self does not; a VM that is gone is not found."""
    vm = vcenter.clone()
    finish(vm.PowerOffVM_Task())
    folder = vcenter.content.rootFolder.childEntity[0].vmFolder

    def keys(entity: Any, recursion: str) -> set[int]:
        only = vim.event.EventFilterSpec.ByEntity(entity=entity, recursion=recursion)
        return {event.key for event in vcenter.events(entity=only, eventTypeId=["VmPoweredOffEvent"])}

    own = keys(vm, "self")
    below, itself, everything = keys(folder, "children"), keys(folder, "self"), keys(vcenter.content.rootFolder, "all")
    finish(vm.Destroy_Task())
    still_below = keys(folder, "children")

    assert len(own) == 1
    assert own <= below
    assert own <= everything
    assert own <= still_below
    assert itself == set()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        keys(vm, "self")


def test_a_base_class_is_not_an_event_type_id(vcenter: VCenter) -> None:
    """The lab is strict: eventTypeId names concrete classes."""
    vm = vcenter.clone(custom=linux())
    until(lambda: status(vm) == "SUCCEEDED")

    assert vcenter.events(eventTypeId=["CustomizationEvent"]) == []
    assert kind(vcenter.events(eventTypeId=["CustomizationSucceeded"])[0]) == "CustomizationSucceeded"


def test_a_collector_rings_and_is_read_on(vcenter: VCenter) -> None:
    """A collector's latestPage moves with every event, and ReadNextEvents gives each event once."""
    vm = vcenter.find("vm-0")
    begin = vim.event.EventFilterSpec.ByTime(beginTime=vcenter.service.CurrentTime())
    spec = vim.event.EventFilterSpec(time=begin, eventTypeId=["CustomizationFailed"], disableFullMessage=False)
    events = vcenter.content.eventManager.CreateCollectorForEvents(spec)
    events.SetCollectorPageSize(1)
    properties = vcenter.content.propertyCollector.CreatePropertyCollector()
    latest_page = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=events)],
        propSet=[
            vmodl.query.PropertyCollector.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])
        ],
    )
    properties.CreateFilter(latest_page, partialUpdates=True)
    version = properties.WaitForUpdatesEx("", None).version
    posted = [vcenter.done("POST", "/events", {"vm": vm._moId, "type": "CustomizationFailed"})["key"] for _ in range(3)]
    changed = properties.WaitForUpdatesEx(
        version, vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=int(TEST_TIMEOUT))
    )
    read = [event.key for event in events.ReadNextEvents(1000)]
    rest = list(events.ReadNextEvents(1000))
    events.RewindCollector()
    again = [event.key for event in events.ReadNextEvents(2)]
    properties.DestroyPropertyCollector()
    events.DestroyCollector()

    assert changed is not None
    assert read == posted
    assert rest == []
    assert again == posted[:2]


def test_an_overrun_collector_reads_nothing_until_it_rewinds(vcenter: VCenter) -> None:
    """More than a thousand unread events push a reader's place out of the buffer."""
    vm = vcenter.find("vm-0")
    begin = vim.event.EventFilterSpec.ByTime(beginTime=vcenter.service.CurrentTime())
    spec = vim.event.EventFilterSpec(time=begin, eventTypeId=["CustomizationUnknownFailure"])
    events = vcenter.content.eventManager.CreateCollectorForEvents(spec)
    body = {"vm": vm._moId, "type": "CustomizationUnknownFailure"}
    vcenter.done("POST", "/events", body)
    first = list(events.ReadNextEvents(10))
    last = vcenter.done("POST", "/events", {**body, "count": 1500})["key"]
    stuck = list(events.ReadNextEvents(1000))
    events.RewindCollector()
    rest = [event.key for _ in range(2) for event in events.ReadNextEvents(1000)]
    events.DestroyCollector()

    assert (len(first), stuck) == (1, [])
    assert rest == list(range(last - 1000, last + 1))


def test_collectors_are_limited_and_freed(start: Callable[..., Any]) -> None:
    """The limit counts collectors that exist: destroying one makes room, and so does logging out."""
    with start("-max-collectors", "2") as vcenter:
        spec = vim.event.EventFilterSpec()
        with session(vcenter.lab) as other:
            held = other.content.eventManager.CreateCollectorForEvents(spec)
            vcenter.content.eventManager.CreateCollectorForEvents(spec)
            with pytest.raises(vim.fault.InvalidState):
                vcenter.content.eventManager.CreateCollectorForEvents(spec)
            held.DestroyCollector()
            other.content.eventManager.CreateCollectorForEvents(spec)
        vcenter.content.eventManager.CreateCollectorForEvents(spec)
        collectors = vcenter.lab.stats()["collectors"]

    assert collectors == 2


def test_purged_events_are_gone_for_every_reader(start: Callable[..., Any]) -> None:
    """After a purge neither a query nor a new collector finds an older event."""
    with start("-vms", "2", "-autostart") as vcenter:
        before = vcenter.events()
        vcenter.lab.purge_events()
        collector = vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
        after, collected = vcenter.events(), list(collector.ReadNextEvents(1000))

    assert len(before) > 3
    assert (after, collected) == ([], [])


def test_a_restart_keeps_vms_and_ends_sessions(start: Callable[..., Any]) -> None:
    """A restarted vCenter comes back at its address with its VMs and, as requested, with or without its events."""
    with start("-vms", "2") as vcenter:
        for events in ("kept", "lost"):
            before = {event.key for event in vcenter.events(eventTypeId=["VmCreatedEvent"])}
            vcenter.done("POST", "/restart", {"down": 0.2, "events": events})
            with pytest.raises((OSError, http.client.HTTPException)):
                vcenter.service.CurrentTime()
            until(vcenter.lab.answers)
            with pytest.raises(vim.fault.NotAuthenticated):
                vcenter.service.CurrentTime()
            vcenter.content.sessionManager.Login(vcenter.lab.user, vcenter.lab.password)
            after = {event.key for event in vcenter.events(eventTypeId=["VmCreatedEvent"])}

            assert len(before) == 2
            assert after == (before if events == "kept" else set())
        assert vcenter.find("vm-0")


# ---- flags


def test_an_old_version_knows_no_customization_info(start: Callable[..., Any]) -> None:
    """Before 7.0.2 guest.customizationInfo does not exist: reading it is InvalidProperty, and events still come."""
    with start("-api-version", "7.0.1.0") as vcenter:
        vm = vcenter.clone(custom=linux())
        until(lambda: "CustomizationSucceeded" in vcenter.story(vm))
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
            propSet=[
                vmodl.query.PropertyCollector.PropertySpec(
                    type=vim.VirtualMachine, pathSet=["guest.customizationInfo.customizationStatus"]
                )
            ],
        )

        with pytest.raises(vmodl.query.InvalidProperty):
            vcenter.content.propertyCollector.RetrieveContents([spec])
        assert vm.guest.customizationInfo is None


def test_it_can_pretend_to_be_a_host(start: Callable[..., Any]) -> None:
    """With -esxi the lab says HostAgent, calls itself a host and still a simulator, and has no event history."""
    with start("-esxi") as vcenter:
        about = vcenter.content.about
        assert (about.apiType, about.productLineId) == ("HostAgent", "embeddedEsx")
        assert about.fullName == "Customization gate lab ESXi host (govmomi simulator, not a VMware product) 8.0.3"
        with pytest.raises(vmodl.fault.NotSupported):
            vcenter.events()


def test_a_fleet_can_have_been_customized_long_ago(start: Callable[..., Any]) -> None:
    """With -history customized the VMs run, and their power-on and customization lie hours back, in order."""
    with start("-vms", "4", "-history", "customized", "-history-age", "30h") as vcenter:
        now = vcenter.service.CurrentTime()
        vm = vcenter.find("vm-1")
        only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
        times = [event.createdTime for event in reversed(vcenter.events(entity=only))]

        assert status(vm) == "SUCCEEDED"
        assert abs(now - vm.runtime.bootTime - timedelta(hours=30)) < timedelta(minutes=1)
        assert times == sorted(times)
        assert abs(now - times[-1] - timedelta(hours=30)) < timedelta(minutes=1)
        assert vcenter.story(vm)[-1] == "CustomizationSucceeded"
        assert str(vcenter.template.runtime.powerState) == "poweredOff"


def test_a_large_fleet_starts_quickly(start: Callable[..., Any]) -> None:
    """A thousand VMs, powered on and being customized, are there within twenty seconds."""
    began = time.monotonic()
    with start("-vms", "1001", "-autostart", "-customize") as vcenter:
        took = time.monotonic() - began
        end = vim.event.EventFilterSpec.ByTime(beginTime=datetime.now(timezone.utc) - timedelta(hours=1))
        until(lambda: len(vcenter.events(eventTypeId=["CustomizationSucceeded"], time=end)) == 1000)

    assert took < 20


# ---- the control endpoint


def test_the_control_endpoint_asks_for_its_token(vcenter: VCenter) -> None:
    """Without the token the control endpoint answers nothing but 401."""
    answer = requests.get(
        f"{vcenter.lab.control}/stats", headers={"Authorization": "Bearer wrong"}, timeout=TEST_TIMEOUT
    )

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("verb", "path", "body", "code"),
    [
        pytest.param("PUT", "/vms/x", {"outcome": "fine"}, 400, id="unknown outcome"),
        pytest.param("PUT", "/vms/x", {"durations": "1s"}, 400, id="unknown key"),
        pytest.param("PUT", "/vms/x", {"duration": "-1s"}, 400, id="negative time"),
        pytest.param("POST", "/vms/nobody/power", {"kind": "on"}, 404, id="unknown VM"),
        pytest.param("POST", "/vms/vm-0/power", {"kind": "explode"}, 400, id="unknown kind"),
        pytest.param("POST", "/events", {"vm": "vm-0", "type": "VirtualMachine"}, 400, id="not an event"),
        pytest.param("POST", "/restart", {"events": "some"}, 400, id="unknown fate of events"),
        pytest.param("GET", "/nothing", None, 404, id="unknown path"),
    ],
)
def test_the_control_endpoint_refuses_nonsense(
    vcenter: VCenter, verb: str, path: str, body: dict[str, Any] | None, code: int
) -> None:
    """What the control endpoint does not understand it refuses, instead of testing something else than was meant."""
    assert vcenter.control(verb, path, body).status_code == code


def test_the_counts_are_those_of_the_calls(start: Callable[..., Any]) -> None:
    """The statistics count calls by method, bytes, sessions and logins, and can be reset."""
    with start() as vcenter:
        vcenter.lab.reset_stats()
        threads = [threading.Thread(target=vcenter.service.CurrentTime) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = vcenter.lab.stats()

    assert stats["calls"] == {"CurrentTime": 5}
    assert stats["sessions"] == 1
    assert stats["logins"] == {"ok": 0, "failed": 0}
    assert stats["bytes_out"] > 5 * 100
