"""Draws a chart as SVG: opaque, so that it can be read on any page, with texts that can be searched and copied.

The colours are close to those of Okabe and Ito, which people with any kind of colour vision can distinguish, and
contrast with the background. The end of a VM also has a shape of its own.
"""

from __future__ import annotations

import enum
import io
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.timeline.chart import Chart, End, Phase, Row, scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Theme(str, enum.Enum):
    """The background."""

    light = "light"
    dark = "dark"


@dataclass(frozen=True)
class _Colours:
    paper: str
    ink: str
    faint: str
    phases: dict[Phase, str]
    ends: dict[End, str]


_COLOURS = {
    Theme.light: _Colours(
        paper="#ffffff",
        ink="#1b1f23",
        faint="#d7dbdf",
        phases={
            Phase.BOOTING: "#87929e",
            Phase.CUSTOMIZING: "#0072b2",
            Phase.SETTLING: "#c78500",
            Phase.HELD: "#87929e",
        },
        ends={End.GOOD: "#009e73", End.FAILED: "#bf5300", End.UNFINISHED: "#a8437f"},
    ),
    Theme.dark: _Colours(
        paper="#16191d",
        ink="#eceff2",
        faint="#363c43",
        phases={
            Phase.BOOTING: "#76818d",
            Phase.CUSTOMIZING: "#56b4e9",
            Phase.SETTLING: "#e69f00",
            Phase.HELD: "#76818d",
        },
        ends={End.GOOD: "#1fc79a", End.FAILED: "#ff7a33", End.UNFINISHED: "#e39bc4"},
    ),
}
_SHAPES = {End.GOOD: "o", End.FAILED: "X", End.UNFINISHED: ">"}
_FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]

# Lengths are in points, 1/72 inch.
_COLUMNS = ((40, 1, 640.0), (120, 2, 430.0), (420, 3, 370.0), (math.inf, 4, 350.0))
"""Up to how many rows there are so many columns of such a width: a picture of the shape of a screen, whose rows can
be read."""
_ROOMY, _TIGHT, _USUAL = 20.0, 9.0, 600.0
"""The height of a row where there are few, where there are many, and of all rows in between."""
_LETTER = 0.6
"""The width of a letter as a part of its font's size."""
_TITLE_FONT, _FONT = 12.0, 8.0
_ENTRY = 5
"""The width of an entry of the legend beside its text, in letters."""
_MARGIN, _LINE, _FOOT = 14.0, 15.0, 24.0
_PER_MARK = 38.0
"""The width that a mark of the axis needs."""
_LONGEST_LABEL, _LONGEST_NOTE = 26, 34


@dataclass(frozen=True)
class _Layout:
    """The positions of all parts."""

    columns: int
    column_width: float
    rows: int
    """Rows in a column."""
    pitch: float
    """The height of a row."""
    font: float
    labels: float
    """The width of the names before the bars."""
    notes: float
    """The width of the texts after the bars."""
    head: float

    @classmethod
    def of(cls, chart: Chart, legend: int) -> _Layout:
        """Returns the layout of a chart.

        Args:
            chart: The chart.
            legend: The letters of the legend.
        """
        count = max(1, len(chart.rows))
        columns, width = next((columns, width) for most, columns, width in _COLUMNS if count <= most)
        rows = math.ceil(count / columns)
        pitch = max(_TIGHT, min(_ROOMY, _USUAL / rows))
        font = min(9.0, 0.72 * pitch)
        labels = max((len(_label(row)) for row in chart.rows), default=0) * _LETTER * font
        notes = max((len(_note(row, columns)) for row in chart.rows), default=0) * _LETTER * font
        lines = math.ceil(legend * _LETTER * _FONT / (columns * width - 2 * _MARGIN))
        head = (2.5 + lines + bool(chart.opened)) * _LINE
        return cls(columns, width, rows, pitch, font, labels, notes, head)

    @property
    def width(self) -> float:
        return self.columns * self.column_width

    @property
    def height(self) -> float:
        return self.head + self.rows * self.pitch + _FOOT

    @property
    def bars(self) -> float:
        """The width of the bars."""
        return self.column_width - 2 * _MARGIN - self.labels - self.notes - 2 * self.font


