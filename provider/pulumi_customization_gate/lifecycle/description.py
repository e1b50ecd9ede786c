"""How an argument of a resource is described: once, for its check, its diff, its documentation and its schema.

A type judges a value in sentences ("expected ..., got ..."), and names itself as a Python annotation. A value that a
preview does not know is never wrong: `Type.judge` is the one place that knows unknown values.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, Literal

from pulumi_customization_gate.core.durations import seconds_of
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import NOT_GIVEN, BadInput, is_list, is_whole, shown

_EMPTY: tuple[Any, ...] = ("", [], {})
"""Values that are the same as no value."""
_LONGEST_GUESS = 100
"""The longest text in characters for which a similar word is searched: the search takes the square of the length."""


class Effect(enum.Enum):
    """What the change of an argument does."""

    REPLACES = "replaces the resource"
    JUDGES_ALL = "judges all VMs again"
    JUDGES_ALL_IF_STRICTER = "judges all VMs again if it asks for more, else those that are new or not ready"
    JUDGES_REMAINING = "judges the VMs that are new or not ready"
    ACTS_AGAIN = "runs the script again, or writes the file again"
    STORES = "is stored, and does nothing else"


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


@dataclass(frozen=True)
class ListOf(Type):
    """A list."""

    item: Type
    expected: str
    may_be_empty: bool = True

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not is_list(value) or not (value or self.may_be_empty):
            yield Wrong(self.expected, value)
            return
        for number, item in enumerate(value):
            for wrong in self.item.judge(item):
                yield wrong.inside(f"[{number}]")

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Sequence[self.item.annotation]  # type: ignore[name-defined]  # a type that is made at run time


@dataclass(frozen=True)
class MapOf(Type):
    """A map from names to values.

    Args:
        item: What each value is.
        expected: What the map is.
        name: What each name is; a message shows no more of a wrong one than `shown_name` returns.
        shown_name: Returns what of a name may be shown.
    """

    item: Type
    expected: str
    name: Text
    shown_name: Callable[[str], str] = lambda name: name

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, Mapping):
            yield Wrong(self.expected, value)
            return
        for name, item in value.items():
            place = f"[{shown(self.shown_name(str(name)))}]"
            if any(self.name.judge(name)):
                yield Wrong(self.name.expected, place=place)
                continue
            for wrong in self.item.judge(item):
                yield wrong.inside(place)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Mapping[str, self.item.annotation]  # type: ignore[name-defined]  # a type that is made at run time


@dataclass(frozen=True)
class OneOrPerVm(Type):
    """One value for all VMs, or a map of values by the VMs' keys."""

    item: Text

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived here, a field in others
        """What it takes."""
        return f"{self.item.expected}, or a map of them by the keys of vms"

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, Mapping):
            for wrong in self.item.judge(value):
                yield wrong.inside("", self.expected)
            return
        if not value:
            yield Wrong(self.expected, value)
        for key, item in value.items():
            for wrong in self.item.judge(item):
                yield wrong.inside(f"[{shown(key)}]", self.expected)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return str | Mapping[str, str]


@dataclass(frozen=True)
class MapOrListOfAnything(Type):
    """A map or a list of anything."""

    expected: str

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, Mapping) and not is_list(value):
            yield Wrong(self.expected, value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class VmReferences(Type):
    """References of VMs: a list, or a map from keys of the user's own.

    It judges the form; whether a text is a reference depends on the platform.
    """

    expected: str
    key_expected: str

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if isinstance(value, str) or not isinstance(value, Mapping | Sequence) or not value:
            yield Wrong(self.expected, value)
            return
        for key, reference in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(key, str) and not key.strip():
                yield Wrong(self.key_expected, key)
            if not is_unknown(reference) and not (isinstance(reference, str) and reference.strip()):
                yield Wrong(self.expected, reference, f"[{shown(key)}]")

    def normalized(self, value: Any) -> Any:
        """Returns a list in order, which is not a change."""
        if isinstance(value, list) and not any(map(is_unknown, value)):
            return sorted(value, key=str)
        return value

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Record(Type):
    """A map with fixed names, one of which says of what kind it is.

    Args:
        kind: The kind.
        example: The record as JSON.
        fields: What it takes beside the kind.
    """

    kind: str
    example: str
    fields: tuple[Argument, ...]

    def _judge(self, value: Any) -> Iterator[Wrong]:
        example = f", for example {self.example}"
        for field in self.fields:
            given = value.get(field.name)
            if given is None and field.is_required:
                yield Wrong(f"{field.type.expected}{example}", None, f".{field.name}")
            elif given is not None:
                for wrong in field.type.judge(given):
                    yield wrong.inside(f".{field.name}", f"{field.type.expected}{example}")
        names = [field.name for field in self.fields]
        for name in value:
            if name not in ("kind", *names):
                yield Wrong(f"options of {self.kind}{example}", name, hint=nearest(name, names))

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return Mapping[str, Any]


@dataclass(frozen=True)
class OneOfKinds(Type):
    """A map whose `kind` says which of some records it is."""

    records: tuple[Record, ...]

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived here, a field in others
        """What it takes, with the first kind's example."""
        return f"a map with a kind, for example {self.records[0].example}"

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, Mapping):
            yield Wrong(self.expected, value)
            return
        kind = value.get("kind")
        if is_unknown(kind):
            return
        record = next((record for record in self.records if record.kind == kind), None)
        if record is None:
            kinds = [record.kind for record in self.records]
            expected = f"{' or '.join(map(repr, kinds))}, for example {self.records[0].example}"
            yield Wrong(expected, kind, ".kind", nearest(kind, kinds))
        else:
            yield from record.judge(value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return reduce(or_, (record.annotation for record in self.records))


@dataclass(frozen=True)
class Argument:
    """One argument of a resource, or one option of a check."""

    name: str
    type: Type
    text: str
    """What it means, a sentence for a table."""
    effect: Effect = Effect.STORES
    default: Any = None
    default_text: str = ""
    """What the default is where it is not one value."""
    is_required: bool = False
    is_hidden: bool = False
    """Whether no message shows its value: it may hold a secret by what it is for."""

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[BadInput]:
        """Yields what is wrong with this argument among a resource's inputs."""
        value = inputs.get(self.name)
        if value is None and not self.is_required:
            return
        for wrong in self.type.judge(value):
            yield BadInput(self.name, wrong.expected, wrong.given, wrong.place, wrong.hint)

    def value_of(self, inputs: Mapping[str, Any]) -> Any:
        """Returns the value as it counts: the default where nothing is given, in the form in which it is compared."""
        value = inputs.get(self.name)
        return self.default if value is None or value in _EMPTY else self.type.normalized(value)

    def is_changed(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Whether the new inputs change this argument, or may change it: an unknown value equals no other."""
        return bool(self.value_of(olds) != self.value_of(news))


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
