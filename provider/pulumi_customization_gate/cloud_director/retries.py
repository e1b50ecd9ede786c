"""Retries of a call that blocks the start of a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pulumi_customization_gate.cloud_director.answers import BusyError, is_transient
from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.3, 5.0
"""Seconds between two attempts."""


def with_retries(
    call: Callable[[], T],
    *,
    timeout: float,
    on_retry: Callable[[Exception], None],
    clock: Callable[[], float],
    sleep: Callable[[float], bool],
) -> T:
    """Returns what a call returns, after as many attempts as its time-out allows.

    Args:
        call: It may fail with a fault that passes.
        timeout: Seconds after which no further attempt is made.
        on_retry: Receives the fault before the next attempt.
        clock: A monotonic clock.
        sleep: Waits for so many seconds and returns False, or True as soon as the caller has given up.

    Raises:
        ServerError: The last fault, or the first that cannot pass.
    """
    deadline = clock() + timeout
    pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        try:
            return call()
        except ServerError as error:  # noqa: PERF203 -- an attempt takes far longer than the frame
            if not is_transient(error):
                raise
            pause = next(pauses)
            if isinstance(error, BusyError):
                pause = max(pause, error.retry_after)
            if clock() + pause >= deadline:
                raise
            on_retry(error)
            if sleep(pause):
                raise
