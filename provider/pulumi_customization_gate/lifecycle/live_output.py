"""Shows what a guest script prints while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.lifecycle.inputs import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pulumi_customization_gate.lifecycle.engine import Engine
    from pulumi_customization_gate.vsphere.guest.outcome import Outcome


class LiveOutput:
    """Logs each line of a script's output once, or shows the last one on a terminal.

    Args:
        engine: Where lines are written.
        inputs: The script's inputs; the secrets among them are removed before a line is shortened, which could cut one.
        logs_all: Whether every line is logged; else the last one is shown where a person watches.
    """

    def __init__(self, engine: Engine, inputs: Mapping[str, Any], *, logs_all: bool) -> None:
        self._engine, self._inputs, self._logs_all = engine, inputs, logs_all
        self._seen = 0
        """Bytes whose lines were logged."""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody reads it."""
        return self._logs_all or self._engine.has_terminal

    def show(self, total: int, end: bytes) -> None:
        """Takes the length of the output so far, and its end."""
        if self._logs_all:
            whole = end.rfind(b"\n") + 1
            self._log(total - len(end) + whole, end[:whole])
        else:
            lines = self._lines(end if total <= len(end) else _from_next_line(end))
            if lines:
                self._engine.log(lines[-1], lasting=False)

    def finish(self, outcome: Outcome | None) -> None:
        """Logs what had not been seen when the script ended."""
        if self._logs_all and outcome is not None:
            self._log(outcome.stdout_total, outcome.stdout.encode())

    def _log(self, total: int, end: bytes) -> None:
        """Logs the lines of an output that ends here, as far as they are new and still known."""
        new = total - self._seen
        if new <= 0:
            return
        if new > len(end):
            end = _from_next_line(end)
            self._engine.log(f"({new - len(end)} bytes of output are not shown)")
        for line in self._lines(end[max(0, len(end) - new) :]):
            self._engine.log(line)
        self._seen = total

    def _lines(self, output: bytes) -> list[str]:
        text = without_secrets(output.decode("utf-8", errors="replace"), self._inputs)
        return [line for line in map(sanitize, text.splitlines()) if line]


def _from_next_line(end: bytes) -> bytes:
    """Returns what follows the first line, which may begin within a secret."""
    return end.partition(b"\n")[2]
