"""Deadlines of work in a guest, by a clock that the test turns."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestCancelledError, GuestTimeoutError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _patience(seconds: float, clock: Clock, cancelled_at: float = 1e9) -> Deadline:
    return Deadline(seconds, lambda: clock.now >= cancelled_at, lambda: clock.now, clock.sleep)


def test_a_pause_looks_up_and_ends_at_the_deadline() -> None:
    """No nap is longer than CANCEL_CHECK_INTERVAL; the last pause ends at the deadline, and only the next one fails."""
    clock = Clock()
    deadline = _patience(1.2, clock)
    deadline.pause(5)
    assert clock.now == pytest.approx(1.2)
    assert max(clock.slept) == CANCEL_CHECK_INTERVAL
    assert deadline.remaining == pytest.approx(0)
    with pytest.raises(GuestTimeoutError, match=r"timed out after 1\.2 s \(the guest sleeps\)"):
        deadline.pause(5, "the guest sleeps")


def test_a_pause_ends_when_the_user_wants_it() -> None:
    """A cancellation is seen within CANCEL_CHECK_INTERVAL."""
    clock = Clock()
    with pytest.raises(GuestCancelledError, match="the update was cancelled"):
        _patience(60, clock, cancelled_at=0.7).pause(30)
    assert clock.now <= 0.7 + CANCEL_CHECK_INTERVAL
