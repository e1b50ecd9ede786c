"""The lifecycle of guest scripts and files: Ctrl-C, lost connections, other spellings, moves, deletion."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from lab.fault_proxy import proxy_for
from pulumi_customization_gate.lifecycle import gate, guest_file, guest_script
from pulumi_customization_gate.lifecycle import guest as guests
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.vsphere import login, session
from pulumi_customization_gate.vsphere.guest import hosts, refused_logins, run
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from tests.lab.guest_resource import FakeEngine, GuestResource, Kind
from tests.lab.vcenter_fixture import VCenter, finish, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = {"guestUser": "deploy", "guestPassword": "only-for-this-guest"}


class Lab:
    """A vCenter with two hosts, and one VM of the test's own."""

    def __init__(self, vcenter: VCenter, folder: Path, files: Path) -> None:
        self.vcenter, self.files = vcenter, files
        self.vm = vcenter.clone(plan={"startDelay": "10ms", **LOGIN})
        self.home = folder / self.vm._moId / "home" / "deploy"
        self.log = files / "log"

    @property
    def config(self) -> dict[str, str]:
        """The stack's config, with a second namespace for the same vCenter."""
        lab = self.vcenter.lab
        connection = {"vsphereServer": lab.server, "user": lab.user, "password": lab.password}
        return {
            **{f"vsphere:{key}": value for key, value in connection.items()},
            **{f"customization:{key}": value for key, value in {"caFile": lab.ca_file, **LOGIN}.items()},
            **{f"east:{key}": value for key, value in {**connection, "caFile": lab.ca_file, **LOGIN}.items()},
        }

    @property
    def path(self) -> str:
        """The VM's inventory path."""
        return f"/DC0/vm/{self.vm.name}"

    def resource(self, kind: Kind, **inputs: Any) -> GuestResource:
        """Returns a resource that does not exist yet."""
        given: dict[str, Any] = {"vm": self.vm._moId, "timeout": 20.0}
        given |= {"script": f"echo run >>{self.log}"} if kind == "script" else {"path": "/srv/note", "content": "one"}
        return GuestResource(kind, f"urn:pulumi:lab::tests::{kind}::{self.vm._moId}", self.config, {**given, **inputs})

    def silent_after_the_start(self) -> None:
        """Lets the first program start without an answer, and answers no later request for one."""
        self.vcenter.lab.add_fault("hang", method="StartProgramInGuest", count=1, after=True)
        self.vcenter.lab.add_fault("hang", method="StartProgramInGuest")

    def runs(self) -> list[str]:
        """Returns what scripts have written to the log."""
        return self.log.read_text(encoding="utf-8").split() if self.log.exists() else []

    def calls(self, method: str) -> int:
        """Returns how often a method was called."""
        return int(self.vcenter.lab.stats()["calls"].get(method, 0))


@pytest.fixture(scope="module")
def vcenter_and_guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VCenter, Path]]:
    folder = tmp_path_factory.mktemp("vcenter")
    with running(folder, "-guests-dir", str(folder / "guests"), "-hosts", "2") as vcenter:
        yield vcenter, folder / "guests"


@pytest.fixture
def lab(vcenter_and_guests: tuple[VCenter, Path], tmp_path: Path) -> Iterator[Lab]:
    made = Lab(*vcenter_and_guests, tmp_path)
    yield made
    made.vcenter.lab.clear_faults()


# ---- once, whatever keeps the answer away


