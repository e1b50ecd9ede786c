"""Runs the example in the lab: `python -m lab.stack up`, and `preview`, `refresh`, `destroy`, `down`.

The Automation API runs the example's program; on vSphere that is the same `__main__.py` that a plain `pulumi up` runs.
It needs no language host, so the example works where only the CLI itself is available. State is in a file backend
under `.lab/`, one per platform.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi.automation.errors import CommandError, ConcurrentUpdateError
from rich.console import Console
from rich.table import Table

from lab import timeline_check, workspace
from lab.console import EngineError, error_text
from lab.engine_run import Run
from lab.paths import ROOT, Home, LabError, locked, read_text, write_private
from lab.platforms import PLATFORMS
from lab.processes import end_leftovers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.platforms import Platform


def up(platform: Platform[Any], *, fail: str = "", replace: str = "") -> int:
    """Runs `up` on the example and reports whether the gate worked.

    Args:
        platform: Where it runs.
        fail: The VM whose customization fails in this run; it is replaced where it exists already.
        replace: The VM to replace.
    """
    run = _begin(platform)
    error: EngineError | None = None
    with platform.arranged(run.lab, run.stack, fail, replace) as options:
        try:
            run.engine(run.stack.up, show_secrets=False, **options)
        except EngineError as failure:
            error = failure
    return _report(run, error, fail=fail)


def preview(platform: Platform[Any]) -> int:
    """Shows what `up` would do."""
    run = _begin(platform)
    run.engine(run.stack.preview)
    return 0


def refresh(platform: Platform[Any]) -> int:
    """Compares the stack with its server."""
    run = _begin(platform)
    run.engine(run.stack.refresh, show_secrets=False)
    return 0


def destroy(platform: Platform[Any]) -> int:
    """Deletes the stack's resources; the server keeps running."""
    if not platform.was_started():
        print("The lab is not running, so there is nothing to delete.")
        return 0
    run = _begin(platform)
    run.engine(run.stack.destroy, show_secrets=False)
    return 0


def down(platform: Platform[Any]) -> int:
    """Deletes the stack's resources, stops the server, and deletes the state of both."""
    status = 0
    if platform.find() and platform.home.state.exists():
        try:
            status = destroy(platform)
        except (CommandError, LabError) as error:
            print(error_text(error), file=sys.stderr)
            print(f"`destroy` failed. The lab's {platform.title} is stopped anyway, and everything in it is deleted.")
            status = 1
    platform.stop()
    # The engine ends its plugins; those of an engine that was killed still run.
    end_leftovers("PULUMI_HOME", str(platform.home.pulumi_home), workspace.PLUGINS)
    _forget(platform.home)
    print(f"The lab's {platform.title} is stopped.")
    return status


def _begin(platform: Platform[Any]) -> Run:
    tools = platform.tools()
    return Run.begin(platform, tools, _server(platform))


def _server(platform: Platform[Any]) -> Any:
    """Returns the running server, or starts one; a stack whose server is gone is deleted."""
    lab, name = platform.find(), f"The lab's {platform.title}"
    built, started_from = platform.build(), platform.folder / "digest"
    if lab is not None:
        if read_text(started_from) != built:
            print(f"{name} was started from an older build. Run `make down` to use the new one next time.", flush=True)
        return lab
    if platform.was_started():
        print(f"{name} is not running any more, so its VMs are gone. Starting with an empty stack.", flush=True)
        platform.stop()
    _forget(platform.home)
    print(f"Starting the lab's {platform.title} (usually a second) ...", flush=True)
    lab = platform.start()
    write_private(started_from, built)
    return lab


def _forget(home: Home) -> None:
    for folder in (home.state, home.work):
        shutil.rmtree(folder, ignore_errors=True)


def _report(run: Run, error: EngineError | None, *, fail: str) -> int:
    """Shows the times, and at the end the error or whether the gate worked; returns the exit status."""
    platform = run.platform
    table = platform.rows(run.lab, run.resources())
    view = Table("VM", *(heading for heading, _ in platform.columns), box=None)
    for row in table:
        view.add_row(row.name, *(cell(row) for _, cell in platform.columns))
    print()
    Console(width=150).print(view)
    if platform.note and table:
        print(f"\n{platform.note}")
    print()
    if error is not None:
        print(f"{error}\n")
    breaches = timeline_check.broken(table, run.began, platform.resolution)
    if breaches:
        print("The gate did not work: " + " ".join(breaches))
        return 1
    if error is not None:
        bad = [row.name for row in table if not row.good]
        if bad:
            # Work on the other VMs may have run in an earlier update.
            when = " in this update" if any(row.work for row in table) else ""
            fixes = "".join(f" To replace {name}: {platform.command} REPLACE={name}" for name in bad)
            print(f"The gate stayed closed because of {', '.join(bad)}, so no work behind it ran{when}.{fixes}")
        return 1
    if fail:
        print(f"No VM is named {fail!r}, so none failed. The VMs are {', '.join(row.name for row in table)}.")
        return 1
    idle = [row.name for row in table if row.work is None]
    if idle or not table:
        print(f"The gate opened, but no work behind it ran on {', '.join(idle) or 'any VM'}.")
        return 1
    print("The gate worked: every VM was customized before the work behind the gate ran.")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Reads the command line, runs the command, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.stack", description="Runs the example in the lab.")
    parser.add_argument("command", choices=["up", "preview", "refresh", "destroy", "down"])
    parser.add_argument("--platform", choices=sorted(PLATFORMS), help="vsphere unless given; `down` stops both")
    parser.add_argument("--fail", default="", metavar="NAME", help="make the customization of this VM fail")
    parser.add_argument("--replace", default="", metavar="NAME", help="replace this VM")
    parser.add_argument("--home", type=Path, default=ROOT / ".lab", metavar="FOLDER", help="folder of the lab's files")
    options = parser.parse_args(arguments)
    home = Home(options.home.resolve())
    every = sorted(PLATFORMS) if options.command == "down" else ["vsphere"]
    platforms = [PLATFORMS[name](home) for name in ([options.platform] if options.platform else every)]
    commands = {"preview": preview, "refresh": refresh, "destroy": destroy, "down": down}
    started = time.monotonic()
    try:
        with locked(home.path / "stack.lock", "working on the stack"):
            if options.command == "up":
                status = up(platforms[0], fail=options.fail, replace=options.replace)
            else:
                status = max(commands[options.command](platform) for platform in platforms)
    except ConcurrentUpdateError:
        print(
            "error: another Pulumi operation is running on this stack; run the command again when it has ended",
            file=sys.stderr,
        )
        return 1
    except (CommandError, LabError) as error:
        print(error_text(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The next run continues from here.", file=sys.stderr)
        return 130
    if status == 0:
        print(f"`{options.command}` took {time.monotonic() - started:.1f} seconds.")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
