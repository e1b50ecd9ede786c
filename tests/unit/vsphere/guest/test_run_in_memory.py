"""A script in a guest in memory: it runs once per attempt, whoever calls and whatever response is lost."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyVmomi import vim, vmodl

from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestCancelledError, GuestError, GuestTimeoutError
from pulumi_customization_gate.vsphere.guest.program import Script
from pulumi_customization_gate.vsphere.guest.run import (
    Attempt,
    ScriptResult,
    ScriptStoppedError,
    Status,
    remove_runs,
    run_script,
)
from tests.unit.vsphere.fake_vcenter import PASSWORD
from tests.unit.vsphere.guest.fake_guest import (
    GUEST_PASSWORD,
    PRIVATE,
    TOKEN,
    FakeFile,
    FakeGuest,
    FakeProgram,
    opened,
)

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.guest.operations import Guest

FIRST = Attempt("ab12", 1, "what runs")
SECOND = Attempt("ab12", 2, "what runs")


def stopped(guest: Guest, attempt: Attempt = FIRST, **script: Any) -> ScriptStoppedError:
    """Returns the error of a run that does not end by itself."""
    with pytest.raises(ScriptStoppedError) as caught:
        run_script(guest, Script("x", **script), attempt)
    return caught.value


def exited(result: ScriptResult) -> tuple[int | None, str, str]:
    """Returns the exit code and both outputs."""
    assert result.status is Status.EXITED
    assert result.outcome is not None
    return result.outcome.exit_code, result.outcome.stdout, result.outcome.stderr


def test_output_and_exit_code_come_back(fake: FakeGuest, guest: Guest) -> None:
    """The result has what the script left; the time is the vCenter's."""
    fake.program = FakeProgram("out\n", "err\n", 3, seconds=7)

    result = run_script(guest, Script("x"), FIRST)

    assert exited(result) == (3, "out\n", "err\n")
    assert result.started_at == fake.vcenter.now
    assert result.seconds >= 7


def test_a_second_caller_takes_the_outcome_of_the_first(fake: FakeGuest, guest: Guest) -> None:
    """The same attempt never runs twice; the next attempt does, and removes the directory of the first."""
    fake.program = FakeProgram("one")
    results = [exited(run_script(guest, Script("x"), attempt)) for attempt in (FIRST, FIRST)]
    fake.program = FakeProgram("two")
    results.append(exited(run_script(guest, Script("x"), SECOND)))

    assert [stdout for _, stdout, _ in results] == ["one", "one", "two"]
    assert len(fake.runs) == 2
    assert {name for name in fake.below(PRIVATE) if "/" not in name} == {"ab12-2"}


def test_a_later_caller_follows_a_run_that_continues(fake: FakeGuest, guest: Guest) -> None:
    """A run whose first caller lost its response is waited for, not started again; the caller is informed."""
    fake.program = FakeProgram("done", seconds=100)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    assert stopped(guest).result.status is Status.UNKNOWN
    lines: list[str] = []

    result = run_script(guest.with_deadline(Deadline(200)), Script("x"), FIRST, lines.append)

    assert exited(result) == (0, "done", "")
    assert (len(fake.runs), lines) == (1, ["following the run that was started earlier"])


def as_vm(guest: Guest, identity: str) -> Guest:
    """Returns the same guest with the identity of a VM: what the disk of a clone has is there."""
    other = guest.with_deadline(Deadline(60))
    other.id = identity
    return other


def test_a_clone_runs_what_ran_in_its_original(fake: FakeGuest, guest: Guest) -> None:
    """A clone has the directory with the outcome, but the script never ran in it; there it runs once."""
    fake.program = FakeProgram("original")
    run_script(guest, Script("x"), FIRST)
    fake.reboot()
    fake.program = FakeProgram("clone")
    clone = as_vm(guest, "vcenter/vm-2/5001")

    outputs = [exited(run_script(clone, Script("x"), FIRST))[1] for _ in range(2)]

    assert (outputs, len(fake.runs)) == (["clone", "clone"], 2)


def test_a_run_that_was_cloned_half_done_is_settled(fake: FakeGuest, guest: Guest) -> None:
    """None of its processes is in the clone: nothing is waited for, and the script runs from its start."""
    fake.program = FakeProgram(seconds=1000)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    stopped(guest)
    fake.reboot()
    fake.program = FakeProgram("clone")
    began = fake.clock.monotonic()

    assert exited(run_script(as_vm(guest, "vcenter/vm-2/5001"), Script("x"), FIRST))[1] == "clone"

    assert (len(fake.runs), fake.clock.monotonic() - began < 5) == (2, True)


