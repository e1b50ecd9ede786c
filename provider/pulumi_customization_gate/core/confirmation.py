"""The read that confirms an end: when it is due, and when a wait ends without it."""

from __future__ import annotations

import math

FINAL_READ_TIMEOUT = 0.8
"""Seconds that the last read of the server may take once a deadline has passed."""
CONFIRM_TIMEOUT = 20.0
"""Seconds that it may take before that: to read a thousand VMs takes longer than FINAL_READ_TIMEOUT."""
CONFIRM_PAUSE = 2.0
"""Seconds from a read that confirmed no end to the next one."""
FAILURE_CONFIRM_TIMEOUT = 120.0
"""Seconds without an answer to the reads that confirm an end, after which a failure counts without one."""
CUT_SHORT = "the wait ended before the server confirmed the end"
UNCONFIRMED = "the server did not answer the read that confirms the end: the report is what it had reported before"


class Confirmation:
    """The reads of one wait that confirm an end; all times are of the wait's clock.

    Such a read finds a start or an end whose event was lost, a VM that is customized a second time, and the names and
    addresses that the customization assigned. While the server does not answer it the wait goes on, until the deadline:
    then what the server reported before counts. A failure counts after FAILURE_CONFIRM_TIMEOUT: it has been reported,
    and only its reason may be missing.
    """

    def __init__(self) -> None:
        self._due_at, self._unanswered_since = -math.inf, math.inf

    def is_due(self, now: float) -> bool:
        """Whether the pause since the last read is over."""
        return now >= self._due_at

    def is_overdue(self, now: float) -> bool:
        """Whether the reads have had no answer for so long that a failure counts without one."""
        return now >= self._unanswered_since + FAILURE_CONFIRM_TIMEOUT

    def begin(self, now: float, left: float) -> float:
        """Records that a read begins, and returns the seconds that it may take where `left` are left of the wait."""
        self._unanswered_since = min(self._unanswered_since, now)
        return max(FINAL_READ_TIMEOUT, min(CONFIRM_TIMEOUT, left))

    def end(self, now: float, *, is_confirmed: bool) -> None:
        """Records that a read has ended, and whether the server reported every VM."""
        self._due_at = now + CONFIRM_PAUSE
        if is_confirmed:
            self._unanswered_since = math.inf
