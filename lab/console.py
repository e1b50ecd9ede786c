"""Shows the output of one run of the engine as it comes, with the errors at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulumi.automation.errors import CommandError, ConcurrentUpdateError
from rich.text import Text

from lab.paths import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HEADING = re.compile(r"(Diagnostics|Policies|Outputs|Resources|Duration):")
"""The headings of the engine's closing summary."""
_WRONG = ("Diagnostics", "Policies")
"""The sections that contain errors."""
_ADVICE = ("The resources in the stack have been deleted", "If you want to remove the stack")
"""Advice at the end of `destroy` that does not apply to the lab, because its backend is deleted."""


class EngineError(LabError):
    """The engine failed; `str()` is its error output."""


def error_text(error: Exception) -> str:
    """Returns the text of an error as it is shown; the engine's own errors get no prefix."""
    return str(error) if isinstance(error, EngineError) else f"error: {error}"


def show(operation: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Runs one operation of the engine and shows its output.

    Raises:
        EngineError: The operation failed; its error output has not been shown yet.
        ConcurrentUpdateError: Another operation runs on the stack.
    """
    console = Console()
    try:
        operation(on_output=console.line, on_error=console.error, **options)
    except ConcurrentUpdateError:
        raise
    except CommandError as error:
        raise EngineError("\n".join(console.failed()).strip("\n") or str(error)) from error
    console.succeeded()


class Console:
    """Prints lines as they come, and the closing summary in an order that depends on success or failure."""

    def __init__(self) -> None:
        self._sections: dict[str, list[str]] = {}
        self._heading = ""
        self._errors: list[str] = []

    def line(self, line: str) -> None:
        """Takes a line of the engine's output."""
        if line.startswith(_ADVICE):
            return
        heading = _HEADING.match(Text.from_ansi(line).plain)
        if heading is not None:
            self._heading = heading[1]
        if self._heading:
            self._sections.setdefault(self._heading, []).append(line)
        else:
            print(line, flush=True)

    def error(self, line: str) -> None:
        """Takes a line of the engine's standard error."""
        self._errors.append(line)

    def succeeded(self) -> None:
        """Prints the summary as it came."""
        _print([*(line for section in self._sections.values() for line in section), *self._errors])

    def failed(self) -> list[str]:
        """Prints the summary without outputs, which are those of earlier runs, and returns the errors.

        The caller prints the errors last, so that they do not scroll out of view.
        """
        wrong = [line for name in _WRONG for line in self._sections.pop(name, [])]
        self._sections.pop("Outputs", None)
        _print(line for section in self._sections.values() for line in section)
        return [*wrong, *self._errors]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
