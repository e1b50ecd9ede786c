"""The colours of a picture and the places of its parts.

The colours are close to those of Okabe and Ito, which people with any kind of colour vision can distinguish, and
contrast with the background. The end of a VM also has a shape of its own.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.timeline.chart import Chart, End, Phase, Row


class Theme(str, enum.Enum):
    """The background."""

    light = "light"
    dark = "dark"


@dataclass(frozen=True)
class Colours:
    """The colours of a theme, as hexadecimal RGB."""

    paper: str
    ink: str
    faint: str
    phases: dict[Phase, str]
    ends: dict[End, str]


COLOURS = {
    Theme.light: Colours(
        paper="#ffffff",
        ink="#1b1f23",
        faint="#d7dbdf",
        phases={
            Phase.BOOTING: "#87929e",
            Phase.CUSTOMIZING: "#0072b2",
            Phase.SETTLING: "#c78500",
            Phase.HELD: "#87929e",
            Phase.WORK: "#009e73",
        },
        ends={End.GOOD: "#009e73", End.FAILED: "#bf5300", End.UNFINISHED: "#a8437f"},
    ),
    Theme.dark: Colours(
        paper="#16191d",
        ink="#eceff2",
        faint="#363c43",
        phases={
            Phase.BOOTING: "#76818d",
            Phase.CUSTOMIZING: "#56b4e9",
            Phase.SETTLING: "#e69f00",
            Phase.HELD: "#76818d",
            Phase.WORK: "#1fc79a",
        },
        ends={End.GOOD: "#1fc79a", End.FAILED: "#ff7a33", End.UNFINISHED: "#e39bc4"},
    ),
}
SHAPES = {End.GOOD: "o", End.FAILED: "X", End.UNFINISHED: ">"}
FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]

# Lengths are in points, 1/72 inch.
_COLUMNS = ((40, 1, 640.0), (120, 2, 430.0), (420, 3, 370.0), (math.inf, 4, 350.0))
"""Up to how many rows there are so many columns of such a width: a picture of the shape of a screen, whose rows can
be read."""
_ROOMY, _TIGHT, _USUAL = 20.0, 9.0, 600.0
"""The height of a row where there are few, where there are many, and of all rows in between."""
LETTER = 0.6
"""The width of a letter as a part of its font's size."""
TITLE_FONT, FONT = 12.0, 8.0
ENTRY = 5
"""The width of an entry of the legend beside its text, in letters."""
MARGIN, LINE, FOOT = 14.0, 15.0, 24.0
_LONGEST_LABEL, _LONGEST_NOTE = 26, 34


@dataclass(frozen=True)
class Layout:
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
    def of(cls, chart: Chart, legend: int) -> Layout:
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
        labels = max((len(label(row)) for row in chart.rows), default=0) * LETTER * font
        notes = max((len(note(row, columns)) for row in chart.rows), default=0) * LETTER * font
        lines = math.ceil(legend * LETTER * FONT / (columns * width - 2 * MARGIN))
        head = (2.5 + lines + bool(chart.opened)) * LINE
        return cls(columns, width, rows, pitch, font, labels, notes, head)

    @property
    def width(self) -> float:
        """The width of the picture."""
        return self.columns * self.column_width

    @property
    def height(self) -> float:
        """The height of the picture."""
        return self.head + self.rows * self.pitch + FOOT

    @property
    def bars(self) -> float:
        """The width of the bars."""
        return self.column_width - 2 * MARGIN - self.labels - self.notes - 2 * self.font

    @property
    def axis_font(self) -> float:
        """The size of the texts of the axis."""
        return min(FONT, self.font + 1)


def label(row: Row) -> str:
    """Returns the name before a bar."""
    return row.label if len(row.label) <= _LONGEST_LABEL else row.label[: _LONGEST_LABEL - 1] + "…"


def note(row: Row, columns: int) -> str:
    """Returns the text after a bar; if there is little room, without the word that most events start with."""
    if not row.note:
        return duration(row.seconds) if row.seconds is not None else ""
    text = (row.note.removeprefix("Customization") if columns > 1 else row.note) or row.note
    return text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…"
