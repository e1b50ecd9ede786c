"""Scripts in the lab's guests over real sockets: at most once, stopped in time, nothing left behind."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pulumi_customization_gate.core.errors import ApiError, CertificateError
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestCancelledError,
    GuestError,
    GuestGoneError,
    GuestLoginError,
    GuestTimeoutError,
)
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.guest.program import Script
from pulumi_customization_gate.vsphere.guest.run import (
    Attempt,
    ScriptResult,
    ScriptStoppedError,
    run_script,
)
from pulumi_customization_gate.vsphere.session import Session, acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.vcenter_fixture import VCenter, finish, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulumi_customization_gate.vsphere.guest.outcome import Outcome

LOGIN = GuestCredentials("deploy", "only-for-this-guest")
PLAN = {"startDelay": "10ms", "guestUser": LOGIN.user, "guestPassword": LOGIN.password}

KEYS = itertools.count(1)


def another() -> Attempt:
    """Returns the first attempt of a resource that no other test has."""
    return Attempt(f"{next(KEYS):04x}", 1, "what runs")


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
        yield vcenter


@pytest.fixture
def session(vcenter: VCenter) -> Iterator[Session]:
    lab = vcenter.lab
    with acquire(VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)) as session:
        yield session


class GuestVM:
    """A VM of one test, and calls in its guest."""

    def __init__(self, vcenter: VCenter, session: Session, managed_object: Any) -> None:
        self.vcenter, self.session, self.managed_object = vcenter, session, managed_object
        self.reported: list[str] = []

    def guest(self, seconds: float = 30, login: GuestCredentials = LOGIN, **deadline: Any) -> Guest:
        return Guest(self.session, self.managed_object._moId, login, Deadline(seconds, **deadline))

    def run(self, text: str, seconds: float = 30, attempt: Attempt | None = None, **script: Any) -> ScriptResult:
        return run_script(self.guest(seconds), Script(text, **script), attempt or another(), self.reported.append)

    def outcome(self, text: str, seconds: float = 30, **script: Any) -> Outcome:
        outcome = self.run(text, seconds, **script).outcome
        assert outcome is not None
        return outcome

    def temporary_files(self) -> list[str]:
        found = self.guest().list_files("/tmp")  # noqa: S108 -- the guest's
        return [file.name for file in found if file.name not in {".", ".."}]

    def processes(self) -> list[Any]:
        """Returns what vCenter reports of all processes in the guest."""
        manager = self.vcenter.content.guestOperationsManager.processManager
        return list(manager.ListProcessesInGuest(self.managed_object, self.guest()._login))

    def expire_sessions(self) -> None:
        lab = self.vcenter.lab
        lab.terminate_sessions()
        self.vcenter.content.sessionManager.Login(lab.user, lab.password)

    def fault(self, method: str, kind: str, **rule: Any) -> None:
        self.vcenter.done("POST", "/faults", {"method": method, "kind": kind, **rule})


@pytest.fixture
def vm(vcenter: VCenter, session: Session) -> Iterator[GuestVM]:
    made = GuestVM(vcenter, session, vcenter.clone(plan=PLAN))
    made.guest().check_login()
    yield made
    vcenter.done("DELETE", "/faults")
    if made.managed_object.runtime.powerState == "poweredOn":
        assert made.temporary_files() == []
        finish(made.managed_object.PowerOffVM_Task())
    finish(made.managed_object.Destroy_Task())


def shown(outcome: Outcome | None) -> tuple[int | None, str, str]:
    """Returns exit code and outputs."""
    assert outcome is not None
    return outcome.exit_code, outcome.stdout, outcome.stderr


def _calls(vcenter: VCenter, method: str) -> int:
    return int(vcenter.lab.stats()["calls"].get(method, 0))


def _runs(marker: Path) -> list[psutil.Process]:
    """Returns the living processes with the marker in their arguments."""
    alive = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(marker) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


# ---- what runs, and what comes back


def test_output_errors_and_exit_code_come_back(vm: GuestVM) -> None:
    """A script gets its arguments and variables as they are, and gives both outputs and its exit code."""
    text = 'printf "%s|%s|%s" "$1" "$2" "$here"; echo oops >&2; exit 7'

    outcome = vm.outcome(text, arguments=["a b", "it's $HOME"], environment={"here": "line 1\nline '2'"})

    assert shown(outcome) == (7, "a b|it's $HOME|line 1\nline '2'", "oops\n")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param({"text": "cat <<'X'\r\nüñî 🌍\r\nX\r\n"}, "üñî 🌍\n", id="line ends of Windows, and unicode"),
        pytest.param({"text": 'printf "a\\377b"'}, "a\ufffdb", id="bytes that are no UTF-8"),
        pytest.param({"text": "print(6 * 7)", "interpreter": "/usr/bin/env python3"}, None, id="no such interpreter"),
        pytest.param({"text": "echo $0 | sed 's/.*[/]//'", "interpreter": "/bin/sh"}, "script\n", id="a path"),
        pytest.param({"text": "pwd", "working_directory": "/"}, "/\n", id="a working directory"),
        pytest.param({"text": "cat"}, "", id="nothing to read"),
        pytest.param({"text": "true"}, "", id="nothing to say"),
        pytest.param({"text": "umask"}, None, id="the guest's own umask"),
    ],
)
def test_scripts_of_all_kinds(vm: GuestVM, script: dict[str, Any], expected: str | None) -> None:
    """Text, interpreter and directory are taken as they are meant."""
    outcome = vm.outcome(**script)
    if "env" in script.get("interpreter", ""):
        assert outcome.exit_code == 127
    elif script["text"] == "umask":
        assert outcome.stdout != "0077\n"
    else:
        assert (outcome.stdout, outcome.stderr, outcome.exit_code) == (expected, "", 0)


def test_a_megabyte_of_output_is_cut_to_its_end(vm: GuestVM) -> None:
    """The last bytes of each output are kept, whole characters only, and it is said that there were more."""
    outcome = vm.outcome("yes ä | head -c 1048575; echo; echo end", output_limit=10)

    assert outcome.stdout_truncated
    assert not outcome.stderr_truncated
    assert outcome.stdout == "\nä\n\nend\n"
    whole = vm.outcome("yes end | head -c 1048576", output_limit=1048576)
    assert (len(whole.stdout.encode()), whole.stdout_truncated) == (1048576, False)


def test_a_child_that_is_left_behind_holds_nothing_up(vm: GuestVM, tmp_path: Path) -> None:
    """A script may start a service: the script ends by itself, and the service continues to run."""
    outcome = vm.outcome(f"sh -c 'sleep 120; : {tmp_path}' & echo started", seconds=20)

    assert (outcome.stdout, outcome.exit_code) == ("started\n", 0)
    left = until(lambda: _runs(tmp_path))  # the script need not wait for its child to begin
    assert len(left) == 1
    for process in [*left[0].children(), *left]:
        process.kill()


# ---- its time is up


def test_a_script_that_hangs_is_stopped_with_its_children(vm: GuestVM, tmp_path: Path) -> None:
    """After the time-out no process of the script is running, and its output so far is in the error."""
    text = f"echo working; echo stuck >&2; trap '' TERM; sh -c 'sleep 120; : {tmp_path}' & sleep 120; : {tmp_path}"

    with pytest.raises(ScriptStoppedError, match=r"was stopped: timed out after 1 s") as caught:
        vm.run(text, seconds=1)

    outcome = caught.value.result.outcome
    assert outcome is not None
    assert (outcome.stdout, outcome.stderr) == ("working\n", "stuck\n")
    assert _runs(tmp_path) == []


def test_the_user_can_end_a_script(vm: GuestVM, tmp_path: Path) -> None:
    """Ctrl-C stops the script and tidies up."""
    cancelled = threading.Event()
    guest = vm.guest(cancelled=cancelled.is_set)
    threading.Timer(0.5, cancelled.set).start()

    with pytest.raises(ScriptStoppedError, match="was stopped: the update was cancelled"):
        run_script(guest, Script(f"sleep 120; : {tmp_path}"), another())

    assert _runs(tmp_path) == []


def test_a_guest_that_goes_down_under_a_script_ends_it(vm: GuestVM) -> None:
    """A reboot leaves no exit code; the error says so, and what to do instead."""
    started = threading.Event()

    def reset() -> None:
        until(lambda: _calls(vm.vcenter, "ListProcessesInGuest") > before)
        finish(vm.managed_object.ResetVM_Task())
        started.set()

    before = _calls(vm.vcenter, "ListProcessesInGuest")
    thread = threading.Thread(target=reset)
    thread.start()
    with pytest.raises(ScriptStoppedError, match="left no exit code: it was killed, or the guest rebooted"):
        vm.run("sleep 120")
    thread.join()
    assert started.is_set()


# ---- at most once


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        pytest.param("reset", True, id="carried out, the answer lost"),
        pytest.param("truncate", True, id="carried out, the answer cut"),
        pytest.param("reset", False, id="lost on the way there"),
        pytest.param("GuestOperationsUnavailable", False, id="the guest was not ready"),
    ],
)
def test_a_script_runs_once_whatever_becomes_of_the_request(
    vm: GuestVM, tmp_path: Path, *, kind: str, after: bool
) -> None:
    """The request is repeated until there is an answer; in the guest only one of the requests runs the script."""
    before = _calls(vm.vcenter, "StartProgramInGuest")
    vm.fault("StartProgramInGuest", kind, after=after, count=1)

    outcome = vm.outcome(f"echo run >>{tmp_path}/log; sleep 0.5; wc -l <{tmp_path}/log")

    assert outcome.stdout.strip() == "1"
    assert (tmp_path / "log").read_text(encoding="utf-8") == "run\n"
    assert _calls(vm.vcenter, "StartProgramInGuest") - before >= 2


def test_a_session_that_expires_is_renewed(vm: GuestVM, tmp_path: Path) -> None:
    """The session ends just before the script starts, and again while it runs; it runs once."""
    guest = vm.guest()
    start = guest.start

    def expired(*arguments: Any) -> int:
        vm.expire_sessions()
        pid = start(*arguments)
        vm.expire_sessions()
        return pid

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "start", expired)
        result = run_script(guest, Script(f"echo run >>{tmp_path}/log"), another())

    assert shown(result.outcome) == (0, "", "")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "run\n"


def test_a_request_that_arrives_late_runs_nothing(vm: GuestVM, tmp_path: Path) -> None:
    """A request that is delivered twice, or after the run, finds the run claimed: the script still runs once."""
    guest = vm.guest()
    start, asked = guest.start, list[Any]()

    def twice(*arguments: Any) -> int:
        asked.append(arguments)
        start(*arguments)
        return start(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "start", twice)
        result = run_script(guest, Script(f"echo run >>{tmp_path}/log; sleep 0.5"), another())
    start(*asked[0])
    until(lambda: all(process.endTime for process in vm.processes()))

    assert result.outcome is not None
    assert result.outcome.exit_code == 0
    assert (tmp_path / "log").read_text(encoding="utf-8") == "run\n"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        pytest.param("MakeDirectoryInGuest", "http503", id="the directory"),
        pytest.param("Upload", "reset", id="the upload"),
        pytest.param("ListProcessesInGuest", "reset", id="the connection breaks while it runs"),
        pytest.param("Download", "truncate", id="the download"),
        pytest.param("ReadEnvironmentVariableInGuest", "reset", id="the home"),
        pytest.param("ListFilesInGuest", "reset", id="what is there"),
        pytest.param("ChangeFileAttributesInGuest", "reset", id="the permissions"),
    ],
)
def test_a_script_survives_a_fault_on_its_way(vm: GuestVM, tmp_path: Path, method: str, kind: str) -> None:
    """What may be asked twice is; the script runs once."""
    vm.fault(method, kind, count=1)
    assert vm.outcome(f"echo run | tee -a {tmp_path}/log").stdout == "run\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == "run\n"
    assert sum(rule["hits"] for rule in vm.vcenter.done("GET", "/faults")) == 1


def test_an_exit_code_outlives_vcenters_memory(vm: GuestVM) -> None:
    """The exit code of a process that vCenter no longer lists is read from a file."""
    vm.vcenter.lab.plan(vm.managed_object.name, **{**PLAN, "processMemory": "1ms"})
    assert vm.outcome("sleep 0.2; exit 9").exit_code == 9


# ---- who, and when


def test_a_guest_that_is_not_ready_is_waited_for(vm: GuestVM) -> None:
    """Guest operations that are not available yet are retried, with a message, until the time-out."""
    vm.fault("MakeDirectoryInGuest", "GuestOperationsUnavailable", count=2)
    reported: list[str] = []
    guest = Guest(vm.session, vm.managed_object._moId, LOGIN, Deadline(30), reported.append)
    assert shown(run_script(guest, Script("true"), another()).outcome) == (0, "", "")
    assert len(reported) == 2
    assert "GuestOperationsUnavailable" in reported[0]

    vm.fault("MakeDirectoryInGuest", "GuestOperationsUnavailable")
    with pytest.raises(GuestTimeoutError, match=r"timed out after 1 s .*GuestOperationsUnavailable"):
        vm.run("true", seconds=1)


def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(vm: GuestVM) -> None:
    """The guest is asked once; the error names the user and not the password."""
    before = _calls(vm.vcenter, "ReadEnvironmentVariableInGuest")
    with pytest.raises(GuestLoginError) as caught:
        run_script(vm.guest(login=GuestCredentials("deploy", "wrong-word")), Script("true"), another())
    assert str(caught.value).endswith("refuses the user name or password of deploy")
    assert "wrong-word" not in repr(caught.value) + repr(GuestCredentials("deploy", "wrong-word"))
    assert _calls(vm.vcenter, "ReadEnvironmentVariableInGuest") - before == 1


def test_a_missing_privilege_is_named(vm: GuestVM) -> None:
    """VCenter's refusal is an error of its own, which says what to grant."""
    vm.fault("MakeDirectoryInGuest", "NoPermission", count=1)
    with pytest.raises(ApiError, match="grant the privilege"):
        vm.run("true")


