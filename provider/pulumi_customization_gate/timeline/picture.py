"""Draws a chart as SVG: opaque, so that it can be read on any page, with texts that can be searched and copied."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.timeline.chart import Chart, End, Phase, Row, scale
from pulumi_customization_gate.timeline.layout import (
    COLOURS,
    ENTRY,
    FONT,
    FONTS,
    FOOT,
    LETTER,
    LINE,
    MARGIN,
    SHAPES,
    TITLE_FONT,
    Colours,
    Layout,
    Theme,
    label,
    note,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
            "the library matplotlib is not installed; it comes with the extra `plot`: "
            "in a clone of the project, run pip install '.[cli,plot]'"
        ) from None
    # `$` in a name is a letter, not a formula. A fixed salt keeps the inner names of the file the same.
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "customization-gate",
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": FONTS,
    }
    stream = io.BytesIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The program that shows the picture draws the texts, with its own fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        colours = COLOURS[theme]
        headings = _headings(chart, sanitize(title))
        legend = _legend(chart, colours)
        layout = Layout.of(chart, sum(len(entry.get_label()) + ENTRY for entry in legend))
        figure = Figure(figsize=(layout.width / 72, layout.height / 72), facecolor=colours.paper)
        for column in range(layout.columns):
            _draw_column(figure, chart, column, layout, colours)
        _draw_head(figure, headings, layout, colours, legend)
        # The title becomes an element `title`, which a screen reader reads in place of the parts.
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Title": ": ".join(headings)})
    return stream.getvalue().replace(b"<svg ", b'<svg role="img" ', 1)


def _draw_column(figure: Figure, chart: Chart, column: int, layout: Layout, colours: Colours) -> None:
    rows = chart.rows[column * layout.rows : (column + 1) * layout.rows]
    if not rows and column:
        return
    left = column * layout.column_width + MARGIN + layout.labels + layout.font
    bottom = FOOT + (layout.rows - len(rows)) * layout.pitch
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
    marks = scale(length, layout.bars / (LETTER * layout.axis_font))
    axes.set_xticks(marks, [duration(mark) for mark in marks], fontsize=layout.axis_font, color=colours.ink)
    axes.grid(visible=True, axis="x", color=colours.faint, linewidth=0.6)
    axes.tick_params(length=0, pad=3)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows], fontsize=layout.font, color=colours.ink)
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.is_heading else "normal")
    for number in range(0, len(rows), 2):
        axes.axhspan(number - 0.5, number + 0.5, color=colours.faint, alpha=0.3, linewidth=0)
    _draw_bars(axes, rows, layout, colours)
    _draw_openings(axes, chart, layout, colours)


def _draw_openings(axes: Axes, chart: Chart, layout: Layout, colours: Colours) -> None:
    """Draws a line for each gate that opened, with its time unless that would touch the time of the line before it."""
    length, used = chart.length or 1.0, float("-inf")
    for at in chart.opened:
        axes.axvline(at, color=colours.ink, linewidth=1.1, linestyle=(0, (4, 2)))
        text, is_late = f"gate open at {duration(at)}", at > length / 2
        width = len(text) * LETTER * FONT / layout.bars * length
        begin = at - width if is_late else at
        if begin < used:
            continue
        used = begin + width
        words = axes.annotate(text, (at, 1), xycoords=("data", "axes fraction"), color=colours.ink)
        words.set(fontsize=FONT, position=(0, 3), anncoords="offset points", va="bottom")
        words.set_horizontalalignment("right" if is_late else "left")


def _draw_bars(axes: Axes, rows: Sequence[Row], layout: Layout, colours: Colours) -> None:
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
            marker=SHAPES[end],
            color=colour,
            edgecolors=colours.paper,
            linewidths=0.6,
            zorder=3,
            clip_on=False,
        )
    for number, row in enumerate(rows):
        if text := note(row, layout.columns):
            axes.annotate(
                text,
                (1, number),
                (layout.font, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=layout.font,
                color=colours.ink if row.end in (None, End.GOOD) else colours.ends[row.end],
                fontweight="normal" if row.end in (None, End.GOOD) else "bold",
                annotation_clip=False,
            )


def _legend(chart: Chart, colours: Colours) -> list[Any]:
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
        Line2D([], [], linestyle="", marker=SHAPES[end], color=colours.ends[end], label=end.value)
        for end in End
        if end in ends
    ]
    return entries


def _headings(chart: Chart, title: str) -> tuple[str, str]:
    """Returns the title of a picture and the line below it."""
    count = len(chart.vms)
    vms = f"{count} virtual machine{'' if count == 1 else 's'}"
    counts = Counter(row.end for row in chart.vms)
    ends = ", ".join(f"{counts[end]} {end.value}" for end in End if counts[end])
    since = f"times from {chart.origin:%Y-%m-%d %H:%M:%S} UTC" if chart.origin else "each bar from its power-on"
    below = f"{ends}; {since}"
    return (title, f"{vms}: {below}") if title else (f"Guest customization of {vms}", below)


def _draw_head(figure: Figure, headings: tuple[str, str], layout: Layout, colours: Colours, legend: list[Any]) -> None:
    left = MARGIN / layout.width

    def down(lines: float) -> float:
        return 1 - (MARGIN / 2 + lines * LINE) / layout.height

    figure.text(left, down(0.8), headings[0], fontsize=TITLE_FONT, fontweight="bold", color=colours.ink)
    figure.text(left, down(1.8), headings[1], fontsize=FONT, color=colours.ink)
    if legend:
        room = (layout.width - 2 * MARGIN) / (LETTER * FONT)
        letters = [len(entry.get_label()) + ENTRY for entry in legend]
        figure.legend(
            handles=legend,
            loc="upper left",
            bbox_to_anchor=(left, down(2.0)),
            ncols=len(legend) if sum(letters) <= room else max(1, int(room / max(letters))),
            fontsize=FONT,
            labelcolor=colours.ink,
            frameon=False,
            borderpad=0.2,
            borderaxespad=0,
            handlelength=1.4,
            columnspacing=1.4,
        )
