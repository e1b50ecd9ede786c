"""Runs the example in the lab: `python -m lab.stack up`, and `preview`, `refresh`, `destroy`, `down`.

The Automation API runs the example's program, on vSphere the very same `__main__.py` that a plain `pulumi up` runs. It
needs no language host, so the example works where only the CLI itself can be had. State lies in a file backend under
`.lab/`, one for each platform.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from pulumi import automation
from pulumi.automation.errors import CommandError, ConcurrentUpdateError
from rich.console import Console
from rich.table import Table

from lab import timeline_check, workspace
from lab.console import EngineError, show, told
from lab.paths import ROOT, Home, LabError, locked, read_text, write_private
from lab.platforms import PLATFORMS
from lab.processes import end_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.bootstrap import Tools
    from lab.platforms import Platform

STACK = "lab"


@dataclass(frozen=True)
class Run:
    """One run of the engine on the example, with what it needs."""

    platform: Platform[Any]
    lab: Any
    """The running data centre."""
    stack: automation.Stack
    began: datetime

    @classmethod
    def begin(cls, platform: Platform[Any], tools: Tools, lab: Any) -> Run:
        """Opens the example's stack, with the connection to the lab's data centre in its settings."""
        home, environment = platform.home, platform.variables(lab)
        command = workspace.command(tools.pulumi, home)
        project = platform.project(command)
        stack = automation.create_or_select_stack(
            STACK,
            project_name=project.name,
            program=platform.program,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(home.work), env_vars=environment, pulumi_command=command, project_settings=project
            ),
        )
        settings = platform.settings(lab)
        stack.set_all_config({key: automation.ConfigValue(value) for key, value in settings.items()})
        workspace.set_password(tools.pulumi, STACK, lab, environment, home.work, key=platform.password_key)
        return cls(platform, lab, stack, datetime.now(timezone.utc))

    def engine(self, operation: Callable[..., Any], **options: Any) -> None:
        """Runs one operation of the engine and shows its lines as they come.

        Raises:
            EngineError: The operation failed; it holds what is left to show.
            ConcurrentUpdateError: Another run works on the stack.
        """
        options["color"] = "always" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else "never"
        with _interrupts_left_to_the_engine():
            try:
                show(operation, options)
            except ConcurrentUpdateError:
                if self._engine_runs():
                    raise
                # This process holds the lab's own lock, so the engine's was left by a run that was killed.
                print("The last run was killed and left the stack locked: unlocking it.", flush=True)
                self.stack.cancel()
                show(operation, options)

    def _engine_runs(self) -> bool:
        for process in psutil.process_iter(["cwd", "name"]):
            if process.info["name"] == "pulumi" and process.info["cwd"] == str(self.platform.home.work):
                return True
        return False

    def resources(self) -> list[dict[str, Any]]:
        """Returns the resources in the stack's state."""
        deployment = self.stack.export_stack().deployment or {}
        return list(deployment.get("resources", []))


