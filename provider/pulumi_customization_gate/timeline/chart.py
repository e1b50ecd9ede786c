"""Turns the results of gates into bars on one scale of seconds, for the picture and for the terminal."""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pulumi_customization_gate.timeline.results import VmTimes, Wait

SCATTERED = 3.0
"""The largest ratio of the time without bars to the time with bars; above it each bar starts at its power-on."""


class Align(str, enum.Enum):
    """Where a bar begins."""

    auto = "auto"
    clock = "clock"
    power_on = "power-on"


class Phase(enum.Enum):
    """What a part of a bar shows; the value is its text in the legend."""

    BOOTING = "powered on, not started"
    CUSTOMIZING = "customizing"
    SETTLING = "customized, not ready yet"
    HELD = "ready, gate closed"
    WORK = "work behind the gate"


class End(enum.Enum):
    """How a bar ends; the value is its text in the legend."""

    GOOD = "succeeded"
    FAILED = "failed"
    UNFINISHED = "not finished"


@dataclass(frozen=True)
class Span:
    """A part of a bar, in seconds from the chart's left side."""

    phase: Phase
    begin: float
    end: float


@dataclass(frozen=True)
class Row:
    """The bar of one VM, the heading of one gate, or the work behind it."""

    label: str
    spans: tuple[Span, ...] = ()
    end: End | None = None
    """None unless the bar is that of a VM."""
    at: float | None = None
    """Where the end is marked; None if no time is known."""
    note: str = ""
    """The text beside the bar."""
    seconds: float | None = None
    """From power-on to the end of the customization."""

    @property
    def is_heading(self) -> bool:
        """Whether this is the name of a gate."""
        return self.end is None and not self.spans


@dataclass(frozen=True)
class Chart:
    """All bars, ready to be drawn."""

    rows: tuple[Row, ...]
    length: float
    """Seconds from the left side to the last known time."""
    origin: datetime | None
    """The time of the left side; None if each bar starts at its own power-on, or no time is known."""
    opened: tuple[float, ...]
    """When gates opened, in seconds from the left side."""

    @property
    def vms(self) -> list[Row]:
        """The rows of VMs."""
        return [row for row in self.rows if row.end is not None]


def chart(gates: Sequence[Wait], align: Align = Align.auto) -> Chart:
    """Returns the bars of the VMs of all gates, and of the work behind each gate, on one scale if they share one.

    Before each gate is a heading if there are several. Work that ran long after its VMs, as after an edit of a script,
    would make all bars too short to see; it is left out unless `align` is "clock".
    """
    if align is Align.auto and _are_scattered(gates):
        gates = [replace(gate, work=()) for gate in gates]
    times = [time for gate in gates for vm in gate.vms for time in vm.times]
    # With a clock of whole seconds, a gate seems to open before the only known time of its VMs.
    times += [gate.opened for gate in gates if gate.opened and times]
    by_clock = align is Align.clock or (align is Align.auto and not _are_scattered(gates))
    origin = min(times) if by_clock and times else None
    rows: list[Row] = []
    for gate in gates:
        if len(gates) > 1:
            rows.append(Row(gate.name or "gate"))
        rows += (_row(vm, gate, origin) for vm in gate.vms)
        if origin and gate.work:
            rows.append(_work_row(gate, origin))
    opened = {(gate.opened - origin).total_seconds() for gate in gates if origin and gate.opened}
    ends = [span.end for row in rows for span in row.spans] + [row.at for row in rows if row.at is not None]
    return Chart(tuple(rows), max([*ends, *opened, 0.0]), origin, tuple(sorted(opened)))


def _row(vm: VmTimes, gate: Wait, origin: datetime | None) -> Row:
    end = End.GOOD if vm.is_good else End.FAILED if vm.has_failed else End.UNFINISHED
    note = "" if vm.is_good else (vm.failure if end is End.FAILED else "") or vm.status
    if not vm.times:
        return Row(vm.name, (), end, None, note or f"{vm.status}, no time is known")
    left = origin or min(vm.times)

    def after(time: datetime | None) -> float | None:
        return None if time is None else (time - left).total_seconds()

    started, completed, ready = after(vm.started), after(vm.completed), after(vm.ready)
    powered_on = after(vm.powered_on)
    if completed is not None and powered_on is not None and powered_on > completed:
        powered_on = None  # It was powered on again after its customization, which keeps its verdict.
    if completed is not None and started is not None and started > completed:
        started = None
    stop = completed if completed is not None else after(gate.ended)
    spans: list[tuple[Phase, float | None, float | None]] = []
    if powered_on is not None:
        # Without an event of the start, only the end of the customization is known.
        first = started if started is not None else powered_on if completed is not None else stop
        spans.append((Phase.BOOTING, powered_on, first))
    begin = started if started is not None else powered_on if completed is not None else None
    spans.append((Phase.CUSTOMIZING, begin, stop))
    spans.append((Phase.SETTLING, completed, ready))
    if origin is not None and vm.is_good:
        spans.append((Phase.HELD, ready if ready is not None else completed, after(gate.opened)))
    drawn = tuple(Span(p, b, e) for p, b, e in spans if b is not None and e is not None and e > b)
    known = powered_on if powered_on is not None else after(vm.powered_on)
    marked = next((at for at in (completed, stop, known) if at is not None), None)
    seconds = completed - powered_on if completed is not None and powered_on is not None else None
    return Row(vm.name, drawn, end, marked, note, seconds)


def _work_row(gate: Wait, origin: datetime) -> Row:
    """Returns one bar for all work behind a gate, with gaps where none of it ran."""
    spans: list[Span] = []
    for work in sorted(gate.work, key=lambda one: one.began):
        begin, end = ((time - origin).total_seconds() for time in (work.began, work.ended))
        if spans and begin <= spans[-1].end:
            begin, end = spans[-1].begin, max(end, spans.pop().end)
        spans.append(Span(Phase.WORK, begin, end))
    count = len(gate.work)
    return Row("work", tuple(spans), note=f"{count} script{'' if count == 1 else 's'}")


def _are_scattered(gates: Sequence[Wait]) -> bool:
    """Whether bars by the clock would be too short to see.

    They are if VMs were created or work ran at times far apart, or if a gate opened long after its VMs were customized.
    """
    bars = [(min(m.times), max(m.times)) for gate in gates for m in gate.vms if m.times]
    bars = sorted(bars + [(work.began, work.ended) for gate in gates for work in gate.work])
    covered, reached = 0.0, None
    for begin, end in bars:
        start = begin if reached is None else max(begin, reached)
        covered += max(0.0, (end - start).total_seconds())
        reached = end if reached is None else max(end, reached)
    if not bars or reached is None:
        return False
    last = max([reached, *(gate.opened for gate in gates if gate.opened)])
    whole = (last - bars[0][0]).total_seconds()
    return whole - covered > SCATTERED * covered


_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200)
_DAY = 86400
_GAP = 4
"""Letters between two labels of an axis."""


def scale(length: float, letters: float) -> list[float]:
    """Returns round seconds, from 0, for as many marks of an axis as there is room for their labels.

    Args:
        length: The length of the axis in seconds.
        letters: The letters for which the axis has room.
    """
    for step in itertools.chain(_STEPS, (_DAY * days * 10**power for power in itertools.count() for days in (1, 2, 5))):
        per_mark = letters * step / length if length else letters
        if per_mark <= _GAP and step < length:
            continue
        marks = [round(number * step, 1) for number in range(int(length / step) + 1)]
        if len(marks) == 1 or per_mark >= _GAP + max(len(duration(mark)) for mark in marks):
            return marks
    raise AssertionError  # The steps have no end.
