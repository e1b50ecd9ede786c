"""The blocking calls of a wait: each has a time limit and a thread of its own, so that no server delays a report."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulumi_customization_gate.core.model import VmRef
    from pulumi_customization_gate.core.source import Readiness, Source

CLOSE_TIMEOUT = 1.4
"""Seconds that releasing the source may take: with CANCEL_CHECK_INTERVAL less than a cancellation may last."""
CLOSE_TIMEOUT_UNRESPONSIVE = 0.1
"""The same for a server that did not answer the last read: with FINAL_READ_TIMEOUT less than a deadline may be late."""

_log = logging.getLogger(__name__)


class SourceCalls:
    """Calls a source, and reads the guests behind it.

    Args:
        source: The source.
        readiness: Reads the guests, None where nothing is asked of them.
        cancelled: Returns whether the caller wants to stop: no call delays that.
        clock: The monotonic clock of the wait.
    """

    def __init__(
        self, source: Source, readiness: Readiness | None, cancelled: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        self._source, self._readiness, self._cancelled, self._clock = source, readiness, cancelled, clock
        # A start or a read that hangs keeps its thread; closing needs another one.
        self._background = Background("customization-gate-wait", threads=4)
        self._is_unresponsive = False
        """Whether the server did not answer the last call in time."""

    def start(self, deadline: float, timeout: float, note: Callable[[str], None]) -> Sequence[VmRef]:
        """Starts the source and returns its VMs.

        Args:
            deadline: When it must have started, by the clock.
            timeout: Seconds of the whole wait, for the error.
            note: Takes a sentence, once, about what a slow start waits for.

        Raises:
            ServerError: If the server cannot be used, does not respond in time, or the wait is cancelled before.
            ConfigurationError: If a reference is ambiguous.
        """
        starting = self._background.submit(self._source.start)
        is_noted = False

        def is_cancelled() -> bool:
            nonlocal is_noted
            if not is_noted and (slow := self._source.notes()):
                is_noted = True
                note(f"{'; '.join(slow)}; waiting for it until the time-out of {duration(timeout)}")
            return self._cancelled()

        if wait_until_done(starting, deadline, cancelled=is_cancelled, clock=self._clock):
            return starting.result()
        self._is_unresponsive = True
        if self._clock() < deadline:
            raise ServerError("the wait was cancelled before the server responded; no VM was judged")
        reason = "; ".join(self._source.notes()) or "check that it can be reached"
        text = f"the server did not respond within {timeout:g} s, so no VM was judged"
        raise ServerError(f"{text}: {reason}, or wait longer")

    def refresh(
        self, timeout: float, meanwhile: Callable[[], None], *, confirms_readiness: bool
    ) -> tuple[bool, frozenset[str]]:
        """Reads the server once more, and on request the guests that are ready: a guest may not be so any more.

        A cancellation does not wait for the answer.

        Args:
            timeout: Seconds that it may take.
            meanwhile: Is called every CANCEL_CHECK_INTERVAL seconds until the answer is there.
            confirms_readiness: Whether the guests are read.

        Returns:
            Whether the server reported every VM in time, and the identifiers of the VMs that are not ready any more.

        Raises:
            ServerError: If the read cannot succeed.
        """
        if self._cancelled():
            return False, frozenset()
        asked = self._clock()
        reading = self._background.submit(partial(self._source.refresh, timeout))
        readiness = self._readiness if confirms_readiness else None
        confirming = None if readiness is None else self._background.submit(partial(readiness.confirm, timeout))

        def is_cancelled() -> bool:
            meanwhile()
            return self._cancelled()

        is_done = wait_until_done(reading, cancelled=is_cancelled)
        self._is_unresponsive = not is_done or self._clock() - asked >= timeout
        unready: frozenset[str] = frozenset()
        if confirming is not None and wait_until_done(confirming, cancelled=self._cancelled):
            unready = confirming.result()
        return is_done and reading.result(), unready

    def close(self) -> None:
        """Lets the source release what it holds; a server that hangs does not delay the report."""
        allowed = CLOSE_TIMEOUT_UNRESPONSIVE if self._is_unresponsive else CLOSE_TIMEOUT
        closing = self._background.submit(self._source.close)
        if wait_until_done(closing, time.monotonic() + allowed) and (error := closing.exception()) is not None:
            _log.debug("closing the source failed: %r", error)
        self._background.close()