def test_a_vm_that_is_gone_is_named(vm: GuestVM) -> None:
    """An unknown managed object ID is not waited for."""
    with pytest.raises(GuestGoneError, match="vm-999999 is not in the inventory"):
        Guest(vm.session, "vm-999999", LOGIN, Deadline(5))


def test_nothing_secret_reaches_a_command_line(vm: GuestVM, tmp_path: Path) -> None:
    """Neither password nor variables are in the arguments of any process, nor in those of StartProgramInGuest."""
    secret = f"s3cret-{tmp_path.name}"
    run = threading.Thread(target=lambda: vm.run("sleep 1", environment={"TOKEN": secret}))
    before = _calls(vm.vcenter, "ListProcessesInGuest")
    run.start()
    until(lambda: _calls(vm.vcenter, "ListProcessesInGuest") > before)
    seen = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            seen.append(" ".join(process.cmdline()))
    asked = [process.cmdLine for process in vm.processes()]
    run.join()
    assert any("program.sh" in line for line in seen)
    assert [line for line in [*seen, *asked] if secret in line or LOGIN.password in line] == []


# ---- the way of the files


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """A vcenter whose transfers go to a host of another name, as they do over an ESXi host."""
    with running(tmp_path_factory.mktemp("elsewhere"), "-transfer-host", "localhost") as vcenter:
        yield vcenter


