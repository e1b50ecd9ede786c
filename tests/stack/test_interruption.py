"""What a person's Ctrl-C, and worse, leaves behind: on the real engine, which is sent the signals."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.hosting import engine_watch
from tests.stack.background import Running, is_alive, is_quiet, of_gates, until
from tests.stack.hosts import on_both_hosts, processes

if TYPE_CHECKING:
    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Engine, Stack

PROMISED = 2.0
"""Seconds within which one Ctrl-C ends an `up`."""
ORPHANED = 30.0
"""Seconds after which a killed CLI has left no process and no session."""
ATTEMPTS = 3
"""How often that is tried: the computer may be busy with other tests."""


def _blocked(engine: Engine, gates: int, host: Host) -> tuple[Stack, Running, list[str]]:
    """Starts gates that wait for VMs whose customization never ends, and returns once all of them wait."""
    moids = [engine.vm(engine.unique("blocked"), outcome="never-ends") for _ in range(gates)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid], host=host)

    engine.lab.reset_stats()
    stack = engine.stack(program)
    running = Running(stack)
    until(lambda: engine.lab.stats()["calls"].get("WaitForUpdatesEx", 0) >= 1)
    until(lambda: is_quiet(engine))
    return stack, running, moids


def _pending(stack: Stack) -> list[str]:
    return [operation["type"] for operation in stack.pending_operations]


@on_both_hosts
def test_one_interrupt_ends_six_blocked_gates_and_the_next_up_continues(engine: Engine, host: Host) -> None:
    """One Ctrl-C ends the wait of every gate within two seconds, leaves nothing pending, and loses no VM."""
    others = engine.lab.stats()["collectors"]
    for _ in range(ATTEMPTS):
        stack, running, moids = _blocked(engine, 6, host)
        cli = running.cli()
        assert cli is not None
        assert len(processes(host, cli.children(recursive=True))) == 1
        cli.send_signal(signal.SIGINT)
        took = until(lambda cli=cli: not is_alive(cli))  # type: ignore[misc]
        result = running.wait()
        assert not result.succeeded
        if took < PROMISED:
            break
    assert took < PROMISED
    assert "the wait was cancelled with 1 of 1 VM not ready" in result.errors
    assert "Traceback" not in of_gates(result)
    assert _pending(stack) == []
    until(lambda: engine.lab.stats()["collectors"] == others)
    for moid in moids:
        engine.lab.end(moid)
    again = stack.up()
    assert again.succeeded, again.output
    assert {tuple(steps) for name, steps in again.changes.items() if name.startswith("gate")} == {("update",)}


@pytest.mark.parametrize("kind", [pytest.param("cli", id="the CLI is killed"), pytest.param("all", id="all is killed")])
@on_both_hosts
def test_a_killed_up_is_recovered_from_by_the_next_one(engine: Engine, host: Host, kind: str) -> None:
    """After kill -9 the next `up` warns of the pending operation, judges again and succeeds without help."""
    stack, running, moids = _blocked(engine, 1, host)
    assert _kill_and_wait(running, host, everything=kind == "all") < ORPHANED
    assert not running.wait().succeeded
    stack.unlock()
    assert _pending(stack) == ["creating"]
    engine.lab.end(moids[0])
    again = stack.up()
    assert again.succeeded, again.output
    assert "pending" in again.output
    assert again.changes["gate-0"] == ["create"]


def _stats(engine: Engine) -> dict[str, Any]:
    """What is held on the server."""
    stats = engine.lab.stats()
    return {name: stats[name] for name in ("sessions", "collectors")}


def _kill_and_wait(running: Running, host: Host, *, everything: bool = False) -> float:
    """Sends SIGKILL to the CLI, or to all of its processes; returns the seconds until none of them is left."""
    cli = running.cli()
    assert cli is not None
    children = cli.children(recursive=True)
    assert processes(host, children)
    for victim in (cli, *children) if everything else (cli,):
        victim.kill()
    return until(lambda: not [child for child in children if is_alive(child)])


@on_both_hosts
def test_a_killed_cli_leaves_no_process_and_no_session(engine: Engine, host: Host) -> None:
    """After kill -9 of the CLI alone the host of waiting gates logs out and ends within 30 s."""
    before = _stats(engine)
    stack, running, _ = _blocked(engine, 2, host)
    assert _stats(engine) != before
    took = _kill_and_wait(running, host)
    assert took < ORPHANED
    assert _stats(engine) == before
    assert not running.wait().succeeded
    stack.unlock()


@on_both_hosts
def test_a_killed_cli_leaves_no_idle_host(engine: Engine, host: Host) -> None:
    """After kill -9 of the CLI a host whose gate is open, while the program still runs, ends within 30 s as well."""
    before = _stats(engine)
    moid = engine.vm(engine.unique("done"))
    opened, killed = threading.Event(), threading.Event()

    async def hold(_: object) -> None:
        opened.set()
        await asyncio.to_thread(killed.wait, 2 * ORPHANED)

    def program() -> None:
        pulumi.export("held", CustomizationGate("gate", vms=[moid], host=host).ready.apply(hold))

    stack = engine.stack(program)
    running = Running(stack)
    try:
        until(opened.is_set)
        took = _kill_and_wait(running, host)
    finally:
        killed.set()
    assert took < ORPHANED
    assert _stats(engine) == before
    running.wait()
    stack.unlock()


@on_both_hosts
def test_a_stopped_cli_keeps_its_host(engine: Engine, host: Host) -> None:
    """A CLI that is suspended for longer than it takes to notice a killed one continues, and the gate opens."""
    _, running, moids = _blocked(engine, 1, host)
    cli = running.cli()
    assert cli is not None
    waiting = processes(host, cli.children(recursive=True))
    cli.suspend()
    try:
        time.sleep(2 * engine_watch.REFUSALS * engine_watch.INTERVAL)
        assert [is_alive(child) for child in waiting] == [True]
    finally:
        cli.resume()
    engine.lab.end(moids[0])
    assert running.wait().succeeded
