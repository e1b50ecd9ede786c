"""Runs a script in a guest, once per attempt, and brings back how it ended.

An attempt has a directory of its own in the private directory under the guest user's home. Its name is made of the
resource and the attempt's number, so a later attempt - after a crash, a lost response, a time-out - finds it and
follows the run, or takes its outcome, instead of starting a second one. A request to start may be repeated, and may
arrive late: in the guest, one process claims the run. See program.py for the files.

A clone of the VM has the directory, too, but the script never ran in it. So the directory says in which VM it was made.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.directory import COMPLETE, Directory
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestCancelledError,
    GuestError,
    GuestTimeoutError,
)
from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome
from pulumi_customization_gate.vsphere.guest.program import CLAIM, OUTCOME, RUN, Script, program_for
from pulumi_customization_gate.vsphere.identity import is_same_vm

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.vsphere.guest.operations import Guest

_log = logging.getLogger(__name__)

STOP_TIMEOUT = 15.0
"""Seconds that a script gets to end when it is stopped, and that reading its outcome may take."""


@dataclass(frozen=True)
class Attempt:
    """What identifies one run of one resource."""

    key: str
    """The resource's: letters and digits, the same for all of its attempts."""
    number: int
    fingerprint: str = field(repr=False)
    """A hash of what runs. It is kept within the private directory only: it could give a short secret away."""

    @property
    def directory(self) -> str:
        """The name of its directory."""
        return f"{self.key}-{self.number}"


class Status(enum.Enum):
    """How an attempt ended."""

    EXITED = "exited"
    """The script ended by itself; there is an exit code."""
    STOPPED = "stopped"
    """It was stopped: its time was up, or the user cancelled the update."""
    LOST = "lost"
    """It was killed, or the guest went down: there is no exit code."""
    UNKNOWN = "unknown"
    """It may have been started, and its end was not seen. It is followed by the next run of the same attempt."""


@dataclass(frozen=True)
class ScriptResult:
    """What is known of an attempt that may have been started."""

    status: Status
    started_at: datetime | None
    """The server's time, timezone-aware; the guest's time where another process started it; None if not known."""
    seconds: float
    outcome: Outcome | None
    """None where the end was not seen."""


class ScriptStoppedError(GuestError):
    """A script may have been started and did not end by itself.

    Args:
        message: The whole message for the user.
        result: What is known of it.
    """

    def __init__(self, message: str, result: ScriptResult) -> None:
        super().__init__(message)
        self.result = result


def run_script(
    guest: Guest,
    script: Script,
    attempt: Attempt,
    notify: Callable[[str], None] = lambda _: None,
    show: Callable[[int, bytes], None] | None = None,
) -> ScriptResult:
    """Runs a script, or follows its run where the attempt was begun earlier, and waits for its end.

    Args:
        guest: Where; its deadline holds for all of it, until the script has ended.
        script: What.
        attempt: Which run this is. Directories of the resource's other attempts are removed.
        notify: Takes a sentence that is worth a line in the log.
        show: Takes the length of the output so far, and its end, every two seconds while a script that `shows_output`
            runs.

    Raises:
        ScriptStoppedError: If it may have been started and did not end by itself.
        GuestError: If it was not started.
        ServerError: If it was not started because vCenter, or a host on the way, could not be used.
    """
    return _Run(guest, script, attempt, notify, show).result()


def remove_runs(guest: Guest, key: str) -> None:
    """Stops what still runs of a resource, and removes the directories of its attempts."""
    base = guest.private_directory()
    for entry in guest.list_files(base, f"^{key}-[0-9]+$"):
        directory = Directory(guest, guest.join(base, entry.name))
        directory.stop()
        guest.remove_directory(directory.path)


