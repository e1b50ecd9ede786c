"""Runs the example in the lab: `python -m lab.stack up`, and `preview`, `refresh`, `destroy`, `down`.

The Automation API runs the very same `__main__.py` that a plain `pulumi up` runs. It needs no language host, so the
example works where only the CLI itself can be had. State lies in a file backend under `.lab/`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
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
from rich.markup import escape
from rich.table import Table

from lab import data_centre, timetable, workspace
from lab.bootstrap import build_digest, prepare
from lab.home import ROOT, Home, LabError, locked, read_text, write_private
from lab.processes import end_leftovers
from pulumi_customization_gate.core.report import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.bootstrap import Tools
    from lab.data_centre import Lab

STACK = "lab"
_VIRTUAL_MACHINE = "vsphere:index/virtualMachine:VirtualMachine"
_FAILURE = {
    "outcome": "CustomizationLinuxIdentityFailed",
    "reason": "the host name could not be set",
    "message": "An error occurred while setting up Linux identity.",
    "logLocation": "/var/log/vmware-imc/toolsDeployPkg.log",
}
"""What `FAIL=` plans for a machine."""


@dataclass(frozen=True)
class Run:
    """One run of the engine on the example, with what it needs."""

    home: Home
    tools: Tools
    lab: Lab
    stack: automation.Stack
    began: datetime

    @classmethod
    def begin(cls, home: Home, tools: Tools, lab: Lab) -> Run:
        """Opens the example's stack, with the connection to the lab's vCenter in its settings."""
        environment = workspace.variables(home, lab)
        command = workspace.command(tools.pulumi, home)
        project = automation.LocalWorkspace(work_dir=str(ROOT), pulumi_command=command).project_settings()
        project.main = str(ROOT)
        # Here the variable says where the packages are; the project's own relative path is for a plain `pulumi up`.
        project.runtime = "python"

        def program() -> None:
            runpy.run_path(str(ROOT / "__main__.py"))

        stack = automation.create_or_select_stack(
            STACK,
            project_name=project.name,
            program=program,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(home.work), env_vars=environment, pulumi_command=command, project_settings=project
            ),
        )
        settings = workspace.connection(lab)
        stack.set_all_config({key: automation.ConfigValue(value) for key, value in settings.items()})
        workspace.set_password(tools.pulumi, STACK, lab, environment, home.work)
        return cls(home, tools, lab, stack, datetime.now(timezone.utc))

    def engine(self, operation: Callable[..., Any], **options: Any) -> None:
        """Runs one operation of the engine and shows its lines as they come.

        Raises:
            CommandError: The operation failed; its lines have been shown.
        """
        color = "always" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else "never"
        options = {"on_output": _show, "on_error": _show, "color": color, **options}
        with _interrupts_left_to_the_engine():
            try:
                operation(**options)
            except ConcurrentUpdateError:
                if self._engine_runs():
                    raise
                # This process holds the lab's own lock, so the engine's was left by a run that was killed.
                print("The last run was killed and left the stack locked: unlocking it.", flush=True)
                self.stack.cancel()
                operation(**options)

    def _engine_runs(self) -> bool:
        for process in psutil.process_iter(["cwd", "name"]):
            if process.info["name"] == "pulumi" and process.info["cwd"] == str(self.home.work):
                return True
        return False

    def resources(self) -> list[dict[str, Any]]:
        """Returns the resources in the stack's state."""
        deployment = self.stack.export_stack().deployment or {}
        return list(deployment.get("resources", []))

    def machines(self) -> dict[str, str]:
        """Returns the URNs of the stack's virtual machines by their names."""
        urns = [resource["urn"] for resource in self.resources() if resource["type"] == _VIRTUAL_MACHINE]
        return {urn.rsplit("::", 1)[-1]: urn for urn in urns}


def up(home: Home, *, fail: str = "", replace: str = "") -> int:
    """Brings the example up and says whether the gate did its job.

    Args:
        home: The lab.
        fail: The machine whose customization shall fail in this run; one that is there already is replaced for it.
        replace: The machine to replace.
    """
    run = _begin(home)
    known = run.machines() if fail or replace else {}
    for name in filter(None, (fail, replace)):
        if known and name not in known:
            raise LabError(f"no machine is named {name!r}; there are {', '.join(sorted(known))}")
    targets = [known[name] for name in dict.fromkeys((fail, replace)) if name in known]
    if fail:
        run.lab.plan(fail, **_FAILURE)
    try:
        run.engine(run.stack.up, replace=targets or None, show_secrets=False)
        succeeded = True
    except CommandError:
        succeeded = False
    finally:
        if fail:
            run.lab.forget(fail)
    return _report(run, succeeded=succeeded, fail=fail)


def preview(home: Home) -> int:
    """Shows what `up` would do."""
    run = _begin(home)
    run.engine(run.stack.preview)
    return 0


def refresh(home: Home) -> int:
    """Compares the stack with its data centre."""
    run = _begin(home)
    run.engine(run.stack.refresh, show_secrets=False)
    return 0


