"""What a preflight finds of a vCenter, its VMs, a folder and a template, in memory."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate import reachability
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.platforms import VSPHERE
from pulumi_customization_gate.vsphere.privileges import GUEST_WORK
from tests.unit.vsphere.fake_vcenter import PASSWORD, SETTINGS, FakeVcenter, connected
from tests.unit.vsphere.guest.fake_guest import GUEST_PASSWORD, LOGIN, FakeFile, guest_of

DESCRIPTION = "open-vm-tools 12.4.0 build 23259341"


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The names of hosts that cannot be reached, and why."""
    reasons: dict[str, str] = {}

    def connect(host: str, _port: int) -> None:
        if host in reasons:
            raise reachability.UnreachableError(reasons[host])

    monkeypatch.setattr(reachability, "findings", lambda *_: iter(()))
    monkeypatch.setattr(reachability, "resolve", lambda host: [host])
    monkeypatch.setattr(reachability, "connect", connect)
    return reasons


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    fake.now = datetime.now(timezone.utc)
    fake.methods["FindByInventoryPath"] = lambda mo, path: vim.Folder("group-v1", mo._stub) if path == "vm" else None
    fake.state.entities["host-1"] = {"name": "esxi-1.example.com", "parent": vim.Folder("group-v1")}
    fake.state.entities["host-2"] = {"name": "esxi-2.example.com", "parent": vim.Folder("group-v1")}
    fake.state.add("vm-1", name="web-1", runtime__host=vim.HostSystem("host-1"))
    fake.state.add("vm-2", name="web-2", runtime__host=vim.HostSystem("host-1"))
    return fake


def looked(*vms: str, settings: Any = SETTINGS, **more: Any) -> list[Finding]:
    found = list(VSPHERE.preflight(settings, vms, **more))
    assert not any(PASSWORD in str(finding) or GUEST_PASSWORD in str(finding) for finding in found)
    return found


def of(check: Check, found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.check is check]


def states(found: list[Finding]) -> dict[tuple[Check, str], State]:
    return {(finding.check, finding.subject): finding.state for finding in found}


def test_a_vcenter_that_a_gate_can_work_with(vcenter: FakeVcenter) -> None:
    """Each VM is resolved and read, rights and hosts are checked, and nothing stays on the server."""
    found = looked("web-*")

    assert states(found) == {
        (Check.LOGIN, "vc.example.com"): State.OK,
        (Check.VERSION, "vc.example.com"): State.OK,
        (Check.CLOCK, "vc.example.com"): State.OK,
        (Check.EVENT_ACCESS, "vc.example.com"): State.OK,
        (Check.EVENT_COLLECTOR, "vc.example.com"): State.OK,
        (Check.VM, "web-1 (vm-1)"): State.OK,
        (Check.VM, "web-2 (vm-2)"): State.OK,
        (Check.PRIVILEGES, "web-1 (vm-1)"): State.OK,
        (Check.GUEST_PRIVILEGES, "web-1 (vm-1)"): State.OK,
        (Check.PRIVILEGES, "web-2 (vm-2)"): State.OK,
        (Check.GUEST_PRIVILEGES, "web-2 (vm-2)"): State.OK,
        (Check.ESXI_HOST, "esxi-1.example.com"): State.OK,
    }
    assert not any(finding.remedy for finding in found)
    assert (vcenter.events.collectors, vcenter.sessions) == ({}, set())


