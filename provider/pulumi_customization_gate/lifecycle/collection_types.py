"""What an argument takes: lists, maps and references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import is_list, shown
from pulumi_customization_gate.lifecycle.value_types import Text, Type, Wrong

if TYPE_CHECKING:
    from pulumi_customization_gate.lifecycle.spelling import Spelling


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

    def respelled(self, value: Any, spelling: Spelling) -> Any:
        """Returns a list whose items have another spelling."""
        return [self.item.respelled(item, spelling) for item in value] if is_list(value) else value

    def in_spelling(self, spelling: Spelling) -> Type:
        """Returns a list of such items."""
        return replace(self, item=self.item.in_spelling(spelling))

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