def test_ctrl_c_while_the_start_is_not_answered_keeps_the_outputs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may have been carried out: what is known is stored, and the next `up` takes the outcome."""
    monkeypatch.setattr(run, "STOP_TIMEOUT", 0.3)
    resource = lab.resource("script")
    lab.silent_after_the_start()

    def cancelled() -> bool:
        if not lab.runs():
            return False
        lab.vcenter.lab.add_fault("hang", method="*")
        return True

    error = resource.up(cancelled)

    assert "could not be stopped: the update was cancelled" in error
    assert (resource.outputs["status"], resource.outputs["attempt"], resource.outputs["exit_code"]) == (
        "unknown",
        1,
        None,
    )
    lab.vcenter.lab.clear_faults()
    assert resource.up() == ""
    assert (resource.outputs["status"], resource.outputs["attempt"], lab.runs()) == ("exited", 1, ["run"])


@pytest.mark.parametrize("ending", ["Ctrl-C", "time-out"])
def test_a_slow_log_in_holds_up_neither_ctrl_c_nor_the_time_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The script ends without it, says what it waited for, and gives the session back once it is there."""
    monkeypatch.setattr(login, "SLOW_LOGIN", 0.2)
    resource = lab.resource("script", timeout=1.5 if ending == "time-out" else 20.0)
    logins, logouts, sessions = lab.calls("Login"), lab.calls("Logout"), lab.vcenter.lab.stats()["sessions"]
    lab.vcenter.lab.add_fault("delay", method="Login", seconds=4.0)
    began = time.monotonic()

    error = resource.up(lambda: ending == "Ctrl-C" and time.monotonic() > began + 0.5)

    assert time.monotonic() - began < 3
    if ending == "time-out":
        assert "timed out after 1.5 s" in error
        assert "has not answered the login of" in error
    else:
        assert "the update was cancelled" in error
    until(lambda: lab.calls("Logout") > logouts)
    until(lambda: lab.vcenter.lab.stats()["sessions"] == sessions)
    assert (lab.calls("Login") - logins, lab.runs()) == (1, [])
    lab.vcenter.lab.clear_faults()
    resource.inputs["timeout"] = 20.0
    assert (resource.up(), lab.runs()) == ("", ["run"])


@pytest.mark.parametrize("is_gated", [True, False], ids=["after a gate", "without a gate"])
def test_a_guest_that_sets_its_account_up_after_the_gate_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, is_gated: bool
) -> None:
    """A password that is refused just after the gate opened is sent again; elsewhere its refusal is final."""
    monkeypatch.setattr(refused_logins, "RETRY_INTERVAL", 0.1)
    if is_gated:
        inputs = {"vms": {"web": lab.vm._moId}, "expect": "optional"}
        assert gate.create(FakeEngine("urn:pulumi:lab::tests::gate::web"), lab.config.get, inputs).outputs["ready"]
    sent = lab.calls("ValidateCredentialsInGuest")
    lab.vcenter.lab.add_fault("InvalidGuestLogin", method="ValidateCredentialsInGuest", count=2)

    error = lab.resource("script").up()

    assert lab.calls("ValidateCredentialsInGuest") - sent == (3 if is_gated else 1)
    assert lab.runs() == (["run"] if is_gated else [])
    assert ("refuses the user name or password of deploy" in error) is not is_gated


def test_a_run_that_continues_is_followed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time-out while vCenter does not answer and the script runs, the next `up` waits for the script's end."""
    monkeypatch.setattr(run, "STOP_TIMEOUT", 0.3)
    resource = lab.resource(
        "script", script=f"echo run >>{lab.log}; until [ -e {lab.files}/go ]; do sleep 0.05; done; exit 3"
    )
    lab.silent_after_the_start()
    resource.inputs["timeout"] = 2.0
    assert "could not be stopped: timed out after 2 s" in resource.up()
    lab.vcenter.lab.clear_faults()
    resource.inputs["timeout"] = 20.0
    threading.Timer(0.5, (lab.files / "go").touch).start()

    error = resource.up()

    assert "ended with exit code 3" in error
    assert "following the run that was started earlier" in resource.lines
    assert (resource.outputs["attempt"], lab.runs()) == (1, ["run"])


def _clone_with_disk(lab: Lab) -> tuple[str, Path]:
    """Clones the VM with what is on its disk; returns the clone's managed object ID and the home of its user."""
    moid = str(lab.vcenter.clone(plan={"startDelay": "10ms", **LOGIN})._moId)
    assert lab.resource("file", vm=moid).up() == ""  # The lab makes the folder of a guest at its first operation.
    home = lab.home.parents[2] / moid / "home" / "deploy"
    shutil.copytree(lab.home.parents[1], home.parents[1], dirs_exist_ok=True)
    return moid, home


