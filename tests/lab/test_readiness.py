"""Readiness against the lab's guests: the reboot after a success, and the user's checks."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere.checks import Check
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.readiness import Conditions, GuestReadiness
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.sources import vsphere_source
from tests.lab.vcenter_fixture import VCenter, finish, linux, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.core.model import GateReport, VmOutcome
    from pulumi_customization_gate.core.progress import Update


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
        yield vcenter


def _wait(vcenter: VCenter, conditions: Conditions, *vms: Any, timeout: float = 30) -> GateReport:
    lab = vcenter.lab
    settings = VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)
    source = vsphere_source(settings, {vm.name: vm._moId for vm in vms})
    return wait(source, WaitRules(timeout=timeout), readiness=GuestReadiness(settings, conditions))


def _only(report: GateReport) -> VmOutcome:
    (outcome,) = report.outcomes
    return outcome


def _lasting(outcome: VmOutcome) -> float:
    """Returns the seconds from the success to the readiness, by the server's clock."""
    assert outcome.ready_at is not None
    assert outcome.completed_at is not None
    return (outcome.ready_at - outcome.completed_at).total_seconds()


def test_the_reboot_after_a_success_is_waited_for(vcenter: VCenter) -> None:
    """Guest operations that go away again do not count: the VM is ready when they have come back to stay."""
    vm = vcenter.clone(custom=linux(), plan={"rebootAfter": "1s", "rebootDuration": "3s"})
    outcome = _only(_wait(vcenter, Conditions(guest_operations=True, settle=3), vm))
    assert outcome.ready
    assert 1 + 3 + 3 <= _lasting(outcome) < 15


def test_a_guest_that_does_not_reboot_is_ready_after_settle(vcenter: VCenter) -> None:
    """No count of reboots: where none comes, the VM is ready once guest operations have stayed."""
    vms = [vcenter.clone(custom=linux()) for _ in range(2)]
    report = _wait(vcenter, Conditions(guest_operations=True, settle=1.5), *vms)
    assert report.ready
    assert all(1.4 <= _lasting(outcome) < 8 for outcome in report.outcomes)


def test_a_guest_that_never_comes_back_is_reported(vcenter: VCenter) -> None:
    """A customized VM whose Tools stay away fails as NotReady, with the reason."""
    vm = vcenter.clone(custom=linux(), plan={"rebootAfter": "500ms", "rebootDuration": "60s"})
    outcome = _only(_wait(vcenter, Conditions(guest_operations=True, settle=2), vm, timeout=5))
    assert outcome.failure is not None
    assert (outcome.ready, outcome.failure.name, outcome.failure.message) == (
        False,
        "NotReady",
        "VMware Tools are not running",
    )


def test_checks_that_hold_let_the_gate_open(vcenter: VCenter) -> None:
    """A port that answers, a green heartbeat, connected adapters, the name and the address of the specification."""
    vm = vcenter.clone(custom=linux("127.0.0.1", host_name="web-1"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        checks = (
            Check("tcp_port", {"port": server.getsockname()[1]}),
            Check("guest_heartbeat", {"color": "green"}),
            Check("network_adapters_connected", {}),
            Check("host_name", {"value": {vm.name: "web-1"}}),
            Check("ip_in_network", {"network": "127.0.0.0/8"}),
        )
        outcome = _only(_wait(vcenter, Conditions(checks=checks), vm))
    assert outcome.failure is None
    assert outcome.ready
    assert _lasting(outcome) < 8


def test_checks_that_do_not_hold_are_each_named(vcenter: VCenter) -> None:
    """The failure says of each condition what was found instead."""
    vm = vcenter.clone(custom=linux("127.0.0.1"), plan={"adaptersConnected": "false", "heartbeat": "yellow"})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    checks = (
        Check("tcp_port", {"port": port}),
        Check("guest_heartbeat", {}),
        Check("network_adapters_connected", {}),
        Check("guest_info", {"key": "guestinfo.ready"}),
    )
    outcome = _only(_wait(vcenter, Conditions(checks=checks), vm, timeout=5))
    assert outcome.failure is not None
    adapter: Any = next(
        device for device in vm.config.hardware.device if isinstance(device, vim.vm.device.VirtualEthernetCard)
    )
    assert outcome.failure.message == (
        f"tcp_port: port {port} is not reachable: 127.0.0.1 connection refused; "
        "guest_heartbeat: expected green, got yellow; "
        f"network_adapters_connected: {adapter.deviceInfo.label} is not connected; "
        "guest_info: guestinfo.ready is not set"
    )


def test_what_the_guest_sets_opens_the_gate(vcenter: VCenter) -> None:
    """A guestinfo key is read until its value is the expected one."""
    vm = vcenter.clone(custom=linux())
    check = Check("guest_info", {"key": "guestinfo.ready", "value": "yes"})
    assert not _wait(vcenter, Conditions(checks=(check,)), vm, timeout=3).ready
    message = vim.option.OptionValue(key="guestinfo.ready", value="yes")
    finish(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[message])))
    assert _wait(vcenter, Conditions(checks=(check,)), vm).ready


