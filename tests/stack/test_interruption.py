"""What a person's Ctrl-C, and worse, leaves behind: on the real engine, which is sent the signals."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from pulumi_customization_gate import CustomizationGate
from tests.stack.background import Running, is_quiet, until

if TYPE_CHECKING:
    from tests.stack.engine import Engine, Result, Stack

PROMISED = 2.0
"""Seconds within which one Ctrl-C ends an `up`."""
ATTEMPTS = 3
"""How often that is tried: the machine may be busy with other tests for a moment."""


def _blocked(engine: Engine, gates: int) -> tuple[Stack, Running, list[str]]:
    """Starts gates that wait for machines whose customization never ends, and returns once all of them wait."""
    moids = [engine.machine(engine.unique("blocked"), outcome="never-ends") for _ in range(gates)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid])

    engine.lab.reset_stats()
    stack = engine.stack(program)
    running = Running(stack)
    until(lambda: engine.lab.stats()["calls"].get("WaitForUpdatesEx", 0) >= 1)
    until(lambda: is_quiet(engine))
    return stack, running, moids


def _pending(stack: Stack) -> list[str]:
    return [operation["type"] for operation in stack.pending_operations]


def test_one_interrupt_ends_six_blocked_gates_and_the_next_up_goes_on(engine: Engine) -> None:
    """One Ctrl-C ends the wait of every gate within two seconds, leaves nothing pending, and loses no machine."""
    others = engine.lab.stats()["collectors"]
    for _ in range(ATTEMPTS):
        stack, running, moids = _blocked(engine, gates=6)
        cli = running.cli()
        assert cli is not None
        host = [child for child in cli.children(recursive=True) if "pulumi.dynamic" in child.cmdline()]
        assert len(host) == 1
        cli.send_signal(signal.SIGINT)
        took = until(lambda cli=cli: not cli.is_running() or cli.status() == psutil.STATUS_ZOMBIE)  # type: ignore[misc]
        result = running.wait()
        assert not result.succeeded
        if took < PROMISED:
            break
    assert took < PROMISED
    assert "the wait was cancelled with 1 of 1 virtual machines not ready" in result.errors
    assert "Traceback" not in _of_gates(result)
    assert _pending(stack) == []
    until(lambda: engine.lab.stats()["collectors"] == others)
    for moid in moids:
        engine.lab.post_event(moid, "CustomizationSucceeded")
    again = stack.up()
    assert again.succeeded, again.output
    assert {tuple(steps) for name, steps in again.changes.items() if name.startswith("gate")} == {("update",)}


@pytest.mark.parametrize("kind", [pytest.param("cli", id="the CLI is killed"), pytest.param("all", id="all is killed")])
def test_a_killed_up_is_recovered_from_by_the_next_one(engine: Engine, kind: str) -> None:
    """After kill -9 the next `up` warns of the pending operation, judges again and succeeds by itself."""
    stack, running, moids = _blocked(engine, gates=1)
    cli = running.cli()
    assert cli is not None
    victims = [cli, *cli.children(recursive=True)] if kind == "all" else [cli]
    for victim in victims:
        victim.kill()
    assert not running.wait().succeeded
    stack.unlock()
    assert _pending(stack) == ["creating"]
    engine.lab.post_event(moids[0], "CustomizationSucceeded")
    again = stack.up()
    assert again.succeeded, again.output
    assert "pending" in again.output
    assert again.changes["gate-0"] == ["create"]


def _of_gates(result: Result) -> str:
    messages = (event.diagnostic_event for event in result.events if event.diagnostic_event)
    return "\n".join(message.message for message in messages if "CustomizationGate" in (message.urn or ""))
