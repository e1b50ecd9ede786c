"""The directory of an attempt in the guest: what is in it, and how its run is started, followed and stopped."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.vsphere.guest.errors import GuestError, GuestNotFoundError, GuestTimeoutError
from pulumi_customization_gate.vsphere.guest.outcome import Outcome
from pulumi_customization_gate.vsphere.guest.program import (
    CANNOT_CLAIM,
    CANNOT_FINISH,
    OUTCOME,
    OUTPUT_MAXIMUM,
    PROGRESS,
    RUN,
    SETTLE,
    STOP,
    Script,
    program_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pulumi_customization_gate.vsphere.guest.operations import Guest

_log = logging.getLogger(__name__)

SETTLE_INTERVAL = 10.0
"""The longest time in seconds between two checks in the guest whether a run without an outcome has died."""
SHOW_INTERVAL = 2.0
"""Seconds between two reads of what a script has printed so far."""
COMPLETE = "attempt"
"""The file that is uploaded last: no attempt starts without it. It holds the fingerprint, and the VM's identity."""
_LARGEST = 2 * OUTPUT_MAXIMUM + 200
"""Bytes that a file of ours has at most: two outputs with a line of numbers."""


class Directory:
    """The directory of an attempt, which may have been begun by another process."""

    def __init__(self, guest: Guest, path: str, limit: int = OUTPUT_MAXIMUM) -> None:
        self.guest, self.path, self._limit = guest, path, limit
        self._program = program_for(Script(""), windows=guest.is_windows)
        self.show: Callable[[int, bytes], None] | None = None
        """Takes the length of the output so far, and its end, while the run is followed."""
        self._next_show = 0.0
        self.requests = 0
        """Requests to run it of this process that may have been carried out."""

    def names(self) -> set[str]:
        """Returns the names of its files."""
        with contextlib.suppress(GuestNotFoundError):
            return {entry.name for entry in self.guest.list_files(self.path)}
        return set()

    def read(self, name: str) -> bytes | None:
        """Returns a file; None if there is none."""
        try:
            return self.guest.download(self.guest.join(self.path, name), _LARGEST)
        except GuestNotFoundError:
            return None

    def outcome(self) -> Outcome | None:
        """Returns what the run left behind; None where that is not there yet."""
        content = self.read(OUTCOME)
        if content is None:
            return None
        outcome = Outcome.parse(content, self._limit)
        _log.debug("%s: %s: %s, exit code %s", self.guest, self.path, outcome.ending.value, outcome.exit_code)
        return outcome

    def call(self, word: str) -> int:
        """Calls the wrapper, and returns its process."""
        command = self._program.command(self.path, word)
        process = self.guest.start(self._program.path, command, self._count if word == RUN else lambda _: None)
        _log.debug("%s: %s: %s is process %d", self.guest, self.path, word, process)
        return process

    def _count(self, change: int) -> None:
        self.requests += change

    def follow(self, process: int | None) -> Outcome:
        """Waits until the run has an outcome.

        Args:
            process: The wrapper's process, where this process started it.

        Raises:
            GuestError: If there is none until the deadline, or there can be none.
        """
        watched = Process(self.guest, process) if process is not None else None
        checks = backoff(1.0, SETTLE_INTERVAL)
        next_check = 0.0
        for pause in backoff(0.2, 2.0):
            if watched is None or not watched.runs():
                outcome = self.outcome()
                if outcome is not None:
                    return outcome
                self._raise_if_it_cannot_write(watched)
                # Another process may hold the run, or none: only the guest knows.
                watched = None
                if time.monotonic() >= next_check:
                    watched = Process(self.guest, self.call(SETTLE))
                    next_check = time.monotonic() + next(checks)
            self._show_output()
            self.guest.deadline.pause(pause)
        raise AssertionError("the pauses never end")

    def _show_output(self) -> None:
        if self.show is None or time.monotonic() < self._next_show:
            return
        self._next_show = time.monotonic() + SHOW_INTERVAL
        total, _, end = (self.read(PROGRESS) or b"").partition(b"\n")
        if total.strip().isdigit():
            self.show(int(total), end)

    def _raise_if_it_cannot_write(self, watched: Process | None) -> None:
        code = watched.exit_code if watched is not None else None
        if code in {CANNOT_CLAIM, CANNOT_FINISH}:
            what = "start the script" if code == CANNOT_CLAIM else "keep the script's outcome"
            raise GuestError(
                f"cannot {what} in {self.guest}: {self.path} cannot be written. Is the disk full, or the file system "
                "read-only?"
            )

    def stop(self) -> Outcome | None:
        """Stops the run, or keeps it from ever starting, and returns its outcome; None where that was not seen."""
        names = self.names()
        if OUTCOME not in names and COMPLETE in names:
            watched = Process(self.guest, self.call(STOP))
            for pause in backoff(0.2, 1.0):
                # Children that ignore the signal are killed before `stop` ends; the script's own end may come earlier.
                if not watched.runs():
                    break
                self.guest.deadline.pause(pause)
            with contextlib.suppress(GuestTimeoutError):
                return self.follow(None)
        return self.outcome()


class Process:
    """A process that was started in the guest: its number and the start time that vCenter reports."""

    def __init__(self, guest: Guest, pid: int) -> None:
        self._guest, self._pid = guest, pid
        self._started: datetime | None = None
        self.exit_code: int | None = None

    def runs(self) -> bool:
        """Whether it runs. vCenter forgets an ended process, and its number may belong to another one then."""
        for known in self._guest.processes(self._pid):
            self._started = self._started or known.startTime
            if known.startTime == self._started:
                self.exit_code = known.exitCode if known.endTime is not None else None
                return known.endTime is None
        return False
