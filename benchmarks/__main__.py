"""`make bench`: prints what a wait costs, beside its peers in the same run."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks.waiting import Row, measure
from lab.bootstrap import build_vcenter
from lab.home import Home

TARGETS = "to reach: p99 below 50 ms, at most 3 calls a minute while idle, set-up below 1 s, memory below 150 MiB"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100, 1000], help="numbers of machines")
    parser.add_argument("--peers-at", type=int, nargs="*", default=[100], help="numbers of machines for the peers")
    arguments = parser.parse_args()
    program = build_vcenter(Home())
    rows = []
    console = Console(width=140)
    for subject, sizes in (("gate", arguments.sizes), ("powercli", arguments.peers_at)):
        for size in sizes:
            console.print(f"measuring {subject} with {size} machines (about two minutes) ...")
            rows.append(measure(program, subject, size))
    console.print(table(rows))
    console.print(TARGETS)
    console.print("powercli: re-implemented from the script's description, a query per machine every 15 s")


def table(rows: list[Row]) -> Table:
    """Returns the figures as people read them."""
    shown = Table(title="Waiting for customization, one lab per row")
    heads = ("waiter", "VMs", "set-up", "event to verdict p50", "p99", "idle calls/min", "idle kB/min", "calls", "peak")
    for head in heads:
        shown.add_column(head, justify="left" if head == "waiter" else "right")
    for row in rows:
        shown.add_row(
            row.subject + (f" ({row.missed} missed)" if row.missed else ""),
            str(row.machines),
            f"{row.setup:.2f} s",
            _time(row.p50),
            _time(row.p99),
            f"{row.idle_calls:.1f}",
            f"{row.idle_bytes / 1000:.1f}",
            str(row.calls),
            f"{row.peak_mib:.0f} MiB",
        )
    return shown


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


if __name__ == "__main__":
    main()
