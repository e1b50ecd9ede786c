"""The figures as tables for the terminal and for Markdown, and a picture of how they grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context
from matplotlib.ticker import FuncFormatter
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.waiting import Row

COLOURS = {"gate": "#0b6e4f", "terraform": "#5b3fb8", "ansible": "#b8321f", "powercli": "#1f5fb8"}
DARK_COLOURS = {"gate": "#3ddc97", "terraform": "#b39dff", "ansible": "#ff8a75", "powercli": "#7db4ff"}
_WRONG: Mapping[str, Any] = MappingProxyType({"marker": "x", "s": 90, "linewidths": 2, "color": "#d62728", "zorder": 3})
"""The mark of a row whose waiter was wrong about VMs."""
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
            f"{row.vms}",
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


def pictures(rows: Sequence[Row], titles: dict[str, str], light: Path, dark: Path) -> None:
    """Draws how calls and latency grow with the number of VMs, for light pages and for dark ones."""
    for path, style in ((light, "default"), (dark, "dark_background")):
        with style_context(style):
            _draw(rows, titles, path, DARK_COLOURS if path == dark else COLOURS)


def _draw(rows: Sequence[Row], titles: dict[str, str], path: Path, colours: Mapping[str, str]) -> None:
    # Letters stay letters, and the file is the same for the same figures: no date, no random names in it.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "figures", "font.size": 9}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        calls, latency = figure.subplots(1, 2)
        for waiter, title in titles.items():
            own = sorted((row for row in rows if row.waiter == waiter), key=lambda row: row.vms)
            style = {"label": title, "color": colours[waiter], "marker": MARKERS[waiter], "markersize": 5}
            for axes, values in ((calls, [row.idle_calls for row in own]), (latency, [row.p50 for row in own])):
                axes.plot([row.vms for row in own], values, **style)
                wrong = [(row.vms, value) for row, value in zip(own, values, strict=True) if _wrong(row) != "0"]
                axes.scatter([count for count, _ in wrong], [value for _, value in wrong], **_WRONG)
        # Linear below the first mark, so that a waiter without calls is at zero.
        calls.set_yscale("symlog", linthresh=1, linscale=0.4)
        calls.set_ylim(bottom=-0.3)
        latency.set_yscale("log")
        for axes, title in ((calls, "calls per minute while idle"), (latency, "event to verdict, median, in seconds")):
            axes.set(xscale="log", xlabel="VMs", title=title)
            axes.grid(visible=True, alpha=0.3)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        calls.legend(*_with_wrong(calls), fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None}, transparent=True)


def _with_wrong(axes: Axes) -> tuple[list[Any], list[str]]:
    """Returns the entries of the legend, with what marks wrong verdicts last."""
    handles, labels = axes.get_legend_handles_labels()
    mark = Line2D([], [], linestyle="none", marker="x", color=_WRONG["color"], markersize=10, markeredgewidth=2)
    return [*handles, mark], [*labels, "some verdicts were wrong"]
