"""The command line of lab/stack.py, run as `make` runs it, in a lab of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest import mock

import psutil

from lab import plugin
from lab.bootstrap import prepare
from lab.paths import ROOT, Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 120


@contextlib.contextmanager
def lab_of_its_own(folder: Path) -> Iterator[Home]:
    """Gives a lab that shares the programs of the checkout's own, and nothing else; it goes down at the end."""
    built = Home()
    prepare(built)
    home = Home(folder)
    for name in ("engine", "bin"):
        if (built.path / name).exists():
            (home.path / name).symlink_to(built.path / name)
    # What the real plugin makes of the lab depends on the VM; tests/lab/test_provider_calls.py replays its calls.
    with mock.patch.dict(os.environ, {plugin.VARIABLE: plugin.STAND_IN}):
        yield home
        run(home, "down")


def run(home: Home, *arguments: str) -> tuple[int, str]:
    """Runs the command line and returns its exit status and all that it printed."""
    command = [sys.executable, "-m", "lab.stack", "--home", str(home.path), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    return done.returncode, done.stdout


def row(output: str, vm: str) -> list[str]:
    """Returns the VM's times and status out of the table at the end."""
    (found,) = re.findall(rf"^ {vm} +(.*\S)", output, flags=re.MULTILINE)
    return str(found).split()


def files_with(home: Home, *secrets: str) -> list[Path]:
    """Returns the files of this lab alone that contain one of the secrets."""
    shared = {home.path / "engine", home.path / "bin"}
    own = (file for file in home.path.rglob("*") if file.is_file() and not shared & set(file.parents))
    return sorted(file for file in own if any(secret in file.read_text("utf-8", "replace") for secret in secrets))


def processes(home: Home) -> list[psutil.Process]:
    """Returns the processes of this lab: its folder is in their arguments or their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(home.path) in word for word in words):
            found.append(process)
    return found
