"""Checks that are made in a guest: tried until they hold, and never again with a password that was refused."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.vsphere import guest_checks
from pulumi_customization_gate.vsphere.checks import Check, checks_of
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.errors import GuestLoginError, GuestTimeoutError
from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome
from pulumi_customization_gate.vsphere.guest.run import ScriptResult, Status
from pulumi_customization_gate.vsphere.guest_checks import CLOUD_INIT, GuestChecks, Made, cloud_init_fault
from tests.unit.vsphere.fake_vcenter import SETTINGS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = {"kind": "command", "script": "systemctl is-active nginx", "exit_code": 3}


def outcome(code: int | None, stdout: str = "", stderr: str = "") -> Outcome:
    return Outcome(Ending.EXITED, code, stdout, stderr, False, False, 0, 0)  # noqa: FBT003 -- as they come


class FakeGuests:
    """Guests without a vCenter: what they answer, and what they were asked."""

    def __init__(self) -> None:
        self.answers: list[Outcome | Exception] = []
        self.login: Exception | None = None
        self.logins: list[str] = []
        self.scripts: list[str] = []
        self.removed = 0
        self.is_windows = False

    def guest(self, _session: object, moid: str, _credentials: object, _deadline: object) -> FakeGuests:
        self.moid = moid
        return self

    def check_login(self) -> None:
        self.logins.append(self.moid)
        if self.login is not None:
            raise self.login

    def run(self, _guest: object, script: Any, _attempt: object) -> ScriptResult:
        self.scripts.append(script.text)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ScriptResult(Status.EXITED, datetime.now(timezone.utc), 1.0, answer)

    def remove(self, _guest: object, _key: str) -> None:
        self.removed += 1


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> FakeGuests:
    fake = FakeGuests()
    monkeypatch.setattr(guest_checks, "acquire", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(guest_checks, "Guest", fake.guest)
    monkeypatch.setattr(guest_checks, "run_script", fake.run)
    monkeypatch.setattr(guest_checks, "remove_runs", fake.remove)
    monkeypatch.setattr(guest_checks, "PAUSE", 0.0)
    return fake


@pytest.fixture
def checks(guests: FakeGuests) -> Iterator[GuestChecks]:  # noqa: ARG001 -- the guests come first
    made = GuestChecks(SETTINGS, GuestCredentials("root", "s3cret"))
    yield made
    made.close()


def message(checks: GuestChecks, *given: Check, made: Made | None = None) -> list[str]:
    """Returns what is missing, each sentence once, until nothing is or no more is tried."""
    found: list[str] = []
    made = made or Made()

    def is_over() -> bool:
        reason = checks.missing("vm-1", given, made)
        if not reason.endswith("not tried yet") and reason not in found:
            found.append(reason)
        return not reason or (bool(checks.refusal("vm-1")) and bool(found))

    until(is_over)
    return found


def test_checks_are_tried_in_turn_until_they_hold(guests: FakeGuests, checks: GuestChecks) -> None:
    """What has held is not tried again, and each try leaves nothing in the guest."""
    guests.answers = [
        outcome(0, "inactive\n"),
        GuestTimeoutError("timed out after 2 min"),
        outcome(3),
        outcome(0, "status: running\n"),
        outcome(2, "status: done\n"),
    ]
    given = checks_of([COMMAND, {"kind": "cloud_init"}])

    made = Made()

    assert message(checks, *given, made=made) == [
        "command: expected exit code 3, got 0; last line of output: inactive",
        "command: timed out after 2 min",
        "cloud_init: expected the status done, got running",
        "",
    ]
    assert guests.scripts == [COMMAND["script"]] * 3 + [CLOUD_INIT.text] * 2
    assert guests.removed == 5
    assert checks.missing("vm-1", given, made) == ""


def test_a_refused_password_is_not_repeated(guests: FakeGuests, checks: GuestChecks) -> None:
    """Another try could lock the account, whatever the number of checks; another guest is tried."""
    guests.login = GuestLoginError("the guest of web (vm-1) refuses the user name or password of root")
    given = checks_of([COMMAND, {"kind": "cloud_init"}])
    reason = "command: the guest of web (vm-1) refuses the user name or password of root"

    assert message(checks, *given)[-1] == reason
    assert [checks.missing("vm-1", given, Made()) for _ in range(3)] == [reason] * 3
    assert (guests.logins, guests.scripts) == (["vm-1"], [])
    assert not checks.refusal("vm-2")


def test_windows_has_no_cloud_init(guests: FakeGuests, checks: GuestChecks) -> None:
    """The reason names the guest, and nothing runs there."""
    guests.is_windows = True
    (check,) = checks_of([{"kind": "cloud_init"}])
    made = Made()
    until(lambda: not checks.missing("vm-1", [check], made).endswith("not tried yet"))

    assert guests.scripts == []


def test_a_try_that_hangs_is_not_waited_for(
    guests: FakeGuests, checks: GuestChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request is answered at once, and no second try starts meanwhile."""
    release = threading.Event()

    def hang() -> None:
        guests.logins.append("vm-1")
        release.wait(30)

    monkeypatch.setattr(guests, "check_login", hang)
    monkeypatch.setattr(guest_checks, "Guest", guests.guest)
    given, made = checks_of([COMMAND]), Made()

    assert [checks.missing("vm-1", given, made) for _ in range(5)] == ["command: not tried yet"] * 5
    until(lambda: guests.logins)
    assert guests.logins == ["vm-1"]
    guests.answers = [outcome(3)]
    release.set()
    until(lambda: not checks.missing("vm-1", given, made))


def test_a_try_from_before_another_customization_does_not_count(
    guests: FakeGuests, checks: GuestChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks that held before are made anew, also where the last of them holds only afterwards."""
    release = threading.Event()

    def run(guest: Any, script: Any, attempt: Any) -> ScriptResult:
        if attempt.key == before.key and attempt.number == 2:
            release.wait(30)
        return guests.run(guest, script, attempt)

    monkeypatch.setattr(guest_checks, "run_script", run)
    given, before, after = checks_of([COMMAND, COMMAND]), Made(), Made()
    guests.answers = [outcome(3)]
    until(lambda: checks.missing("vm-1", given, before) and before.attempts == 2)
    assert before.held == {0}
    guests.answers = [outcome(3), outcome(0), outcome(3), outcome(3)]
    release.set()
    until(lambda: before.held == {0, 1})
    assert checks.missing("vm-1", given, after) == "command: not tried yet"

    assert message(checks, *given, made=after) == ["command: expected exit code 3, got 0", ""]


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        pytest.param(outcome(0, "status: done\n"), "", id="done"),
        pytest.param(outcome(2, "\nstatus: done\n"), "", id="done with recoverable errors"),
        pytest.param(outcome(0, "....\nstatus: running\n"), "expected the status done, got running", id="running"),
        pytest.param(outcome(1, "status: error\n"), "expected the status done, got error", id="error"),
        pytest.param(outcome(0, "status: disabled\n"), "expected the status done, got disabled", id="disabled"),
        pytest.param(outcome(0, "status: not started"), "expected the status done, got not started", id="not started"),
        pytest.param(
            outcome(127, "", "cloud-init is not installed\n"),
            "expected a status of cloud-init, got exit code 127 and 'cloud-init is not installed'",
            id="not installed",
        ),
        pytest.param(outcome(0), "expected a status of cloud-init, got exit code 0", id="no output"),
    ],
)
def test_the_status_of_cloud_init(ended: Outcome, expected: str) -> None:
    """Only `done` holds; the exit code differs between versions, so the word counts."""
    assert cloud_init_fault(ended) == expected