class _Run:
    """One attempt, from the directory to the outcome."""

    def __init__(
        self,
        guest: Guest,
        script: Script,
        attempt: Attempt,
        notify: Callable[[str], None],
        show: Callable[[int, bytes], None] | None,
    ) -> None:
        self._guest, self._attempt, self._notify = guest, attempt, notify
        self._show = show if script.shows_output else None
        self._limit = script.output_limit
        self._program = program_for(script, windows=guest.is_windows)
        self._began = time.monotonic()
        self._started_at: datetime | None = None

    def result(self) -> ScriptResult:
        """Prepares, starts, follows, and stops what does not end in time."""
        directory, names = self._prepare()
        is_begun = COMPLETE in names
        try:
            outcome = self._outcome(directory, names)
        except GateError as error:
            if not (is_begun or directory.requests):
                raise
            if isinstance(error, GuestTimeoutError | GuestCancelledError):
                return self._stop(directory, error)
            raise self._error(Status.UNKNOWN, f"may have been started, and its end was not seen: {error}") from None
        return self._judged(outcome)

    def _prepare(self) -> tuple[Directory, set[str]]:
        """Returns the directory with all that the run needs, and the names of the files that it had before."""
        base = self._guest.private_directory()
        directory = Directory(self._guest, self._guest.join(base, self._attempt.directory), self._limit)
        for entry in self._guest.list_files(base, f"^{self._attempt.key}-[0-9]+$"):
            if entry.name != self._attempt.directory:
                self._retire(Directory(self._guest, self._guest.join(base, entry.name)))
        directory.show = self._show
        names = directory.names()
        if COMPLETE in names and self._is_recorded(directory.read(COMPLETE) or b""):
            return directory, names
        if names:
            self._retire(directory)
        self._guest.make_directory(directory.path, exist_ok=True)
        self._guest.make_private(directory.path)
        record = f"{self._attempt.fingerprint}\n{self._guest.id}".encode()
        for name, content in {**self._program.files, COMPLETE: record}.items():
            self._guest.upload(self._guest.join(directory.path, name), content)
        return directory, set()

    def _is_recorded(self, record: bytes) -> bool:
        """Whether a directory is that of this attempt in this VM, by what its file COMPLETE holds."""
        fingerprint, _, vm = record.decode(errors="replace").partition("\n")
        return fingerprint == self._attempt.fingerprint and is_same_vm(vm, self._guest.id)

    def _retire(self, directory: Directory) -> None:
        """Removes the directory of another attempt, once that runs no more: two attempts never run at once."""
        names = directory.names()
        _log.debug("%s: removing %s of another attempt", self._guest, directory.path)
        if COMPLETE in names and OUTCOME not in names:
            if CLAIM in names:
                self._notify("waiting for the end of an earlier run of this script")
                try:
                    directory.follow(None)
                except GuestTimeoutError as error:
                    directory.guest = self._guest.with_deadline(Deadline(STOP_TIMEOUT))
                    directory.stop()
                    text = f"an earlier run of the script did not end and was stopped: {error}"
                    raise GuestTimeoutError(text) from None
            else:
                directory.stop()
        self._guest.remove_directory(directory.path)

    def _outcome(self, directory: Directory, names: set[str]) -> Outcome:
        if CLAIM in names:
            _log.debug("%s: following the run in %s", self._guest, directory.path)
            self._notify("following the run that was started earlier")
            return directory.follow(None)
        process = directory.call(RUN)
        self._began = time.monotonic()
        self._started_at = self._guest.ask(self._guest.session.current_time, "CurrentTime")
        return directory.follow(process)

    def _stop(self, directory: Directory, reason: GateError) -> ScriptResult:
        _log.debug("%s: stopping the run in %s: %s", self._guest, directory.path, reason)
        directory.guest = self._guest.with_deadline(Deadline(STOP_TIMEOUT))
        outcome = None
        with contextlib.suppress(GateError):
            outcome = directory.outcome()
            if outcome is not None:  # It ended by itself meanwhile.
                return self._judged(outcome)
            outcome = directory.stop()
        if outcome is None:
            raise self._error(Status.UNKNOWN, f"could not be stopped: {reason}")
        raise self._error(Status.STOPPED, f"was stopped: {reason}", outcome)

    def _judged(self, outcome: Outcome) -> ScriptResult:
        if outcome.ending is Ending.NEVER:
            raise self._error(Status.STOPPED, "was stopped before it started", outcome)
        if outcome.ending is Ending.NONE:
            raise self._error(
                Status.LOST,
                "left no exit code: it was killed, or the guest rebooted. If the script reboots the guest, delay the "
                "reboot, for example with `shutdown -r +1`.",
                outcome,
            )
        return self._result(Status.EXITED, outcome)

    def _error(self, status: Status, reason: str, outcome: Outcome | None = None) -> ScriptStoppedError:
        return ScriptStoppedError(f"the script in {self._guest} {reason}", self._result(status, outcome))

    def _result(self, status: Status, outcome: Outcome | None) -> ScriptResult:
        started_at, seconds = self._started_at, time.monotonic() - self._began
        if started_at is None and outcome is not None and outcome.began:
            started_at = datetime.fromtimestamp(outcome.began, timezone.utc)
            seconds = float(outcome.ended - outcome.began)
        return ScriptResult(status, started_at, round(seconds, 3), outcome)
