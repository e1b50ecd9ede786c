"""Tries the installed vSphere plugin: the example comes up, has nothing to change, and goes away again.

`python -m lab.plugin_trial FOLDER PULUMI` works in a lab whose vCenter runs, and prints what went wrong, or nothing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pulumi.automation.errors import CommandError

from lab import vcenter_client
from lab.bootstrap import Tools
from lab.engine_run import Run
from lab.paths import Home, LabError
from lab.platforms.vsphere import Vsphere
from pulumi_customization_gate.core.text import sanitize

_LONGEST = 200


def fault(home: Home, pulumi: Path) -> str:
    """Returns the first thing that goes wrong, in one line; nothing where all goes well.

    Raises:
        LabError: No vCenter runs in this lab.
    """
    lab = vcenter_client.find(home.vcenter, home.vcenter_folder)
    if lab is None:
        raise LabError(f"no vCenter runs in {home.path}")
    stack = Run.begin(Vsphere(home), Tools(pulumi, home.vcenter), lab).stack
    lines: list[str] = []
    try:
        stack.up(on_output=lines.append, on_error=lines.append, color="never")
        lines.clear()
        stack.preview(expect_no_changes=True, on_output=lines.append, on_error=lines.append, color="never")
        stack.destroy(on_output=lines.append, on_error=lines.append, color="never")
    except CommandError as error:
        return first_error([*lines, str(error)])
    return ""


def first_error(lines: list[str]) -> str:
    """Returns the first error in the engine's output, in one line."""
    for line in lines:
        if found := re.search(r"\berror: +(\S.*)", line):
            return sanitize(found[1], _LONGEST)
    return "the engine failed without an error message"


if __name__ == "__main__":
    print(fault(Home(Path(sys.argv[1])), Path(sys.argv[2])))