def _replaced_by(resource: GuestResource, moid: str) -> GuestResource:
    """Returns the resource of the same name that is created in another VM."""
    return GuestResource(resource.kind, resource.urn, resource.config, {**resource.inputs, "vm": moid})


def test_a_clone_with_the_outcome_of_its_original_runs_the_script(lab: Lab) -> None:
    """What the original's run left on the disk is not the clone's: the script runs there, once."""
    resource = lab.resource("script", script=f"echo run >>{lab.log}; wc -l <{lab.log}", on_delete="true")
    assert resource.up() == ""
    moid, home = _clone_with_disk(lab)
    replaced = _replaced_by(resource, moid)
    assert (home / ".customization-gate" / f"{guests.key_of(FakeEngine(resource.urn))}-1" / "outcome").exists()

    assert replaced.up() == ""
    assert (replaced.outputs["stdout"].strip(), lab.runs()) == ("2", ["run", "run"])
    assert not any("following the run" in line for line in replaced.lines)

    replaced.state = None  # Its `up` was killed, so that the state does not have it.
    assert replaced.up() == ""
    assert (replaced.outputs["stdout"].strip(), lab.runs()) == ("2", ["run", "run"])


def test_a_clone_that_was_made_during_a_run_runs_the_script(lab: Lab) -> None:
    """The run has no process in the clone, where another boot is: it is settled, not waited for."""
    in_original = f"[ $LAB_GUEST_ROOT = {lab.home.parents[1]} ]"
    waiting = f"while {in_original} && ! [ -e {lab.files}/go ]; do sleep 0.05; done"
    resource = lab.resource("script", script=f"echo run >>{lab.log}; {waiting}")
    resource.up_until_killed(lambda: bool(lab.runs()))
    directory = Path(".customization-gate") / f"{guests.key_of(FakeEngine(resource.urn))}-1"
    until((lab.home / directory / "process").exists)
    moid, home = _clone_with_disk(lab)
    for name in ("claim", "process"):
        pid, start, _ = (home / directory / name).read_text(encoding="utf-8").splitlines()
        (home / directory / name).write_text(f"{pid}\n{start}\nanother-boot\n", encoding="utf-8")
    replaced = _replaced_by(resource, moid)
    assert replaced.up() == ""
    assert (replaced.outputs["exit_code"], lab.runs()) == (0, ["run", "run"])
    assert not (lab.home / directory / "outcome").exists()
    (lab.files / "go").touch()
    until((lab.home / directory / "outcome").exists)


def test_a_changed_script_waits_for_the_earlier_run(lab: Lab) -> None:
    """Two runs of one resource are never in the guest at the same time, also where the first one lost its `up`."""
    waiting = f"until [ -e {lab.files}/go ]; do sleep 0.05; done"
    resource = lab.resource("script", script=f"echo one >>{lab.log}; {waiting}; echo end >>{lab.log}")
    resource.up_until_killed(lambda: bool(lab.runs()))
    resource.inputs["script"] = f"echo two >>{lab.log}"
    threading.Timer(0.5, (lab.files / "go").touch).start()

    assert resource.up() == ""
    assert lab.runs() == ["one", "end", "two"]
    assert "waiting for the end of an earlier run of this script" in resource.lines


def test_a_failed_script_runs_again_as_another_attempt(lab: Lab) -> None:
    """The outcome of the failed attempt stays until the next one, which has a directory of its own."""
    resource = lab.resource("script", script=f"echo run >>{lab.log}; test -e {lab.files}/fixed")
    assert "ended with exit code 1" in resource.up()
    assert resource.outputs["attempt"] == 1
    (lab.files / "fixed").touch()

    assert resource.up() == ""
    assert (resource.outputs["attempt"], lab.runs()) == (2, ["run", "run"])
    assert resource.state is not None
    attempts = sorted(path.name for path in (lab.home / ".customization-gate").iterdir())
    assert attempts == [f"{resource.state[0]}-2"]


