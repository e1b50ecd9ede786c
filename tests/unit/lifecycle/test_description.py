"""Each argument is described once: what users write, what components hand on and the README follow the description."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pulumi
import pytest

from pulumi_customization_components import GateArgs
from pulumi_customization_gate import Check, CustomizationGate, GuestFile, GuestScript
from pulumi_customization_gate.lifecycle.arguments import GATE
from pulumi_customization_gate.lifecycle.checks import KINDS
from pulumi_customization_gate.lifecycle.description import Argument, Effect
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.gate import OUTPUTS
from pulumi_customization_gate.lifecycle.guest_description import FILE, SCRIPT
from pulumi_customization_gate.resources.movable import Host

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


class Plain:
    """Replaces `pulumi.Input`: the type of a value that is known."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item


HINTS = {
    "Mapping": Mapping,
    "Sequence": Sequence,
    "Check": Check,
    "Host": Host,
    "Input": Plain,
    "Output": pulumi.Output,
    "ResourceOptions": pulumi.ResourceOptions,
}
LOCAL = ("script_path", "source", "opts", "resource_name", "self", "host")
"""Parameters that are no inputs of the resource, or whose form is that of the computer that runs the program."""


def form(annotation: Any) -> Any:
    """Returns the form of a plain value: without resources and None."""
    origin, args = get_origin(annotation), get_args(annotation)
    if is_typeddict(annotation):
        return ("map", Any)
    if origin in (Union, types.UnionType):
        forms = {form(arg) for arg in args if not _is_wrapper(arg)}
        return forms.pop() if len(forms) == 1 else frozenset(forms)
    if origin is Literal:
        return args
    if origin in (Sequence, list):
        return ("list", form(args[0]))
    if origin in (Mapping, dict):
        return ("map", form(args[1]))
    return annotation


def _is_wrapper(annotation: Any) -> bool:
    return annotation is type(None) or (inspect.isclass(annotation) and issubclass(annotation, pulumi.Resource))


def described(arguments: Sequence[Argument]) -> dict[str, Any]:
    return {argument.name: form(argument.type.annotation) for argument in arguments if argument.name not in LOCAL}


@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        pytest.param(CustomizationGate, GATE, id="gate"),
        pytest.param(GuestScript, SCRIPT, id="script"),
        pytest.param(GuestFile, FILE, id="file"),
    ],
)
def test_a_resource_takes_what_is_described(resource: type[pulumi.Resource], arguments: Sequence[Argument]) -> None:
    """The parameters of a constructor and their types are those of the description."""
    hints = get_type_hints(resource.__init__, None, HINTS)
    given = {name: form(hint) for name, hint in hints.items() if name not in (*LOCAL, "return")}
    assert given == described(arguments)
    assert set(inspect.signature(resource).parameters) - set(LOCAL) == set(given)


def test_components_hand_on_what_is_described() -> None:
    """A component's gate takes all but the VMs and the platform, which the component knows."""
    expected = {name: kind for name, kind in described(GATE).items() if name not in {"vms", "platform"}}
    assert {name: form(hint) for name, hint in get_type_hints(GateArgs, None, HINTS).items()} == expected


def test_each_kind_of_check_has_a_type() -> None:
    """A TypedDict per kind, with the options that the kind takes, required where the kind needs them."""
    types_by_kind = {get_args(get_type_hints(kind, None, HINTS)["kind"])[0]: kind for kind in get_args(Check)}
    assert list(types_by_kind) == [record.kind for record in KINDS]
    for record in KINDS:
        kind: Any = types_by_kind[record.kind]
        hints = {name: form(hint) for name, hint in get_type_hints(kind, None, HINTS).items() if name != "kind"}
        assert hints == {field.name: form(field.type.annotation) for field in record.fields}
        assert kind.__required_keys__ == {"kind", *(field.name for field in record.fields if field.is_required)}


def test_the_outputs_are_those_of_the_resource() -> None:
    """Every output that is described is an attribute with a type, and the other way round."""
    assert list(get_type_hints(CustomizationGate, None, HINTS))[-len(OUTPUTS) :] == list(OUTPUTS)


def test_the_readme_has_a_row_for_each_argument() -> None:
    """The table names the arguments in the described order, with their defaults."""
    table = README.partition("\n## Arguments\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", table, re.MULTILINE)
    assert rows == [(argument.name, default_of(argument)) for argument in GATE]


def default_of(argument: Argument) -> str:
    if argument.default_text:
        return argument.default_text
    if isinstance(argument.default, bool):
        return f"`{argument.default}`"
    return f'`"{argument.default}"`' if isinstance(argument.default, str) else f"{argument.default:g}"


@pytest.mark.parametrize("argument", [*GATE, *SCRIPT, *FILE], ids=lambda argument: argument.name)
def test_a_description_is_whole(argument: Argument) -> None:
    """Each argument has a meaning, what it expects, and a default or a reason why there is none."""
    assert argument.text
    assert argument.type.expected
    assert argument.is_required or argument.default is not None or argument.default_text
    assert list(argument.type.judge(UNKNOWN)) == []
    if argument.default is not None:
        assert list(argument.type.judge(argument.default)) == []


def test_every_effect_is_used() -> None:
    """What a change can do is what some argument's change does."""
    assert {argument.effect for argument in (*GATE, *SCRIPT, *FILE)} == set(Effect)
