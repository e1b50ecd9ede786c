"""The figures as tables for the terminal and for Markdown, and a picture of how they grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.waiting import Row

COLOURS = {"gate": "#0b6e4f", "terraform": "#5b3fb8", "ansible": "#b8321f", "powercli": "#1f5fb8"}
MARKERS = {"gate": "o", "terraform": "^", "ansible": "s", "powercli": "D"}


@dataclass(frozen=True)
class Table:
    """One table of figures, with a note."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    """How many columns hold words."""
    note: str = ""

    def rich(self) -> RichTable:
        """Returns it for the terminal."""
        shown = RichTable(title=self.title, title_justify="left", caption=self.note or None, caption_justify="left")
        for place, head in enumerate(self.heads):
            shown.add_column(head, justify="left" if place < self.left else "right", overflow="fold")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """Returns it for a document."""
        ruler = ["---" if place < self.left else "---:" for place in range(len(self.heads))]
        lines = [
            f"## {self.title}",
            "",
            *("| " + " | ".join(cells) + " |" for cells in (self.heads, ruler, *self.rows)),
        ]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])


def seconds(value: float) -> str:
    """Returns a time with few digits."""
    if math.isnan(value):
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def size(count: float) -> str:
    """Returns a number of bytes with few digits."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004 -- a million


def costs(rows: Sequence[Row], titles: dict[str, str]) -> Table:
    """Returns the costs of the waits, with a waiter and a number of VMs per row."""
    heads = (
        "waiter",
        "VMs",
        "set-up",
        "event to verdict, p50",
        "p99",
        "calls/min while idle",
        "bytes/min while idle",
        "calls in all",
        "bytes in all",
        "sessions",
        "collectors",
        "peak memory",
        "wrong",
    )
    cells = [
        (
            titles[row.waiter],
            f"{row.machines}",
            seconds(row.setup),
            seconds(row.p50),
            seconds(row.p99),
            f"{row.idle_calls:.1f}",
            size(row.idle_bytes),
            f"{row.calls}",
            size(row.received),
            f"{row.sessions}",
            f"{row.collectors}",
            f"{row.peak_mib:.0f} MiB",
            _wrong(row),
        )
        for row in rows
    ]
    return Table("What a wait costs", heads, cells)


def _wrong(row: Row) -> str:
    words = [f"{row.early} reported too early"] if row.early else []
    words += [f"{row.missed} missed"] if row.missed else []
    return ", ".join(words) or "0"


def picture(rows: Sequence[Row], titles: dict[str, str], path: Path) -> None:
    """Draws how calls and latency grow with the number of VMs."""
    # Letters stay letters, and the file is the same for the same figures: no date, no random names in it.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "figures", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        calls, latency = figure.subplots(1, 2)
        for waiter, title in titles.items():
            own = sorted((row for row in rows if row.waiter == waiter), key=lambda row: row.machines)
            style = {"label": title, "color": COLOURS[waiter], "marker": MARKERS[waiter], "markersize": 5}
            counts = [row.machines for row in own]
            # A logarithmic axis has no zero: a waiter without calls is drawn at its lower end.
            calls.plot(counts, [max(row.idle_calls, 0.1) for row in own], **style)
            latency.plot(counts, [row.p50 for row in own], **style)
        for axes, title in ((calls, "calls per minute while idle"), (latency, "event to verdict, median, in seconds")):
            axes.set(xscale="log", yscale="log", xlabel="VMs", title=title)
            axes.grid(visible=True, alpha=0.3)
        calls.legend(fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None})
