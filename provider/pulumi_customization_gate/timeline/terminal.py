"""Draws a chart with characters."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from rich.text import Text

from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.timeline.chart import Chart, End, Phase, Row, scale

if TYPE_CHECKING:
    from rich.console import Console

_PHASES = {
    Phase.BOOTING: ("░", ".", "bright_black"),
    Phase.CUSTOMIZING: ("█", "#", "blue"),
    Phase.SETTLING: ("▒", "=", "yellow"),
    Phase.HELD: ("─", "-", "bright_black"),
    Phase.WORK: ("▓", "+", "green"),
}
_ENDS = {
    End.GOOD: ("●", "o", "green"),
    End.FAILED: ("\N{MULTIPLICATION SIGN}", "x", "bold red"),
    End.UNFINISHED: ("▶", ">", "magenta"),
}
_GATE = ("│", "|", "bold")
_LONGEST_LABEL, _LONGEST_NOTE = 32, 40
_GAPS = 4


def show(chart: Chart, console: Console, title: str = "") -> None:
    """Writes a chart as wide as the console, with characters that its encoding has."""
    plain = 1 if console.options.ascii_only else 0
    labels = max((len(row.label) for row in chart.rows), default=0)
    notes = max((len(_note(row)) for row in chart.rows), default=0)
    third = console.width // 3
    labels, notes = min(labels, _LONGEST_LABEL, third), min(notes, _LONGEST_NOTE, third)
    width = console.width - labels - notes - _GAPS
    if title:
        console.print(Text(title, style="bold"), soft_wrap=True)
    for row in chart.rows:
        line = Text(_cut(row.label, labels).ljust(labels) + "  ", style="bold" if row.is_heading else "")
        if not row.is_heading:
            line += _bar(chart, row, width, plain)
            line += Text("  " + _cut(_note(row), notes), style="" if row.end in (None, End.GOOD) else _ENDS[row.end][2])
        line.rstrip()
        console.print(line, soft_wrap=True)
    console.print(Text(" " * (labels + 2) + _axis(chart, width)), soft_wrap=True)
    console.print(_legend(chart, plain), soft_wrap=True)


def _note(row: Row) -> str:
    return row.note or (duration(row.seconds) if row.seconds is not None else "")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 2] + ".."


def _column(chart: Chart, at: float, width: int) -> int:
    return min(width - 1, int(at / chart.length * (width - 1) + 0.5)) if chart.length else 0


def _bar(chart: Chart, row: Row, width: int, plain: int) -> Text:
    cells = [(" ", "")] * width
    for at in chart.opened:
        cells[_column(chart, at, width)] = (_GATE[plain], _GATE[2])
    for span in row.spans:
        begin, end = _column(chart, span.begin, width), _column(chart, span.end, width)
        letters = _PHASES[span.phase]
        cells[begin:end] = [(letters[plain], letters[2])] * (end - begin)
    if row.at is not None and row.end is not None:
        mark = _ENDS[row.end]
        cells[_column(chart, row.at, width)] = (mark[plain], mark[2])
    runs = itertools.groupby(cells, key=lambda cell: cell[1])
    return Text.assemble(*(("".join(letter for letter, _ in run), style) for style, run in runs))


def _axis(chart: Chart, width: int) -> str:
    line = ""
    for at in scale(chart.length, width):
        column, text = _column(chart, at, width), duration(at)
        if column >= len(line) + (1 if line else 0) and column + len(text) <= width + 8:
            line = line.ljust(column) + text
    return line


def _legend(chart: Chart, plain: int) -> Text:
    phases = {span.phase for row in chart.rows for span in row.spans}
    ends = {row.end for row in chart.rows}
    parts = [(_PHASES[phase], phase.value) for phase in Phase if phase in phases]
    parts += [(_ENDS[end], end.value) for end in End if end in ends]
    if chart.opened:
        parts.append((_GATE, "gate open"))
    legend = Text()
    for letters, meaning in parts:
        legend += Text.assemble((letters[plain], letters[2]), f" {meaning}   ")
    since = f"from {chart.origin:%Y-%m-%d %H:%M:%S} UTC" if chart.origin else "each from its power-on"
    return legend + Text(since)