def test_a_run_that_was_never_claimed_starts_in_the_clone(fake: FakeGuest, guest: Guest) -> None:
    """What was uploaded before the clone was made is replaced, and a late request cannot start it."""
    fake.vcenter.failures["StartProgramInGuest"] = [vim.fault.GuestPermissionDenied()]
    with pytest.raises(GuestError, match="does not allow deploy to do this"):
        run_script(guest, Script("x"), FIRST)

    assert exited(run_script(as_vm(guest, "vcenter/vm-2/5001"), Script("x"), FIRST))[0] == 0

    assert len(fake.runs) == 1


@pytest.mark.parametrize(
    ("recorded", "identity"),
    [
        pytest.param("one/vm-1/5000", "one/vm-9/5000", id="registered again"),
        pytest.param("one/vm-1/5000", "two/vm-7/5000", id="moved to another vCenter"),
        pytest.param("one/vm-1/", "one/vm-1/5000", id="UUID was not known"),
        pytest.param("one/vm-1/5000", "one/vm-1/", id="UUID is not known"),
        pytest.param("one/vm-1/500A", "one/vm-1/500a", id="in another case"),
        pytest.param("", "one/vm-1/5000", id="no identity recorded"),
    ],
)
def test_the_same_vm_runs_nothing_again(fake: FakeGuest, guest: Guest, recorded: str, identity: str) -> None:
    """A VM keeps its instance UUID; what is not known is no reason to run a script twice in one guest."""
    run_script(as_vm(guest, recorded), Script("x"), FIRST)
    if not recorded:
        fake.files[f"{PRIVATE}/ab12-1/attempt"] = FakeFile(FIRST.fingerprint.encode())

    run_script(as_vm(guest, identity), Script("x"), FIRST)

    assert len(fake.runs) == 1


@pytest.mark.parametrize(
    ("recorded", "identity"),
    [
        pytest.param("one/vm-1/", "one/vm-2/5000", id="another managed object ID"),
        pytest.param("one/vm-1/", "two/vm-1/", id="another vCenter"),
    ],
)
def test_without_a_uuid_the_other_parts_tell_a_clone(
    fake: FakeGuest, guest: Guest, recorded: str, identity: str
) -> None:
    """Where one of the instance UUIDs is not known, vCenter and managed object ID decide."""
    run_script(as_vm(guest, recorded), Script("x"), FIRST)
    run_script(as_vm(guest, identity), Script("x"), FIRST)

    assert len(fake.runs) == 2


def test_a_directory_that_was_removed_in_part_is_removed(fake: FakeGuest, guest: Guest) -> None:
    """The claim and the outcome of the run that was there count for nothing."""
    fake.program = FakeProgram("old")
    run_script(guest, Script("x"), FIRST)
    del fake.files[f"{PRIVATE}/ab12-1/attempt"]
    fake.program = FakeProgram("new")

    assert exited(run_script(guest, Script("x"), FIRST))[1] == "new"

    assert len(fake.runs) == 2


def test_another_text_waits_for_the_run_of_the_first(fake: FakeGuest, guest: Guest) -> None:
    """Two attempts of one resource never run at once."""
    fake.program = FakeProgram("old", seconds=20)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    stopped(guest)
    fake.program = FakeProgram("new")
    lines: list[str] = []
    began = fake.clock.monotonic()

    result = run_script(guest, Script("y"), Attempt("ab12", 1, "other"), lines.append)

    assert exited(result)[1] == "new"
    assert lines == ["waiting for the end of an earlier run of this script"]
    assert fake.clock.monotonic() - began >= 19