def test_the_connection_decides_whether_a_password_is_sent(
    vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a certificate that is not trusted nobody logs in."""
    bad = Finding(Check.CERTIFICATE, State.FAILED, "vc.example.com", "not trusted")
    monkeypatch.setattr(reachability, "findings", lambda *_: iter([bad]))

    assert looked("web-1") == [bad]
    assert vcenter.calls["Login"] == 0


def test_a_refused_login_ends_it(vcenter: FakeVcenter) -> None:
    """The finding says what the gate would say, and the password was sent once."""
    vcenter.password = "another"
    (found,) = looked("web-1")

    assert (found.check, found.state) == (Check.LOGIN, State.FAILED)
    assert "refused the user name or password of ann" in found.message
    assert vcenter.calls["Login"] == 1


def test_an_old_vcenter_and_a_wrong_clock_are_warnings(vcenter: FakeVcenter) -> None:
    """A gate works with both."""
    vcenter.about.apiVersion = "6.7.3"
    vcenter.now = datetime.now(timezone.utc) - timedelta(minutes=5)
    found = looked()
    (version,), (clock,) = of(Check.VERSION, found), of(Check.CLOCK, found)

    assert (version.state, version.message) == (State.WARNING, "fake vCenter, API 6.7.3")
    assert "by events alone" in version.remedy
    assert (clock.state, clock.remedy[:24]) == (State.WARNING, "Set both clocks by NTP. ")
    assert clock.message in {"5 min behind this computer's", "4 min 59 s behind this computer's"}


@pytest.mark.parametrize(
    ("allowed", "vms", "folder", "state", "message"),
    [
        pytest.param({"group-v1"}, ["web-1"], "", State.WARNING, "reading those of vm", id="the VMs' folder"),
        pytest.param({"group-v1"}, [], "/vm", State.WARNING, "reading those of vm", id="a folder that is given"),
        pytest.param(set(), ["web-1"], "", State.WARNING, "single VMs only", id="single VMs"),
        pytest.param(set(), [], "", State.UNKNOWN, "not read events of the whole inventory", id="nothing given"),
    ],
)
def test_where_events_may_be_read(
    vcenter: FakeVcenter, *, allowed: set[str], vms: list[str], folder: str, state: State, message: str
) -> None:
    """A user without rights on the inventory is told how the gate will read events."""
    vcenter.events.allowed = allowed
    (found,) = of(Check.EVENT_ACCESS, looked(*vms, folder=folder))

    assert found.state is state
    assert message in found.message
    assert vcenter.events.collectors == {}


def test_no_event_collector_left(vcenter: FakeVcenter) -> None:
    """It says who holds them."""
    vcenter.failures["CreateCollectorForEvents"] = [vim.fault.InvalidState()]
    (found,) = of(Check.EVENT_COLLECTOR, looked("web-1"))

    assert found.state is State.FAILED
    assert "other clients of ann" in found.remedy


def test_references_and_folders_that_are_not_there(vcenter: FakeVcenter) -> None:
    """Each has a finding of its own, and the others are looked at all the same."""
    vcenter.state.private = {"vm-2"}
    found = looked("web-3", "vm-1", "vm-2", folder="/nowhere", template="golden")

    assert [(f.check, f.subject) for f in found if f.state is State.FAILED] == [
        (Check.VM, "web-3"),
        (Check.FOLDER, "/nowhere"),
        (Check.VM, "vm-2 (vm-2)"),
        (Check.TEMPLATE, "golden"),
    ]
    assert all(f.remedy for f in found if f.state is State.FAILED)
    assert states(found)[Check.PRIVILEGES, "web-1 (vm-1)"] is State.OK


def test_missing_privileges_are_named(vcenter: FakeVcenter) -> None:
    """A gate does not work without its own; without those for guest work only scripts, files and checks do not."""
    vcenter.lacking = {"vm-1": {"System.View"}, "vm-2": set(GUEST_WORK[1:])}
    found = looked("web-1", "web-2")

    assert states(found)[Check.PRIVILEGES, "web-1 (vm-1)"] is State.FAILED
    (guest,) = [f for f in of(Check.GUEST_PRIVILEGES, found) if f.subject == "web-2 (vm-2)"]
    assert guest.state is State.WARNING
    assert guest.message == f"ann lacks {GUEST_WORK[1]}, {GUEST_WORK[2]}"
    assert vcenter.calls["HasPrivilegeOnEntities"] == 3


def test_a_folder_stands_for_the_vms_that_will_be_in_it(vcenter: FakeVcenter) -> None:
    """Before anything is cloned, the rights on the folder and all hosts are checked."""
    vcenter.lacking = {"group-v1": {GUEST_WORK[0]}}
    found = states(looked(folder="vm"))

    assert found[Check.FOLDER, "vm"] is State.OK
    assert (found[Check.PRIVILEGES, "vm"], found[Check.GUEST_PRIVILEGES, "vm"]) == (
        State.OK,
        State.WARNING,
    )
    assert {subject for check, subject in found if check is Check.ESXI_HOST} == {
        "esxi-1.example.com",
        "esxi-2.example.com",
    }


def test_hosts_that_cannot_be_reached(vcenter: FakeVcenter, network: dict[str, str]) -> None:
    """They are needed by guest files alone; a name that may not be read is not tried."""
    network["esxi-1.example.com"] = "host name could not be resolved"
    vcenter.state.private = {"host-2"}
    found = of(Check.ESXI_HOST, looked())

    assert [(f.subject, f.state) for f in found] == [
        ("esxi-1.example.com", State.WARNING),
        ("vc.example.com", State.UNKNOWN),
    ]
    assert found[0].message == "host name could not be resolved"


def test_a_connection_that_is_lost_in_between(vcenter: FakeVcenter) -> None:
    """The server's error is the last finding."""
    vcenter.failures["CreateContainerView"] = [vmodl.fault.NotSupported()]
    *_, found = looked("web-1")

    assert (found.check, found.state) == (Check.CONNECTION, State.FAILED)
    assert "NotSupported" in found.message


@pytest.mark.parametrize(
    ("properties", "state", "message"),
    [
        pytest.param(
            {"guest__toolsVersionStatus2": "guestToolsUnmanaged", "config__extraConfig": ["described"]},
            State.OK,
            f"{DESCRIPTION}, guestToolsUnmanaged",
            id="described",
        ),
        pytest.param(
            {"guest__toolsVersionStatus2": "guestToolsCurrent"},
            State.OK,
            "VMware Tools, guestToolsCurrent",
            id="installed",
        ),
        pytest.param(
            {"guest__toolsVersionStatus2": "guestToolsNotInstalled"},
            State.FAILED,
            "VMware Tools are not installed",
            id="not installed",
        ),
        pytest.param(
            {}, State.UNKNOWN, "vCenter reports whether VMware Tools are installed only after", id="never ran"
        ),
    ],
)
def test_vmware_tools_of_a_template(
    vcenter: FakeVcenter, properties: dict[str, Any], state: State, message: str
) -> None:
    """A template that is off has what VMware Tools left in its configuration."""
    option = SimpleNamespace(key="guestinfo.vmtools.description", value=DESCRIPTION)
    if "config__extraConfig" in properties:
        properties = {**properties, "config__extraConfig": [option]}
    off = {"runtime__powerState": "poweredOff", "guest__toolsRunningStatus": "guestToolsNotRunning"}
    vcenter.state.add("vm-9", name="golden", summary__config__template=True, **off, **properties)
    found = looked(template="golden")
    (tools,), (settings,) = of(Check.VMWARE_TOOLS, found), of(Check.DEPLOYPKG, found)

    assert states(found)[Check.TEMPLATE, "golden (vm-9)"] is State.OK
    assert tools.state is state
    assert tools.message.startswith(message)
    assert settings.state is State.UNKNOWN
    assert "vmware-toolbox-cmd config get deployPkg" in settings.remedy


@pytest.mark.parametrize(
    ("content", "state", "message"),
    [
        pytest.param(
            "[deployPkg]\nenable-custom-scripts = true\nwait-cloudinit-timeout=300\n",
            State.OK,
            "enable-customization=true (default), enable-custom-scripts=true, wait-cloudinit-timeout=300",
            id="set",
        ),
        pytest.param(
            "[deployPkg]\nenable-customization=false\n", State.FAILED, "enable-customization=false", id="disabled"
        ),
        pytest.param(None, State.OK, "enable-customization=true (default)", id="no file"),
        pytest.param("no section", State.UNKNOWN, "tools.conf cannot be read", id="not a configuration"),
    ],
)
def test_the_settings_of_a_template_that_runs(
    monkeypatch: pytest.MonkeyPatch, content: str | None, state: State, message: str
) -> None:
    """With guest credentials, tools.conf is read in the guest."""
    guest = guest_of(monkeypatch)
    if content is not None:
        guest.files["/etc/vmware-tools/tools.conf"] = FakeFile(content.encode())
    (found,) = of(Check.DEPLOYPKG, looked(template="vm-1", guest_credentials=LOGIN))

    assert found.state is state
    assert found.message.startswith(message)


def test_a_template_that_runs_without_guest_credentials(vcenter: FakeVcenter) -> None:
    """Nobody can read its settings then."""
    assert vcenter
    (found,) = of(Check.DEPLOYPKG, looked(template="web-1"))

    assert (found.state, found.message) == (
        State.UNKNOWN,
        "tools.conf cannot be read: no guest credentials",
    )
