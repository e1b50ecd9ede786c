"""Makes the environment of the Ansible waiter out of requirements-bench.lock, under `.lab/`, at its first use."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from lab.paths import ROOT, Home, digest, locked, read_text, write_private
from lab.processes import run

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_PYTHON = (3, 11)
"""What Ansible 12 asks for."""
_INSTALL_SECONDS = 1800.0


def python(home: Home) -> Path | None:
    """Returns the Python with Ansible's collections, None where this Python is too old for them.

    Raises:
        LabError: The installation failed; the next run starts cleanly.
    """
    if sys.version_info < OLDEST_PYTHON:
        return None
    venv = home.path / "ansible"
    lock, stamp = ROOT / "requirements-bench.lock", venv / ".packages"
    wanted = digest(str(venv), sys.version, files=[lock])
    interpreter = venv / "bin" / "python"
    with locked(home.path / "ansible.lock", "setting up Ansible"):
        if read_text(stamp) != wanted or not interpreter.exists():
            print("Installing Ansible from requirements-bench.lock (usually half a minute) ...", flush=True)
            shutil.rmtree(venv, ignore_errors=True)
            run("making the virtual environment", [sys.executable, "-m", "venv", str(venv)], seconds=300)
            # Without compiling: of twenty thousand modules the measurement imports a few dozen.
            pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            pip += ["--no-deps", "--require-hashes", "--requirement", str(lock)]
            run("pip install", pip, seconds=_INSTALL_SECONDS)
            write_private(stamp, wanted)
    return interpreter
