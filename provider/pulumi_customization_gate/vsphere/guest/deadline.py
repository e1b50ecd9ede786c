"""How long work in a guest may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.vsphere.guest.errors import GuestCancelledError, GuestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """An instant until which work may take, and whether the user has cancelled the work.

    Args:
        seconds: The time from now.
        cancelled: Whether the user has cancelled the work.
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
        self.seconds, self.cancelled = seconds, cancelled
        self._clock, self._sleep = clock, sleep
        self.at = clock() + seconds
        """The instant, by the clock."""

    @property
    def remaining(self) -> float:
        """The seconds until the deadline, at least 0."""
        return max(0.0, self.at - self._clock())

    def check(self, reason: str = "") -> None:
        """Raises an error if the work has to end now.

        Args:
            reason: What the work waits for, for the error.

        Raises:
            GuestTimeoutError: If the deadline has passed.
            GuestCancelledError: If the user has cancelled the work.
        """
        if self.cancelled():
            raise GuestCancelledError("the update was cancelled")
        if self.remaining <= 0:
            detail = f" ({reason})" if reason else ""
            raise GuestTimeoutError(f"timed out after {duration(self.seconds)}{detail}")

    def pause(self, seconds: float, reason: str = "") -> None:
        """Waits for some seconds, or until the deadline if that comes first.

        Args:
            seconds: How long.
            reason: What the work waits for, for the error.

        Raises:
            GuestTimeoutError: If the deadline had already passed.
            GuestCancelledError: If the user has cancelled the work.
        """
        self.check(reason)
        until = min(self._clock() + seconds, self.at)
        while True:
            rest = until - self._clock()
            if rest <= 0:
                return
            self._sleep(min(rest, CANCEL_CHECK_INTERVAL))
            if self.cancelled():
                raise GuestCancelledError("the update was cancelled")
