"""Whether a customized VM is ready, against a vCenter in memory."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timezone
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import VmRef
from pulumi_customization_gate.vsphere import properties, readiness
from pulumi_customization_gate.vsphere.checks import Check, checks_of
from pulumi_customization_gate.vsphere.faults import InvalidXmlError
from pulumi_customization_gate.vsphere.guest_facts import read_facts
from pulumi_customization_gate.vsphere.properties import retrieve
from pulumi_customization_gate.vsphere.readiness import Conditions, GuestReadiness
from tests.unit.vsphere.fake_vcenter import NOON, SETTINGS, FakeVcenter, connected, until

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = VmRef("web", "vm-1", "web-1")
READY: dict[str, Any] = {"guest__guestState": "running", "guest__guestOperationsReady": True}


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    monkeypatch.setattr(readiness, "INTERVAL", 0.01)
    return connected(monkeypatch)


@pytest.fixture
def made(vcenter: FakeVcenter) -> Iterator[list[GuestReadiness]]:
    opened: list[GuestReadiness] = []
    yield opened
    for one in opened:
        one.close()
    # A reading under way is left to itself; the next test must not share its session.
    until(lambda: not vcenter.sessions)


def following(made: list[GuestReadiness], **conditions: Any) -> GuestReadiness:
    made.append(GuestReadiness(SETTINGS, Conditions(**conditions)))
    return made[-1]


def test_guest_operations_must_stay_ready(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """The first result comes at once; the VM is ready once the conditions have held for the requested time."""
    vcenter.state.add("vm-1", **{**READY, "guest__guestOperationsReady": False})
    ready = following(made, guest_operations=True, settle=0.03)
    first = ready.unmet(WEB)
    until(lambda: ready.unmet(WEB) == "VMware Tools are running, but guest operations are not ready")
    vcenter.state.add("vm-1", **READY)
    until(lambda: not ready.unmet(WEB))

    assert first == readiness.NOT_READ
    assert ready.ready_at(WEB) == NOON.astimezone(timezone.utc)


def test_the_log_shows_no_option_of_a_check(
    vcenter: FakeVcenter, made: list[GuestReadiness], caplog: pytest.LogCaptureFixture
) -> None:
    """The debug log names the check that does not hold; what it expects may be a secret."""
    vcenter.state.add("vm-1", guest__hostName="web")
    checks = checks_of([{"kind": "host_name", "value": "hunter2"}])
    with caplog.at_level("DEBUG", logger="pulumi_customization_gate"):
        ready = following(made, checks=checks)
        until(lambda: ready.unmet(WEB).startswith("host_name: "))
        until(lambda: "vm-1: not ready (host_name)" in caplog.messages)
    assert "hunter2" not in caplog.text


def test_each_check_that_does_not_hold_is_named(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """Addresses, adapters, the guest's variables and its name are read in one call."""
    adapter = vim.vm.device.VirtualVmxnet3(
        key=4000,
        deviceInfo=vim.Description(label="Network adapter 1", summary=""),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(connected=False),
    )
    vcenter.state.add(
        "vm-1",
        guest__hostName="db",
        guest__net=[vim.vm.GuestInfo.NicInfo(connected=True, ipAddress=["192.0.2.1"])],
        config__hardware__device=[adapter, vim.vm.device.VirtualIDEController(key=1)],
        config__extraConfig=[vim.option.OptionValue(key="guestinfo.ready", value="no")],
    )
    checks = [
        {"kind": "host_name", "value": "web"},
        {"kind": "network_adapters_connected"},
        {"kind": "guest_info", "key": "guestinfo.ready", "value": "yes"},
        {"kind": "ip_in_network", "network": "10.0.0.0/8"},
    ]
    ready = following(made, checks=checks_of(checks))
    until(lambda: ready.unmet(WEB) != readiness.NOT_READ)

    assert ready.unmet(WEB) == (
        "host_name: expected 'web', got 'db'; "
        "network_adapters_connected: Network adapter 1 is not connected; "
        "guest_info: expected guestinfo.ready to match 'yes', got 'no'; "
        "ip_in_network: expected an address in 10.0.0.0/8, got 192.0.2.1"
    )


