"""What is wrong with a resource's inputs, in sentences that show no secret and stay short however much is wrong.

The engine prints the whole value of the property that a `CheckFailure` names, secret or not, once for each failure.
So no failure names a property: the sentence names the argument, and shows of its value what may be shown.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.spelling import spelled

SECRET_INPUTS = "secret_inputs"  # noqa: S105 -- the name of an input
"""The input in which a resource lists those of its inputs that the program marked as secrets.

The engine decrypts secrets before it passes inputs to a dynamic provider, so the provider does not see which they are.
"""
VM_UUIDS = "vm_uuids"
"""The input in which a gate names the UUIDs of those VMs that are resources of the program, in the form of `vms`.

It belongs to no argument, so that it is no change for a gate that was made without it.
"""
VM_URNS = "vm_urns"
"""The input in which a gate names the URNs of those VMs, in the same form and for the same reason.

A failure says with them what to replace.
"""
ALWAYS_HIDDEN = frozenset(
    {"arguments", "content", "environment", "on_delete", "on_update", "password", "script", "stdin", "triggers"}
)
"""Inputs that may hold a secret by what they are for, whether the program marked it or not."""
MOST_PROBLEMS = 10
"""Problems that are listed of one argument."""
SHORTEST_SECRET = 4
"""Characters below which a value is too common a word to be removed from a message."""
SHORTEST_SECRET_LINE = 8
"""The same for a line of a value that has several."""

NOT_GIVEN = object()
"""Stands for a value that a sentence does not mention."""


@dataclass(frozen=True)
class BadInput:
    """One thing that is wrong with one argument."""

    argument: str
    expected: str
    """What the argument takes, with an example."""
    given: object = NOT_GIVEN
    place: str = ""
    """Where in the argument, for example `[3]` or `[0].port`."""
    hint: str = ""
    """What may help, derived from the value: it is left out where the value is hidden."""

    def sentence(self, name: str = "", *, is_hidden: bool) -> str:
        """Returns the argument, by a name that it may have in the program, what is expected and what was given."""
        return f"{name or self.argument}{self.place}: {self.difference(is_hidden=is_hidden)}"

    def difference(self, *, is_hidden: bool) -> str:
        """Returns what is expected and what was given, without a name."""
        expected = f"expected {self.expected}"
        if self.given is NOT_GIVEN:
            return expected
        if is_hidden:
            return f"{expected}, got {_kind(self.given)} (not shown, it may be a secret)"
        return f"{expected}, got {shown(self.given)}" + (f"; {self.hint}" if self.hint else "")


def reasons(problems: Iterable[BadInput], inputs: Mapping[str, Any]) -> list[str]:
    """Returns one text for each argument that has a problem: a line per problem, at most ten of them."""
    by_argument: dict[str, list[BadInput]] = {}
    for problem in problems:
        by_argument.setdefault(problem.argument, []).append(problem)
    texts = []
    for argument, found in by_argument.items():
        hidden, name = is_hidden(argument, inputs), spelled(argument, inputs)
        lines = [problem.sentence(name, is_hidden=hidden) for problem in found[:MOST_PROBLEMS]]
        if len(found) > MOST_PROBLEMS:
            lines.append(f"{name}: and {len(found) - MOST_PROBLEMS} more")
        texts.append("\n".join(lines))
    return texts


def reject(problems: Iterable[BadInput], inputs: Mapping[str, Any]) -> None:
    """Ends the operation if there is a problem.

    Raises:
        ConfigurationError: All problems, as `reasons` words them.
    """
    if texts := reasons(problems, inputs):
        raise ConfigurationError("\n".join(texts))


def is_hidden(argument: str, inputs: Mapping[str, Any]) -> bool:
    """Whether no message shows the argument's value."""
    return argument in ALWAYS_HIDDEN or argument in (inputs.get(SECRET_INPUTS) or ())


def without_secrets(text: str, inputs: Mapping[str, Any]) -> str:
    """Removes the values of secret inputs from a message that others worded: a guest, a server, or a check's reason."""
    names = {"password", "environment", "stdin", *(inputs.get(SECRET_INPUTS) or ())}
    values = [_without_kinds(inputs.get(name)) if name == "checks" else inputs.get(name) for name in names]
    secrets = {secret for text in texts_in(values) for secret in _shown_parts(text)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def _shown_parts(secret: str) -> Iterator[str]:
    """Yields a secret, and its lines, as a message has them: most messages are made of single lines."""
    lines = [line.strip() for line in secret.splitlines() if line.strip()]
    shortest = SHORTEST_SECRET if len(lines) == 1 else SHORTEST_SECRET_LINE
    if len(secret) >= SHORTEST_SECRET:
        yield secret.strip("\r\n") or secret
    yield from (line for line in lines if len(line) >= shortest)


def _without_kinds(checks: object) -> object:
    """Leaves the kinds of the checks in a message: they say what was not fulfilled."""
    if not isinstance(checks, Sequence):
        return checks
    return [{**check, "kind": None} if isinstance(check, Mapping) else check for check in checks]


def texts_in(value: object) -> Iterator[str]:
    """Yields every string in a value, without the keys of its maps: those are never secrets."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from texts_in(item)


def shown(value: object) -> str:
    """Returns a value as a message shows it: on one line, and shortened."""
    return "nothing" if value is None else _SHORT.repr(value)


class _Short(reprlib.Repr):
    """Shortens strings, lists, maps and what is nested in them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80
        self.maxlevel = 3

    def repr_float(self, value: float, _level: int) -> str:
        """Shows 1800.0 as 1800: the engine hands over every number as a float."""
        return f"{value:g}"

    def repr_int(self, value: int, level: int) -> str:
        """Shows a number of any length."""
        return super().repr_int(value, level) if is_number(value) else "a number with hundreds of digits"

    def repr__Unknown(self, _value: object, _level: int) -> str:  # noqa: N802 -- reprlib looks it up by the type's name
        """Shows what preview does not know yet."""
        return "a value that is not known yet"


_SHORT = _Short()


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "a string" if value.strip() else "an empty string"
    for types, name in ((bool, "a boolean"), (int | float, "a number"), (Mapping, "a map"), (Sequence, "a list")):
        if isinstance(value, types):
            return name
    return "another kind of value"


def is_list(value: object) -> bool:
    """Whether a value is a list."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether a value is a number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any, least: int, most: int) -> bool:
    """Whether a value is a whole number within limits."""
    return is_number(value) and float(value).is_integer() and least <= value <= most
