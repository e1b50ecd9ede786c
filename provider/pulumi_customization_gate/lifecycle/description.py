"""How an argument of a resource is described: once, for its check, its diff, its documentation and its schema."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import BadInput
from pulumi_customization_gate.lifecycle.outputs import respelled
from pulumi_customization_gate.lifecycle.spelling import is_native, to_camel_case
from pulumi_customization_gate.lifecycle.value_types import Type, Wrong, nearest

if TYPE_CHECKING:
    from pulumi_customization_gate.lifecycle.spelling import Spelling

_EMPTY: tuple[Any, ...] = ("", [], {})
"""Values that are the same as no value."""


class Effect(enum.Enum):
    """What the change of an argument does."""

    REPLACES = "replaces the resource"
    JUDGES_ALL = "judges all VMs again"
    JUDGES_ALL_IF_STRICTER = "judges all VMs again if it asks for more, else those that are new or not ready"
    JUDGES_REMAINING = "judges the VMs that are new or not ready"
    ACTS_AGAIN = "runs the script again, or writes the file again"
    STORES = "is stored, and does nothing else"


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
        kind, value = self.type, inputs.get(self.name)
        if value is None and not self.is_required:
            return
        if is_native(inputs):
            kind, value = kind.in_spelling(to_camel_case), kind.respelled(value, to_camel_case)
        for wrong in kind.judge(value):
            yield BadInput(self.name, wrong.expected, wrong.given, wrong.place, wrong.hint)

    def value_of(self, inputs: Mapping[str, Any]) -> Any:
        """Returns the value as it counts: the default where nothing is given, in the form in which it is compared."""
        value = inputs.get(self.name)
        return self.default if value is None or value in _EMPTY else self.type.normalized(value)

    def is_changed(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Whether the new inputs change this argument, or may change it: an unknown value equals no other."""
        return bool(self.value_of(olds) != self.value_of(news))


@dataclass(frozen=True)
class Record(Type):
    """A map with fixed names, one of which says of what kind it is.

    Args:
        kind: The kind.
        text: What it means.
        example: The record as JSON.
        fields: What it takes beside the kind.
    """

    kind: str
    text: str
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

    def in_spelling(self, spelling: Spelling) -> Record:
        """Returns the record with its names in another spelling."""
        return replace(self, fields=tuple(replace(field, name=spelling(field.name)[1]) for field in self.fields))

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

    def respelled(self, value: Any, spelling: Spelling) -> Any:
        """Returns a record with its names in another spelling."""
        if not isinstance(value, Mapping):
            return value
        fields = {field.name: field for record in self.records for field in record.fields}
        return respelled(value, list(fields.values()), spelling)

    def in_spelling(self, spelling: Spelling) -> OneOfKinds:
        """Returns the records with their names in another spelling."""
        return OneOfKinds(tuple(record.in_spelling(spelling) for record in self.records))

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return reduce(or_, (record.annotation for record in self.records))