def test_a_port_is_tried_in_the_background(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection is reported as such, and the next try connects."""
    vcenter.state.add("vm-1", guest__ipAddress="192.0.2.1")
    outcomes: list[Any] = [TimeoutError(), ConnectionRefusedError(111, "Connection refused"), socket.socket()]

    def connect(_address: tuple[str, int], timeout: float) -> Any:  # noqa: ARG001 -- the real one's argument
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(socket, "create_connection", connect)
    ready = following(made, checks=checks_of([{"kind": "tcp_port", "port": 22}]))
    reported: list[str] = []

    def is_ready() -> bool:
        reported.append(ready.unmet(WEB))
        return not reported[-1]

    until(is_ready)
    assert outcomes == []
    assert set(reported) - {readiness.NOT_READ, ""} <= {
        "tcp_port: port 22 is not reachable: 192.0.2.1 not tried yet",
        "tcp_port: port 22 is not reachable: 192.0.2.1 timed out after 2 s",
        "tcp_port: port 22 is not reachable: 192.0.2.1 connection refused",
    }


def test_a_password_that_is_refused_ends_the_wait(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """No VM can become ready any more, so the wait ends at once."""
    vcenter.password = "changed"
    ready = following(made, guest_operations=True)
    ready.unmet(WEB)
    until(lambda: ended(ready))

    assert str(ended(ready)).startswith("the guests cannot be read: vc.example.com refused the user name or password")
    assert ready.unmet(WEB) == readiness.NOT_READ
    assert ready.ready_at(WEB) is None


def ended(ready: GuestReadiness) -> ServerError | None:
    """Returns the error that ended the reading."""
    try:
        ready.check()
    except ServerError as error:
        return error
    return None


def test_a_thread_that_fails_is_an_error_of_the_gate(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of this library's own is not passed off as a guest that is not ready."""
    vcenter.state.add("vm-1", **READY)

    def fail(*_: object) -> None:
        raise KeyError(0)

    monkeypatch.setattr(readiness, "read_facts", fail)
    ready = following(made, guest_operations=True)
    ready.check()
    ready.unmet(WEB)
    until(lambda: ended(ready))

    assert str(ended(ready)) == "the guests are not read any more, because of an internal error: KeyError(0)"


def test_one_guest_does_not_end_the_work_for_another(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VM whose judgement fails says so, and the other one becomes ready."""
    vcenter.state.add("vm-1", guest__ipAddress="unknown", **READY)
    vcenter.state.add("vm-2", guest__ipAddress="10.0.0.5/24", **READY)
    vcenter.state.add("vm-3", guest__ipAddress="10.0.0.5", **READY)
    db, app = VmRef("db", "vm-2", "db-1"), VmRef("app", "vm-3", "app-1")
    in_network = Check.of({"kind": "ip_in_network", "network": "10.0.0.0/8"})
    ready = following(made, checks=[in_network])
    for vm in (WEB, db, app):
        ready.unmet(vm)
    until(lambda: not ready.unmet(app))
    assert ready.unmet(WEB) == "ip_in_network: expected an address in 10.0.0.0/8, got unknown"
    assert ready.unmet(db) == "ip_in_network: expected an address in 10.0.0.0/8, got 10.0.0.5/24"
    assert ready.addresses(app) == ("10.0.0.5",)

    def unmet(_check: Check, key: str, *_: object) -> str:
        if key == "web":
            raise ZeroDivisionError("web")
        return ""

    monkeypatch.setattr(Check, "unmet", unmet)
    until(lambda: not ready.unmet(db))
    until(lambda: "ZeroDivisionError('web')" in ready.unmet(WEB))
    assert ended(ready) is None


def test_what_was_ready_is_read_once_more(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """A VM that went down after it was ready is not ready, and one that is still up stays so."""
    for moid in ("vm-1", "vm-2"):
        vcenter.state.add(moid, **READY)
    db = VmRef("db", "vm-2", "db-1")
    ready = following(made, guest_operations=True, settle=0)
    assert ready.confirm(1.0) == frozenset()
    until(lambda: not (ready.unmet(WEB) or ready.unmet(db)))
    assert ready.confirm(5.0) == frozenset()
    vcenter.state.add("vm-1", **{**READY, "guest__guestOperationsReady": False})

    assert ready.confirm(5.0) == {"vm-1"}
    assert ready.unmet(WEB) == "VMware Tools are running, but guest operations are not ready"
    assert not ready.unmet(db)
    vcenter.state.add("vm-1", **READY)
    until(lambda: not ready.unmet(WEB))


def test_a_vm_that_is_forgotten_settles_anew(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was read of it before counts, nor what is still being read then; another VM stays ready."""
    for moid in ("vm-1", "vm-2"):
        vcenter.state.add(moid, **READY)
    db = VmRef("db", "vm-2", "db-1")
    ready = following(made, guest_operations=True, settle=0)
    ready.forget(WEB)
    until(lambda: not (ready.unmet(WEB) or ready.unmet(db)))
    ready.forget(WEB)
    assert (ready.ready_at(WEB), ready.addresses(WEB), ready.is_final(WEB)) == (None, (), False)

    reading, answer, read = threading.Event(), threading.Event(), read_facts

    def hang(session: Any, moids: Any, paths: Any) -> Any:
        facts = read(session, moids, paths)
        if "vm-1" in moids:
            reading.set()
            answer.wait(30)
        return facts

    monkeypatch.setattr(readiness, "read_facts", hang)
    assert ready.unmet(WEB) == readiness.NOT_READ
    assert reading.wait(30)
    ready.forget(WEB)
    assert ready.unmet(WEB) == readiness.NOT_READ
    vcenter.state.add("vm-1", **{**READY, "guest__guestOperationsReady": False})
    answer.set()
    reported: set[str] = set()

    def is_read() -> bool:
        reported.add(ready.unmet(WEB))
        return reported != {readiness.NOT_READ}

    until(is_read)
    assert reported == {readiness.NOT_READ, "VMware Tools are running, but guest operations are not ready"}
    assert not ready.unmet(db)
    vcenter.state.add("vm-1", **READY)
    until(lambda: not ready.unmet(WEB))


def test_a_port_that_was_open_before_is_tried_anew(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """A VM that is forgotten needs a connection of its own, not the last one of before."""
    vcenter.state.add("vm-1", guest__ipAddress="127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ready = following(made, checks=checks_of([{"kind": "tcp_port", "port": port}]))
        until(lambda: not ready.unmet(WEB))
    ready.forget(WEB)

    until(lambda: "connection refused" in ready.unmet(WEB))


def test_a_port_is_tried_once_more(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """A port that accepted a connection and is closed by now keeps the gate closed."""
    vcenter.state.add("vm-1", guest__ipAddress="127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ready = following(made, checks=checks_of([{"kind": "tcp_port", "port": port}]))
        until(lambda: not ready.unmet(WEB))
        assert ready.confirm(5.0) == frozenset()

    assert ready.confirm(5.0) == {"vm-1"}
    assert ready.unmet(WEB).startswith(f"tcp_port: port {port} is not reachable: 127.0.0.1 ")


def test_no_retry_follows_the_end(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """The wait ends while a read of the guests is retried: it is not made again, and its session ends."""
    vcenter.state.add("vm-1", **READY)
    ready = following(made, guest_operations=True, settle=60)
    until(lambda: ready.unmet(WEB) and vcenter.calls["RetrievePropertiesEx"])
    vcenter.failures["RetrievePropertiesEx"] = [ConnectionResetError(104, "reset")] * 100
    until(lambda: len(vcenter.failures["RetrievePropertiesEx"]) < 100)
    ready.close()
    until(lambda: not vcenter.sessions)
    assert len(vcenter.failures["RetrievePropertiesEx"]) > 90


def test_a_server_that_hangs_does_not_hold_up_the_last_look(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not answered in time changes nothing: the deadline holds."""
    vcenter.state.add("vm-1", **READY)
    ready = following(made, guest_operations=True, settle=0)
    until(lambda: not ready.unmet(WEB))
    answer, read = threading.Event(), read_facts

    def hang(*arguments: Any) -> Any:
        if arguments[1]:
            answer.wait(30)
        return read(*arguments)

    monkeypatch.setattr(readiness, "read_facts", hang)
    began = time.monotonic()
    assert ready.confirm(0.2) == frozenset()
    assert time.monotonic() - began < 5
    assert not ready.unmet(WEB)
    answer.set()


def test_a_text_that_is_not_xml_spoils_only_its_own_vm(
    vcenter: FakeVcenter, made: list[GuestReadiness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that cannot be parsed because of one guest is requested in parts."""
    vms = [VmRef(f"web-{number}", f"vm-{number}", f"web-{number}") for number in range(7)]
    for vm in vms:
        vcenter.state.add(vm.id, **READY)

    def spoiled(session: Any, entities: Any, paths: Any) -> Any:
        if any(entity._moId == "vm-3" for entity in entities):
            raise InvalidXmlError("ExpatError: not well-formed (invalid token)")
        return retrieve(session, entities, paths)

    monkeypatch.setattr(properties, "retrieve", spoiled)
    ready = following(made, guest_operations=True, settle=0)
    for vm in vms:
        ready.unmet(vm)
    until(lambda: [vm.id for vm in vms if ready.unmet(vm)] == ["vm-3"])
    until(lambda: "not well-formed" in ready.unmet(vms[3]))

    assert ready.unmet(vms[3]) == "the guest could not be read: ExpatError: not well-formed (invalid token)"
    assert ended(ready) is None
