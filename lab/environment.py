"""Makes `.venv` from requirements.lock; runs with any Python from 3.10: `python3 -m lab.environment`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.paths import ROOT, Home, LabError, digest, exit_status, going_on, locked, read_text, write_private

if TYPE_CHECKING:
    from pathlib import Path

_INSTALL_SECONDS = 1800.0


def make(venv: Path = ROOT / ".venv", home: Home | None = None) -> None:
    """Makes the environment where it is missing, half-made, moved or out of date.

    There are two stamps, one for the packages of requirements.lock and one for the project itself, so that an edit of
    pyproject.toml does not install all packages again. A stamp is written only when its step is done.

    Raises:
        LabError: A step failed; its output has been shown.
    """
    home = home or Home()
    packages = digest(str(venv), files=[ROOT / "requirements.lock"])
    # An editable install finds the packages whose folders were there when it was made.
    folders = sorted(str(file.parent.relative_to(ROOT)) for file in ROOT.glob("*/*/__init__.py"))
    project = digest(packages, *folders, files=[ROOT / "pyproject.toml"])
    packages_stamp, project_stamp = venv / ".packages", venv / ".project"
    # A broken link does not exist: the Python of the environment has been removed.
    python = venv / "bin" / "python"
    if read_text(project_stamp) == project and python.exists():
        return
    with locked(home.path / "environment.lock", "setting up .venv"):
        if read_text(packages_stamp) != packages or not python.exists():
            print(f"Setting up {venv.name} from requirements.lock (usually about a minute) ...", flush=True)
            _install(venv, ROOT / "requirements.lock")
            write_private(packages_stamp, packages)
        if read_text(project_stamp) != project:
            print("Installing the project itself, editable (usually a few seconds) ...", flush=True)
            _pip(python, "--no-deps", "--no-build-isolation", "--editable", ROOT)
            write_private(project_stamp, project)


def make_from(lock: str, home: Home) -> Path:
    """Returns an environment with the packages of one of the lock files, made where it is missing.

    The project itself is not in it: PYTHONPATH brings that.

    Args:
        lock: "requirements-oldest.lock", the oldest packages that the library supports; or "requirements-plain.lock",
            those that pip chooses for the library without its extras, with protobuf 6.
        home: The lab.

    Raises:
        LabError: A step failed; its output has been shown.
    """
    name = lock.removeprefix("requirements-").removesuffix(".lock")
    venv, file = home.path / name, ROOT / lock
    wanted, stamp = digest(str(venv), files=[file]), venv / ".packages"
    with locked(home.path / f"{name}.lock", f"setting up the packages of {lock}"):
        if read_text(stamp) != wanted:
            print(f"Setting up the packages of {lock} (usually half a minute) ...", flush=True)
            _install(venv, file)
            write_private(stamp, wanted)
    return venv


def _install(venv: Path, lock: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    _run("making the virtual environment", sys.executable, "-m", "venv", venv)
    # The lock file is complete, so pip resolves nothing. The resolver of pip 23.2 takes `package[extra]` from the
    # newest release instead of the locked one, and refuses it because it has no hash here.
    _pip(venv / "bin" / "python", "--no-deps", "--require-hashes", "--requirement", lock)


def _pip(python: Path, *arguments: str | Path) -> None:
    _run("pip install", python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def _run(step: str, *command: str | Path) -> None:
    # Ctrl-C reaches pip by the terminal; a hung download is ended by the time-out.
    try:
        with going_on(step):
            subprocess.run(command, check=True, timeout=_INSTALL_SECONDS, env={**os.environ, "PYTHONPATH": ""})
    except subprocess.CalledProcessError as error:
        raise LabError(f"{step} failed with exit status {error.returncode}; run it again") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{step} took longer than {_INSTALL_SECONDS:.0f} seconds and was ended") from error


if __name__ == "__main__":
    sys.exit(exit_status(make))
