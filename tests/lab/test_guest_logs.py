"""The end of a guest's customization log in the report of a failure, read from the lab's guests."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.model import Failure, GateReport, VmOutcome
from pulumi_customization_gate.core.report import failure_text
from pulumi_customization_gate.core.status import CustomizationStatus, FailureKind
from pulumi_customization_gate.lifecycle.guest_logs import with_guest_logs
from pulumi_customization_gate.lifecycle.phrases import phrases
from pulumi_customization_gate.vsphere.guest import logs
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestLoginError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.vcenter_fixture import VCenter, finish, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulumi_customization_gate.vsphere.session import Session

LOGIN = {"guestUser": "deploy", "guestPassword": "only-for-this-guest"}
CONFIG = {f"customization:{key}": value for key, value in LOGIN.items()}
LOG = "var/log/vmware-imc/toolsDeployPkg.log"


class Lab:
    """A vCenter, and a VM whose guest has the log of a customization that failed."""

    def __init__(self, vcenter: VCenter, guests: Path) -> None:
        self.vcenter, self.vm = vcenter, vcenter.clone(plan={"startDelay": "10ms", **LOGIN})
        self.log = guests / self.vm._moId / LOG

    @property
    def settings(self) -> VsphereSettings:
        lab = self.vcenter.lab
        return VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)

    def report(self, kind: FailureKind = FailureKind.CUSTOMIZATION_FAILED, **changes: Any) -> GateReport:
        outcome = VmOutcome(
            "web", self.vm._moId, "web", CustomizationStatus.CUSTOMIZATION_FAILED, ready=False, failure=Failure(kind)
        )
        return GateReport((outcome,), 10.0, **changes)

    def lines(self, report: GateReport | None = None, config: dict[str, str] = CONFIG, **inputs: Any) -> list[str]:
        """Returns the lines that the report gets."""
        known = with_guest_logs(report or self.report(), self.settings, config.get, inputs)
        (outcome,) = known.outcomes
        assert outcome.failure is not None
        return list(outcome.failure.log)


@pytest.fixture(scope="module")
def module_vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VCenter, Path]]:
    folder = tmp_path_factory.mktemp("vcenter")
    with running(folder, "-guests-dir", str(folder / "guests")) as vcenter:
        yield vcenter, folder / "guests"


@pytest.fixture
def lab(module_vcenter: tuple[VCenter, Path]) -> Iterator[Lab]:
    made = Lab(*module_vcenter)
    assert made.lines() == []  # the guest's folder is made by its first operation
    made.log.parent.mkdir(parents=True)
    made.log.write_text("first\n\x1b[31msecond\x1b[0m only-for-this-guest\n", encoding="utf-8")
    yield made
    made.vcenter.lab.clear_faults()


def test_the_last_lines_are_in_the_report(lab: Lab) -> None:
    """They are sanitized, and the guest's password is removed; the error's text has them below the VM."""
    expected = ["guest log /var/log/vmware-imc/toolsDeployPkg.log, last 2 lines:", "| first", "| second [secret]"]
    assert lab.lines() == expected
    text = failure_text(with_guest_logs(lab.report(), lab.settings, CONFIG.get, {}), phrases({}))
    assert text.endswith("\n    | first\n    | second [secret]")


def test_only_the_end_of_a_long_log_is_shown(lab: Lab) -> None:
    """Forty lines are enough to find the reason, and a log of any length is read."""
    lab.log.write_text("".join(f"line {number} {'x' * 80}\n" for number in range(10_000)), encoding="utf-8")
    lines = lab.lines()
    assert len(lines) == 41
    assert lines[-1].startswith("| line 9999 ")


@pytest.mark.parametrize(
    "content",
    [pytest.param("ü\r\n".encode("utf-16"), id="UTF-16"), pytest.param("ü".encode("utf-8-sig"), id="UTF-8")],
)
def test_logs_of_windows_are_read(lab: Lab, content: bytes) -> None:
    """A byte order mark says how a log is encoded."""
    lab.log.write_bytes(content)
    assert lab.lines()[1:] == ["| ü"]


@pytest.mark.parametrize(
    ("report", "config", "inputs"),
    [
        pytest.param({}, {}, {}, id="no credentials"),
        pytest.param({}, CONFIG, {"guest_logs": False}, id="turned off"),
        pytest.param({"cancelled": True}, CONFIG, {}, id="the user cancelled"),
        pytest.param({"kind": FailureKind.NOT_FOUND}, CONFIG, {}, id="no such VM"),
        pytest.param({}, {**CONFIG, "customization:guestPassword": "another"}, {}, id="a wrong password"),
    ],
)
def test_the_report_is_empty_where_the_log_cannot_be_read(
    lab: Lab, report: dict[str, Any], config: dict[str, str], inputs: dict[str, Any]
) -> None:
    """A report without a log is as good as it was."""
    assert lab.lines(lab.report(**report), config, **inputs) == []


def test_tools_that_do_not_answer_cost_no_more_than_the_time_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report waits for the logs for a bounded time."""
    monkeypatch.setattr(logs, "TIMEOUT", 1.0)
    lab.vcenter.lab.add_fault("hang", method="InitiateFileTransferFromGuest")
    began = time.monotonic()
    assert lab.lines() == []
    assert time.monotonic() - began < 3


def test_a_vm_that_is_off_is_not_asked(lab: Lab) -> None:
    """Its guest could not answer."""
    finish(lab.vm.PowerOffVM_Task())
    began = time.monotonic()
    assert lab.lines() == []
    assert time.monotonic() - began < 3


def passwords_sent(lab: Lab) -> int:
    return int(lab.vcenter.lab.stats()["calls"].get("ValidateCredentialsInGuest", 0))


def test_a_refused_password_of_a_domain_is_sent_once_for_all_logs(lab: Lab) -> None:
    """The guests whose logs are read side by side do not lock the account: one of them gets the password."""
    moids = [lab.vm._moId, *(lab.vcenter.clone(plan={"startDelay": "10ms", **LOGIN})._moId for _ in range(3))]
    before = passwords_sent(lab)
    assert logs.read_logs(lab.settings, GuestCredentials("CORP\\deploy", "wrong-for-logs"), moids) == {}
    assert passwords_sent(lab) - before == 1


def test_a_refused_password_of_a_domain_is_sent_once_for_all_scripts(lab: Lab) -> None:
    """Logins of one run that begin together wait for the answer to the first, and fail with it."""
    moids = [lab.vm._moId, *(lab.vcenter.clone(plan={"startDelay": "10ms", **LOGIN})._moId for _ in range(3))]
    credentials = GuestCredentials("deploy@corp.example.com", "wrong-for-scripts")
    before = passwords_sent(lab)

    def refusal(session: Session, moid: str) -> str:
        with pytest.raises(GuestLoginError) as refused:
            Guest(session, moid, credentials, Deadline(20)).check_login()
        return str(refused.value)

    with acquire(lab.settings) as session, ThreadPoolExecutor(len(moids)) as pool:
        message = list(pool.map(lambda moid: refusal(session, moid), moids * 2))
    assert passwords_sent(lab) - before == 1
    assert sum("is not sent again by this run" in text for text in message) == len(message) - 1
