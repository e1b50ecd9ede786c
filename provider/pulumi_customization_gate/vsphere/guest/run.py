"""Runs a script in a guest, at most once, and brings back how it ended."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestCancelledError,
    GuestError,
    GuestPathError,
    GuestTimeoutError,
)
from pulumi_customization_gate.vsphere.guest.program import OUTCOME, Outcome, Program, Script, program_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pulumi_customization_gate.vsphere.guest.operations import Guest

SEARCH = 10.0
"""Seconds for which a program is looked for in the guest whose start went without an answer."""
STOP = 15.0
"""Seconds that a script is given to end when its time is up, and that its last words may take."""
TIDY = 45.0
"""Seconds that may go into removing the files: a guest that reboots takes a while."""
_HEADER = 200
"""Bytes that the outcome has beside the output."""
_PREFIX = "customization-gate-"


@dataclass(frozen=True)
class ScriptResult:
    """What is known of a script that was started."""

    started_at: datetime
    """The server's time, timezone-aware."""
    seconds: float
    outcome: Outcome | None
    """None where it left nothing: it was killed, or the guest went down."""


class ScriptStoppedError(GuestError):
    """A script was started and came to no end of its own.

    Args:
        message: The whole message for the user.
        result: What is known of it.
    """

    def __init__(self, message: str, result: ScriptResult) -> None:
        super().__init__(message)
        self.result = result


def run_script(guest: Guest, script: Script, tell: Callable[[str], None] = lambda _: None) -> ScriptResult:
    """Runs a script, waits for its end, and leaves nothing of it behind.

    Args:
        guest: Where; its deadline bounds all of it, until the script has ended.
        script: What.
        tell: Takes a sentence that is worth a line in the log.

    Raises:
        ScriptStoppedError: If it was started and came to no end: its time was up, the user ended it, the guest went
            down.
        GuestError: If it was not started.
        ServerError: If vCenter, or a host on the way, could not be used.
    """
    program = program_for(script, windows=guest.is_windows)
    directory = guest.make_private_directory(f"{_PREFIX}{secrets.token_hex(4)}-")
    try:
        for name, content in program.files.items():
            guest.upload(program.join(directory, name), content)
        return _Run(guest, program, directory, largest=2 * script.output_limit + _HEADER).result()
    finally:
        try:
            guest.with_deadline(Deadline(TIDY)).remove_directory(directory)
        except GateError as error:
            tell(f"{directory} could not be removed from {guest}: {error}")


class _Run:
    """One run of a program whose files lie in the guest."""

    def __init__(self, guest: Guest, program: Program, directory: str, largest: int) -> None:
        self.guest, self.program, self.directory, self.largest = guest, program, directory, largest
        self.process: int | None = None

    def result(self) -> ScriptResult:
        """Starts the program, waits for it, and stops it where it does not end."""
        self._start()
        began, started_at = time.monotonic(), self.guest.session.patiently(self.guest.session.current_time)
        outcome: Outcome | None = None
        problem = ""
        try:
            self._wait()
            seconds = time.monotonic() - began
            outcome = self._outcome(self.guest.with_deadline(Deadline(TIDY)))
            if outcome is None:
                problem = (
                    "left no exit code: it was killed, or the guest rebooted. A script that reboots its guest has to "
                    "leave that to `shutdown -r +1`."
                )
        except (GuestTimeoutError, GuestCancelledError) as reason:
            seconds = time.monotonic() - began
            outcome = self._stop()
            problem = f"{'was stopped' if outcome else 'could not be stopped for certain'}: {reason}"
        except GateError as error:
            seconds = time.monotonic() - began
            problem = f"was started, but its end could not be seen: {error}"
        result = ScriptResult(started_at, round(seconds, 3), outcome)
        if problem:
            raise ScriptStoppedError(f"the script in {self.guest} {problem}", result)
        return result

    def _start(self) -> None:
        """Starts the program once. Where the answer is lost, the guest is asked what became of it.

        A program that is not there yet may still be on its way. So the directory by which the wrapper claims its run
        is made here: either that fails, then it runs, or nothing will ever run in that attempt and another can follow.
        """
        for attempt in range(1, 1000):
            words = self.program.command(self.directory, "run", str(attempt))
            self.process = self.guest.start(self.program.path, words)
            if self.process is not None or self._is_found() or not self._claims(attempt):
                return

    def _is_found(self) -> bool:
        search = self.guest.with_deadline(Deadline(min(SEARCH, self.guest.deadline.remaining)))
        with contextlib.suppress(GuestTimeoutError):
            for pause in backoff(0.2, 2.0):
                for process in search.processes():
                    if self.directory in str(process.cmdLine or ""):
                        self.process = int(process.pid)
                        return True
                search.deadline.pause(pause)
        return False

    def _claims(self, attempt: int) -> bool:
        try:
            self.guest.make_directory(self.program.join(self.directory, f"started-{attempt}"))
        except GuestPathError:
            return False
        return True

    def _wait(self) -> None:
        """Returns when the program runs no more."""
        for pause in backoff(0.2, 2.0):
            if not self._is_running():
                return
            self.guest.deadline.pause(pause)

    def _is_running(self) -> bool:
        if self.process is not None:
            return _is_alive(self.guest, self.process)
        processes = self.guest.processes()
        return any(self.directory in str(process.cmdLine or "") and process.endTime is None for process in processes)

    def _outcome(self, guest: Guest) -> Outcome | None:
        try:
            return Outcome.parse(guest.download(self.program.join(self.directory, OUTCOME), self.largest))
        except (GuestPathError, ValueError):
            return None

    def _stop(self) -> Outcome | None:
        """Ends the script with its children, the wrapper too if it does not end by itself; returns the last words."""
        guest = self.guest.with_deadline(Deadline(STOP))
        with contextlib.suppress(GateError):
            stopping = guest.start(self.program.path, self.program.command(self.directory, "stop"))
            for pause in backoff(0.2, 1.0):
                # Children that take no notice are killed before `stop` ends; the script's own end may come earlier.
                if stopping is None or not _is_alive(guest, stopping):
                    outcome = self._outcome(guest)
                    if outcome is not None:
                        return outcome
                guest.deadline.pause(pause)
        if self.process is not None:
            with contextlib.suppress(GateError):
                self.guest.with_deadline(Deadline(STOP)).terminate(self.process)
        return None


def _is_alive(guest: Guest, pid: int) -> bool:
    return any(process.pid == pid and process.endTime is None for process in guest.processes(pid))
