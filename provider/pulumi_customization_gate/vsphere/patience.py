"""How long something in a guest may take."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.report import duration
from pulumi_customization_gate.vsphere.guest_errors import GuestCancelledError, GuestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_UP = 0.5
"""Seconds after which a pause looks up whether the user has ended the work."""


class Patience:
    """A deadline, and whether the user has ended the work before it.

    Args:
        seconds: The time from now.
        cancelled: Whether the user has ended the work.
        clock: Counts seconds.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        seconds: float,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self._cancelled, self._clock, self._sleep = cancelled, clock, sleep
        self.began = clock()
        self.deadline = self.began + seconds

    @property
    def spent(self) -> float:
        """The seconds since it began."""
        return self._clock() - self.began

    @property
    def left(self) -> float:
        """The seconds until the deadline."""
        return max(0.0, self.deadline - self._clock())

    def pause(self, seconds: float, reason: str = "") -> None:
        """Waits for so many seconds, or until the deadline if that comes first.

        Args:
            seconds: How long.
            reason: What is waited for, for the error.

        Raises:
            GuestTimeoutError: If the time was up already.
            GuestCancelledError: If the user has ended the work.
        """
        if self._clock() >= self.deadline:
            said = f" ({reason})" if reason else ""
            raise GuestTimeoutError(f"there was no end to it within {duration(self.seconds)}{said}")
        until = min(self._clock() + seconds, self.deadline)
        while True:
            if self._cancelled():
                raise GuestCancelledError("the update was cancelled")
            rest = until - self._clock()
            if rest <= 0:
                return
            self._sleep(min(rest, LOOK_UP))


def growing(first: float, last: float) -> Iterator[float]:
    """Yields pauses that grow from the first to the last, each half as long again as the one before."""
    pause = first
    for _ in itertools.count():
        yield min(pause, last)
        pause = min(pause * 1.5, last)
