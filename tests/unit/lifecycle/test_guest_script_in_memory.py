"""A guest script from its creation to its deletion, in a guest in memory."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import ApiError, ConfigurationError
from pulumi_customization_gate.lifecycle import guest_file, guest_script
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from tests.unit.lifecycle.guest_resource import GuestResource
from tests.unit.vsphere.guest.fake_guest import (
    GUEST_PASSWORD,
    PRIVATE,
    VM,
    FakeGuest,
    FakeProgram,
    guest_of,
)

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    for name in ("GUEST_USER", "GUEST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return guest_of(monkeypatch)


def script(text: str = "echo hello", **inputs: Any) -> GuestResource:
    """Returns a script that is not created yet."""
    return GuestResource(guest_script, script=text, **inputs)


def texts(fake: FakeGuest) -> list[str]:
    """Returns the text of each script that has started."""
    return [files["script"].decode() for files in fake.runs]


def test_a_script_runs_once_and_its_outputs_are_stored(fake: FakeGuest) -> None:
    """A second `up` runs nothing."""
    fake.program = FakeProgram("out\n", "err\n", seconds=2)
    resource = script()
    assert (resource.up(), resource.up()) == ("", "")

    assert texts(fake) == ["echo hello"]
    outputs = {name: resource.outputs[name] for name in ("exit_code", "stdout", "stderr", "stdout_truncated", "status")}
    assert outputs == {
        "exit_code": 0, "stdout": "out\n", "stderr": "err\n", "stdout_truncated": False, "status": "exited",
    }  # fmt: skip
    assert (resource.outputs["attempt"], resource.outputs["ran"]) == (1, "script")
    assert resource.outputs["started_at"] == "2025-03-01T12:00:00.000Z"
    assert resource.outputs["seconds"] >= 2


def test_a_script_that_fails_says_why_and_runs_again(fake: FakeGuest) -> None:
    """The last lines of stderr are in the error; the next `up` is another attempt."""
    fake.program = FakeProgram("out\n", "".join(f"line {number}\n" for number in range(20)), 4)
    resource = script()
    error = resource.up()
    assert "the script in name of vm-1 (vm-1) ended with exit code 4 after" in error
    assert error.splitlines()[1:] == [f"  line {number}" for number in range(5, 20)]
    assert error.splitlines()[0].endswith("; last lines of stderr:")

    fake.program = FakeProgram()
    assert resource.up() == ""
    assert (resource.outputs["attempt"], len(fake.runs)) == (2, 2)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        pytest.param(FakeProgram("only\n", "", 1), "last lines of stdout:\n  only", id="stdout"),
        pytest.param(FakeProgram("", "", 1), "it produced no output", id="nothing"),
        pytest.param(FakeProgram("", "\x1b[31mred\x1b[0m\n", 1), "stderr:\n  red", id="sanitized"),
        pytest.param(FakeProgram("", "with s3cret-value\n", 1), "stderr:\n  with [secret]", id="a secret"),
    ],
)
def test_an_error_has_the_last_output(fake: FakeGuest, program: FakeProgram, expected: str) -> None:
    """Stderr first; what a guest says is sanitized, and no secret input is in it."""
    fake.program = program
    error = script(environment={"TOKEN": "s3cret-value"}, secret_inputs=["environment"]).up()
    assert error.endswith(expected)


def test_other_exit_codes_can_be_expected(fake: FakeGuest) -> None:
    """On Windows -1 and 4294967295 are the same; a change of the expected codes judges the stored exit code again."""
    fake.program = FakeProgram(exit_code=4294967295)
    resource = script(expected_exit_codes=[-1, 3010])
    assert resource.up() == ""
    assert resource.difference(expected_exit_codes=[-1]).changes
    assert resource.up(expected_exit_codes=[0]) != ""
    assert len(fake.runs) == 2


def test_only_what_acts_again_runs_the_script_again(fake: FakeGuest) -> None:
    """A changed time-out is stored; a changed trigger runs."""
    resource = script(triggers=[1])
    assert resource.up() == ""
    assert resource.up(timeout=30) == ""
    assert (resource.outputs["timeout"], len(fake.runs)) == (30, 1)
    assert resource.up(triggers=[2]) == ""
    assert (resource.outputs["attempt"], len(fake.runs)) == (2, 2)


def test_on_update_runs_once_the_script_has_succeeded(fake: FakeGuest) -> None:
    """What has never succeeded is not updated; a failed update is run again."""
    fake.program = FakeProgram(exit_code=1)
    resource = script("first", on_update="again")
    resource.up()
    fake.program = FakeProgram()
    resource.up()
    fake.program = FakeProgram(exit_code=1)
    assert "on_update in name of vm-1 (vm-1) ended with exit code 1" in resource.up(triggers=[1])
    fake.program = FakeProgram()
    assert resource.up() == ""

    assert texts(fake) == ["first", "first", "again", "again"]
    assert (resource.outputs["ran"], resource.outputs["attempt"]) == ("on_update", 4)


def test_a_run_whose_end_was_not_seen_is_followed(fake: FakeGuest) -> None:
    """The next `up` waits for it; nothing starts twice."""
    fake.program = FakeProgram("done", seconds=30)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    resource = script()
    assert "may have been started, and its end was not seen" in resource.up()
    assert (resource.outputs["status"], resource.outputs["attempt"], resource.outputs["exit_code"]) == (
        "unknown",
        1,
        None,
    )

    assert resource.up() == ""
    assert (resource.outputs["stdout"], resource.outputs["attempt"], len(fake.runs)) == ("done", 1, 1)
    assert resource.engine.lines == ["following the run that was started earlier"]


def test_an_up_that_was_killed_leaves_a_run_that_the_next_one_follows(fake: FakeGuest) -> None:
    """The id is made of the URN, so the work is found without any state."""
    fake.program = FakeProgram("done")
    killed = script()
    assert killed.up() == ""
    later = script()
    assert later.up() == ""
    assert (later.id, later.outputs["stdout"], len(fake.runs)) == (killed.id, "done", 1)


def test_what_never_started_leaves_no_state(fake: FakeGuest) -> None:
    """A wrong password is an error at once, and is not shown."""
    resource = script(password="canary-wrong")
    assert resource.up() == ("the guest of name of vm-1 (vm-1) refuses the user name or password of deploy")
    assert (resource.id, fake.runs) == ("", [])


def test_time_that_is_up_and_ctrl_c_stop_the_script(fake: FakeGuest) -> None:
    """Both store what is known; the next `up` is another attempt."""
    fake.program = FakeProgram("working\n", seconds=1000)
    resource = script(timeout=20)
    assert "was stopped: timed out after 20 s; last lines of stdout:\n  working" in resource.up()
    assert (resource.outputs["status"], resource.outputs["stdout"]) == ("stopped", "working\n")

    fake.clock.after(5, lambda: setattr(resource.engine, "is_cancelled", True))
    assert "was stopped: the update was cancelled" in resource.up(timeout=600)
    assert (resource.outputs["attempt"], fake.running()) == (2, [])


def test_the_time_out_comes_from_the_resources_options_where_none_is_given(fake: FakeGuest) -> None:
    """`custom_timeouts` is the engine's word for it."""
    fake.program = FakeProgram(seconds=1000)
    resource = script()
    resource.engine.custom_timeout = 15
    assert "timed out after 15 s" in resource.up()