def destroy(home: Home) -> int:
    """Deletes what the stack made; the data centre keeps running."""
    if not data_centre.was_started(home.data_centre):
        print("The lab does not run: there is nothing to delete.")
        return 0
    run = _begin(home)
    run.engine(run.stack.destroy, show_secrets=False)
    return 0


def down(home: Home) -> int:
    """Deletes what the stack made, stops the data centre, and forgets both."""
    status = 0
    if data_centre.find(home.vcenter, home.data_centre) and home.state.exists():
        try:
            status = destroy(home)
        except (CommandError, LabError) as error:
            if isinstance(error, LabError):
                print(f"error: {error}", file=sys.stderr)
            print("The stack could not be destroyed in order; its data centre is thrown away with all that is in it.")
            status = 1
    data_centre.stop(home.vcenter, home.data_centre)
    # The engine ends its plugins; those of an engine that was killed are still there.
    end_leftovers("PULUMI_HOME", str(home.pulumi_home), workspace.PLUGINS)
    _forget(home)
    print("The lab is down.")
    return status


def _begin(home: Home) -> Run:
    tools = prepare(home)
    if tools.stand_in:
        print("vSphere plugin: the lab's stand-in, for the real one cannot be had here.", flush=True)
    return Run.begin(home, tools, _data_centre(home, tools))


def _data_centre(home: Home, tools: Tools) -> Lab:
    """Returns the running vCenter, or starts one; a stack whose data centre is gone goes with it."""
    lab = data_centre.find(tools.vcenter, home.data_centre)
    built, started_from = build_digest(home), home.data_centre / "digest"
    if lab is not None:
        if read_text(started_from) != built:
            print(
                "The lab's vCenter was started from an older build; `make down` makes way for the new one.", flush=True
            )
        return lab
    if data_centre.was_started(home.data_centre):
        print("The lab's vCenter is gone, and its machines with it: the stack starts over.", flush=True)
        data_centre.stop(tools.vcenter, home.data_centre)
    _forget(home)
    print("Starting the lab's vCenter (usually a second) ...", flush=True)
    lab = data_centre.start(tools.vcenter, home.data_centre)
    write_private(started_from, built)
    return lab


def _forget(home: Home) -> None:
    for folder in (home.state, home.work):
        shutil.rmtree(folder, ignore_errors=True)


def _show(line: str) -> None:
    # What `destroy` closes with is advice for somebody who runs the CLI by hand on a backend that stays.
    if not line.startswith(("The resources in the stack have been deleted", "If you want to remove the stack")):
        print(line, flush=True)


def _report(run: Run, *, succeeded: bool, fail: str) -> int:
    """Shows when each thing happened, and says whether the gate did its job; returns the exit status."""
    table = timetable.rows(run.resources())
    view = Table("machine", "power-on", "started", "completed", "gate open", "script", "status", "output", box=None)
    for row in table:
        times = (row.powered_on, row.started, row.completed, row.opened, row.work)
        view.add_row(row.name, *map(_clock, times), row.status, escape(plain(row.said)))
    print()
    Console(width=150).print(view)
    print()
    breaches = timetable.broken(table, run.began)
    if breaches:
        print("The gate did not do its job: " + " ".join(breaches))
        return 1
    if not succeeded:
        bad = [row.name for row in table if not row.good]
        shut = f"The gate stayed shut because of {', '.join(bad)}: nothing behind it ran."
        print(shut if bad else "The run failed; what the engine says of it stands above.")
        for name in bad:
            print(f"`make up REPLACE={name}` replaces {name}.")
        return 1
    if fail:
        print(f"No machine is named {fail!r}, so none failed; there are {', '.join(row.name for row in table)}.")
        return 1
    print("The gate did its job: every machine was customized before the work behind the gate ran.")
    return 0


def _clock(moment: datetime | None) -> str:
    return moment.astimezone(timezone.utc).strftime("%H:%M:%S.%f")[:-3] if moment else "-"


def main(arguments: Sequence[str]) -> int:
    """Reads the command line, runs the command, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.stack", description="Runs the example in the lab.")
    parser.add_argument("command", choices=["up", "preview", "refresh", "destroy", "down"])
    parser.add_argument("--platform", choices=["vsphere"], default="vsphere", help="the kind of data centre")
    parser.add_argument("--fail", default="", metavar="NAME", help="let the customization of this machine fail")
    parser.add_argument("--replace", default="", metavar="NAME", help="replace this machine")
    parser.add_argument("--home", type=Path, default=ROOT / ".lab", metavar="FOLDER", help="where the lab keeps things")
    options = parser.parse_args(arguments)
    home = Home(options.home.resolve())
    commands = {"preview": preview, "refresh": refresh, "destroy": destroy, "down": down}
    started = time.monotonic()
    try:
        with locked(home.path / "stack.lock", "working on the stack"):
            if options.command == "up":
                status = up(home, fail=options.fail, replace=options.replace)
            else:
                status = commands[options.command](home)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except CommandError as error:
        if isinstance(error, ConcurrentUpdateError):
            print("error: another run of the engine works on the stack; try again when it has ended", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The next run goes on from here.", file=sys.stderr)
        return 130
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
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
