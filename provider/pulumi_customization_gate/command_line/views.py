"""The output of a wait: a live table in a terminal, otherwise plain lines, and the report at its end."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pulumi_customization_gate.command_line.json_output import report_document
from pulumi_customization_gate.command_line.phrases import PHRASES
from pulumi_customization_gate.core.report import (
    advice_lines,
    headline,
    label,
    outcome_line,
    progress_line,
    status_line,
    status_words,
)
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.text import clock_time, duration, sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from pulumi_customization_gate.core.model import Event, GateReport, VmOutcome
    from pulumi_customization_gate.core.progress import Update

_FRAMES_PER_SECOND = 4
_LINES_AROUND = 4
"""Lines of a terminal that the table's head, the line below it and the prompt take."""
_LONGEST_NAME = 40

_STYLES = {
    CustomizationStatus.VM_NOT_STARTED: "dim",
    CustomizationStatus.CUSTOMIZATION_NOT_STARTED: "yellow",
    CustomizationStatus.CUSTOMIZATION_STARTED: "cyan",
    CustomizationStatus.CUSTOMIZATION_SUCCEEDED: "green",
    CustomizationStatus.CUSTOMIZATION_FAILED: "bold red",
    CustomizationStatus.NOT_CUSTOMIZED: "yellow",
    CustomizationStatus.VM_REMOVED: "bold red",
}


def console(*, stderr: bool) -> Console:
    """Returns a console that shows texts without interpreting markup in them."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Update], None]]:
    """Yields a listener that shows a wait on standard error."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield tell_lines
        return
    table = LiveTable(screen)
    with Live(get_renderable=table.render, console=screen, refresh_per_second=_FRAMES_PER_SECOND, transient=True):
        yield table


def tell_lines(update: Update) -> None:
    """Writes a line for each change, and regularly one for the whole wait."""
    now = clock_time(datetime.now(timezone.utc))
    for note in update.notes:
        typer.echo(f"{now}  {sanitize(note)}", err=True)
    for outcome in update.changed:
        typer.echo(f"{now}  {label(outcome)}  {status_line(outcome)}", err=True)
    if not update.changed:
        typer.echo(f"{now}  {progress_line(update)}", err=True)


