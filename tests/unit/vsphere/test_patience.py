"""Deadlines of work in a guest, by a clock that the test turns."""

from __future__ import annotations

from itertools import islice

import pytest

from pulumi_customization_gate.vsphere.guest_errors import GuestCancelledError, GuestTimeoutError
from pulumi_customization_gate.vsphere.patience import LOOK_UP, Patience, growing


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _patience(seconds: float, clock: Clock, cancelled_at: float = 1e9) -> Patience:
    return Patience(seconds, lambda: clock.now >= cancelled_at, lambda: clock.now, clock.sleep)


def test_a_pause_looks_up_and_ends_at_the_deadline() -> None:
    """No nap is longer than LOOK_UP; the last pause ends at the deadline, and only the next one fails."""
    clock = Clock()
    patience = _patience(1.2, clock)
    patience.pause(5)
    assert clock.now == pytest.approx(1.2)
    assert max(clock.slept) == LOOK_UP
    assert patience.left == pytest.approx(0)
    with pytest.raises(GuestTimeoutError, match=r"no end to it within 1\.2 s \(the guest sleeps\)"):
        patience.pause(5, "the guest sleeps")


def test_a_pause_ends_when_the_user_wants_it() -> None:
    """A cancellation is seen within LOOK_UP."""
    clock = Clock()
    with pytest.raises(GuestCancelledError, match="the update was cancelled"):
        _patience(60, clock, cancelled_at=0.7).pause(30)
    assert clock.now <= 0.7 + LOOK_UP


def test_pauses_grow_to_a_limit() -> None:
    """Each is half as long again as the one before, up to the last."""
    assert list(islice(growing(0.2, 0.6), 5)) == pytest.approx([0.2, 0.3, 0.45, 0.6, 0.6])