def test_a_script_gets_its_input_and_the_outputs_of_its_last_run(fake: FakeGuest) -> None:
    """STDOUT and STDERR are in its environment, empty before the first run; its standard input is a file."""
    fake.program = FakeProgram("it's out", "err")
    resource = script(stdin="typed", add_previous_output=True)
    resource.up()
    resource.up(triggers=[1])

    programs = [files["program.sh"].decode() for files in fake.runs]
    assert [files["stdin"] for files in fake.runs] == [b"typed", b"typed"]
    assert "export STDOUT=''\nexport STDERR=''\n" in programs[0]
    assert "export STDOUT='it'\"'\"'s out'\nexport STDERR=err\n" in programs[1]


def test_output_is_cut_to_its_limit(fake: FakeGuest) -> None:
    """The end of it is stored, and that there was more."""
    fake.program = FakeProgram("0123456789")
    resource = script(output_limit=4)
    assert resource.up() == ""
    assert (resource.outputs["stdout"], resource.outputs["stdout_truncated"]) == ("6789", True)


def test_every_line_is_logged_where_it_is_enabled(fake: FakeGuest) -> None:
    """Once each, also of a script that fails; the default logs none."""
    fake.program = FakeProgram("one\ntwo\n", seconds=9)
    resource = script(log="all")
    assert resource.up() == ""
    assert resource.engine.lines == ["one", "two"]
    quiet = script("other")
    assert quiet.up() == ""
    assert quiet.engine.lines == []


def test_deletion_runs_on_delete_once_and_leaves_nothing(fake: FakeGuest) -> None:
    """It has the outputs of the last run where asked; the stdin is the script's alone."""
    fake.program = FakeProgram("out")
    resource = script(on_delete="remove", stdin="typed", add_previous_output=True)
    resource.up()
    assert resource.delete() == []

    assert texts(fake) == ["echo hello", "remove"]
    assert b"export STDOUT=out\n" in fake.runs[1]["program.sh"]
    assert "stdin" not in fake.runs[1]
    assert fake.below(PRIVATE) == set()


