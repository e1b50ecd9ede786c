"""The gate from a program in TypeScript, by its plugin; and what the plugin says where something is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import workspace
from lab.paths import ROOT, Home, digest, locked, read_text

if TYPE_CHECKING:
    from tests.stack.engine import Engine

HERE = Path(__file__).parent / "typescript"
PLUGIN = ROOT / "components" / "pulumi-resource-customization-gate"


@pytest.fixture(scope="module")
def program() -> Path:
    """The compiled program, with the packages that it needs beside it; both are made once for a checkout."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm on PATH, so no program in TypeScript")
    folder = Home().path / "typescript"
    sources = [HERE / name for name in ("package.json", "package-lock.json", "tsconfig.json", "program.ts")]
    with locked(Home().path / "typescript.lock", "setting up TypeScript"):
        stamp, wanted = folder / "digest", digest(files=sources)
        if read_text(stamp) != wanted:
            folder.mkdir(exist_ok=True)
            for source in sources:
                shutil.copy(source, folder)
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=250)
            compiler = folder / "node_modules" / ".bin" / "tsc"
            subprocess.run([compiler], cwd=folder, check=True, capture_output=True, timeout=60)
            stamp.write_text(wanted, encoding="utf-8")
    return folder / "program.js"


def _up(engine: Engine, program: Path, folder: Path, **arguments: Any) -> subprocess.CompletedProcess[str]:
    cli = Path(shutil.which(engine._command.command) or "pulumi")
    variables = {
        **os.environ,
        **engine._variables,
        "PATH": os.pathsep.join([str(PLUGIN.parent), str(cli.parent), os.environ["PATH"]]),
        "VSPHERE_PASSWORD": engine.lab.password,
        "GATE_STACK": engine.unique("typescript"),
        "GATE_WORK": str(folder),
        "GATE_CONFIG": json.dumps({key: {"value": value} for key, value in workspace.connection(engine.lab).items()}),
        "GATE_ARGS": json.dumps(arguments),
    }
    node = shutil.which("node") or "node"
    return subprocess.run(
        [node, str(program)], env=variables, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_program_in_typescript_waits_at_the_gate(engine: Engine, program: Path, tmp_path: Path) -> None:
    """Maps and scalars cross over, the statuses come back, and so does what lies behind the gate."""
    vms = {"web": engine.machine(engine.unique("web"), duration="1s")}
    done = _up(engine, program, tmp_path, vms=vms, timeout=60, startTimeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ready": True, "statuses": {"web": "CustomizationSucceeded"}, "behind": vms}


def test_a_failure_reads_the_same_in_typescript(engine: Engine, program: Path, tmp_path: Path) -> None:
    """The report of the machines reaches a program in another language."""
    moid = engine.machine(engine.unique("web"), outcome="CustomizationFailed", message="no luck")
    done = _up(engine, program, tmp_path, vms={"web": moid})
    assert done.returncode == 1
    assert "customization failed on 1 of 1 VM" in done.stderr
    assert "no luck" in done.stderr


def _start(**variables: str) -> str:
    """Starts the plugin where something is missing, and returns what it says."""
    done = subprocess.run([str(PLUGIN)], env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_a_missing_environment_is_named() -> None:
    """The error names the variable that is wrong, and what it must name."""
    said = _start(PATH="/usr/bin:/bin", PULUMI_RUNTIME_VIRTUALENV="/no/such")
    assert "/no/such/bin/python was not found. Set PULUMI_RUNTIME_VIRTUALENV" in said


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    """The error names the environment without the package, and the command that installs it."""
    venv.create(tmp_path / "empty", with_pip=False)
    said = _start(PATH="/usr/bin:/bin", PULUMI_RUNTIME_VIRTUALENV=f"{tmp_path}/empty/")
    assert f"{tmp_path}/empty/bin/python cannot load the package pulumi-customization-gate" in said
    assert "ModuleNotFoundError" in said
    assert "-m pip install /path/to/clone" in said
    assert "Traceback" not in said


def test_a_missing_launcher_is_named() -> None:
    """Without the CLI's own launcher of dynamic resources nothing would run; that is told first."""
    inherited = {key: value for key, value in os.environ.items() if key == "PYTHONPATH"}
    said = _start(PATH="/usr/bin:/bin", PULUMI_RUNTIME_VIRTUALENV=sys.prefix, **inherited)
    assert "pulumi-resource-pulumi-python is not on PATH; it comes with the Pulumi CLI" in said
