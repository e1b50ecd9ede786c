"""Measures what a wait costs and whether its verdicts are right, compared with other waiters: `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks import cloud_director, edge_cases, event_to_work, foreign_events, gates, gates_at_once, start_up
from benchmarks.document import Table, costs, pictures, seconds, size
from benchmarks.waiters import Waiter, waiters
from benchmarks.waiting import IDLE_SECONDS, Row, measure
from lab.bootstrap import build_vcenter
from lab.paths import ROOT, Home, LabError, exit_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

SMALL = (1, 100)
"""Numbers of VMs at which every waiter is measured."""
LARGE = 1000
"""The number of VMs for most targets."""
LARGER = (5000, 10_000)
"""Numbers of VMs at which the gate alone is measured in a full run."""
SHORT_IDLE = 30.0
"""Seconds in which nothing happens in those runs: what is idle is measured with LARGE VMs."""
REFERENCES = ("terraform", "ansible", "powercli")
_WIDTH = 180

_HEAD = """\
# Figures

Written by `{command}` on {date}: {cores} cores, Python {python}, load {load} at the start. The server is the lab's
vCenter (govmomi's simulator, in which customization takes time) on the same computer. A real vCenter responds later,
but the calls of a wait are the same.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="benchmarks-dark.svg">
  <img alt="How calls and latency grow with the number of VMs" src="benchmarks.svg">
</picture>
"""

_METHOD = ROOT / "benchmarks" / "method.md"
"""How each figure is made; the end of every document."""


def main() -> int:
    """Measures, prints, writes the document, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full",
        action="store_true",
        help="all waiters with 1000 VMs too, the gate with 5000 and 10,000 (half an hour)",
    )
    parser.add_argument("--only", nargs="+", metavar="WAITER:VMS", help="single rows, for example gate:1000")
    options = parser.parse_args()

    def benchmark() -> None:
        if options.only:
            _single_rows(options.only)
        else:
            _everything(full=options.full)

    return exit_status(benchmark, stopped="nothing was written")


def _single_rows(wanted: Iterable[str]) -> None:
    home = Home()
    program, known = build_vcenter(home), waiters(home)
    rows = []
    for text in wanted:
        name, _, count = text.partition(":")
        if name not in known or not count.isdigit() or int(count) < 1:
            example = f"one of {', '.join(known)}, a colon and a number of VMs such as gate:100"
            raise LabError(f"--only: expected {example}, got {text!r}")
        rows.append(measure(program, known[name], int(count)))
    Console(width=_WIDTH).print(costs(rows, _titles(known)).rich())


