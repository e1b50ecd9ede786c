"""The native provider from a program in YAML, where the language host of YAML is on PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import workspace
from lab.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.engine import Engine


@pytest.mark.skipif(shutil.which("pulumi-language-yaml") is None, reason="there is no language host of YAML on PATH")
def test_the_example_in_yaml_runs(engine: Engine, tmp_path: Path) -> None:
    """With the launcher on PATH it needs nothing else: the gate opens, its script runs, and both are destroyed."""
    shutil.copy(ROOT / "examples" / "yaml" / "Pulumi.yaml", tmp_path)
    name = engine.unique("web")
    moid = engine.vm(name, duration="1s")
    variables = {
        **os.environ,
        **engine._variables,
        "VSPHERE_PASSWORD": engine.lab.password,
    }

    def pulumi(*arguments: str) -> str:
        done = subprocess.run(
            [engine.cli, *arguments, "--non-interactive"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    stack = engine.unique("yaml")
    pulumi("stack", "init", stack)
    settings = workspace.for_both_hosts(workspace.connection(engine.lab))
    native = {key: value for key, value in settings.items() if key.startswith("customization-gate:")}
    for key, value in {**native, "vm": moid}.items():
        pulumi("config", "set", key, value)
    shown = pulumi("up", "--yes", "--skip-preview")
    assert "CustomizationSucceeded" in shown
    outputs = json.loads(pulumi("stack", "output", "--json"))
    assert outputs["statuses"] == {"web": "CustomizationSucceeded"}
    assert outputs["host"].strip()
    pulumi("destroy", "--yes", "--skip-preview")
