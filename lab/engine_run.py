"""One run of the engine on the example: its stack, an operation with its output, and Ctrl-C during it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psutil
from pulumi import automation
from pulumi.automation.errors import ConcurrentUpdateError

from lab import workspace
from lab.console import EngineError, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.bootstrap import Tools
    from lab.platforms import Platform

STACK = "lab"


@dataclass(frozen=True)
class Run:
    """One run of the engine on the example, with what it needs."""

    platform: Platform[Any]
    lab: Any
    """The running server."""
    stack: automation.Stack
    began: datetime

    @classmethod
    def begin(cls, platform: Platform[Any], tools: Tools, lab: Any) -> Run:
        """Opens the example's stack, with the connection to the lab's server in its settings."""
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
        """Runs one operation of the engine and shows its output as it comes.

        Raises:
            EngineError: The operation failed; its text is what remains to be shown.
            ConcurrentUpdateError: Another operation runs on the stack.
        """
        options["color"] = "always" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else "never"
        with _interrupts_left_to_the_engine():
            try:
                show(operation, options)
            except ConcurrentUpdateError:
                if self._engine_runs():
                    raise
                # This process holds the lab's own lock, so the engine's was left by a run that was killed.
                print("The previous run was killed and left the stack locked. Unlocking it.", flush=True)
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


@contextlib.contextmanager
def _interrupts_left_to_the_engine() -> Iterator[None]:
    """Keeps this process alive after Ctrl-C, so that the engine can finish.

    The terminal sends Ctrl-C to the engine as well; a SIGTERM reaches this process alone and is passed on.

    Raises:
        KeyboardInterrupt: It came, and the engine has ended.
    """
    came: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if not came:
            print(
                "Stopping: waiting for Pulumi to finish the operations that are in progress ...",
                file=sys.stderr,
                flush=True,
            )
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
