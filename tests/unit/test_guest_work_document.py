"""The recipes and tables of docs/guest-work.md say what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from pathlib import Path

import pytest

from pulumi_customization_components import GateArgs, GatedFleet, GatedVirtualMachine
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript
from pulumi_customization_gate.lifecycle.checks import CHECKS, EXAMPLES

TEXT = (Path(__file__).parents[2] / "docs" / "guest-work.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
CALLS = {
    "CustomizationGate": CustomizationGate,
    "GatedFleet": GatedFleet,
    "GatedVirtualMachine": GatedVirtualMachine,
    "GuestScript": GuestScript,
    "script": GuestScript,
    "file": GuestFile,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_recipe_calls_what_there_is(program: str) -> None:
    """The programs are Python, and name arguments that exist."""
    for node in ast.walk(ast.parse(program)):
        if not isinstance(node, ast.Call):
            continue
        called = CALLS.get(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        if called is None:
            continue
        known = inspect.signature(called).parameters
        assert [word.arg for word in node.keywords if word.arg not in known] == []
        for word in node.keywords:
            if word.arg == "gate_args":
                assert isinstance(word.value, ast.Dict)
                keys = {key.value for key in word.value.keys if isinstance(key, ast.Constant)}
                assert keys <= set(GateArgs.__annotations__)


def test_every_check_is_reported_with_a_good_example() -> None:
    """The table has a row for each kind of check, and its example is accepted."""
    rows = [json.loads(row.replace("\\|", "|")) for row in re.findall(r"^\| `(\{\"kind.*?\})` \|", TEXT, re.MULTILINE)]
    assert [row["kind"] for row in rows] == list(EXAMPLES)
    assert list(CHECKS.judge(rows)) == []


REFERENCES = [GuestScript, GuestFile, GatedVirtualMachine, GatedFleet]


def table(kind: type) -> str:
    """Returns the table of a resource's arguments and outputs: what its docstrings say of them."""
    arguments = _arguments(kind)
    outputs = _outputs(kind)
    rows = ["| argument | meaning |", "|---|---|"]
    rows += [f"| `{name}` | {text} |" for name, text in arguments.items()]
    rows += ["", "| output | meaning |", "|---|---|"]
    rows += [f"| `{name}` | {text} |" for name, text in outputs.items()]
    return "\n".join(rows)


def _arguments(kind: type) -> dict[str, str]:
    """Returns what the docstring says of each argument, by its name."""
    block = inspect.cleandoc(kind.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    parts = re.split(r"^    (\w+): ", block, flags=re.MULTILINE)
    return {name: _cell(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _outputs(kind: type) -> dict[str, str]:
    """Returns the docstring of each attribute, by its name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    pairs = zip(body.body, body.body[1:], strict=False)
    return {
        ast.unparse(declared.target): _cell(str(text.value.value))
        for declared, text in pairs
        if isinstance(declared, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_tables_have_every_argument_and_output(kind: type) -> None:
    """A row for each argument and output, in the words of its docstring."""
    assert table(kind) in TEXT


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_docstrings_have_every_argument_and_output(kind: type) -> None:
    """What the tables are made of is complete."""
    assert list(_arguments(kind)) == [name for name in inspect.signature(kind).parameters if name != "self"]
    assert list(_outputs(kind)) == [name for name in kind.__annotations__ if not name.startswith("_")]
