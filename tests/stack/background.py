"""An `up` that runs in the background of a test, and the processes that serve it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine, Result, Stack

TEST_TIMEOUT = 60.0
"""Seconds until something that has to happen counts as not happening."""


def of_gates(result: Result) -> str:
    """Returns what an `up` reported about its gates."""
    messages = (event.diagnostic_event for event in result.events if event.diagnostic_event)
    return "\n".join(message.message for message in messages if "CustomizationGate" in (message.urn or ""))


def until(condition: Callable[[], object]) -> float:
    """Returns how many seconds it took until the condition held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < TEST_TIMEOUT, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - began


def is_quiet(engine: Engine) -> bool:
    """Whether the server had no call for a second: every gate has finished its first reads, and waits."""
    before = engine.lab.stats()["calls"]
    time.sleep(1)
    return bool(engine.lab.stats()["calls"] == before)


def end_all_ups() -> None:
    """Interrupts every `up` that a test has left running, so that it makes no call during the next test."""
    running = [cli for cli in psutil.Process().children() if _is_up(cli)]
    for cli in running:
        with contextlib.suppress(psutil.NoSuchProcess):  # It may end by itself.
            cli.send_signal(signal.SIGINT)
    for cli in running:
        cli.wait(TEST_TIMEOUT)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process has not ended, and has not ended unnoticed by its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words_of(process: psutil.Process) -> list[str]:
    """Returns the command line of a process, nothing of one that has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _is_up(process: psutil.Process) -> bool:
    words = words_of(process)
    return words != [] and words[0].endswith("pulumi") and "up" in words


class Running:
    """An `up` in the background, and the processes that serve it."""

    def __init__(self, stack: Stack) -> None:
        self._name = stack.name
        self.results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self.results.append(stack.up(parallel=100)))
        self._thread.start()

    def cli(self) -> psutil.Process | None:
        """The CLI of this stack."""
        for child in psutil.Process().children():
            if _is_up(child) and self._name in words_of(child):
                return child
        return None

    def wait(self) -> Result:
        """Waits for the end of the `up`."""
        self._thread.join(TEST_TIMEOUT)
        assert self.results, "the engine did not come to an end"
        return self.results[0]
