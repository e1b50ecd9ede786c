"""What a message shows of inputs that are wrong: what helps, no secret, and never much."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.lifecycle.arguments import GATE, examine
from pulumi_customization_gate.lifecycle.checks import EXAMPLES
from pulumi_customization_gate.lifecycle.guest_arguments import file_problems, script_problems
from pulumi_customization_gate.lifecycle.guest_description import FILE, SCRIPT
from pulumi_customization_gate.lifecycle.inputs import ALWAYS_HIDDEN, reasons, without_secrets

CANARY = "c4n4ry"
RESOURCES: Any = {
    "gate": (lambda inputs: examine(inputs)[0], GATE),
    "script": (script_problems, SCRIPT),
    "file": (file_problems, FILE),
}
ARGUMENTS = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for kind, (_, described) in RESOURCES.items()
    for name in (a.name for a in described)
]

TEXTS = st.sampled_from(["", CANARY, "a{99999999999}", "(" * 500, "x" * 10_000, "\0", *EXAMPLES]) | st.text()
KEYS = st.sampled_from(["kind", "value", "network", "vms", "port", "key", "color", ""]) | st.text(max_size=3)
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


def _texts(kind: str, inputs: dict[str, Any]) -> list[str]:
    return reasons(RESOURCES[kind][0](inputs), inputs)


@pytest.mark.parametrize(("kind", "name"), ARGUMENTS)
@given(value=VALUES)
def test_any_value_ends_in_short_sentences(kind: str, name: str, value: object) -> None:
    """Whatever an argument is given, it is good or it is named, and nothing is raised."""
    for text in _texts(kind, {name: value}):
        assert ": expected " in text
        assert len(text) < 6000


@pytest.mark.parametrize(("kind", "name"), ARGUMENTS)
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda canary: [[canary]], id="in a list"),
        pytest.param(lambda canary: {"a b": {"c": canary}}, id="in a map"),
        pytest.param(lambda canary: [{"kind": "host_name", "value": {"web": [canary]}}], id="in a check"),
        pytest.param(lambda canary: f"{canary}:\0(", id="in a text"),
    ],
)
def test_no_sentence_shows_a_secret(kind: str, name: str, wrap: Any) -> None:
    """Of the value of a secret argument only its type is shown."""
    inputs = {"vms": ["vm-1"], "vm": "vm-1", "secret_inputs": [name], name: wrap(CANARY)}
    texts = "\n".join(_texts(kind, inputs))
    assert CANARY not in texts


@pytest.mark.parametrize("name", ["script", "password", "on_delete", "environment", "triggers"])
def test_what_may_be_a_secret_is_hidden_though_it_is_not_marked(name: str) -> None:
    """Some inputs are secrets by what they are for."""
    assert CANARY not in str(_texts("script", {"vm": "vm-1", name: [CANARY]}))


def test_what_is_described_as_hidden_is_hidden() -> None:
    """The description of an argument says whether its value may be shown, and messages follow it."""
    assert {argument.name for argument in (*GATE, *SCRIPT, *FILE) if argument.is_hidden} == ALWAYS_HIDDEN


def test_a_secret_in_the_name_of_a_variable_is_hidden() -> None:
    """A variable that is written as NAME=VALUE is shown up to the sign."""
    (text,) = _texts("script", {"vm": "vm-1", "script": "true", "environment": {f"TOKEN={CANARY}": "x"}})
    assert text == "environment['TOKEN']: expected a name of letters, digits and _, for example \"PORT\""


def test_ten_problems_of_an_argument_are_listed_and_the_others_counted() -> None:
    """Two thousand bad references are ten lines and a number."""
    (text,) = _texts("gate", {"vms": [f"web {number}" for number in range(2000)]})
    lines = text.splitlines()
    assert [line.partition(":")[0] for line in lines[:10]] == [f"vms[{number}]" for number in range(10)]
    assert lines[10:] == ["vms: and 1990 more"]


def test_the_values_of_secret_inputs_are_removed_from_a_message() -> None:
    """Only what is marked goes, the longest first, and the kind of a check stays."""
    checks = [{"kind": "host_name", "value": {"web": "web-canary"}}]
    inputs = {"checks": checks, "vms": {"web": "vm-1"}, "secret_inputs": ["checks"]}
    assert without_secrets("host_name: it is 'a', not 'web-canary' (vm-1)", inputs) == (
        "host_name: it is 'a', not '[secret]' (vm-1)"
    )
    assert without_secrets("web-canary", {"checks": checks}) == "web-canary"


def test_a_secret_of_several_lines_is_removed_line_by_line() -> None:
    """A message has one line of it; a password that ends with a line feed is one line, and short words stay."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\nthen\n"
    inputs = {"stdin": "hunt\n", "environment": {"KEY": key}}

    assert without_secrets("hunt MIIEvQIBADAN then", inputs) == "[secret] [secret] then"