def test_an_earlier_run_that_does_not_end_is_stopped(fake: FakeGuest, guest: Guest) -> None:
    """The new script does not start then: the time-out is over."""
    fake.program = FakeProgram(seconds=1000)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    stopped(guest)

    with pytest.raises(GuestTimeoutError, match=r"an earlier run of the script did not end and was stopped: timed out"):
        run_script(guest, Script("x"), SECOND)

    assert fake.text(f"{PRIVATE}/ab12-1/outcome").startswith("143 ")
    assert len(fake.runs) == 1


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        pytest.param(ConnectionResetError(), True, id="answer lost"),
        pytest.param(ConnectionResetError(), False, id="request lost"),
        pytest.param(vmodl.fault.SystemError(), True, id="the host's answer lost"),
        pytest.param(vim.fault.GuestOperationsUnavailable(), False, id="Tools not running"),
    ],
)
@pytest.mark.parametrize("method", ["StartProgramInGuest", "ListProcessesInGuest", "MakeDirectoryInGuest"])
def test_a_script_runs_once_whatever_is_lost(
    fake: FakeGuest, guest: Guest, method: str, error: Exception, is_lost: bool
) -> None:
    """A call is made again; the second start finds the run claimed."""
    fake.program = FakeProgram("done", seconds=5)
    (fake.vcenter.lost_answers if is_lost else fake.vcenter.failures)[method] = [error]

    assert exited(run_script(guest, Script("x"), FIRST)) == (0, "done", "")

    assert len(fake.runs) == 1
    assert fake.vcenter.calls[method] >= 2


def test_a_script_that_takes_too_long_is_stopped(fake: FakeGuest, guest: Guest) -> None:
    """The error has the status, and the output until then."""
    fake.program = FakeProgram("working\n", seconds=1000)

    error = stopped(guest)

    assert str(error) == "the script in name of vm-1 (vm-1) was stopped: timed out after 1 min"
    assert error.result.status is Status.STOPPED
    assert error.result.outcome is not None
    assert error.result.outcome.stdout == "working\n"


def test_the_user_can_end_a_script(fake: FakeGuest) -> None:
    """Ctrl-C stops the script in the guest; what it had printed is kept."""
    fake.program = FakeProgram("working\n", seconds=1000)
    pressed: list[bool] = []
    fake.clock.after(5, lambda: pressed.append(True))
    with contextlib.ExitStack() as held:
        error = stopped(opened(held, cancelled=lambda: bool(pressed)))

    assert "was stopped: the update was cancelled" in str(error)
    assert fake.text(f"{PRIVATE}/ab12-1/outcome").startswith("143 ")


def test_a_cancellation_before_the_start_starts_nothing(fake: FakeGuest) -> None:
    """Nothing is reported as started that was not."""
    pressed: list[bool] = []
    fake.vcenter.failures["StartProgramInGuest"] = [vim.fault.GuestOperationsUnavailable()]
    fake.clock.after(0.1, lambda: pressed.append(True))
    with contextlib.ExitStack() as held, pytest.raises(GuestCancelledError):
        run_script(opened(held, cancelled=lambda: bool(pressed)), Script("x"), FIRST)

    assert fake.runs == []


def test_a_script_that_cannot_be_stopped_is_unknown(fake: FakeGuest, guest: Guest) -> None:
    """Its end was not seen: the next update follows it."""
    fake.program = FakeProgram(seconds=1000)
    fake.clock.after(50, lambda: setattr(fake, "password", "changed"))

    error = stopped(guest)

    assert error.result.status is Status.UNKNOWN
    assert error.result.outcome is None


def test_a_reboot_during_the_run_leaves_no_exit_code(fake: FakeGuest, guest: Guest) -> None:
    """The error says what a script that reboots its guest has to do."""
    fake.program = FakeProgram(seconds=1000)
    fake.clock.after(5, fake.reboot)

    error = stopped(guest)

    assert "left no exit code" in str(error)
    assert "shutdown -r +1" in str(error)
    assert error.result.status is Status.LOST


def test_a_run_that_was_stopped_before_its_start_never_starts(fake: FakeGuest, guest: Guest) -> None:
    """A directory without a claim is one whose start was lost: `stop` keeps a late request from running it."""
    fake.vcenter.failures["StartProgramInGuest"] = [vim.fault.GuestPermissionDenied()]
    with pytest.raises(GuestError, match="does not allow deploy to do this"):
        run_script(guest, Script("x"), FIRST)
    fake.vcenter.failures["StartProgramInGuest"] = [vim.fault.GuestOperationsUnavailable()] * 100

    error = stopped(guest)

    assert error.result.status is Status.UNKNOWN
    assert fake.runs == []


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0, "cannot start the script in .*ab12-1 cannot be written. Is the disk full", id="before"),
        pytest.param(5, "cannot keep the script's outcome in .* Is the disk full", id="after"),
    ],
)
def test_a_full_disk_is_named(fake: FakeGuest, guest: Guest, seconds: float, expected: str) -> None:
    """The wrapper's exit code says whether the script ran."""
    fake.program = FakeProgram(seconds=10)
    fake.is_full = not seconds
    fake.clock.after(seconds, lambda: setattr(fake, "is_full", True))

    assert re.search(expected, str(stopped(guest)))

    assert len(fake.runs) == bool(seconds)


