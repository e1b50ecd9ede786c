"""What is imported when: not before it is used, and by several threads at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lab.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = ROOT / "provider" / "pulumi_customization_gate"
IN_THREADS = sorted(
    path
    for path in LIBRARY.rglob("*.py")
    if path.relative_to(LIBRARY).parts[0] not in {"command_line", "timeline", "policies"}
)
"""The modules that a provider may import during a call, beside other calls."""
LOADED = {"google", "pulumi", "pulumi_customization_gate", *sys.stdlib_module_names}
"""The packages that are loaded before the first call, or whose parts do not import each other in a circle."""


@pytest.mark.parametrize(
    ("module", "costly"),
    [
        pytest.param(
            "pulumi_customization_gate", ("pulumi", "pyVmomi", "requests", "typer", "rich", "matplotlib"), id="package"
        ),
        pytest.param(
            "pulumi_customization_gate.command_line.application",
            ("pulumi", "pyVmomi", "requests", "matplotlib", "grpc", "ssl", "pulumi_customization_gate.core.model"),
            id="command",
        ),
        pytest.param("pulumi_customization_gate.platforms", ("pulumi", "pyVmomi", "requests"), id="platforms"),
        pytest.param("pulumi_customization_gate.plugin.server", ("pyVmomi", "requests"), id="native provider"),
        pytest.param("pulumi_customization_gate.lifecycle.gate", ("pulumi", "pyVmomi", "grpc"), id="lifecycle"),
    ],
)
def test_what_costs_time_is_imported_when_it_is_used(module: str, costly: tuple[str, ...]) -> None:
    """The package, the command and the rules about inputs need no SDK, and none of these a client library."""
    code = f"import sys, {module}; print([name for name in {costly} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "[]\n"


def entered_at_a_part(path: Path) -> Iterator[str]:
    """Yields the parts of libraries that a module imports without their whole before."""
    whole = set(LOADED)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            package = name.partition(".")[0]
            if package == name:
                whole.add(package)
            elif package not in whole:
                yield name


def test_a_library_is_imported_whole_before_a_part_of_it() -> None:
    """Of two threads of which one begins with a part, for example `requests.utils`, one sees the library unfinished.

    Such a gate failed beside a script: "cannot import name ... from partially initialized module".
    """
    found = {path.name: parts for path in IN_THREADS if (parts := list(entered_at_a_part(path)))}
    assert found == {}