def _settings(vcenter: VCenter, **trust: Any) -> VsphereSettings:
    return VsphereSettings(vcenter.lab.server, vcenter.lab.user, vcenter.lab.password, **trust)


@pytest.mark.parametrize("where", ["vcenter", "elsewhere"])
def test_files_go_to_the_host_that_is_known_by_its_certificate(where: str, request: pytest.FixtureRequest) -> None:
    """VCenter's certificate is pinned by the user, the host's by vCenter: no authority that signed them is needed."""
    vcenter: VCenter = request.getfixturevalue(where)
    vm = vcenter.clone(plan=PLAN)
    with acquire(_settings(vcenter, thumbprint=vcenter.lab.thumbprint)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20))
        assert shown(run_script(guest, Script("true"), another()).outcome) == (0, "", "")


def test_a_star_in_the_address_represents_the_vcenter(tmp_path: Path) -> None:
    """A server that leaves its name to the client is asked by the name that the settings have."""
    with running(tmp_path, "-transfer-host", "*") as vcenter:
        vm = vcenter.clone(plan=PLAN)
        with acquire(_settings(vcenter, ca_file=vcenter.lab.ca_file)) as session:
            assert shown(
                run_script(Guest(session, vm._moId, LOGIN, Deadline(20)), Script("true"), another()).outcome
            ) == (0, "", "")


