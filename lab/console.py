"""What a person sees of one run of the engine: its lines as they come, and what went wrong at the very end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulumi.automation.errors import CommandError, ConcurrentUpdateError
from rich.text import Text

from lab.paths import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HEADING = re.compile(r"(Diagnostics|Policies|Outputs|Resources|Duration):")
"""What the sections of the engine's closing summary begin with."""
_WRONG = ("Diagnostics", "Policies")
"""The sections that tell what went wrong."""
_ADVICE = ("The resources in the stack have been deleted", "If you want to remove the stack")
"""What `destroy` closes with is for somebody who runs the CLI by hand on a backend that stays."""


class EngineError(LabError):
    """The engine failed; `str()` is what it says of that."""


def told(error: Exception) -> str:
    """Returns what is shown of an error; the engine's own words need no heading."""
    return str(error) if isinstance(error, EngineError) else f"error: {error}"


def show(operation: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Runs one operation of the engine and shows what it says.

    Raises:
        EngineError: The operation failed; what it says of that has not been shown.
        ConcurrentUpdateError: Another run works on the stack.
    """
    screen = Screen()
    try:
        operation(on_output=screen.line, on_error=screen.error, **options)
    except ConcurrentUpdateError:
        raise
    except CommandError as error:
        raise EngineError("\n".join(screen.failed()).strip("\n") or str(error)) from error
    screen.succeeded()


class Screen:
    """Shows lines at once, and the sections of the closing summary in an order that depends on how the run ended."""

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
        """Shows the summary as it came."""
        _print([*(line for section in self._sections.values() for line in section), *self._errors])

    def failed(self) -> list[str]:
        """Shows the summary without outputs, for they are those of earlier runs, and returns what went wrong.

        That is for the end of the screen: what comes below an error makes it scroll away.
        """
        wrong = [line for name in _WRONG for line in self._sections.pop(name, [])]
        self._sections.pop("Outputs", None)
        _print(line for section in self._sections.values() for line in section)
        return [*wrong, *self._errors]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