def test_only_the_end_of_long_output_is_kept(fake: FakeGuest, guest: Guest) -> None:
    """At most `output_limit` bytes of each output come back, and whether there was more."""
    fake.program = FakeProgram("0123456789", "abc")

    outcome = run_script(guest, Script("x", output_limit=4), FIRST).outcome

    assert outcome is not None
    assert (outcome.stdout, outcome.stdout_truncated) == ("6789", True)
    assert (outcome.stderr, outcome.stderr_truncated) == ("abc", False)


def test_output_is_shown_while_the_script_runs(fake: FakeGuest, guest: Guest) -> None:
    """Every two seconds, for a script that shows its output."""
    fake.program = FakeProgram("line\n", seconds=9)
    shown: list[tuple[int, bytes]] = []

    run_script(guest, Script("x", shows_output=True), FIRST, show=lambda total, end: shown.append((total, end)))

    assert set(shown) == {(5, b"line\n")}
    assert 3 <= len(shown) <= 5


def test_what_a_resource_left_is_removed(fake: FakeGuest, guest: Guest) -> None:
    """A run that is still active is ended; the runs of other resources continue."""
    fake.program = FakeProgram(seconds=1000)
    stopped(guest.with_deadline(Deadline(3)))
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    stopped(guest, Attempt("cd34", 1, "other"))

    remove_runs(guest, "ab12")

    assert {name.partition("/")[0] for name in fake.below(PRIVATE)} == {"cd34-1"}


def test_a_run_is_ended_before_its_directory_is_removed(fake: FakeGuest, guest: Guest) -> None:
    """No process is left that works without its files."""
    fake.program = FakeProgram(seconds=1000)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    stopped(guest)

    remove_runs(guest, "ab12")

    assert fake.below(PRIVATE) == set()
    assert fake.running() == []


def test_the_files_of_a_run_are_private(fake: FakeGuest, guest: Guest) -> None:
    """No other user of the guest can read a script."""
    fake.program = FakeProgram(seconds=1000)
    stopped(guest.with_deadline(Deadline(3)))

    modes = {path: fake.files[path].permissions for path in (PRIVATE, f"{PRIVATE}/ab12-1", f"{PRIVATE}/ab12-1/attempt")}

    assert list(modes.values()) == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        pytest.param(FakeFile(b""), "to be a directory, got another kind of file: remove it", id="a file"),
        pytest.param(FakeFile(None, owner=0), "belongs to another user than /home/deploy: remove it", id="not ours"),
    ],
)
def test_a_private_directory_that_is_not_the_users_is_refused(
    fake: FakeGuest, guest: Guest, there: FakeFile, expected: str
) -> None:
    """Nothing is put into what another user may have made."""
    fake.files[PRIVATE] = there
    with pytest.raises(GuestError, match=expected):
        run_script(guest, Script("x"), FIRST)
    assert fake.below(PRIVATE) == set()


def test_a_user_without_a_home_is_named(fake: FakeGuest, guest: Guest) -> None:
    """The message names the variable and the user."""
    fake.environment.clear()
    with pytest.raises(GuestError, match="has no HOME for deploy: scripts need a home"):
        run_script(guest, Script("x"), FIRST)


def test_nothing_secret_is_logged(fake: FakeGuest, guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    """The log names calls, retries and their reasons; no password, no text, no token."""
    fake.program = FakeProgram("canary-output", "canary-error")
    fake.vcenter.failures["StartProgramInGuest"] = [ConnectionResetError(f"reset after {PASSWORD}")]
    fake.vcenter.failures["ListFilesInGuest"] = [vim.fault.GuestOperationsUnavailable(msg=f"with {GUEST_PASSWORD}")]
    fake.vcenter.failures["PUT"] = [requests.ConnectionError(f"reset at {TOKEN}")]
    with caplog.at_level(logging.DEBUG, "pulumi_customization_gate"):
        script = Script("canary-text", environment={"A": "canary-value"}, stdin="canary-stdin")
        result = run_script(guest, script, Attempt("ab12", 1, "canary-fingerprint"))

    assert exited(result)[0] == 0
    for expected in (
        "GuestOperationsUnavailable",
        "attempt 1 failed",
        "upload failed and is repeated",
        "run is process",
        "ab12-1",
        "exit code 0",
    ):
        assert expected in caplog.text
    assert "canary" not in caplog.text