def test_a_reading_that_fails_is_not_an_end(vcenter: VCenter) -> None:
    """The wait continues after the server was not reachable for a moment during a read of the guest."""
    vm = vcenter.clone(custom=linux())
    vcenter.done("POST", "/faults", {"method": "RetrievePropertiesEx", "kind": "http503", "count": 2, "after": False})
    report = _wait(vcenter, Conditions(guest_operations=True, settle=1), vm)
    vcenter.done("DELETE", "/faults")
    assert report.ready


def test_one_call_reads_all_vms(vcenter: VCenter) -> None:
    """The readings cost one call a second, whatever the number of VMs."""
    vms = [vcenter.clone(custom=linux()) for _ in range(8)]
    vcenter.lab.reset_stats()
    report = _wait(vcenter, Conditions(guest_operations=True, settle=3), *vms)
    assert report.ready
    calls = vcenter.lab.stats()["calls"]["RetrievePropertiesEx"]
    assert calls <= 3 * report.wait_seconds + 10


def test_what_one_guest_reports_does_not_end_the_work_for_another(vcenter: VCenter) -> None:
    """Addresses that are none keep their own VMs from being ready, with the reason, and no other VM."""
    bad = {address: vcenter.clone(custom=linux(address)) for address in ("unknown", "127.0.0.1/24", "a..b")}
    good = vcenter.clone(custom=linux("127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        checks = (Check("tcp_port", {"port": port}), Check("ip_in_network", {"network": "127.0.0.0/8"}))
        report = _wait(vcenter, Conditions(checks=checks), *bad.values(), good, timeout=6)
    outcomes = {outcome.name: outcome for outcome in report.outcomes}
    assert outcomes[good.name].ready
    assert outcomes[good.name].ip_addresses == ("127.0.0.1",)
    for address, vm in bad.items():
        failure = outcomes[vm.name].failure
        assert failure is not None
        unmet = f"ip_in_network: expected an address in 127.0.0.0/8, got {address}"
        assert failure.name == "NotReady"
        assert failure.message == f"tcp_port: expected an IP address, got {address}; {unmet}"


def test_a_pattern_does_not_hold_up_the_deadline(vcenter: VCenter) -> None:
    """A pattern that takes longer than the world is old by backtracking is judged, and the wait ends in time."""
    vm = vcenter.clone(custom=linux())
    text = vim.option.OptionValue(key="guestinfo.ready", value="a" * 5000 + "!")
    finish(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[text])))
    check = Check("guest_info", {"key": "guestinfo.ready", "value": "(a+)+$"})
    report = _wait(vcenter, Conditions(checks=(check,)), vm, timeout=4)
    failure = _only(report).failure
    assert failure is not None
    assert failure.message.startswith("guest_info: expected guestinfo.ready to match '(a+)+$', got 'aaa")
    assert report.wait_seconds < 6


