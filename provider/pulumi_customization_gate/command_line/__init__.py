"""`customization-gate`: the gate's wait run by hand, and the picture of what happened. It starts no Pulumi engine."""

from __future__ import annotations

import atexit
import gc
import sys

from pulumi_customization_gate.command_line.output_streams import write_errors_reported

_LIBRARIES = frozenset({"typer", "rich", "shellingham"})


def main() -> None:
    """Runs the program and exits with one of the statuses in `exit_codes.ExitCode`."""
    try:
        from pulumi_customization_gate.command_line.application import (  # noqa: PLC0415 -- its libraries are an extra
            application,
        )
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        sys.stderr.write(
            f"customization-gate: the library {library} is not installed; it comes with the extra `cli`: "
            "in a clone of the project, run pip install '.[cli]'\n"
        )
        sys.exit(2)
    # Python collects garbage once more at its exit. With the types of pyVmomi that takes as long as the rest of a run.
    atexit.register(gc.freeze)
    with write_errors_reported():
        application(prog_name="customization-gate")
