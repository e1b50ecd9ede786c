"""The core knows no vendor, no Pulumi and no argument of a resource or a command."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate import core

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = sorted(Path(core.__file__).parent.glob("*.py"))
ARGUMENTS = r"\bvms\b(?!})|\bexpect=|`|--[a-z]|start_timeout|ready_when|on_failure|config_namespace"


def code_of(module: Path) -> str:
    """Returns a module's text without the name of the package, which is in every import."""
    return module.read_text(encoding="utf-8").replace("pulumi_customization_gate", "")


def sentences(module: Path) -> Iterator[str]:
    """Yields the strings of a module that may be shown: all but docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_no_word_of_a_vendor_or_of_pulumi(module: Path) -> None:
    """A platform turns its words into the core's, and a door has its own sentences."""
    assert re.findall(r"pulumi|TOOLSDEPLOYPKG|\bGC_", code_of(module), re.IGNORECASE) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_no_sentence_names_an_argument(module: Path) -> None:
    """The code that shows a report has the sentences about what to do, with its own arguments."""
    assert [text for text in sentences(module) if re.search(ARGUMENTS, text)] == []
