"""The program `customization-gate` as people run it: a process of its own, its settings in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.vcenter_client import Lab

PROGRAM = [sys.executable, "-m", "pulumi_customization_gate.command_line"]
WAIT = 60
"""Seconds after which a run counts as hung."""


@dataclass(frozen=True)
class Shell:
    """Runs the program with settings in its environment."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*PROGRAM, *arguments],
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*PROGRAM, *arguments], env=self.environment, stdout=pipe, stderr=pipe, text=True)


def clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VSPHERE_", "VCD_", "GOVC_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"}


def connected_to(lab: Lab) -> Shell:
    """Returns a shell whose settings are those of a lab."""
    connection = {
        "VSPHERE_SERVER": lab.server,
        "VSPHERE_USER": lab.user,
        "VSPHERE_PASSWORD": lab.password,
        "VSPHERE_CA_FILE": lab.ca_file,
    }
    return Shell({**clean_environment(), **connection})
