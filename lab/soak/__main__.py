"""Runs a soak, shows where it stands, and says what came of it: `make soak`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.waiting import p50_p99
from lab.bootstrap import build_vcenter
from lab.paths import Home, LabError
from lab.soak.composition import FEWEST_WAVES
from lab.soak.soak import Progress, Result, prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEWEST = 4 * FEWEST_WAVES
_SHOWN = 40
"""Lines of what was wrong that are shown."""


def main(arguments: Sequence[str]) -> int:
    """Reads the command line, runs the soak, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description=__doc__)
    parser.add_argument("--machines", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="how long they live together (10)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="decides all that is random (a new one)")
    options = parser.parse_args(arguments)
    if options.machines < _FEWEST or options.minutes <= 0:
        parser.error(f"at least {_FEWEST} machines are needed, and some time")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    console = Console()
    console.print(f"{options.machines} machines for {options.minutes:g} minutes, --seed {seed}", highlight=False)
    try:
        result = _run(console, options.machines, 60 * options.minutes, seed)
    except LabError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    console.print(figures(result))
    for line in result.wrong[:_SHOWN]:
        console.print(f"wrong: {line}", markup=False, highlight=False)
    if len(result.wrong) > _SHOWN:
        console.print(f"... and {len(result.wrong) - _SHOWN} more")
    console.print("not ok" if result.wrong else "ok")
    return 1 if result.wrong else 0


def _run(console: Console, machines: int, seconds: float, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as folder, console.status("Starting the lab's vCenter ...") as status:

        def show(progress: Progress) -> None:
            minutes, rest = divmod(int(progress.seconds), 60)
            status.update(
                f"{minutes}:{rest:02d} of {seconds / 60:g} min, {machines - progress.living} of {machines} machines "
                f"are through, {progress.waiting} waits, {progress.wrong} wrong; {progress.weather}"
            )

        program = build_vcenter(Home())
        with prepared(program, Path(folder), machines=machines, seconds=seconds, seed=seed) as soak:
            return soak.run(show)


def figures(result: Result) -> Table:
    """Returns the figures of a soak."""
    tally, stats = result.tally, result.stats
    p50, p99 = p50_p99(tally.latencies)
    memory = "-" if result.memory is None else f"{result.memory[0]:.1f} / {result.memory[1]:.1f} MiB"
    minutes = result.seconds / 60
    table = Table("figure", "", box=None, pad_edge=False)
    for figure, value in (
        ("machines, waits, verdicts", f"{result.machines}, {result.waits}, {tally.verdicts}"),
        ("length", f"{minutes:.1f} min"),
        ("wrong", f"{len(result.wrong)}"),
        ("foul weather", f"{sum(result.weather.values())} times, {len(result.weather)} kinds"),
        ("ridden out, as the waits tell", f"{tally.rode_out}"),
        ("waits that could not start in it, made again", f"{tally.refused}"),
        ("event to verdict in fair weather, p50 / p99", f"{p50 * 1000:.0f} / {p99 * 1000:.0f} ms"),
        ("ends of which that was measured", f"{len(tally.latencies)}"),
        ("last end to end of wait in any weather, slowest", f"{tally.slowest:.1f} s"),
        ("calls per minute", f"{stats['calls'] / minutes:.0f}"),
        ("log-ins", f"{stats['logins']}"),
        ("most sessions, most collectors at once", f"{result.most_sessions}, {result.most_collectors}"),
        ("sessions, collectors left", f"{stats['sessions']}, {stats['collectors']}"),
        ("seconds until all was given back", f"{result.given_back:.1f}"),
        ("sessions that foul weather excuses", f"{result.excused if stats['sessions'] else 0}"),
        ("memory after the warm-up / at the end", memory),
        ("most memory", f"{result.peak:.1f} MiB"),
    ):
        table.add_row(figure, value)
    for kind, count in sorted(result.weather.items()):
        table.add_row(f"  {kind}", str(count))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
