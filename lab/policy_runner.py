"""Lets a Pulumi CLI without language hosts run a Python policy pack.

The official bundle starts policy packs through its Python language host. A CLI built from Go modules has none, and then
looks on PATH for `pulumi-analyzer-policy-python`; the lab puts a small one there.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "pulumi-analyzer-policy-python"

# The engine passes its own address, the path of the pack and the runtime's options. The options are left out: the pack
# runs in the lab's own environment, and the runner takes `-virtualenv` for an unfinished `-v`.
_SCRIPT = """\
#!/bin/sh
exec {python} -u -m pulumi.policy "$1" "$2"
"""


def install(directory: Path, python: Path | str = sys.executable) -> Path:
    """Writes the launcher into a directory of PATH and returns its path.

    Args:
        directory: An existing directory that only the lab's processes have on PATH.
        python: The interpreter that has pulumi-policy and the library.
    """
    launcher = directory / NAME
    launcher.write_text(_SCRIPT.format(python=shlex.quote(str(python))), encoding="utf-8")
    launcher.chmod(0o755)
    return launcher
