"""The two hosts of the resources beside each other, on the real engine: `python -m benchmarks.hosts`.

They take turns, and each round begins with the other one, so that what else the computer does slows down both.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.document import Table, seconds
from benchmarks.waiting import successes
from lab.bootstrap import prepare
from lab.paths import Home, LabError, exit_status
from pulumi_customization_gate import CustomizationGate
from tests.stack.background import Running, is_quiet, until
from tests.stack.engine import Engine
from tests.stack.hosts import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Result

GATES = 64
ROUNDS = 6
INTERVAL = 0.1
"""Seconds between two ends of customizations."""
TITLES: dict[Host, str] = {"dynamic": "dynamic provider", "plugin": "native provider"}


@dataclass(frozen=True)
class Round:
    """What one host needed in one round."""

    one: float
    """Seconds of `pulumi up` of a gate whose VM is customized."""
    many: float
    """Seconds of `pulumi up` of GATES such gates, with the engine's own parallelism."""
    logins: int
    """Logins of those gates."""
    latencies: Sequence[float]
    """Seconds from the event of a success, as the server dates it, to the engine's report of the open gate."""
    memory: int
    """Bytes that the host's process has while GATES gates wait."""


def measure(home: Home) -> dict[Host, list[Round]]:
    """Returns the rounds of each host.

    Raises:
        LabError: An `up` failed, which would be no measurement.
    """
    tools = prepare(home)
    with tempfile.TemporaryDirectory() as folder, Engine.running(tools, Home(Path(folder))) as engine:
        customized = [engine.vm(engine.unique("customized")) for _ in range(GATES)]
        until(lambda: successes(engine.lab).keys() >= set(customized))
        rounds: dict[Host, list[Round]] = {host: [] for host in TITLES}
        for number in range(ROUNDS):
            for host in sorted(TITLES, reverse=number % 2 == 1):
                rounds[host].append(_round(engine, host, customized))
        return rounds


def _round(engine: Engine, host: Host, customized: list[str]) -> Round:
    one = _up(engine, _program(host, customized[:1]))
    engine.lab.reset_stats()
    many = _up(engine, _program(host, customized))
    logins = engine.lab.stats()["logins"]["ok"]
    latencies, memory = _waits(engine, host)
    return Round(one, many, logins, latencies, memory)


def _program(host: Host, moids: list[str]) -> Callable[[], None]:
    def program() -> None:
        for moid in moids:
            CustomizationGate(moid, vms=[moid], host=host)

    return program


def _up(engine: Engine, program: Callable[[], None]) -> float:
    """Returns the seconds of an `up` of the program in a stack of its own."""
    stack = engine.stack(program)
    began = time.monotonic()
    _require(stack.up())
    return time.monotonic() - began


def _waits(engine: Engine, host: Host) -> tuple[list[float], int]:
    """Returns how soon gates that wait side by side open, and the memory of their host."""
    moids = [engine.vm(engine.unique("waiting"), outcome="never-ends") for _ in range(GATES)]
    engine.lab.reset_stats()
    running = Running(engine.stack(_program(host, moids)))
    until(lambda: engine.lab.stats()["calls"].get("WaitForUpdatesEx", 0) >= 1)
    until(lambda: is_quiet(engine))
    cli = running.cli()
    assert cli is not None
    (process,) = processes(host, cli.children(recursive=True))
    memory = process.memory_info().rss
    for moid in moids:
        engine.lab.end(moid)
        time.sleep(INTERVAL)
    result = running.wait()
    _require(result)
    opened, ends = _opened(result), successes(engine.lab)
    return [opened[moid] - ends[moid] for moid in moids], memory


def _require(result: Result) -> None:
    if not result.succeeded:
        raise LabError(f"an up failed:\n{result.output}")


def _opened(result: Result) -> dict[str, float]:
    """Returns when the engine reported each gate as created, in seconds since the epoch."""
    ahead = time.time() - time.monotonic()
    steps = [(event.res_outputs_event, moment) for event, moment in zip(result.events, result.moments, strict=True)]
    return {step.metadata.urn.rpartition("::")[2]: moment + ahead for step, moment in steps if step}


def table(rounds: dict[Host, list[Round]]) -> Table:
    """Returns the medians of the rounds, and of the times the best ones, with a column for each host."""

    def row(what: str, cell: Callable[[list[Round]], str]) -> tuple[str, ...]:
        return (what, *(cell(own) for own in rounds.values()))

    def times(values: Iterable[float]) -> str:
        found = list(values)
        return f"{seconds(median(found))} (best {seconds(min(found))})"

    rows = [
        row("`pulumi up` of 1 gate", lambda own: times(one.one for one in own)),
        row(f"`pulumi up` of {GATES} gates", lambda own: times(one.many for one in own)),
        row("logins of those", lambda own: f"{max(one.logins for one in own)}"),
        row("event to open gate, median", lambda own: times(median(one.latencies) for one in own)),
        row("event to open gate, longest", lambda own: times(max(one.latencies) for one in own)),
        row(
            f"memory of the host while {GATES} gates wait",
            lambda own: f"{median(one.memory for one in own) / 2**20:.0f} MiB",
        ),
    ]
    return Table(f"The two hosts, median of {ROUNDS} rounds", ("", *(TITLES[host] for host in rounds)), rows)


def main() -> int:
    """Measures and prints; returns the exit status."""

    def benchmark() -> None:
        Console(width=120).print(table(measure(Home())).rich())

    return exit_status(benchmark, stopped="nothing was measured")


if __name__ == "__main__":
    sys.exit(main())
