"""Guest scripts on the real engine: order, failure, rerun, deletion, and no secret anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
from pyVmomi import vim

from pulumi_customization_gate import CustomizationGate, GuestScript
from tests.lab.vcenter_fixture import finish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stack.engine import Engine

USER = "deploy"
PASSWORD = "only-for-this-guest"
CONFIG = {"customization:guestUser": USER}
ENVIRONMENT = {"GUEST_PASSWORD": PASSWORD}


def _vm(engine: Engine, duration: str = "300ms") -> str:
    return engine.vm(engine.unique("web"), guestUser=USER, guestPassword=PASSWORD, duration=duration)


def _program(moid: str, script: str, **arguments: Any) -> Callable[[], None]:
    def program() -> None:
        made = GuestScript("work", moid, script, **arguments)
        pulumi.export("stdout", made.stdout)
        pulumi.export("exit_code", made.exit_code)

    return program


def test_a_script_waits_for_the_gate_and_gives_its_output(engine: Engine) -> None:
    """The script runs once the gate is open; password and environment are encrypted in state, although not wrapped."""
    moid = _vm(engine, duration="1s")

    def program() -> None:
        gate = CustomizationGate("gate", vms={"web": moid})
        work = GuestScript(
            "work",
            gate.after(moid),
            'echo "$GREETING $1" | tr a-z A-Z; pwd >&2\r\n',
            arguments=["Grüße aus dem Gast"],
            environment={"GREETING": "hello-from-the-environment"},
            username=USER,
            password=PASSWORD,
        )
        pulumi.export("stdout", work.stdout)
        pulumi.export("completed", gate.results["web"]["completed_at"])
        pulumi.export("started", work.started_at)

    stack = engine.stack(program)
    result = stack.up()

    assert result.succeeded, result.output
    outputs = stack.outputs
    assert outputs["stdout"] == "HELLO-FROM-THE-ENVIRONMENT GRüßE AUS DEM GAST\n"
    assert outputs["completed"] < outputs["started"]
    work = stack.resource("work")
    assert work["outputs"]["exit_code"] == 0
    assert work["outputs"]["stderr"].endswith(f"/home/{USER}\n")
    state = json.dumps(stack.resources)
    assert PASSWORD not in state + result.output
    assert "hello-from-the-environment" not in state + result.output
    again = stack.up()
    assert again.changes == {}, again.output


def test_a_script_that_fails_says_why_and_runs_again(engine: Engine, tmp_path: Path) -> None:
    """A failure shows the last lines of stderr without secrets, is kept in state, and the next up tries again."""
    moid = _vm(engine)
    log = tmp_path / "log"
    failing = f'echo run >>{log}; echo "cannot reach $URL" >&2; test -e {tmp_path}/fixed'
    arguments = {"environment": {"URL": "https://token@internal"}}
    stack = engine.stack(_program(moid, failing, **arguments), config=CONFIG, environment=ENVIRONMENT)

    failed = stack.up()

    assert not failed.succeeded
    assert "ended with exit code 1" in failed.errors
    assert "last lines of stderr:\n  cannot reach [secret]" in failed.errors
    assert "Traceback" not in failed.errors
    assert stack.resource("work")["outputs"]["exit_code"] == 1
    (tmp_path / "fixed").touch()
    fixed = stack.up()
    assert fixed.succeeded, fixed.output
    assert fixed.changes == {"work": ["update"]}
    assert log.read_text(encoding="utf-8") == "run\n" * 2


def test_what_runs_a_script_again_and_what_does_not(engine: Engine, tmp_path: Path) -> None:
    """Changed triggers run it again, a changed time-out or user does not; credentials of config are not in state."""
    moid = _vm(engine)
    log = tmp_path / "log"
    script = f"echo run >>{log}; wc -l <{log}"
    stack = engine.stack(_program(moid, script, triggers={"a": 1}), config=CONFIG, environment=ENVIRONMENT)

    assert stack.up().succeeded
    assert stack.outputs["stdout"].strip() == "1"
    assert PASSWORD not in json.dumps(stack.resources)
    assert "password" not in stack.resource("work")["inputs"]
    triggered = stack.up(_program(moid, script, triggers={"a": 2}))
    assert triggered.changes == {"work": ["update"]}
    assert stack.outputs["stdout"].strip() == "2"
    longer = stack.up(_program(moid, script, triggers={"a": 2}, timeout=60, username=USER))
    assert longer.changes == {"work": ["update"]}
    assert stack.outputs["stdout"].strip() == "2"


def test_on_delete_runs_in_the_guest(engine: Engine, tmp_path: Path) -> None:
    """Deleting the resource runs on_delete, with the credentials that the stack has."""
    moid = _vm(engine)
    script = _program(moid, "true", on_delete=f"echo gone >{tmp_path}/log")
    stack = engine.stack(script, config=CONFIG, environment=ENVIRONMENT)
    assert stack.up().succeeded

    destroyed = stack.destroy()

    assert destroyed.succeeded, destroyed.output
    assert (tmp_path / "log").read_text(encoding="utf-8") == "gone\n"


def test_a_vm_that_is_off_or_gone_holds_up_no_destroy(engine: Engine) -> None:
    """on_delete is left out with a warning where the VM is off or gone."""
    off, gone = _vm(engine), _vm(engine)

    def program() -> None:
        GuestScript("off", off, "true", on_delete="false")
        GuestScript("gone", gone, "true", on_delete="false")

    stack = engine.stack(program, config=CONFIG, environment=ENVIRONMENT)
    made = stack.up()
    assert made.succeeded, made.output
    with engine.lab.connected() as service:
        for moid in (off, gone):
            finish(vim.VirtualMachine(moid, service._stub).PowerOffVM_Task())
        finish(vim.VirtualMachine(gone, service._stub).Destroy_Task())

    destroyed = stack.destroy()

    assert destroyed.succeeded, destroyed.output
    assert destroyed.output.count("on_delete did not run") >= 2
    assert stack.resources == []


def test_invalid_inputs_are_refused_before_anything_runs(engine: Engine) -> None:
    """Preview names what is wrong, missing credentials included."""

    def program() -> None:
        GuestScript("work", "web", "true", expected_exit_codes=[])

    result = engine.stack(program, environment={"GUEST_PASSWORD": ""}).preview()

    assert not result.succeeded
    assert "or a resource with a moid, got 'web'" in result.errors
    assert "expected_exit_codes" in result.errors
    assert "config `customization:guestPassword` or GUEST_PASSWORD" in result.errors
