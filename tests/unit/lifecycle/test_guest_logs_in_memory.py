"""The end of a guest's customization log in the report of a failure, from a guest in memory."""

from __future__ import annotations

import codecs
import logging
from typing import Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import Failure, GateReport, VmOutcome
from pulumi_customization_gate.core.status import CustomizationStatus, FailureKind
from pulumi_customization_gate.lifecycle.guest_logs import with_guest_logs
from pulumi_customization_gate.vsphere.guest.logs import LINES, MOST_GUESTS
from tests.unit.vsphere.fake_vcenter import SETTINGS
from tests.unit.vsphere.guest.fake_guest import GUEST_PASSWORD, LOGIN, VM, FakeFile, FakeGuest, guest_of

LOG = "/var/log/vmware-imc/toolsDeployPkg.log"
CONFIG = {"customization:guestUser": LOGIN.user, "customization:guestPassword": GUEST_PASSWORD}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    guest = guest_of(monkeypatch)
    guest.files[LOG] = FakeFile(f"first\n\n\x1b[31msecond\x1b[0m {GUEST_PASSWORD}\n".encode())
    return guest


def report(kind: FailureKind = FailureKind.CUSTOMIZATION_FAILED, *moids: str, **changes: Any) -> GateReport:
    """Returns the report of a wait in which each VM failed so."""
    outcomes = [
        VmOutcome(moid, moid, moid, CustomizationStatus.CUSTOMIZATION_FAILED, ready=False, failure=Failure(kind))
        for moid in moids or (VM,)
    ]
    return GateReport(tuple(outcomes), 10.0, **changes)


def logs(known: GateReport, config: dict[str, str] = CONFIG, **inputs: Any) -> list[tuple[str, ...]]:
    """Returns the lines that each failure gets."""
    outcomes = with_guest_logs(known, SETTINGS, config.get, inputs).outcomes
    return [outcome.failure.log if outcome.failure else () for outcome in outcomes]


def test_the_last_lines_are_in_the_report(fake: FakeGuest) -> None:
    """They are sanitized, and the guest's password is not among them."""
    assert fake.runs == []
    assert logs(report()) == [(f"guest log {LOG}, last 2 lines:", "| first", "| second [secret]")]


def test_only_the_end_of_a_long_log_is_shown(fake: FakeGuest) -> None:
    """The newest line is the last."""
    fake.files[LOG] = FakeFile(b"".join(b"line %d\n" % number for number in range(20_000)))
    (lines,) = logs(report())
    assert lines[1:] == tuple(f"| line {number}" for number in range(20_000 - LINES, 20_000))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("fehlgeschlagen: ü".encode(), id="UTF-8"),
        pytest.param(codecs.BOM_UTF8 + "fehlgeschlagen: ü".encode(), id="UTF-8 with a byte order mark"),
        pytest.param(codecs.BOM_UTF16_LE + "fehlgeschlagen: ü".encode("utf-16-le"), id="UTF-16"),
    ],
)
def test_logs_of_windows_are_read(fake: FakeGuest, content: bytes) -> None:
    """Each that is there, in either encoding."""
    fake.vcenter.state.entities[VM]["guest.guestFamily"] = "windowsGuest"
    path = "C:\\Windows\\Panther\\setuperr.log"
    fake.files[path] = FakeFile(content)
    assert logs(report()) == [(f"guest log {path}, last 1 lines:", "| fehlgeschlagen: ü")]


@pytest.mark.parametrize(
    ("known", "config", "inputs"),
    [
        pytest.param(report(), {}, {}, id="no guest credentials"),
        pytest.param(report(), CONFIG, {"guest_logs": False}, id="switched off"),
        pytest.param(report(cancelled=True), CONFIG, {}, id="cancelled"),
        pytest.param(report(fatal_error=ServerError("gone")), CONFIG, {}, id="vCenter cannot be used"),
        pytest.param(report(FailureKind.NOT_FOUND), CONFIG, {}, id="no such VM"),
    ],
)
def test_no_guest_is_asked(
    fake: FakeGuest, monkeypatch: pytest.MonkeyPatch, known: GateReport, config: dict[str, str], inputs: dict[str, Any]
) -> None:
    """The report stays as it is."""
    monkeypatch.delenv("GUEST_USER", raising=False)
    monkeypatch.delenv("GUEST_PASSWORD", raising=False)
    assert logs(known, config, **inputs) == [()]
    assert fake.vcenter.calls["Login"] == 0


@pytest.mark.parametrize("case", ["password", "no log", "powered off", "may not be read", "empty", "vCenter refuses"])
def test_a_log_that_cannot_be_read_is_left_out(fake: FakeGuest, caplog: pytest.LogCaptureFixture, case: str) -> None:
    """The failure is still reported; the debug log has the reason, and no secret."""
    if case == "password":
        fake.password = "changed"
    elif case == "no log":
        del fake.files[LOG]
    elif case == "powered off":
        fake.vcenter.state.entities[VM]["runtime.powerState"] = "poweredOff"
    elif case == "may not be read":
        fake.vcenter.failures["RetrievePropertiesEx"] = [vim.fault.NoPermission(privilegeId="System.Read")]
    elif case == "vCenter refuses":
        fake.vcenter.failures["Login"] = [vim.fault.NoPermission()]
    else:
        fake.files[LOG] = FakeFile(b"\n\n")
    with caplog.at_level(logging.DEBUG, "pulumi_customization_gate.vsphere.guest.logs"):
        assert logs(report()) == [()]

    assert ("cannot be read" in caplog.text) == (case not in {"powered off", "empty"})
    assert "canary" not in caplog.text


def test_one_guest_that_refuses_keeps_no_other_from_being_read(fake: FakeGuest) -> None:
    """Guests are asked in parallel, and at most so many of them."""
    others = [fake.vcenter.state.add(f"vm-{number}") for number in range(2, MOST_GUESTS + 3)]
    fake.vcenter.state.private.add("vm-3")
    found = logs(report(FailureKind.CUSTOMIZATION_FAILED, VM, *others))

    has_log = [bool(lines) for lines in found]
    assert has_log == [index < MOST_GUESTS and index != others.index("vm-3") + 1 for index in range(len(found))]


def test_tools_that_do_not_answer_cost_no_more_than_the_time_out(fake: FakeGuest) -> None:
    """The report of the failure does not wait for them."""
    faults: list[BaseException] = [vim.fault.GuestOperationsUnavailable() for _ in range(1000)]
    fake.vcenter.failures["InitiateFileTransferFromGuest"] = faults
    began = fake.clock.monotonic()
    assert logs(report()) == [()]
    assert 9 <= fake.clock.monotonic() - began <= 16
