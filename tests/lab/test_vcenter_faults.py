"""The faults that the lab's vCenter has on demand, seen from a client."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.centre import PATIENCE, Centre, running, session, until

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = (ConnectionResetError, ssl.SSLEOFError)
"""What a broken connection looks like: it depends on what of TLS was still to be read."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "4", "-autostart") as centre:
        yield centre


@pytest.fixture
def centre(shared: Centre) -> Iterator[Centre]:
    """The shared lab without faults, before and after."""
    yield shared
    shared.done("DELETE", "/faults")
    shared.service._stub.DropConnections()


def fault(centre: Centre, kind: str, **rule: Any) -> None:
    centre.done("POST", "/faults", {"kind": kind, **rule})


def test_an_http_error_comes_as_often_as_told(centre: Centre) -> None:
    """A rule with a count strikes so many calls of its method, and none of another."""
    fault(centre, "http503", method="CurrentTime", count=2)
    centre.content.sessionManager.SessionIsActive("x", "y")
    for _ in range(2):
        with pytest.raises(http.client.HTTPException, match="503"):
            centre.service.CurrentTime()

    assert centre.service.CurrentTime()
    assert centre.control("GET", "/faults").json()[0]["hits"] == 2


def test_a_delayed_call_is_answered_late(centre: Centre) -> None:
    """A delay holds the call back, and its answer is the right one."""
    fault(centre, "delay", method="CurrentTime", seconds=0.3, count=1)
    began = time.monotonic()
    now = centre.service.CurrentTime()

    assert time.monotonic() - began >= 0.3
    assert now.tzinfo is not None


def test_a_reset_breaks_the_connection(centre: Centre) -> None:
    """A reset breaks the call off without an answer, and the next one works."""
    fault(centre, "reset", method="CurrentTime", count=1)

    with pytest.raises(BROKEN):
        centre.service.CurrentTime()
    assert centre.service.CurrentTime()


def test_a_truncated_answer_ends_in_the_middle(centre: Centre) -> None:
    """A truncated answer promises more bytes than come."""
    fault(centre, "truncate", method="RetrieveServiceContent", count=1)

    with pytest.raises(Exception, match=r"(?i)no element|incomplete|unclosed|token|closed"):
        centre.service.RetrieveContent()
    assert centre.service.RetrieveContent()


def test_a_hanging_call_is_let_go_when_the_rule_is_removed(centre: Centre) -> None:
    """A call that hangs gets no answer; removing the rules ends it, without an answer."""
    fault(centre, "hang", method="CurrentTime")
    errors: list[BaseException] = []

    def call() -> None:
        try:
            centre.service.CurrentTime()
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: centre.control("GET", "/faults").json()[0]["hits"] == 1)
    hung = thread.is_alive()
    centre.done("DELETE", "/faults")
    thread.join(PATIENCE)

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
def test_any_fault_of_the_api_can_be_had(centre: Centre, name: str, kind: type[Exception]) -> None:
    """A fault class of the API comes as pyVmomi's exception of that class, by either spelling of its name."""
    fault(centre, name, method="CurrentTime|RetrieveServiceContent", count=1)

    with pytest.raises(kind):
        centre.service.CurrentTime()
    assert centre.service.CurrentTime()


def test_an_answer_may_be_lost_after_the_deed(centre: Centre) -> None:
    """With `after` the call is carried out and only its answer is lost."""
    vm = centre.find("vm-2")
    fault(centre, "reset", method="CustomizeVM_Task|Rename_Task", count=1, after=True)

    with pytest.raises(BROKEN):
        vm.Rename_Task("renamed")
    assert until(lambda: vm.name == "renamed")


def test_a_rule_can_be_about_one_machine(centre: Centre) -> None:
    """A rule with a machine strikes its calls and no other's."""
    vm, other = centre.find("vm-0"), centre.find("vm-1")
    fault(centre, "http500", vm="vm-0", method="Fetch")

    with pytest.raises(Exception, match=r"(?i)syntax|token|format"):  # pyVmomi takes the page of a 500 for SOAP
        _ = vm.name
    assert other.name == "vm-1"


def test_event_queries_without_an_entity_can_be_refused(centre: Centre) -> None:
    """A user with rights on some machines only may ask for their events, not for everybody's."""
    vm = centre.find("vm-0")
    fault(centre, "no_permission", method="*", without_entity=True)
    only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    collector = centre.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec(entity=only))
    collector.DestroyCollector()

    assert centre.events(entity=only)
    with pytest.raises(vim.fault.NoPermission):
        centre.events()
    with pytest.raises(vim.fault.NoPermission):
        centre.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())


def read(centre: Centre, *machines: Any) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """Returns for each machine its ID, the properties that came, and the faults of those that did not."""
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm) for vm in machines],
        propSet=[
            vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.bootTime"])
        ],
    )
    options = vmodl.query.PropertyCollector.RetrieveOptions()
    objects = centre.content.propertyCollector.RetrievePropertiesEx([spec], options).objects
    return [
        (
            o.obj._moId,
            {p.name: p.val for p in o.propSet},
            {m.path: type(m.fault).__name__.rpartition(".")[2] for m in o.missingSet},
        )
        for o in objects
    ]


def test_a_machine_without_permission_is_out_of_sight(centre: Centre) -> None:
    """No permission on one machine: not found, unreadable, uncallable, eventless; the others are as ever."""
    shown, hidden = centre.find("vm-0"), centre.find("vm-1")
    uuid = hidden.config.instanceUuid
    fault(centre, "no_permission", vm="vm-1")
    (first, values, _), (second, none, faults) = read(centre, shown, hidden)
    centre.done("POST", "/events", {"vm": hidden._moId, "type": "CustomizationSucceeded"})
    seen = {event.vm.vm._moId for event in centre.events() if event.vm}

    assert (first, set(values)) == (shown._moId, {"name", "runtime.bootTime"})
    assert (second, none) == (hidden._moId, {})
    assert faults == {"name": "NoPermission", "runtime.bootTime": "NoPermission"}
    assert shown._moId in seen
    assert hidden._moId not in seen
    assert centre.content.searchIndex.FindByUuid(None, uuid, vmSearch=True, instanceUuid=True) is None
    with pytest.raises(vim.fault.NoPermission):
        _ = hidden.name
    with pytest.raises(vim.fault.NoPermission):
        hidden.PowerOffVM_Task()
    centre.done("DELETE", "/faults")
    assert hidden.name == "vm-1"


def test_all_connections_can_be_reset_at_once(centre: Centre) -> None:
    """A reset of the connections breaks a call off that is in flight, and leaves the sessions."""
    with session(centre.lab) as service:
        wait = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=int(PATIENCE))
        properties = service.content.propertyCollector
        errors: list[BaseException] = []
        version = properties.WaitForUpdatesEx("", wait).version
        before = centre.lab.stats()["calls"]["WaitForUpdatesEx"]

        def call() -> None:
            try:
                properties.WaitForUpdatesEx(version, wait)
            except BROKEN as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        until(lambda: centre.lab.stats()["calls"]["WaitForUpdatesEx"] > before)
        centre.done("POST", "/connections/reset")
        thread.join(PATIENCE)
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
        {"kind": "delay", "machine": "vm-0"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(centre: Centre, rule: dict[str, Any]) -> None:
    """A rule that could not do what it says is refused."""
    assert centre.control("POST", "/faults", rule).status_code == 400
