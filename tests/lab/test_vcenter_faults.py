"""The faults that the lab's vCenter has on demand, seen from a client."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.vcenter_fixture import TEST_TIMEOUT, VCenter, running, session, until

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = (ConnectionResetError, ssl.SSLEOFError)
"""What a broken connection looks like: it depends on what of TLS was still to be read."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "4", "-autostart") as vcenter:
        yield vcenter


@pytest.fixture
def vcenter(shared: VCenter) -> Iterator[VCenter]:
    """The shared lab without faults, before and after."""
    yield shared
    shared.done("DELETE", "/faults")
    shared.service._stub.DropConnections()


def fault(vcenter: VCenter, kind: str, **rule: Any) -> None:
    vcenter.done("POST", "/faults", {"kind": kind, **rule})


def test_an_http_error_comes_as_often_as_requested(vcenter: VCenter) -> None:
    """A rule with a count strikes so many calls of its method, and none of another."""
    fault(vcenter, "http503", method="CurrentTime", count=2)
    vcenter.content.sessionManager.SessionIsActive("x", "y")
    for _ in range(2):
        with pytest.raises(http.client.HTTPException, match="503"):
            vcenter.service.CurrentTime()

    assert vcenter.service.CurrentTime()
    assert vcenter.control("GET", "/faults").json()[0]["hits"] == 2


def test_a_call_is_hit_by_its_number(vcenter: VCenter) -> None:
    """A rule lets the first calls of its method pass, and strikes the next one."""
    fault(vcenter, "http503", method="CurrentTime", skip=2, count=1)
    assert [vcenter.service.CurrentTime() is not None for _ in range(2)] == [True, True]
    with pytest.raises(http.client.HTTPException, match="503"):
        vcenter.service.CurrentTime()
    assert vcenter.service.CurrentTime()


def test_a_delayed_call_is_answered_late(vcenter: VCenter) -> None:
    """A delay holds the call back, and its answer is the right one."""
    fault(vcenter, "delay", method="CurrentTime", seconds=0.3, count=1)
    began = time.monotonic()
    now = vcenter.service.CurrentTime()

    assert time.monotonic() - began >= 0.3
    assert now.tzinfo is not None


def test_a_reset_breaks_the_connection(vcenter: VCenter) -> None:
    """A reset breaks the call off without an answer, and the next one works."""
    fault(vcenter, "reset", method="CurrentTime", count=1)

    with pytest.raises(BROKEN):
        vcenter.service.CurrentTime()
    assert vcenter.service.CurrentTime()


def test_a_truncated_answer_ends_in_the_middle(vcenter: VCenter) -> None:
    """A truncated answer has fewer bytes than its header declares."""
    fault(vcenter, "truncate", method="RetrieveServiceContent", count=1)

    with pytest.raises(Exception, match=r"(?i)no element|incomplete|unclosed|token|closed"):
        vcenter.service.RetrieveContent()
    assert vcenter.service.RetrieveContent()


def test_a_hanging_call_is_let_go_when_the_rule_is_removed(vcenter: VCenter) -> None:
    """A call that hangs gets no answer; removing the rules ends it, without an answer."""
    fault(vcenter, "hang", method="CurrentTime")
    errors: list[BaseException] = []

    def call() -> None:
        try:
            vcenter.service.CurrentTime()
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: vcenter.control("GET", "/faults").json()[0]["hits"] == 1)
    hung = thread.is_alive()
    vcenter.done("DELETE", "/faults")
    thread.join(TEST_TIMEOUT)

    assert hung
    assert [type(error) for error in errors] == [http.client.RemoteDisconnected]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("not_authenticated", vim.fault.NotAuthenticated),
        ("no_permission", vim.fault.NoPermission),
        ("InvalidState", vim.fault.InvalidState),
        ("host_communication", vmodl.fault.HostCommunication),
    ],
)
def test_any_fault_of_the_api_can_be_had(vcenter: VCenter, name: str, kind: type[Exception]) -> None:
    """A fault class of the API comes as pyVmomi's exception of that class, by either spelling of its name."""
    fault(vcenter, name, method="CurrentTime|RetrieveServiceContent", count=1)

    with pytest.raises(kind):
        vcenter.service.CurrentTime()
    assert vcenter.service.CurrentTime()


def test_an_answer_may_be_lost_after_the_deed(vcenter: VCenter) -> None:
    """With `after` the call is carried out and only its answer is lost."""
    vm = vcenter.find("vm-2")
    fault(vcenter, "reset", method="CustomizeVM_Task|Rename_Task", count=1, after=True)

    with pytest.raises(BROKEN):
        vm.Rename_Task("renamed")
    assert until(lambda: vm.name == "renamed")