def test_a_vm_that_was_ready_is_read_once_more(vcenter: VCenter) -> None:
    """The port of the first VM closes while the second one is customized: the gate does not open on what was."""
    early, late = vcenter.clone(custom=linux("127.0.0.1")), vcenter.clone(custom=linux(), plan={"duration": "4s"})
    lab = vcenter.lab
    settings = VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)
    source = vsphere_source(settings, {"early": early._moId, "late": late._moId})
    was_ready: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        checks = (Check("tcp_port", {"port": server.getsockname()[1], "vms": ["early"]}),)

        def close_when_ready(update: Update) -> None:
            if any(outcome.key == "early" and outcome.ready for outcome in update.changed):
                was_ready.append("early")
                server.close()

        readiness = GuestReadiness(settings, Conditions(checks=checks))
        report = wait(source, WaitRules(timeout=12), readiness=readiness, listener=close_when_ready)
    outcomes = {outcome.key: outcome for outcome in report.outcomes}
    assert was_ready
    assert outcomes["late"].ready
    assert outcomes["early"].failure is not None
    assert outcomes["early"].failure.message.endswith("127.0.0.1 connection refused")


LOGIN = GuestCredentials("deploy", "only-for-this-guest")
GUEST = {"guestUser": LOGIN.user, "guestPassword": LOGIN.password}


def test_a_command_is_repeated_until_it_holds(vcenter: VCenter) -> None:
    """The script runs in the guest, for the second time with another result, and leaves nothing there."""
    vm = vcenter.clone(custom=linux("192.0.2.7"), plan=GUEST)
    script = 'cd "$HOME" && if test -e tried; then exit 4; fi; touch tried; echo "not yet"; exit 1'
    checks = (Check("command", {"script": script, "exit_code": 4}), Check("address", {"ignore": ["10.9.0.0/16"]}))
    conditions = Conditions(guest_operations=True, settle=0.5, checks=checks, guest_credentials=LOGIN)
    outcome = _only(_wait(vcenter, conditions, vm))
    assert outcome.failure is None
    assert outcome.ready
    assert outcome.ip_addresses == ("192.0.2.7",)
    settings = VsphereSettings(vcenter.lab.server, vcenter.lab.user, vcenter.lab.password, ca_file=vcenter.lab.ca_file)
    with acquire(settings) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20))
        assert {file.name for file in guest.list_files(guest.private_directory())} <= {".", ".."}


def test_a_guest_without_cloud_init_is_reported(vcenter: VCenter) -> None:
    """The reason at the deadline is what the guest answered."""
    vm = vcenter.clone(custom=linux(), plan=GUEST)
    conditions = Conditions(checks=(Check("cloud_init", {}),), guest_credentials=LOGIN)
    failure = _only(_wait(vcenter, conditions, vm, timeout=10)).failure
    assert failure is not None
    assert failure.message == (
        "cloud_init: expected a status of cloud-init, got exit code 127 and 'cloud-init is not installed'"
    )


def test_a_refused_guest_password_is_not_repeated(vcenter: VCenter) -> None:
    """One login, whatever the number of checks, and no wait for the deadline."""
    vm = vcenter.clone(custom=linux(), plan=GUEST)
    checks = (Check("command", {"script": "true"}), Check("cloud_init", {}))
    conditions = Conditions(checks=checks, guest_credentials=GuestCredentials(LOGIN.user, "wrong"))
    vcenter.lab.reset_stats()
    report = _wait(vcenter, conditions, vm, timeout=60)
    failure = _only(report).failure
    assert failure is not None
    assert failure.message.endswith(f"({vm._moId}) refuses the user name or password of deploy")
    assert "wrong" not in failure.message
    assert vcenter.lab.stats()["calls"]["ValidateCredentialsInGuest"] == 1
    assert report.wait_seconds < 30
