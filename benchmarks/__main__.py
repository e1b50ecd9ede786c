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

from benchmarks import cloud_director, edge_cases, event_to_work, gates, gates_at_once
from benchmarks.document import Table, costs, picture, seconds
from benchmarks.waiters import Waiter, waiters
from benchmarks.waiting import Row, measure
from lab.bootstrap import build_vcenter
from lab.paths import ROOT, Home, LabError, exit_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

SMALL = (1, 100)
"""Numbers of VMs at which every waiter is measured."""
LARGE = 1000
"""The number of VMs for the targets."""
LARGEST = 5000
REFERENCES = ("terraform", "ansible", "powercli")
_WIDTH = 180

_HEAD = """\
# Figures

Written by `{command}` on {date}: {cores} cores, Python {python}, load {load} at the start. The server is the lab's
vCenter (govmomi's simulator, in which customization takes time) on the same computer. A real vCenter responds later,
but the calls of a wait are the same.

![How calls and latency grow with the number of VMs](benchmarks.svg)
"""

_METHOD = ROOT / "benchmarks" / "method.md"
"""How each figure is made; the end of every document."""


def main() -> int:
    """Measures, prints, writes the document, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all waiters with 1000 VMs too, and with 5000 (an hour)")
    parser.add_argument("--only", nargs="+", metavar="WAITER:MACHINES", help="single rows, for example gate:1000")
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

    console.print("The pollers with 1 and 100 VMs, the edge cases, Cloud Director (four minutes) ...")
    polled: list[Callable[[], Any]] = [
        row(name, count) for name in references if name != "terraform" for count in SMALL
    ]
    *rows, answers, polls = _at_once([*polled, lambda: edge_cases.run(program, known.values()), cloud_director.measure])
    console.print("The gate and Terraform's waiter with 1 and 100 VMs (three minutes) ...")
    rows += _at_once([row(name, count) for name in ("gate", "terraform") for count in SMALL])
    alone = [("gate", LARGE)]
    if full:
        alone += [(name, LARGE) for name in references]
        alone += [(name, LARGEST) for name in ("gate", "terraform", "powercli")]
    for name, count in alone:
        console.print(f"{known[name].title} with {count} VMs (four minutes, longer with 5000) ...")
        rows.append(measure(program, known[name], count))
    console.print(f"{gates.GATES} gates on the real engine, in four runs (three minutes) ...")
    ups = gates.measure(home)
    console.print("Many waits in one process beside one, and how soon the next resource begins (three minutes) ...")
    together = [gates_at_once.measure(program, *split) for split in gates_at_once.SPLITS]
    delays = event_to_work.measure(home)

    titles = _titles(known)
    rows.sort(key=lambda one: (list(titles).index(one.waiter), one.machines))
    tables = [
        _targets(rows),
        costs(rows, titles),
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
    picture(rows, titles, folder / "benchmarks.svg")
    parts = [_HEAD.format(**conditions), *(table.markdown() + "\n" for table in tables)]
    document = folder / "benchmarks.md"
    document.write_text("\n".join([*parts, _METHOD.read_text(encoding="utf-8")]), encoding="utf-8")
    return document


def _at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _titles(known: dict[str, Waiter]) -> dict[str, str]:
    return {name: waiter.title for name, waiter in known.items()}


def _targets(rows: Sequence[Row]) -> Table:
    (row,) = (row for row in rows if (row.waiter, row.machines) == ("gate", LARGE))
    judged = [
        ("event to verdict, p99", seconds(row.p99), "below 50 ms", row.p99 < 0.05),  # noqa: PLR2004 -- the target
        ("calls per minute while idle", f"{row.idle_calls:.1f}", "at most 3", row.idle_calls <= 3),  # noqa: PLR2004 -- the same
        ("set-up", seconds(row.setup), "below 1 s", row.setup < 1),
        ("peak memory", f"{row.peak_mib:.0f} MiB", "below 150 MiB", row.peak_mib < 150),  # noqa: PLR2004 -- the same
    ]
    cells = [(what, value, target, "yes" if met else "no") for what, value, target, met in judged]
    return Table(f"The gate's targets, with {LARGE} VMs", ("what", "measured", "target", "met"), cells)


def _verdicts(answers: Iterable[edge_cases.Answer], titles: dict[str, str]) -> Table:
    found = {(answer.case, answer.waiter): answer for answer in answers}
    rows = []
    for case in edge_cases.CASES:
        cells = [found[case.name, waiter] for waiter in titles]
        words = [f"{answer.judgement}: {_spoken(answer)}" for answer in cells]
        rows.append((case.name, case.story, *words))
    heads = ("case", "what happens", *titles.values())
    return Table("Verdicts in edge cases", heads, rows, left=len(heads))


def _spoken(answer: edge_cases.Answer) -> str:
    when = f"after {answer.seconds:.0f} s"
    return f"{answer.verdict} ({answer.words}) {when}" if answer.words else f"{answer.verdict} {when}"


def _polls(rows: Iterable[dict[str, Any]]) -> Table:
    heads = ("waiter", "VMs", "requests", "requests/min", "end to verdict, median", "worst", "sessions")
    names = {"customization gate": "customization gate"}
    cells = [
        (
            names.get(row["client"], f"go-vcloud-director (re-implemented): {row['client']}"),
            f"{row['machines']}",
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
            seconds(row.first_word),
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