def test_a_host_with_another_certificate_gets_no_file(elsewhere: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not the one that vCenter reports for the host ends the work at once."""
    other = hashlib.sha256(b"another certificate").hexdigest()
    monkeypatch.setattr("pulumi_customization_gate.vsphere.guest.hosts.fingerprint", lambda *_: other)
    vm = elsewhere.clone(plan=PLAN)
    with acquire(_settings(elsewhere, ca_file=elsewhere.lab.ca_file)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20))
        with pytest.raises(CertificateError, match="over which guest files go, is not trusted") as caught:
            run_script(guest, Script("true"), another())
    assert "which is not the expected one" in str(caught.value)
    assert "token" not in str(caught.value)


def test_a_host_whose_certificate_is_not_reported_goes_by_its_authority(
    elsewhere: VCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where vCenter reports no certificate, the authority decides: the configured one, or the system's."""
    monkeypatch.setattr("pulumi_customization_gate.vsphere.guest.hosts.fingerprint", lambda *_: "")
    vm = elsewhere.clone(plan=PLAN)
    with acquire(_settings(elsewhere, ca_file=elsewhere.lab.ca_file)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20))
        assert shown(run_script(guest, Script("true"), another()).outcome) == (0, "", "")
    with acquire(_settings(elsewhere, thumbprint=elsewhere.lab.thumbprint)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20))
        with pytest.raises(CertificateError, match="is not trusted"):
            run_script(guest, Script("true"), another())


def test_an_interpreter_of_another_system_is_refused(vm: GuestVM) -> None:
    """Cmd is not looked for on Linux, and nothing is put into the guest."""
    before = _calls(vm.vcenter, "MakeDirectoryInGuest")
    with pytest.raises(Exception, match="the guest is not Windows"):
        vm.run("ver", interpreter="cmd")
    assert _calls(vm.vcenter, "MakeDirectoryInGuest") == before


def test_the_errors_of_guests_have_one_root(vm: GuestVM) -> None:
    """What a guest refuses can be caught as one kind of error."""
    assert all(
        issubclass(error, GuestError)
        for error in (GuestTimeoutError, GuestCancelledError, GuestLoginError, GuestGoneError, ScriptStoppedError)
    )
    with pytest.raises(GuestError):
        vm.guest().make_directory("/no/such/parent")