def test_deletion_without_on_delete_runs_nothing(fake: FakeGuest) -> None:
    """Only what the runs left is removed."""
    resource = script()
    resource.up()
    assert resource.delete() == []
    assert (len(fake.runs), fake.below(PRIVATE)) == (1, set())


def test_deletion_stops_a_run_that_continues(fake: FakeGuest) -> None:
    """The script of a resource that is gone does nothing more."""
    fake.program = FakeProgram(seconds=1000)
    fake.vcenter.failures["ListProcessesInGuest"] = [vim.fault.GuestPermissionDenied()]
    resource = script()
    resource.up()
    assert len(fake.running()) == 1
    assert resource.delete() == []
    assert (fake.running(), fake.below(PRIVATE)) == ([], set())


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        pytest.param(FakeProgram("", "no\n", 2), "on_delete in .* ended with exit code 2 .*stderr:\n  no", id="failed"),
        pytest.param(FakeProgram("half\n", seconds=1000), "on_delete: .* was stopped: timed out .*\n  half", id="late"),
    ],
)
def test_on_delete_that_fails_runs_again_at_the_next_deletion(
    fake: FakeGuest, program: FakeProgram, expected: str
) -> None:
    """The deletion is an error; nothing of the failed attempt is in the way."""
    resource = script(on_delete="remove")
    resource.up()
    fake.program = program
    with pytest.raises(GuestError) as caught:
        resource.delete()
    assert re.search(expected, str(caught.value), re.DOTALL)
    assert fake.below(PRIVATE) == set()
    fake.program = FakeProgram()
    assert resource.delete() == []
    assert texts(fake) == ["echo hello", "remove", "remove"]


def test_on_delete_whose_end_was_not_seen_is_followed_by_the_next_deletion(fake: FakeGuest) -> None:
    """It does not run twice."""
    resource = script(on_delete="remove")
    resource.up()
    fake.program = FakeProgram(seconds=5)
    refusal = vim.fault.GuestPermissionDenied()

    def refuse_once() -> None:
        fake.vcenter.failures["ListProcessesInGuest"] = [refusal]

    fake.clock.after(0.1, refuse_once)
    with pytest.raises(GuestError, match="its end was not seen"):
        resource.delete()
    assert resource.delete() == ["following the run that was started earlier"]
    assert (texts(fake), fake.below(PRIVATE)) == (["echo hello", "remove"], set())


def test_on_delete_that_the_user_cancels_runs_again_at_the_next_deletion(fake: FakeGuest) -> None:
    """It is stopped and removed, although the update is over."""
    resource = script(on_delete="remove")
    resource.up()
    fake.program = FakeProgram(seconds=1000)
    fake.clock.after(3, lambda: setattr(resource.engine, "is_cancelled", True))
    with pytest.raises(GuestError, match=r"on_delete: .* was stopped: the update was cancelled"):
        resource.delete()
    assert (fake.running(), fake.below(PRIVATE)) == ([], set())
    resource.engine.is_cancelled = False
    fake.program = FakeProgram()
    assert resource.delete() == []
    assert texts(fake) == ["echo hello", "remove", "remove"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("password", "refuses the user name or password of deploy", id="password changed"),
        pytest.param("off", "name of vm-1 (vm-1) is powered off", id="powered off"),
        pytest.param("tools", "answers GuestOperationsUnavailable", id="Tools do not run"),
        pytest.param("gone", "vm-1 is not in the inventory", id="VM gone"),
        pytest.param("another", "vm-1 now refers to another VM", id="another VM"),
    ],
)
def test_a_guest_that_cannot_be_used_is_a_warning_at_deletion(fake: FakeGuest, case: str, expected: str) -> None:
    """A stack whose guests no longer let its user in can be destroyed."""
    resource = script(on_delete="remove")
    resource.up()
    vm = fake.vcenter.state.entities[VM]
    if case == "password":
        fake.password = "changed"
    elif case == "off":
        vm["runtime.powerState"] = "poweredOff"
    elif case == "tools":
        fake.vcenter.failures["ValidateCredentialsInGuest"] = [vim.fault.GuestOperationsUnavailable()] * 100
    elif case == "gone":
        fake.vcenter.state.entities.pop(VM)
    else:
        vm["config.instanceUuid"] = "6000"

    (line,) = resource.delete()

    assert line.startswith("warning: on_delete did not run: ")
    assert expected in line
    assert len(fake.runs) == 1


def test_a_missing_privilege_keeps_the_resource_at_deletion(fake: FakeGuest) -> None:
    """What the user can grant is an error, so that nothing is left in the guest unseen."""
    resource = script()
    resource.up()
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [
        vim.fault.NoPermission(privilegeId="VirtualMachine.GuestOperations.Query")
    ]
    with pytest.raises(ApiError, match=r"grant the privilege VirtualMachine\.GuestOperations\.Query"):
        resource.delete()


