"""How often a machine is asked about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.cloud_director.tracked_vm import JITTER, LONGEST_INTERVAL, SHORTEST_INTERVAL, Pace


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_the_interval_grows_while_nothing_changes() -> None:
    """The interval grows from the shortest to the longest and stays there."""
    pace = Pace(middle)
    waits = [pace.next(changed=False) for _ in range(9)]
    assert (waits[0], waits[-1]) == (SHORTEST_INTERVAL, LONGEST_INTERVAL)
    assert waits == sorted(waits)


def test_a_change_makes_the_interval_short_again() -> None:
    """After a change the next question comes soon, and the interval grows anew."""
    pace = Pace(middle)
    for _ in range(9):
        pace.next(changed=False)
    assert [pace.next(changed=True), pace.next(changed=False)] == [SHORTEST_INTERVAL, SHORTEST_INTERVAL * 1.5]


@given(st.lists(st.booleans(), max_size=40))
def test_every_interval_stays_within_its_bounds(changes: list[bool]) -> None:
    """Whatever changes, an interval is never longer or shorter than the jitter allows."""
    pace = Pace()
    waits = [pace.next(changed=changed) for changed in changes]
    assert all(SHORTEST_INTERVAL * (1 - JITTER) <= wait <= LONGEST_INTERVAL * (1 + JITTER) for wait in waits)