class LiveTable:
    """A table of the wait whose times advance between two updates.

    Args:
        screen: The terminal.
        clock: Seconds, for tests.
    """

    def __init__(self, screen: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._clock = screen, clock
        self._update: tuple[Update, float] | None = None
        self._spinner = Spinner("dots", "looking up the VMs ...")

    def __call__(self, update: Update) -> None:
        """Takes the newest update; its notes are printed above the table."""
        if update.outcomes:
            self._update = (update, self._clock())
        for note in update.notes:
            self._screen.print(sanitize(note), style="yellow")

    def render(self) -> RenderableType:
        """Returns the frame of this moment: what fits on the screen, the VMs that are not ready first."""
        if self._update is None:
            return self._spinner
        update, heard_at = self._update
        since = self._clock() - heard_at
        room = max(3, self._screen.height - _LINES_AROUND)
        shown = list(update.outcomes)
        if len(shown) > room:
            shown = sorted(shown, key=lambda outcome: outcome.ready)[:room]
            kept = {outcome.id for outcome in shown}
            shown = [outcome for outcome in update.outcomes if outcome.id in kept]
        times = {outcome.id: duration(update.lasting.get(outcome.id, 0) + since) for outcome in shown}
        ready = sum(outcome.ready for outcome in update.outcomes)
        summary = f"{ready} of {len(update.outcomes)} customized after {duration(update.wait_seconds + since)}"
        hidden = len(update.outcomes) - len(shown)
        if hidden:
            counts = Counter(status_words(outcome) for outcome in update.outcomes)
            totals = ", ".join(f"{count} {status}" for status, count in counts.most_common())
            summary += f"; {hidden} more not shown, in all {totals}"
        return Group(_table(shown, "for", times), Text(summary, style="bold"))


def show(report: GateReport, output: str, *, is_wait: bool = True) -> None:
    """Writes a report to standard output.

    Args:
        report: The report.
        output: "text", or "json": one document, and the last sentence on standard error.
        is_wait: Whether to print how the wait ended, in addition to the status of each VM.
    """
    end = list(_conclusion(report)) if is_wait else []
    if output == "json":
        typer.echo(json.dumps(report_document(report), indent=2))
    else:
        _show_text(report)
    for line in end:
        typer.echo(line, err=output == "json")


def _show_text(report: GateReport) -> None:
    screen = console(stderr=False)
    if not screen.is_terminal:
        for outcome in report.outcomes:
            typer.echo("\n".join(_lines(outcome)))
        return
    took = {o.id: "" if o.customization_seconds is None else duration(o.customization_seconds) for o in report.outcomes}
    screen.print(_table(report.outcomes, "took", took))
    for outcome in report.outcomes:
        if not outcome.ready:
            screen.print("\n".join(_lines(outcome)), style=_STYLES[outcome.status])


def _lines(outcome: VmOutcome) -> Iterator[str]:
    yield f"{label(outcome)}  {outcome_line(outcome)}"
    if outcome.failure is not None:
        yield from (f"  {sanitize(line)}" for line in outcome.failure.diagnosis)


def _conclusion(report: GateReport) -> Iterator[str]:
    """Yields how the wait ended and what to do: the sentences of a failure that are not about one VM."""
    if report.ready:
        count = len(report.outcomes)
        yield f"{count} of {count} customized after {duration(report.wait_seconds)}"
        return
    yield headline(report)
    yield from advice_lines(report, PHRASES)


def _table(outcomes: Sequence[VmOutcome], heading: str, times: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("VM", no_wrap=True, max_width=_LONGEST_NAME)
    table.add_column("ID", no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True, min_width=len("CustomizationSucceeded"))
    table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("host name", no_wrap=True, overflow="ellipsis")
    table.add_column("addresses", no_wrap=True, overflow="ellipsis")
    for outcome in outcomes:
        cells: list[Any] = [
            sanitize(outcome.key, _LONGEST_NAME),
            sanitize(outcome.id),
            Text(status_words(outcome), style=_STYLES[outcome.status]),
            times[outcome.id],
            sanitize(outcome.host_name),
            sanitize(", ".join(outcome.ip_addresses)),
        ]
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return table


def show_events(events: Sequence[Event], names: dict[str, str]) -> None:
    """Writes a line for each event: its time, its VM, its class and its message."""
    labels = {moid: _label_of(moid, names) for moid in names}
    width = max(map(len, labels.values()), default=0)
    longest = max((len(event.name) for event in events), default=0)
    for event in events:
        parts = [sanitize(event.message), event.reason and f"reason: {sanitize(event.reason)}"]
        parts.append(event.log_location and f"guest log: {sanitize(event.log_location)}")
        details = "; ".join(part for part in parts if part)
        when = f"{event.at:%Y-%m-%d} {clock_time(event.at)}"
        typer.echo(f"{when}  {labels[event.vm]:<{width}}  {event.name:<{longest}}  {details}".rstrip())


def show_missing_events(events: Sequence[Event], incomplete: dict[str, str], names: dict[str, str]) -> None:
    """Writes to standard error of which VMs not all events could be read, and why, or that there are none."""
    for moid, why in incomplete.items():
        typer.echo(f"customization-gate: not all events of {_label_of(moid, names)} could be read: {why}", err=True)
    if not events and not incomplete:
        typer.echo("no events: nothing happened, or vCenter no longer keeps the events", err=True)


def _label_of(moid: str, names: dict[str, str]) -> str:
    return f"{sanitize(names[moid], _LONGEST_NAME)} ({moid})"