def svg(chart: Chart, theme: Theme = Theme.light, title: str = "") -> bytes:
    """Returns the picture; the same chart gives the same bytes.

    Raises:
        ConfigurationError: If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 -- it comes with an extra, and takes half a second
        from matplotlib.figure import Figure  # noqa: PLC0415 -- the same; a figure of its own needs no display
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the library matplotlib is not installed; it comes with the extra `cli`: "
            "in a clone of the project, run pip install '.[cli]'"
        ) from None
    # `$` in a name is a letter, not a formula. A fixed salt keeps the inner names of the file the same.
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "customization-gate",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": _FONTS,
    }
    stream = io.BytesIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The program that shows the picture draws the texts, with its own fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        colours = _COLOURS[theme]
        legend = _legend(chart, colours)
        layout = _Layout.of(chart, sum(len(entry.get_label()) + _ENTRY for entry in legend))
        figure = Figure(figsize=(layout.width / 72, layout.height / 72), facecolor=colours.paper)
        for column in range(layout.columns):
            _draw_column(figure, chart, column, layout, colours)
        _draw_head(figure, chart, layout, colours, title=title, legend=legend)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _label(row: Row) -> str:
    return row.label if len(row.label) <= _LONGEST_LABEL else row.label[: _LONGEST_LABEL - 1] + "…"


def _note(row: Row, columns: int) -> str:
    """Returns the text after a bar; if there is little room, without the word that most events start with."""
    if not row.note:
        return duration(row.seconds) if row.seconds is not None else ""
    note = (row.note.removeprefix("Customization") if columns > 1 else row.note) or row.note
    return note if len(note) <= _LONGEST_NOTE else note[: _LONGEST_NOTE - 1] + "…"


def _draw_column(figure: Figure, chart: Chart, column: int, layout: _Layout, colours: _Colours) -> None:
    rows = chart.rows[column * layout.rows : (column + 1) * layout.rows]
    if not rows and column:
        return
    left = column * layout.column_width + _MARGIN + layout.labels + layout.font
    bottom = _FOOT + (layout.rows - len(rows)) * layout.pitch
    box = (
        left / layout.width,
        bottom / layout.height,
        layout.bars / layout.width,
        max(1, len(rows)) * layout.pitch / layout.height,
    )
    axes = figure.add_axes(box, facecolor=colours.paper)
    length = chart.length or 1.0
    axes.set_xlim(-0.01 * length, 1.02 * length)
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    marks = scale(length, max(2, int(layout.bars / _PER_MARK)))
    axes.set_xticks(marks, [duration(mark) for mark in marks], fontsize=min(_FONT, layout.font + 1), color=colours.ink)
    axes.grid(visible=True, axis="x", color=colours.faint, linewidth=0.6)
    axes.tick_params(length=0, pad=3)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=layout.font, color=colours.ink)
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.is_heading else "normal")
    for number in range(0, len(rows), 2):
        axes.axhspan(number - 0.5, number + 0.5, color=colours.faint, alpha=0.3, linewidth=0)
    _draw_bars(axes, rows, layout, colours)
    for at in chart.opened:
        axes.axvline(at, color=colours.ink, linewidth=1.1, linestyle=(0, (4, 2)))
        words = axes.annotate(
            f"gate open at {duration(at)}", (at, 1), xycoords=("data", "axes fraction"), color=colours.ink
        )
        words.set(fontsize=_FONT, position=(0, 3), anncoords="offset points", va="bottom")
        words.set_horizontalalignment("right" if at > length / 2 else "left")


def _draw_bars(axes: Axes, rows: Sequence[Row], layout: _Layout, colours: _Colours) -> None:
    spans = [(number, span) for number, row in enumerate(rows) for span in row.spans]
    for phase, colour in colours.phases.items():
        drawn = [(number, span) for number, span in spans if span.phase is phase]
        axes.barh(
            [number for number, _ in drawn],
            [span.end - span.begin for _, span in drawn],
            left=[span.begin for _, span in drawn],
            height=0.1 if phase is Phase.HELD else 0.62,
            color=colour,
            linewidth=0,
        )
    for end, colour in colours.ends.items():
        marked = [(number, row.at) for number, row in enumerate(rows) if row.end is end and row.at is not None]
        axes.scatter(
            [at for _, at in marked],
            [number for number, _ in marked],
            s=(0.62 * layout.pitch) ** 2 * (1.0 if end is End.GOOD else 1.4),
            marker=_SHAPES[end],
            color=colour,
            edgecolors=colours.paper,
            linewidths=0.6,
            zorder=3,
            clip_on=False,
        )
    for number, row in enumerate(rows):
        if note := _note(row, layout.columns):
            axes.annotate(
                note,
                (1, number),
                (layout.font, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=layout.font,
                color=colours.ink if row.end is End.GOOD else colours.ends[row.end or End.GOOD],
                fontweight="normal" if row.end is End.GOOD else "bold",
                annotation_clip=False,
            )


def _legend(chart: Chart, colours: _Colours) -> list[Any]:
    """Returns an entry for each thing that the chart shows."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 -- it comes with an extra
    from matplotlib.patches import Patch  # noqa: PLC0415 -- the same

    phases = {span.phase for row in chart.rows for span in row.spans}
    ends = {row.end for row in chart.rows if row.at is not None}
    entries: list[Any] = [
        Line2D([], [], color=colours.phases[phase], label=phase.value)
        if phase is Phase.HELD
        else Patch(color=colours.phases[phase], label=phase.value)
        for phase in Phase
        if phase in phases
    ]
    entries += [
        Line2D([], [], linestyle="", marker=_SHAPES[end], color=colours.ends[end], label=end.value)
        for end in End
        if end in ends
    ]
    return entries


def _draw_head(
    figure: Figure, chart: Chart, layout: _Layout, colours: _Colours, *, title: str, legend: list[Any]
) -> None:
    count = len(chart.vms)
    vms = f"{count} virtual machine{'' if count == 1 else 's'}"
    counts = Counter(row.end for row in chart.vms)
    ends = ", ".join(f"{counts[end]} {end.value}" for end in End if counts[end])
    since = f"times from {chart.origin:%Y-%m-%d %H:%M:%S} UTC" if chart.origin else "each bar from its power-on"
    left = _MARGIN / layout.width

    def down(lines: float) -> float:
        return 1 - (_MARGIN / 2 + lines * _LINE) / layout.height

    heading, below = title or f"Guest customization of {vms}", f"{ends}; {since}"
    figure.text(left, down(0.8), heading, fontsize=_TITLE_FONT, fontweight="bold", color=colours.ink)
    figure.text(left, down(1.8), f"{vms}: {below}" if title else below, fontsize=_FONT, color=colours.ink)
    if legend:
        room = (layout.width - 2 * _MARGIN) / (_LETTER * _FONT)
        letters = [len(entry.get_label()) + _ENTRY for entry in legend]
        figure.legend(
            handles=legend,
            loc="upper left",
            bbox_to_anchor=(left, down(2.0)),
            ncols=len(legend) if sum(letters) <= room else max(1, int(room / max(letters))),
            fontsize=_FONT,
            labelcolor=colours.ink,
            frameon=False,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=1.4,
            columnspacing=1.4,
        )
