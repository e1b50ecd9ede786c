"""One VM of a wait: when it is read again, and when it counts as missing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.cloud_director.api import CustomizationState, Refusal
from pulumi_customization_gate.cloud_director.representations import InventoryVm
from pulumi_customization_gate.cloud_director.tracked_vm import (
    JITTER,
    LONGEST_INTERVAL,
    SETTLED_INTERVAL,
    SHORTEST_INTERVAL,
    Pace,
    TrackedVm,
)
from pulumi_customization_gate.core.model import Missing, VmRef
from pulumi_customization_gate.core.recency import AGREEMENT
from pulumi_customization_gate.core.status import FailureKind

EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_the_interval_grows_while_nothing_changes() -> None:
    """The interval grows from the shortest to the longest and stays there."""
    pace = Pace(middle)
    waits = [pace.next(changed=False) for _ in range(9)]
    assert (waits[0], waits[-1]) == (SHORTEST_INTERVAL, LONGEST_INTERVAL)
    assert waits == sorted(waits)


def test_a_change_makes_the_interval_short_again() -> None:
    """After a change the next read comes soon, and the interval grows from the start."""
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


# ---- whatever the server answers

STEP = st.tuples(
    st.sampled_from(["GC_PENDING", "REBOOT_PENDING", "GC_COMPLETE", "GC_FAILED", "refused", "record", "fault"]),
    st.floats(0.0, 5.0),
    st.integers(-3600, 3600),
)
"""What a read brings, the seconds until the next one, and by how much the answering cell's clock is wrong."""


@given(st.lists(STEP, max_size=30))
def test_a_vm_is_missing_exactly_while_reads_are_refused(steps: list[tuple[str, float, int]]) -> None:
    """Each refusal is reported, and is looked at again soon; the next state undoes it."""
    now = refused_since = 0.0
    vm = TrackedVm(VmRef("web-0", "vm-0", "web-0"), lambda: now)
    is_refused, times = False, []
    for what, seconds, error in steps:
        at = EPOCH + timedelta(seconds=int(now) + error)
        if what == "refused":
            refused_since = refused_since if is_refused else now
            is_refused = True
            vm.observe_refusal(Refusal(FailureKind.NOT_FOUND, "no such VM", at))
        elif what == "record":
            vm.observe_inventory(at, InventoryVm("vm-0", "web-0", powered_on=True, state="GC_PENDING"))
        elif what != "fault":
            is_refused = False
            vm.observe_state(CustomizationState(what, at))
        vm.schedule(reported=what.startswith(("GC", "RE")), changed=False, at_least=0.0)
        assert vm.is_refused == is_refused
        assert 0 <= vm.due - now <= SETTLED_INTERVAL * (1 + JITTER) or what == "record"
        if is_refused and now - refused_since < AGREEMENT:
            assert vm.due == now + AGREEMENT
        observation = vm.take_observation()
        if observation is not None:
            assert isinstance(observation, Missing) == is_refused
            times.append(observation.at)
        assert (observation is not None) or what != "refused"
        now += seconds
    assert times == sorted(set(times))