@pytest.mark.parametrize("triggers", [pytest.param({"a": 1}, id="a map"), pytest.param(["a", 1], id="a list")])
def test_changed_triggers_run_the_script_again(lab: Lab, triggers: Any) -> None:
    """Triggers are a list or a map of anything; the same ones run nothing."""
    resource = lab.resource("script", triggers=triggers)
    assert resource.up() == ""
    assert resource.up() == ""
    assert lab.runs() == ["run"]
    resource.inputs["triggers"] = [*triggers, 2]
    assert resource.up() == ""
    assert lab.runs() == ["run", "run"]


def test_on_update_runs_instead_once_the_script_has_succeeded(lab: Lab) -> None:
    """A script that has never succeeded is not updated; a change afterwards runs `on_update`, again if that fails."""
    resource = lab.resource(
        "script",
        script=f"echo script >>{lab.log}; test -e {lab.files}/fixed",
        on_update=f"echo update >>{lab.log}; test -e {lab.files}/updated",
    )
    assert "the script in" in resource.up()
    (lab.files / "fixed").touch()
    assert resource.up() == ""
    assert lab.runs() == ["script", "script"]
    resource.inputs["triggers"] = [1]
    assert "on_update in" in resource.up()
    (lab.files / "updated").touch()
    assert resource.up() == ""
    assert lab.runs() == ["script", "script", "update", "update"]
    assert (resource.outputs["ran"], resource.outputs["attempt"], resource.up()) == ("on_update", 4, "")


def test_a_script_gets_its_input_and_the_outputs_of_its_last_run(lab: Lab) -> None:
    """The standard input is the script's; STDOUT and STDERR are those of the last run, and empty before the first."""
    text = f'cat >>{lab.log}; echo " $STDOUT$STDERR" >>{lab.log}; echo out; echo err >&2'
    resource = lab.resource("script", script=text, stdin="s3cret-input", add_previous_output=True)
    assert resource.up() == ""
    assert lab.log.read_text(encoding="utf-8") == "s3cret-input \n"
    resource.inputs["triggers"] = [1]
    assert resource.up() == ""
    assert lab.log.read_text(encoding="utf-8") == "s3cret-input \ns3cret-input out\nerr\n\n"


def test_no_output_is_longer_than_its_limit_in_the_state(lab: Lab) -> None:
    """Bytes that are not UTF-8 take three times their room as text, so the text is cut."""
    resource = lab.resource("script", script="printf '\\377%.0s' $(seq 100)", output_limit=30)
    assert resource.up() == ""
    assert (len(resource.outputs["stdout"].encode()), resource.outputs["stdout_truncated"]) == (30, True)


def test_output_is_logged_while_the_script_runs(lab: Lab) -> None:
    """With log="all" the first lines are there before the script ends, and every line is there once."""
    text = f"echo one; echo two; until [ -e {lab.files}/go ]; do sleep 0.1; done; echo three"
    resource = lab.resource("script", script=text, log="all")
    began = []

    def seen() -> None:
        until(lambda: "two" in resource.lines)
        began.append(list(resource.lines))
        (lab.files / "go").touch()

    thread = threading.Thread(target=seen)
    thread.start()
    assert resource.up() == ""
    thread.join()
    assert began == [["one", "two"]]
    assert resource.lines == ["one", "two", "three"]


# ---- the private directory


def test_only_the_user_can_read_what_is_put_into_the_guest(lab: Lab) -> None:
    """The directories have the mode 0700, so that nothing in them can be reached."""
    resource = lab.resource("script", script="find .customization-gate -printf '%y %m\\n'")
    assert resource.up() == ""
    found = {tuple(line.split()) for line in resource.outputs["stdout"].splitlines()}
    assert {mode for kind, mode in found if kind == "d"} == {"700"}


