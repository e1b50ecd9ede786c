"""The end of a run: its exit status, the message of an error, and Ctrl-C."""

from __future__ import annotations

import contextlib
import enum
import signal
from typing import TYPE_CHECKING

import typer

from pulumi_customization_gate.core.errors import ConfigurationError, ServerError
from pulumi_customization_gate.lifecycle.phrases import hint_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pulumi_customization_gate.core.model import GateReport


class ExitCode(enum.IntEnum):
    """The exit statuses; 130, 141 (a closed pipe) and 143 come from a signal: 128 and its number."""

    SUCCEEDED = 0
    """Every VM is customized."""
    FAILED = 1
    """At least one VM failed, was removed or has no customization."""
    USAGE = 2
    """The command line, a file it names or a setting is wrong, or standard output cannot be written."""
    UNFINISHED = 3
    """The time-out passed, or `status` found customizations that have not ended; none failed."""
    UNREACHABLE = 4
    """The server cannot be reached, is not trusted, refuses the login or stopped responding."""


def exit_code(report: GateReport) -> ExitCode:
    """Returns the exit status for a wait that no signal ended."""
    if report.ready:
        return ExitCode.SUCCEEDED
    if report.fatal_error is not None:
        return ExitCode.UNREACHABLE
    return ExitCode.UNFINISHED if report.is_unfinished else ExitCode.FAILED


class Interrupt:
    """Lets the first Ctrl-C, or SIGTERM, end a wait with its report.

    Called as the `cancelled` of a wait. Until the wait calls it for the first time, and from the second signal on,
    there is nothing to report, so the program ends at once.
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that came, 0 for none."""
        self._is_asked_for = False

    @property
    def exit_status(self) -> int:
        """The exit status of a program that a signal ended: 128 and its number."""
        return 128 + self.number

    def __call__(self) -> bool:
        """Returns whether a signal came."""
        self._is_asked_for = True
        return self.number != 0

    @contextlib.contextmanager
    def caught(self) -> Iterator[Interrupt]:
        """Catches the signals for the length of a block."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        is_first, self.number = self.number == 0, number
        if not (is_first and self._is_asked_for):
            raise SystemExit(self.exit_status)


@contextlib.contextmanager
def errors_reported(interrupt: Interrupt | None = None) -> Iterator[None]:
    """Turns an expected error into a message on standard error and an exit status."""
    try:
        yield
    except ConfigurationError as error:
        code, text = int(ExitCode.USAGE), str(error)
    except ServerError as error:
        ended_by = interrupt if interrupt is not None and interrupt.number else None
        code = ended_by.exit_status if ended_by is not None else int(ExitCode.UNREACHABLE)
        text = str(error) + hint_of(error, cancelled=ended_by is not None)
    else:
        return
    typer.echo(f"customization-gate: {text}", err=True)
    raise typer.Exit(code)
