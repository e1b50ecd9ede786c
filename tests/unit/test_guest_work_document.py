"""The recipes of docs/guest-work.md say what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from pulumi_customization_components import GateArgs, GatedFleet, GatedVirtualMachine
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript
from pulumi_customization_gate.resources.check_arguments import EXAMPLES, check_problems

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


def test_every_check_is_told_with_a_good_example() -> None:
    """The table has a row for each kind of check, and its example is accepted."""
    rows = [json.loads(row.replace("\\|", "|")) for row in re.findall(r"^\| `(\{\"kind.*?\})` \|", TEXT, re.MULTILINE)]
    assert [row["kind"] for row in rows] == list(EXAMPLES)
    assert list(check_problems(rows, lambda _: False)) == []
