"""Whether a customized VM is ready, against a vCenter in memory."""

from __future__ import annotations

import socket
from datetime import timezone
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.model import VmRef
from pulumi_customization_gate.vsphere import readiness
from pulumi_customization_gate.vsphere.checks import checks_of
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
    """The first answer comes at once; the VM is ready once it has been so for the time asked for."""
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
    told: list[str] = []

    def is_ready() -> bool:
        told.append(ready.unmet(WEB))
        return not told[-1]

    until(is_ready)
    assert outcomes == []
    assert set(told) - {readiness.NOT_READ, ""} <= {
        "tcp_port: port 22 is not reachable: 192.0.2.1 not tried yet",
        "tcp_port: port 22 is not reachable: 192.0.2.1 timed out after 2 s",
        "tcp_port: port 22 is not reachable: 192.0.2.1 connection refused",
    }


def test_a_password_that_is_refused_is_said(vcenter: FakeVcenter, made: list[GuestReadiness]) -> None:
    """The reason why a VM is not known to be ready is the log-in."""
    vcenter.password = "changed"
    ready = following(made, guest_operations=True)
    until(lambda: ready.unmet(WEB) != readiness.NOT_READ)

    assert ready.unmet(WEB).startswith("the guest could not be read: vc.example.com refused the user name or password")
    assert ready.ready_at(WEB) is None
