"""`ready_when` and `checks` on the real engine: what opens a gate, and what judges its VMs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_customization_gate import CustomizationGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine


def _program(moid: str, **arguments: Any) -> Callable[[], None]:
    def program() -> None:
        gate = CustomizationGate("gate", vms={"web": moid}, **arguments)
        pulumi.export("ready_at", gate.results["web"]["ready_at"])
        pulumi.export("completed_at", gate.results["web"]["completed_at"])

    return program


def test_more_to_be_ready_for_judges_again_and_less_does_not(engine: Engine) -> None:
    """A stored success proves nothing about guest operations; once they are proven, asking for less changes nothing."""
    moid = engine.vm(engine.unique("web"))
    stack = engine.stack(_program(moid))
    assert stack.up().succeeded
    assert stack.outputs["ready_at"] == stack.outputs["completed_at"]

    operations = {"ready_when": "guest_operations", "settle": 1, "timeout": 60}
    settled = stack.up(_program(moid, **operations))
    assert settled.succeeded, settled.output
    assert settled.changes == {"gate": ["update"]}
    ready_at = stack.outputs["ready_at"]
    assert ready_at > stack.outputs["completed_at"]

    engine.lab.reset_stats()
    less = stack.up(_program(moid))
    assert less.succeeded, less.output
    assert stack.outputs["ready_at"] == ready_at
    assert engine.lab.stats()["logins"]["ok"] == 0


def test_a_check_that_does_not_hold_keeps_the_gate_closed(engine: Engine) -> None:
    """The failure names VM and check; the next up judges the VM again and opens."""
    moid = engine.vm(engine.unique("web"), heartbeat="yellow")
    wanted = {"timeout": 4, "checks": [{"kind": "guest_heartbeat", "color": "green"}]}
    stack = engine.stack(_program(moid, **wanted))
    shut = stack.up()
    assert not shut.succeeded
    assert "NotReady" in shut.errors
    assert "guest_heartbeat: expected green, got yellow" in shut.errors
    assert stack.resource("gate")["outputs"]["results"]["web"]["status"] == "CustomizationSucceeded"

    opened = stack.up(_program(moid, timeout=30, checks=[{"kind": "guest_heartbeat", "color": "yellow"}]))
    assert opened.succeeded, opened.output
    assert opened.changes == {"gate": ["update"]}


def test_a_check_that_would_judge_no_vm_is_refused(engine: Engine) -> None:
    """A key that is not in `vms` is refused in preview, or before the wait where preview does not know the VMs."""
    moid = engine.vm(engine.unique("web"))

    def check(key: str) -> dict[str, Any]:
        return {"checks": [{"kind": "host_name", "value": {key: "another-name"}}], "timeout": 3}

    mistyped = engine.stack(_program(moid, **check("wbe"))).preview()
    assert not mistyped.succeeded
    assert "checks[0].value: expected keys of the gate's vms, got 'wbe'; did you mean 'web'?" in mistyped.errors

    def listed() -> None:
        first = CustomizationGate("first", vms=[moid])
        CustomizationGate("gate", vms=[first.after(moid)], **check("vm-4711"))

    stack = engine.stack(listed)
    assert stack.preview().succeeded
    late = stack.up()
    assert not late.succeeded
    assert "checks[0].value: expected references of the gate's vms" in late.errors
    assert "gate" not in late.steps
    judged = engine.stack(_program(moid, **check("web"))).up()
    assert "host_name: expected " in judged.errors
