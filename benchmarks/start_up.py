"""How long the package takes to be imported, and the command to print its help."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

from lab.paths import ROOT, LabError

PACKAGE = "pulumi_customization_gate"
RUNS = 5
MOST_IMPORT, MOST_HELP = 0.1, 0.5
"""The targets, in seconds."""
_IMPORT = f"import time; began = time.perf_counter(); import {PACKAGE}; print(time.perf_counter() - began)"
_HELP = f"from {PACKAGE}.command_line import main; main()"


@dataclass(frozen=True)
class StartUp:
    """The medians of RUNS processes, in seconds."""

    imported: float
    """The import alone, in a process that has started."""
    help: float
    """A whole process of the command."""


def measure() -> StartUp:
    """Measures both.

    Raises:
        LabError: A process failed.
    """
    _run(_HELP, "--help")  # the first one compiles
    imports = [float(_run(_IMPORT)) for _ in range(RUNS)]
    helps = []
    for _ in range(RUNS):
        began = time.monotonic()
        _run(_HELP, "--help")
        helps.append(time.monotonic() - began)
    return StartUp(median(imports), median(helps))


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise LabError(f"a process ended with exit status {done.returncode}: {done.stderr}")
    return done.stdout
