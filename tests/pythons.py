"""Runs the unit tests on every supported Python on this computer: `python -m tests.pythons`, `make test-pythons`.

Each gets an environment of its own out of requirements.lock, under `.lab/pythons/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.paths import ROOT, Home

SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
_ASK_SECONDS = 30.0


def interpreter(version: str) -> Path | None:
    """Returns the Python of this version, from PATH or among pyenv's; None where there is none."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    # pyenv's own commands are on PATH for every version, also for those that are switched off.
    candidates = [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    return next((python for python in candidates if _version(python) == version), None)


def _version(python: Path) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    command = [str(python), "-c", program]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def main() -> int:
    """Runs the tests on one Python after the other and returns the exit status."""
    results: dict[str, str] = {}
    for version in SUPPORTED:
        python = interpreter(version)
        if python is None:
            results[version] = "not here"
            continue
        print(f"\n== Python {version} ==", flush=True)  # noqa: T201 -- it talks to the person at the terminal
        folder = Home().path / "pythons" / version
        make = "import pathlib, sys; from lab.environment import make; make(pathlib.Path(sys.argv[1]))"
        done = subprocess.run([python, "-c", make, folder], cwd=ROOT, check=False)
        if done.returncode == 0:
            done = subprocess.run(
                [folder / "bin" / "python", "-m", "pytest", "-q", "tests/unit"], cwd=ROOT, check=False
            )
        results[version] = "failed" if done.returncode else "passed"
    print("", *(f"Python {version}: {result}" for version, result in results.items()), sep="\n")  # noqa: T201 -- the same
    return int("failed" in results.values())


if __name__ == "__main__":
    sys.exit(main())
