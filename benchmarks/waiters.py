"""The waiters that are compared, and how each is started against a lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import ansible_environment
from lab.paths import ROOT, Home, LabError

if TYPE_CHECKING:
    from lab.vcenter_client import Lab


@dataclass(frozen=True)
class Waiter:
    """One waiter."""

    name: str
    title: str
    """The heading of its column: its name, and whether its own code runs."""
    python: Path
    module: str
    arguments: tuple[str, ...] = ()
    slowness: float = 0.02
    """Seconds of set-up per VM."""

    def start(self, lab: Lab, ready: Path, seconds: float) -> Waiting:
        """Starts it in a process of its own, to wait for the lab's VMs for so many seconds at most."""
        command = [str(self.python), "-m", self.module, *self.arguments, str(ready), str(seconds)]
        # Ansible's module finds a certificate authority by this variable only.
        variables = {**os.environ, "SSL_CERT_FILE": lab.ca_file}
        return Waiting(self, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT))


@dataclass(frozen=True)
class Waiting:
    """A running waiter."""

    waiter: Waiter
    process: subprocess.Popen[str]

    def until_set_up(self) -> None:
        """Returns when the wait itself has started."""
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "watching":
            raise LabError(f"{self.waiter.title} ended before it started to wait")

    def result(self) -> dict[str, Any]:
        """Waits for its end and returns its report: setup, verdicts, peak_kib.

        Raises:
            LabError: It failed.
        """
        output, _ = self.process.communicate()
        if self.process.returncode:
            raise LabError(f"{self.waiter.title} ended with exit status {self.process.returncode}")
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def end(self) -> None:
        """Ends it if it still runs."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def waiters(home: Home) -> dict[str, Waiter]:
    """Returns the waiters by their names; Ansible's is missing where this Python is too old for it."""
    own, ours = Path(sys.executable), "benchmarks.candidates"
    found = [
        Waiter("gate", "customization gate", own, ours, ("gate",), slowness=0.008),
        Waiter("terraform", "Terraform (re-implemented)", own, ours, ("terraform",)),
        Waiter("powercli", "PowerCLI (re-implemented)", own, ours, ("powercli",)),
    ]
    ansible = ansible_environment.python(home)
    if ansible is not None:
        module = "benchmarks.ansible_module"
        found.insert(1, Waiter("ansible", "Ansible 12.3.0 (its own code)", ansible, module, slowness=0.1))
    return {waiter.name: waiter for waiter in found}
