"""The native provider from a program in TypeScript, which needs the npm package of Pulumi and no language host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from lab import workspace
from lab.paths import Home
from tests import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.engine import Engine


@pytest.fixture(scope="module")
def program() -> Path:
    """The compiled program."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on PATH, so no program in TypeScript")
    return prepare.typescript(npm, Home())


def _run(engine: Engine, program: Path, folder: Path, **wanted: Any) -> subprocess.CompletedProcess[str]:
    settings = workspace.for_both_hosts(workspace.connection(engine.lab))
    variables = {
        **os.environ,
        **engine._variables,
        "PATH": os.pathsep.join([str(engine.cli.parent), engine._variables["PATH"]]),
        "VSPHERE_PASSWORD": engine.lab.password,
        "GATE_STACK": engine.unique("typescript"),
        "GATE_WORK": str(folder),
        "GATE_CONFIG": json.dumps({key: {"value": value} for key, value in settings.items()}),
        "GATE_ARGS": json.dumps(wanted),
    }
    node = shutil.which("node") or "node"
    return subprocess.run(
        [node, str(program)], env=variables, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_program_in_typescript_has_gate_script_file_and_function(
    engine: Engine, program: Path, tmp_path: Path
) -> None:
    """Arguments reach the gate, work waits for the gate, outputs come back, and everything is destroyed again."""
    name = engine.unique("web")
    moid = engine.vm(name, duration="1s")
    gate = {"vms": {"web": moid}, "timeout": "1m", "startTimeout": 30, "checks": [{"kind": "guest_heartbeat"}]}
    done = _run(engine, program, tmp_path, gate=gate, work=moid)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    assert outputs["waited"] > 0
    assert (outputs["results"]["web"]["hostName"], outputs["results"]["web"]["moid"]) == (name, moid)
    assert {key: outputs[key] for key in ("ready", "statuses", "said", "size")} == {
        "ready": True,
        "statuses": {"web": "CustomizationSucceeded"},
        "said": f"hello from {name}\n",
        "size": 8,
    }
    assert outputs["now"]["web"] in {"CustomizationStarted", "CustomizationSucceeded", "CustomizationNotStarted"}


def test_a_failure_reads_the_same_in_typescript(engine: Engine, program: Path, tmp_path: Path) -> None:
    """The report of the VMs reaches a program in another language."""
    moid = engine.vm(engine.unique("web"), outcome="CustomizationFailed", message="the domain refused the join")
    done = _run(engine, program, tmp_path, gate={"vms": {"web": moid}})
    assert done.returncode == 1
    assert "customization failed on 1 of 1 VM" in done.stderr
    assert "the domain refused the join" in done.stderr


def test_a_bad_argument_is_named(engine: Engine, program: Path, tmp_path: Path) -> None:
    """An argument that is wrong fails the preview, with what is expected and what was given."""
    done = _run(engine, program, tmp_path, gate={"vms": {"web": "vm-1"}, "timeout": "soon"})
    assert done.returncode == 1
    problem = "expected 1 or more seconds or a duration such as \"30m\", got 'soon'"
    assert f"timeout: {problem}" in " ".join(done.stderr.split())