def test_another_spelling_of_the_vm_is_the_same_guest(fake: FakeGuest) -> None:
    """A path is looked up; another VM, or one that is not known yet, replaces, and the old one is deleted first."""
    fake.vcenter.state.add("vm-2", config__instanceUuid="7000")
    resource = script()
    resource.up()

    same = resource.difference(vm="/DC/vm/name of vm-1")
    others = [resource.difference(vm=vm) for vm in ("vm-2", "/DC/vm/name of vm-2", "/DC/vm/none", UNKNOWN)]

    assert (same.replaces, same.changes) == ([], True)
    assert [difference.replaces for difference in others] == [["vm"]] * 4
    assert all(difference.delete_before_replace for difference in others)


def test_a_vm_that_was_replaced_behind_its_path_is_another_guest(fake: FakeGuest) -> None:
    """So is a path that leads to none."""
    resource = script(vm="/DC/vm/name of vm-1")
    assert resource.up() == ""
    assert resource.difference().replaces == []
    fake.vcenter.state.entities[VM]["config.instanceUuid"] = "6000"
    assert resource.difference().replaces == ["vm"]
    fake.vcenter.state.entities[VM]["name"] = "renamed"
    assert resource.difference().replaces == ["vm"]


@pytest.mark.parametrize("kind", ["script", "file"])
def test_another_vcenter_is_another_guest(fake: FakeGuest, kind: str) -> None:
    """The address is compared without a call; its VM with the same ID is replaced where the vCenter is another one."""
    resource = script() if kind == "script" else GuestResource(guest_file, path="/etc/motd", content="hello")
    assert resource.up() == ""
    calls = fake.vcenter.calls.total()
    assert not resource.difference().changes
    assert fake.vcenter.calls.total() == calls

    resource.config["vsphere:vsphereServer"] = "vcenter.example.com"
    renamed = resource.difference()
    assert (renamed.changes, renamed.replaces) == (True, [])
    written = dict(fake.files)
    assert resource.up() == ""
    assert (fake.files, resource.outputs["server"]) == (written, "vcenter.example.com:443")
    assert not resource.difference().changes

    resource.config["vsphere:vsphereServer"] = "other.example.com"
    fake.vcenter.about.instanceUuid = "another"
    assert resource.difference().replaces == ["vm"]


def test_a_vcenter_that_cannot_be_asked_is_a_warning_of_the_preview(fake: FakeGuest) -> None:
    """Nothing is replaced for that where the reference is the same; another reference counts as another guest."""
    resource = script(vm="/DC/vm/name of vm-1")
    resource.up()
    resource.config["vsphere:password"] = "wrong"
    fake.vcenter.end_sessions()

    assert resource.difference().replaces == []
    assert resource.difference(vm="vm-1").replaces == ["vm"]
    message = [line.partition(": ")[2].partition(":")[0] for line in resource.engine.lines]
    assert message == [
        "cannot check whether vm still names the same guest",
        "it is unknown whether this is the same guest, so it counts as another",
    ]


def test_a_vm_that_is_not_there_is_named(fake: FakeGuest) -> None:
    """By the reference as it was written."""
    assert script(vm="/DC/vm/none").up() == "vc.example.com has no virtual machine '/DC/vm/none'"
    assert fake.runs == []


def test_what_is_missing_is_named_before_anything_is_asked(fake: FakeGuest) -> None:
    """The check names input, config and variable; an unknown value is not an error."""
    resource = script()
    del resource.config["customization:guestUser"]
    problems = guest_script.check(resource.config.get, resource.inputs)
    assert problems == [
        "no guest credentials configured: set `username`, config `customization:guestUser` or GUEST_USER"
    ]
    assert guest_script.check(resource.config.get, {**resource.inputs, "username": UNKNOWN}) == []
    assert fake.vcenter.calls["Login"] == 0
    with pytest.raises(ConfigurationError, match="no guest credentials configured"):
        guest_script.create(resource.engine, resource.config.get, resource.inputs)


def test_what_the_work_waits_for_is_shown_on_a_terminal(fake: FakeGuest) -> None:
    """It does not last, and has no secret."""
    resource = script()
    shown: list[str] = []
    resource.engine.has_terminal = True
    resource.engine.log = lambda line, **_: shown.append(line)  # type: ignore[method-assign]
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [
        vim.fault.GuestOperationsUnavailable(msg=f"for {GUEST_PASSWORD}")
    ]
    assert resource.up() == ""
    assert shown == [
        "working in name of vm-1 (vm-1)",
        "waiting for the guest: name of vm-1 (vm-1) answers GuestOperationsUnavailable: for [secret]",
    ]
