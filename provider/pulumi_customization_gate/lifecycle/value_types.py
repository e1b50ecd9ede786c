"""What an argument takes: types of single values, which judge a value in sentences ("expected ..., got ...").

A type names itself as a Python annotation, for other descriptions of it. A value that a preview does not know is never
wrong: `Type.judge` is the one place that knows unknown values.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterator  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, replace
from typing import Any, Literal

from pulumi_customization_gate.core.durations import seconds_of
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import NOT_GIVEN, is_whole
from pulumi_customization_gate.lifecycle.spelling import Spelling  # noqa: TC001 -- the same

_LONGEST_GUESS = 100
"""The longest text in characters for which a similar word is searched: the search takes the square of the length."""


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong with a value."""

    expected: str
    given: object = NOT_GIVEN
    place: str = ""
    """Where in the value, for example `[3]` or `[0].port`."""
    hint: str = ""

    def inside(self, place: str, expected: str = "") -> Wrong:
        """Returns the same as seen from the value that holds this one."""
        return replace(self, place=place + self.place, expected=expected or self.expected)


class Type:
    """What an argument takes."""

    expected: str
    """What it takes, for messages."""

    def judge(self, value: Any) -> Iterator[Wrong]:
        """Yields what is wrong with a value; one that a preview does not know is not wrong."""
        if not is_unknown(value):
            yield from self._judge(value)

    def _judge(self, value: Any) -> Iterator[Wrong]:
        raise NotImplementedError

    def normalized(self, value: Any) -> Any:
        """Returns a value in the one form in which it is compared with another."""
        return value

    def respelled(self, value: Any, _spelling: Spelling) -> Any:
        """Returns a value whose fixed names have another spelling."""
        return value

    def in_spelling(self, _spelling: Spelling) -> Type:
        """Returns the type of such values, which names them in its messages in that spelling."""
        return self

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value, for annotations."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Type):
    """A string.

    Args:
        expected: What it takes.
        find_fault: Returns None for a good string, else a hint, which may be empty.
    """

    expected: str
    find_fault: Callable[[str], str | None] = lambda text: None if text.strip() else ""

    def _judge(self, value: Any) -> Iterator[Wrong]:
        hint = self.find_fault(value) if isinstance(value, str) else ""
        if hint is not None:
            yield Wrong(self.expected, value, hint=hint)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return str


@dataclass(frozen=True)
class WholeNumber(Type):
    """A whole number within limits."""

    expected: str
    least: int
    most: int

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not is_whole(value, self.least, self.most):
            yield Wrong(self.expected, value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return int


@dataclass(frozen=True)
class WholeChoice(Type):
    """One of some whole numbers."""

    choices: tuple[int, ...]

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived here, a field in others
        """The numbers."""
        return " or ".join(map(str, self.choices))

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not is_whole(value, min(self.choices), max(self.choices)) or value not in self.choices:
            yield Wrong(self.expected, value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Literal[self.choices]


@dataclass(frozen=True)
class Boolean(Type):
    """True or false."""

    expected: str = "true or false"

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, bool):
            yield Wrong(self.expected, value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return bool


@dataclass(frozen=True)
class Choice(Type):
    """One of some words."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived here, a field in others
        """The words."""
        return " or ".join(map(repr, self.choices))

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if value not in self.choices:
            yield Wrong(self.expected, value, hint=nearest(value, self.choices))

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Literal[self.choices]


@dataclass(frozen=True)
class Duration(Type):
    """A length of time: seconds, or a text such as "30m".

    Args:
        example: A text.
        least: The shortest length in seconds; without it, any that is above 0.
    """

    example: str
    least: float | None = None

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived here, a field in others
        """What it takes, with the example."""
        number = "a positive number of seconds" if self.least is None else f"{self.least:g} or more seconds"
        return f'{number} or a duration such as "{self.example}"'

    def _judge(self, value: Any) -> Iterator[Wrong]:
        seconds = seconds_or_none(value)
        if seconds is None or (seconds <= 0 if self.least is None else seconds < self.least):
            yield Wrong(self.expected, value)

    def normalized(self, value: Any) -> Any:
        """Returns the seconds."""
        seconds = seconds_or_none(value)
        return value if seconds is None else seconds

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return float | str


def seconds_or_none(value: object) -> float | None:
    """Returns a length of time in seconds, None where the value is not one."""
    try:
        seconds = seconds_of(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def nearest(word: object, choices: Collection[str]) -> str:
    """Returns a hint that names the choice that was probably meant, or nothing."""
    if not isinstance(word, str) or len(word) > _LONGEST_GUESS:
        return ""
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