def test_a_link_in_the_place_of_the_private_directory_is_refused(lab: Lab) -> None:
    """Nothing is written where the directory leads elsewhere."""
    lab.resource("script", script="true").up()
    shutil.rmtree(lab.home / ".customization-gate")
    elsewhere = lab.files / "elsewhere"
    elsewhere.mkdir()
    (lab.home / ".customization-gate").symlink_to(elsewhere)
    resource = lab.resource("script")
    assert "to be a directory, got another kind of file" in resource.up()
    assert list(elsewhere.iterdir()) == []
    assert lab.runs() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_private_directory_of_another_user_is_refused(lab: Lab) -> None:
    """A directory that somebody else has made could be read and changed by them."""
    lab.resource("script", script="true").up()
    os.chown(lab.home / ".customization-gate", 12345, 12345)
    assert "belongs to another user" in lab.resource("script").up()
    assert lab.runs() == []


# ---- the same guest and the same file, however they are spelled


def _difference(resource: GuestResource, **changes: Any) -> tuple[bool, list[str], bool]:
    assert resource.state is not None
    module = guest_script if resource.kind == "script" else guest_file
    difference = module.diff(
        FakeEngine(resource.urn, resource.lines), resource.config.get, resource.outputs, {**resource.inputs, **changes}
    )
    return difference.changes, list(difference.replaces), difference.delete_before_replace


@pytest.mark.parametrize("kind", ["script", "file"])
@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(lambda lab: {"vm": lab.path}, id="its inventory path"),
        pytest.param(lambda lab: {"vm": lab.vm.config.instanceUuid}, id="its instance UUID"),
        pytest.param(lambda _: {"config_namespace": "east"}, id="another namespace for the same vCenter"),
    ],
)
def test_another_spelling_of_the_guest_is_an_update(lab: Lab, kind: Kind, spelling: Any) -> None:
    """Nothing is replaced, nothing runs, and the file stays."""
    resource = lab.resource(kind)
    assert resource.up() == ""
    changes = spelling(lab)
    assert _difference(resource, **changes) == (True, [], True)
    resource.inputs |= changes
    assert resource.up() == ""
    assert _difference(resource) == (False, [], True)
    if kind == "script":
        assert lab.runs() == ["run"]
    else:
        assert (lab.home.parents[1] / "srv" / "note").read_text(encoding="utf-8") == "one"


@pytest.mark.parametrize("kind", ["script", "file"])
def test_another_guest_is_a_replacement_that_deletes_first(lab: Lab, kind: Kind) -> None:
    """Another VM replaces; so does one that cannot be found out about."""
    resource = lab.resource(kind)
    assert resource.up() == ""
    other = lab.vcenter.clone(plan={"startDelay": "10ms", **LOGIN})
    assert _difference(resource, vm=other._moId) == (True, ["vm"], True)
    assert _difference(resource, vm="/no/such/vm") == (True, ["vm"], True)
    assert _difference(resource, vm=UNKNOWN) == (True, ["vm"], True)


@pytest.mark.parametrize("kind", ["script", "file"])
def test_a_vm_replaced_behind_its_path_is_another_guest(lab: Lab, kind: Kind) -> None:
    """The diff finds the new VM, also where none is there; the deletion of the old resource does nothing in it."""
    resource = lab.resource(kind, vm=lab.path, **({"on_delete": f"echo gone >>{lab.log}"} if kind == "script" else {}))
    assert resource.up() == ""
    assert _difference(resource) == (False, [], True)

    name, path = lab.vm.name, lab.path
    finish(lab.vm.PowerOffVM_Task())
    finish(lab.vm.Destroy_Task())
    assert _difference(resource) == (True, ["vm"], True)
    other = lab.vcenter.clone(plan={"startDelay": "10ms", **LOGIN})
    finish(other.Rename_Task(name))
    assert _difference(resource) == (True, ["vm"], True)
    assert any(f"{path} now refers to another VM" in line for line in _delete(resource))
    assert "gone" not in lab.runs()