def _everything(*, full: bool) -> None:
    console, home = Console(width=_WIDTH), Home()
    conditions = {
        "command": "make bench FULL=1" if full else "make bench",
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    program, known = build_vcenter(home), waiters(home)
    references = [name for name in REFERENCES if name in known]

    def row(name: str, count: int) -> Callable[[], Row]:
        return lambda: measure(program, known[name], count)

    counts = (*SMALL, LARGE) if full else SMALL
    console.print(f"The pollers with up to {counts[-1]} VMs, the edge cases, Cloud Director (five minutes) ...")
    polled: list[Callable[[], Any]] = [
        row(name, count) for name in references if name != "terraform" for count in counts
    ]
    *rows, answers, polls = _at_once([*polled, lambda: edge_cases.run(program, known.values()), cloud_director.measure])
    console.print("The gate and Terraform's waiter with 1 and 100 VMs (three minutes) ...")
    rows += _at_once([row(name, count) for name in ("gate", "terraform") for count in SMALL])
    alone: list[tuple[str, int, float]] = [("gate", LARGE, IDLE_SECONDS)]
    if full:
        alone += [("terraform", LARGE, IDLE_SECONDS), *(("gate", count, SHORT_IDLE) for count in LARGER)]
    for name, count, idle_seconds in alone:
        console.print(f"{known[name].title} with {count} VMs (three minutes, longer with more) ...")
        rows.append(measure(program, known[name], count, idle_seconds))
    console.print(f"Starts beside {foreign_events.FOREIGN} events of another VM (a minute) ...")
    starts, started = foreign_events.measure(program), start_up.measure()
    console.print(f"{gates.GATES} gates on the real engine, in four runs (three minutes) ...")
    ups = gates.measure(home)
    console.print("Many waits in one process beside one, and how soon the next resource begins (three minutes) ...")
    together = [gates_at_once.measure(program, *split) for split in gates_at_once.SPLITS]
    delays = event_to_work.measure(home)

    titles = _titles(known)
    rows.sort(key=lambda one: (list(titles).index(one.waiter), one.vms))
    tables = [
        _targets(rows, starts, started),
        costs(rows, titles),
        _foreign_events(starts),
        _gates_at_once(together),
        _event_to_work(delays),
        _verdicts(answers, titles),
        _polls(polls),
        _many_gates(ups),
    ]
    for table in tables:
        console.print(table.rich())
    folder = ROOT / "docs" if full else home.path / "benchmarks"
    console.print(f"written: {_write(folder, conditions, tables, rows, titles)}")


def _write(
    folder: Path, conditions: dict[str, Any], tables: Sequence[Table], rows: Sequence[Row], titles: dict[str, str]
) -> Path:
    folder.mkdir(exist_ok=True)
    pictures(rows, titles, folder / "benchmarks.svg", folder / "benchmarks-dark.svg")
    parts = [_HEAD.format(**conditions), *(table.markdown() + "\n" for table in tables)]
    document = folder / "benchmarks.md"
    document.write_text("\n".join([*parts, _METHOD.read_text(encoding="utf-8")]), encoding="utf-8")
    return document


def _at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _titles(known: dict[str, Waiter]) -> dict[str, str]:
    return {name: waiter.title for name, waiter in known.items()}


def _targets(rows: Sequence[Row], starts: Sequence[foreign_events.Start], started: start_up.StartUp) -> Table:
    gate = {row.vms: row for row in rows if row.waiter == "gate"}
    judged: list[tuple[str, int, str, str, bool]] = []
    for count, most_setup, most_p99 in ((LARGE, 1.0, 0.04), (LARGER[0], 5.0, 0.15), (LARGER[1], None, 0.3)):
        if (row := gate.get(count)) is None:
            continue
        if most_setup is not None:
            judged.append(("set-up", count, seconds(row.setup), f"below {most_setup:g} s", row.setup < most_setup))
        met = row.p99 < most_p99
        judged.append(("event to verdict, p99", count, seconds(row.p99), f"below {seconds(most_p99)}", met))
    row = gate[LARGE]
    judged += [
        ("calls per minute while idle", LARGE, f"{row.idle_calls:.1f}", "at most 3", row.idle_calls <= 3),  # noqa: PLR2004 -- the target
        ("bytes per minute while idle", LARGE, size(row.idle_bytes), "below 100 kB", row.idle_bytes < 1e5),  # noqa: PLR2004 -- the same
    ]
    row = gate[max(gate)]
    judged.append(("peak memory", row.vms, f"{row.peak_mib:.0f} MiB", "below 200 MiB", row.peak_mib < 200))  # noqa: PLR2004 -- the same
    judged += [
        (
            f"set-up beside {foreign_events.FOREIGN} events of another VM",
            start.vms,
            seconds(start.after),
            f"below {foreign_events.MOST_SECONDS:g} s",
            start.after < foreign_events.MOST_SECONDS,
        )
        for start in starts
    ]
    judged += [
        (what, 0, seconds(value), f"below {seconds(most)}", value < most)
        for what, value, most in (
            (f"import {start_up.PACKAGE}", started.imported, start_up.MOST_IMPORT),
            ("customization-gate --help", started.help, start_up.MOST_HELP),
        )
    ]
    cells = [
        (what, f"{vms}" if vms else "", value, target, "yes" if met else "no")
        for what, vms, value, target, met in judged
    ]
    return Table("The gate's targets", ("what", "VMs", "measured", "target", "met"), cells)


def _foreign_events(starts: Sequence[foreign_events.Start]) -> Table:
    heads = ("VMs", "set-up before", "set-up after", "event queries after")
    cells = [(f"{one.vms}", seconds(one.before), seconds(one.after), f"{one.queries}") for one in starts]
    return Table(f"Starts before and after {foreign_events.FOREIGN} events of another VM", heads, cells, left=0)


def _verdicts(answers: Iterable[edge_cases.Answer], titles: dict[str, str]) -> Table:
    found = {(answer.case, answer.waiter): answer for answer in answers}
    rows = []
    for case in edge_cases.CASES:
        cells = [found[case.name, waiter] for waiter in titles]
        words = [f"{answer.judgement}: {_shown(answer)}" for answer in cells]
        rows.append((case.name, case.story, *words))
    heads = ("case", "what happens", *titles.values())
    return Table("Verdicts in edge cases", heads, rows, left=len(heads))


def _shown(answer: edge_cases.Answer) -> str:
    when = f"after {answer.seconds:.0f} s"
    return f"{answer.verdict} ({answer.detail}) {when}" if answer.detail else f"{answer.verdict} {when}"


def _polls(rows: Iterable[dict[str, Any]]) -> Table:
    heads = ("waiter", "VMs", "requests", "requests/min", "end to verdict, median", "worst", "sessions")
    names = {"customization gate": "customization gate"}
    cells = [
        (
            names.get(row["client"], f"go-vcloud-director (re-implemented): {row['client']}"),
            f"{row['vms']}",
            f"{row['requests']}",
            f"{row['requests_per_minute']}",
            f"{row['latency_median_seconds']} s",
            f"{row['latency_worst_seconds']} s",
            f"{row['sessions']}",
        )
        for row in rows
    ]
    return Table("Cloud Director", heads, cells)


def _gates_at_once(rows: Sequence[gates_at_once.Measured]) -> Table:
    heads = (
        "gates",
        "VMs of each",
        "first status of the last",
        "all open",
        f"times the first row (at most {gates_at_once.MOST_TIMES:g})",
        "event queries",
        f"peak memory (below {gates_at_once.MOST_MIB} MiB)",
    )
    cells = [
        (
            f"{row.gates}",
            f"{row.vms}",
            seconds(row.first_status),
            seconds(row.opened),
            f"{row.opened / rows[0].opened:.2f}",
            f"{row.queries}",
            f"{row.peak_mib:.0f} MiB",
        )
        for row in rows
    ]
    return Table("Many gates in one process", heads, cells, left=0)


def _event_to_work(delays: Iterable[event_to_work.Delay]) -> Table:
    heads = ("who waits", "VMs", "event to work, median", "longest")
    cells = [(one.waiter, f"{one.samples}", seconds(one.median), seconds(one.longest)) for one in delays]
    return Table("From the event to the next resource, on the real engine", heads, cells)


def _many_gates(ups: Iterable[gates.Up]) -> Table:
    cells = [(up.host, up.parallel, f"{up.gates:.1f} s", f"{up.seconds:.1f} s") for up in ups]
    title = f"{gates.GATES} gates of {gates.SECONDS:g} seconds in one stack"
    return Table(title, ("host of dynamic resources", "engine", "the gates", "`pulumi up`"), cells, left=2)


if __name__ == "__main__":
    sys.exit(main())