def test_a_rule_can_be_about_one_vm(vcenter: VCenter) -> None:
    """A rule with a VM strikes its calls and no other's."""
    vm, other = vcenter.find("vm-0"), vcenter.find("vm-1")
    fault(vcenter, "http500", vm="vm-0", method="Fetch")

    with pytest.raises(Exception, match=r"(?i)syntax|token|format"):  # pyVmomi takes the page of a 500 for SOAP
        _ = vm.name
    assert other.name == "vm-1"


def test_event_queries_without_an_entity_can_be_refused(vcenter: VCenter) -> None:
    """A user with rights on some VMs only may ask for their events, not for everybody's."""
    vm = vcenter.find("vm-0")
    fault(vcenter, "no_permission", method="*", without_entity=True)
    only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    collector = vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec(entity=only))
    collector.DestroyCollector()

    assert vcenter.events(entity=only)
    with pytest.raises(vim.fault.NoPermission):
        vcenter.events()
    with pytest.raises(vim.fault.NoPermission):
        vcenter.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())


def read(vcenter: VCenter, *vms: Any) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """Returns for each VM its ID, the properties that came, and the faults of those that did not."""
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm) for vm in vms],
        propSet=[
            vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.bootTime"])
        ],
    )
    options = vmodl.query.PropertyCollector.RetrieveOptions()
    objects = vcenter.content.propertyCollector.RetrievePropertiesEx([spec], options).objects
    return [
        (
            o.obj._moId,
            {p.name: p.val for p in o.propSet},
            {m.path: type(m.fault).__name__.rpartition(".")[2] for m in o.missingSet},
        )
        for o in objects
    ]


def test_a_vm_without_permission_is_out_of_sight(vcenter: VCenter) -> None:
    """No permission on one VM: not found, unreadable, uncallable, eventless; the others are as ever."""
    shown, hidden = vcenter.find("vm-0"), vcenter.find("vm-1")
    uuid = hidden.config.instanceUuid
    fault(vcenter, "no_permission", vm="vm-1")
    (first, values, _), (second, none, faults) = read(vcenter, shown, hidden)
    vcenter.done("POST", "/events", {"vm": hidden._moId, "type": "CustomizationSucceeded"})
    seen = {event.vm.vm._moId for event in vcenter.events() if event.vm}

    assert (first, set(values)) == (shown._moId, {"name", "runtime.bootTime"})
    assert (second, none) == (hidden._moId, {})
    assert faults == {"name": "NoPermission", "runtime.bootTime": "NoPermission"}
    assert shown._moId in seen
    assert hidden._moId not in seen
    assert vcenter.content.searchIndex.FindByUuid(None, uuid, vmSearch=True, instanceUuid=True) is None
    with pytest.raises(vim.fault.NoPermission):
        _ = hidden.name
    with pytest.raises(vim.fault.NoPermission):
        hidden.PowerOffVM_Task()
    vcenter.done("DELETE", "/faults")
    assert hidden.name == "vm-1"


def test_all_connections_can_be_reset_at_once(vcenter: VCenter) -> None:
    """A reset of the connections breaks a call off that is in flight, and leaves the sessions."""
    with session(vcenter.lab) as service:
        wait = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=int(TEST_TIMEOUT))
        properties = service.content.propertyCollector
        errors: list[BaseException] = []
        version = properties.WaitForUpdatesEx("", wait).version
        before = vcenter.lab.stats()["calls"]["WaitForUpdatesEx"]

        def call() -> None:
            try:
                properties.WaitForUpdatesEx(version, wait)
            except BROKEN as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        until(lambda: vcenter.lab.stats()["calls"]["WaitForUpdatesEx"] > before)
        vcenter.done("POST", "/connections/reset")
        thread.join(TEST_TIMEOUT)
        service._stub.DropConnections()

        assert [isinstance(error, BROKEN) for error in errors] == [True]
        assert service.CurrentTime()


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "rain"},
        {"kind": "http200"},
        {"kind": "VirtualMachine"},
        {"kind": "delay", "seconds": -1},
        {"kind": "delay", "probability": 2},
        {"kind": "delay", "method": "["},
        {"kind": "delay", "machine": "web-0"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(vcenter: VCenter, rule: dict[str, Any]) -> None:
    """A rule that could not do what it says is refused."""
    assert vcenter.control("POST", "/faults", rule).status_code == 400