def test_an_unreachable_vcenter_is_a_warning_of_the_diff(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview works without the server, and says what it could not check."""
    resource = lab.resource("script", vm=lab.path)
    with proxy_for(lab.vcenter.lab.server) as proxy:
        resource.config["vsphere:vsphereServer"] = proxy.address
        resource.config["customization:thumbprint"] = lab.vcenter.lab.thumbprint
        assert resource.up() == ""
        monkeypatch.setattr(session, "START_TIMEOUT", session.CALL_TIMEOUT)
        proxy.refuse()
        proxy.reset()
        assert _difference(resource) == (False, [], True)
    assert any("cannot check whether vm still names the same guest" in line for line in resource.lines)


# ---- a VM that moves


def test_transfers_follow_a_vm_to_another_host(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is known by its own certificate, which is read for each transfer: the VM moves while the script runs."""
    real = hosts.fingerprint

    def reported(session: Any, host: Any) -> str:
        # Both hosts of the lab show one certificate: the one that the VM is not on reports another one here.
        return real(session, host) if host._moId == lab.vm.runtime.host._moId else "ab" * 32

    monkeypatch.setattr(hosts, "fingerprint", reported)
    resource = lab.resource("script", script=f"echo run >>{lab.log}; until [ -e {lab.files}/go ]; do sleep 0.05; done")

    def move() -> None:
        until(lab.runs)
        _move(lab)
        (lab.files / "go").touch()

    thread = threading.Thread(target=move)
    thread.start()
    error = resource.up()
    thread.join()
    assert error == ""
    assert (resource.outputs["status"], lab.runs()) == ("exited", ["run"])


def _move(lab: Lab) -> None:
    view = lab.vcenter.content.viewManager.CreateContainerView(
        lab.vcenter.content.rootFolder, [vim.HostSystem], recursive=True
    )
    here = lab.vm.runtime.host._moId
    other = next(host for host in view.view if host._moId != here)
    view.Destroy()
    finish(lab.vm.MigrateVM_Task(host=other, priority="defaultPriority"))
    assert lab.vm.runtime.host._moId != here


# ---- deletion


def _delete(resource: GuestResource) -> list[str]:
    """Deletes the resource, and returns the lines that it logged."""
    engine = FakeEngine(resource.urn)
    assert resource.state is not None
    key, outputs = resource.state
    if resource.kind == "script":
        guest_script.delete(engine, resource.config.get, key, outputs)
    else:
        guest_file.delete(engine, resource.config.get, key, outputs)
    return engine.lines


def test_deletion_leaves_nothing_behind(lab: Lab) -> None:
    """`on_delete` runs once, and the attempts' directories are removed."""
    resource = lab.resource("script", on_delete=f"echo deleted >>{lab.log}")
    assert resource.up() == ""
    assert _delete(resource) == []
    assert lab.runs() == ["run", "deleted"]
    assert list((lab.home / ".customization-gate").iterdir()) == []


def test_deletion_ends_a_run(lab: Lab) -> None:
    """A run whose `up` was killed is stopped before its resource goes away."""
    resource = lab.resource("script", script=f"echo run >>{lab.log}; sleep 120; echo end >>{lab.log}")
    resource.up_until_killed(lambda: bool(lab.runs()))
    resource.state = (guests.key_of(FakeEngine(resource.urn)), {**resource.inputs})
    began = time.monotonic()
    assert _delete(resource) == []
    assert time.monotonic() - began < 20
    assert lab.runs() == ["run"]


def test_on_delete_that_failed_runs_again_at_the_next_deletion(lab: Lab) -> None:
    """The error says what happened; nothing of the failed attempt is in the way."""
    resource = lab.resource("script", on_delete=f"echo deleted >>{lab.log}; test -e {lab.files}/fixed")
    assert resource.up() == ""
    with pytest.raises(GuestError, match=r"on_delete in .* ended with exit code 1"):
        _delete(resource)
    (lab.files / "fixed").touch()
    _delete(resource)
    assert lab.runs() == ["run", "deleted", "deleted"]


@pytest.mark.parametrize("kind", ["script", "file"])
def test_a_password_that_was_changed_is_a_warning_at_deletion(lab: Lab, kind: Kind) -> None:
    """A stack whose guests no longer let its user in can be destroyed."""
    resource = lab.resource(kind, **({"on_delete": "true"} if kind == "script" else {}))
    assert resource.up() == ""
    resource.config["customization:guestPassword"] = "another"
    (line,) = _delete(resource)
    assert "refuses the user name or password of deploy" in line


# ---- files


def test_missing_parents_are_made(lab: Lab) -> None:
    """The folder of a file need not be there."""
    resource = lab.resource("file", path="/srv/a/b/note")
    assert resource.up() == ""
    assert (lab.home.parents[1] / "srv" / "a" / "b" / "note").read_text(encoding="utf-8") == "one"


def test_a_lost_answer_to_the_move_is_looked_up(lab: Lab) -> None:
    """The file is in its place: the update succeeds, and is not repeated."""
    resource = lab.resource("file")
    lab.vcenter.lab.add_fault("reset", method="MoveFileInGuest", count=1, after=True)
    assert resource.up() == ""
    assert resource.outputs["size"] == 3


def test_ctrl_c_ends_an_upload(lab: Lab) -> None:
    """An upload that the host does not take is left within a second."""
    resource = lab.resource("file")
    lab.vcenter.lab.add_fault("hang", method="Upload")
    cancelled = threading.Event()
    timer = threading.Timer(1.0, cancelled.set)
    timer.start()
    began = time.monotonic()
    assert "the update was cancelled" in resource.up(cancelled.is_set)
    assert time.monotonic() - began < 2.5
    assert resource.state is None


def test_an_answer_that_stays_lost_is_written_again(lab: Lab) -> None:
    """Whether the file was moved is unknown: the outputs say so, and the next `up` writes it in any case."""
    resource = lab.resource("file")
    assert resource.up() == ""
    resource.inputs |= {"content": "two", "timeout": 1.0}
    lab.vcenter.lab.add_fault("reset", method="MoveFileInGuest", after=True, count=1)
    lab.vcenter.lab.add_fault("reset", method="MoveFileInGuest")
    assert "may have been written" in resource.up()
    assert resource.outputs["size"] is None
    lab.vcenter.lab.clear_faults()
    resource.inputs |= {"content": "one", "timeout": 20.0}
    assert resource.up() == ""
    assert (lab.home.parents[1] / "srv" / "note").read_text(encoding="utf-8") == "one"


# ---- directories


def _directory(lab: Lab, files: dict[str, str | None], **inputs: Any) -> GuestResource:
    """Returns a directory that does not exist yet, of a local directory with these files."""
    resource = lab.resource("directory", path="/srv/site", source=str(lab.files / "site"), **inputs)
    _edit(resource, files)
    return resource


def _edit(resource: GuestResource, files: dict[str, str | None]) -> None:
    """Writes local files, removes those that are None, and has the inputs checked again."""
    source = Path(resource.inputs["source"])
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (source / name).unlink()
        else:
            (source / name).write_text(text, encoding="utf-8")
    problems, known = guest_file.check(resource.config.get, resource.inputs)
    assert problems == []
    resource.inputs |= known


def _found(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_an_edit_uploads_what_changed_and_removes_what_is_gone(lab: Lab) -> None:
    """Files of others stay, also at deletion; what the resource made goes."""
    site = lab.home.parents[1] / "srv" / "site"
    resource = _directory(lab, {"a": "one", "b": "two", "conf.d/c": "three"}, permissions="0640")
    assert resource.up() == ""
    assert _found(site) == {"a": "one", "b": "two", "conf.d/c": "three"}
    modes = [(site / name).stat().st_mode & 0o777 for name in ("", "a", "conf.d", "conf.d/c")]
    assert modes == [0o750, 0o640, 0o750, 0o640]

    (site / "conf.d" / "other").write_text("not ours")
    kept = (site / "a").stat().st_ino
    uploads = lab.calls("Upload")
    _edit(resource, {"b": "new", "conf.d/c": None, "d/e/f": "four"})
    assert resource.up() == ""
    assert _found(site) == {"a": "one", "b": "new", "d/e/f": "four", "conf.d/other": "not ours"}
    assert (site / "a").stat().st_ino == kept
    assert lab.calls("Upload") - uploads == 4  # b, f, and the journal before and after

    assert _delete(resource) == []
    assert _found(site) == {"conf.d/other": "not ours"}
    assert [path.name for path in site.iterdir()] == ["conf.d"]
    assert list((lab.home / ".customization-gate").iterdir()) == []


def test_what_was_there_before_is_not_removed(lab: Lab) -> None:
    """A directory that others made stays, empty or not."""
    site = lab.home.parents[1] / "srv" / "site"
    other = lab.resource("file", path="/srv/site/other")
    assert other.up() == ""
    (site / "other").unlink()
    resource = _directory(lab, {"a": "one", "conf.d/c": "two"})
    assert resource.up() == ""
    assert resource.outputs["directories"] == ["conf.d"]
    assert _delete(resource) == []
    assert list(site.iterdir()) == []


def test_a_file_becomes_a_directory_and_the_other_way_round(lab: Lab) -> None:
    """Of one name in the source, by one update."""
    site = lab.home.parents[1] / "srv" / "site"
    resource = _directory(lab, {"a": "one", "b/c": "two"})
    assert resource.up() == ""
    _edit(resource, {"a": None, "b/c": None})
    (Path(resource.inputs["source"]) / "b").rmdir()
    _edit(resource, {"a/d": "three", "b": "four"})
    assert resource.up() == ""
    assert _found(site) == {"a/d": "three", "b": "four"}


def test_what_an_interrupted_update_made_is_removed_although_the_state_does_not_know_it(lab: Lab) -> None:
    """The update that is killed adds a file, which the next one does not have any more."""
    site = lab.home.parents[1] / "srv" / "site"
    resource = _directory(lab, {"a": "one"})
    assert resource.up() == ""
    _edit(resource, {"b/new": "two", "c": "three"})
    moves = lab.calls("MoveFileInGuest")
    lab.vcenter.lab.add_fault("hang", method="MoveFileInGuest", skip=2, count=1, after=True)
    assert resource.up_until_killed(lambda: sum(lab.vcenter.lab.hits()) == 1)
    lab.vcenter.lab.clear_faults()
    assert lab.calls("MoveFileInGuest") - moves == 3
    assert set(_found(site)) == {"a", "b/new", "c"}

    _edit(resource, {"b/new": None, "a": "four"})
    assert resource.up() == ""
    assert _found(site) == {"a": "four", "c": "three"}
    assert sorted(path.name for path in site.iterdir()) == ["a", "c"]


def test_an_owner_is_given_by_name_or_number(lab: Lab) -> None:
    """The guest knows the numbers of the names. A name that it does not know is an error, and nothing is written."""
    here = pwd.getpwuid(os.getuid())
    user, group = ("daemon", "daemon") if here.pw_uid == 0 else (here.pw_name, grp.getgrgid(os.getgid()).gr_name)
    wanted = (pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    site = lab.home.parents[1] / "srv" / "site"
    resource = _directory(lab, {"a": "one"}, owner="nobody-here")
    assert "does not accept 'nobody-here' (exit code 1 of chown)" in resource.up()
    assert not site.exists()
    for owner in (f"{user}:{group}", f"{wanted[0]}:{wanted[1]}"):
        resource.inputs["owner"] = owner
        assert resource.up() == ""
        assert [(path.stat().st_uid, path.stat().st_gid) for path in (site, site / "a")] == [wanted, wanted]
    resource.inputs["owner"] = f"{wanted[0]}"
    assert resource.up() == ""
    assert not [path for path in (lab.home / ".customization-gate").iterdir() if path.name.endswith("-owner")]