def up(platform: Platform[Any], *, fail: str = "", replace: str = "") -> int:
    """Brings the example up and says whether the gate did its job.

    Args:
        platform: Where it runs.
        fail: The machine whose customization shall fail in this run; one that is there already is replaced for it.
        replace: The machine to replace.
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
    """Compares the stack with its data centre."""
    run = _begin(platform)
    run.engine(run.stack.refresh, show_secrets=False)
    return 0


def destroy(platform: Platform[Any]) -> int:
    """Deletes what the stack made; the data centre keeps running."""
    if not platform.was_started():
        print("The lab does not run: there is nothing to delete.")
        return 0
    run = _begin(platform)
    run.engine(run.stack.destroy, show_secrets=False)
    return 0


def down(platform: Platform[Any]) -> int:
    """Deletes what the stack made, stops the data centre, and forgets both."""
    status = 0
    if platform.find() and platform.home.state.exists():
        try:
            status = destroy(platform)
        except (CommandError, LabError) as error:
            print(told(error), file=sys.stderr)
            print("The stack could not be destroyed in order; its data centre is thrown away with all that is in it.")
            status = 1
    platform.stop()
    # The engine ends its plugins; those of an engine that was killed are still there.
    end_leftovers("PULUMI_HOME", str(platform.home.pulumi_home), workspace.PLUGINS)
    _forget(platform.home)
    print(f"The lab's {platform.title} is down.")
    return status


def _begin(platform: Platform[Any]) -> Run:
    tools = platform.tools()
    return Run.begin(platform, tools, _data_centre(platform))


def _data_centre(platform: Platform[Any]) -> Any:
    """Returns the running data centre, or starts one; a stack whose data centre is gone goes with it."""
    lab, name = platform.find(), f"The lab's {platform.title}"
    built, started_from = platform.build(), platform.folder / "digest"
    if lab is not None:
        if read_text(started_from) != built:
            print(f"{name} was started from an older build; `make down` makes way for the new one.", flush=True)
        return lab
    if platform.was_started():
        print(f"{name} is gone, and its machines with it: the stack starts over.", flush=True)
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
    """Shows when each thing happened, and last whether the gate did its job, or the error; returns the exit status."""
    platform = run.platform
    table = platform.rows(run.lab, run.resources())
    view = Table("machine", *(heading for heading, _ in platform.columns), box=None)
    for row in table:
        view.add_row(row.name, *(tell(row) for _, tell in platform.columns))
    print()
    Console(width=150).print(view)
    if platform.note and table:
        print(f"\n{platform.note}")
    print()
    if error is not None:
        print(f"{error}\n")
    breaches = timeline_check.broken(table, run.began, platform.resolution)
    if breaches:
        print("The gate did not do its job: " + " ".join(breaches))
        return 1
    if error is not None:
        bad = [row.name for row in table if not row.good]
        if bad:
            # Work on the other machines may have run in an earlier update.
            when = " in this update" if any(row.work for row in table) else ""
            mend = ", ".join(f"`{platform.command} REPLACE={name}` replaces {name}" for name in bad)
            print(f"The gate stayed shut because of {', '.join(bad)}, and nothing behind it ran{when}; {mend}.")
        return 1
    if fail:
        print(f"No machine is named {fail!r}, so none failed; there are {', '.join(row.name for row in table)}.")
        return 1
    idle = [row.name for row in table if row.work is None]
    if idle or not table:
        print(f"The gate opened, and no work ran behind it on {', '.join(idle) or 'any machine'}.")
        return 1
    print("The gate did its job: every machine was customized before the work behind the gate ran.")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Reads the command line, runs the command, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.stack", description="Runs the example in the lab.")
    parser.add_argument("command", choices=["up", "preview", "refresh", "destroy", "down"])
    parser.add_argument(
        "--platform", choices=sorted(PLATFORMS), help="the kind of data centre; none is vsphere, and all for `down`"
    )
    parser.add_argument("--fail", default="", metavar="NAME", help="let the customization of this machine fail")
    parser.add_argument("--replace", default="", metavar="NAME", help="replace this machine")
    parser.add_argument("--home", type=Path, default=ROOT / ".lab", metavar="FOLDER", help="where the lab keeps things")
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
        print("error: another run of the engine works on the stack; try again when it has ended", file=sys.stderr)
        return 1
    except (CommandError, LabError) as error:
        print(told(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The next run goes on from here.", file=sys.stderr)
        return 130
    if status == 0:
        print(f"`{options.command}` took {time.monotonic() - started:.1f} seconds.")
    return status


@contextlib.contextmanager
def _interrupts_left_to_the_engine() -> Iterator[None]:
    """Lets this process outlive Ctrl-C, so that the engine can end in order.

    The terminal sends Ctrl-C to the engine as well; a SIGTERM comes to this process alone and is handed on.

    Raises:
        KeyboardInterrupt: It came, and the engine has ended.
    """
    came: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if not came:
            print("Stopping: the engine ends what it has begun ...", file=sys.stderr, flush=True)
        came.append(number)
        if number == signal.SIGTERM:
            for child in psutil.Process().children():
                child.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except EngineError as error:
        if came:
            print(error, flush=True)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
