"""What holds for every set of observations, whatever happened to the VM."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.model import (
    Event,
    HistoryRead,
    Missing,
    Observation,
    PreviouslyCustomized,
    Snapshot,
)
from pulumi_customization_gate.core.recency import compact
from pulumi_customization_gate.core.status import (
    CustomizationStatus,
    Evidence,
    FailureKind,
    PowerState,
    Progress,
    Signal,
)
from pulumi_customization_gate.core.verdict import judge
from tests.unit.core.timeline import VM, at

ENDS = [signal for signal in Signal if signal.is_end]
SECONDS = st.integers(0, 30)

STEPS = st.sampled_from([0, 0, 0, -3, 3, 40])
"""By how much the server's clock is wrong, in seconds."""

events = st.builds(
    lambda signal, second, step, late: Event(
        VM, second, signal, at(second + step), signal.value, read_at=second + late
    ),
    st.sampled_from([signal for signal in Signal if signal is not Signal.VM_REMOVED]),
    SECONDS,
    STEPS,
    st.sampled_from([0.1, 0.1, 5.1, math.inf]),
)
snapshots = st.builds(
    lambda second, step, power, pending, progress, tools, booted: Snapshot(
        VM,
        at(second + step),
        power,
        None if booted is None else at(booted),
        specification_pending=pending,
        progress=progress,
        tools_running=tools,
        asked_at=second,
    ),
    SECONDS,
    STEPS,
    st.sampled_from([PowerState.ON, PowerState.ON, *PowerState]),
    st.booleans(),
    st.sampled_from([None, *Progress]),
    st.booleans(),
    st.sampled_from([None, None, -400, 10, 400]),
)
misses = st.builds(
    lambda second, kind: Missing(VM, at(second), kind, needs_second_look=True, asked_at=second),
    SECONDS,
    st.sampled_from([FailureKind.NOT_FOUND, FailureKind.NO_PERMISSION]),
)
once = st.sampled_from([PreviouslyCustomized(VM), HistoryRead(VM)])
histories = st.lists(st.one_of(events, events, snapshots, once), max_size=14)
with_removals = st.lists(
    st.one_of(
        events,
        snapshots,
        once,
        misses,
        SECONDS.map(lambda second: Event(VM, second, Signal.VM_REMOVED, at(second))),
    ),
    max_size=10,
)


@given(histories, st.data())
def test_order_and_duplicates_never_change_a_verdict(history: list[Observation], data: st.DataObject) -> None:
    """A verdict is a function of the set of observations."""
    repeated = data.draw(st.lists(st.sampled_from(history))) if history else []
    shuffled = data.draw(st.permutations([*history, *repeated]))

    assert judge(history) == judge(shuffled)


@given(with_removals, with_removals, st.booleans())
def test_compacting_never_changes_a_verdict(before: list[Observation], after: list[Observation], settled: bool) -> None:
    """What is dropped could not have mattered, now or with whatever is observed later."""
    kept = compact(before)

    for one, other in ((before, [*kept]), ([*before, *after], [*kept, *after])):
        assert judge(one, power_on_is_settled=settled) == judge(other, power_on_is_settled=settled)
    assert kept <= set(before)
    assert kept == compact(kept)


@given(histories, histories)
def test_compacting_step_by_step_is_compacting_once(first: list[Observation], then: list[Observation]) -> None:
    """A wait that compacts after every batch holds what one compaction of all would hold."""
    assert compact([*first, *then]) == compact([*compact(first), *then])


@given(st.lists(snapshots, max_size=200))
def test_compacting_keeps_memory_flat(history: list[Observation]) -> None:
    """However often the state is read, no more stays than there are different things to say."""
    assert len(compact(history)) <= 3 * 2 * (len(Progress) + 1) * len(PowerState)


@given(histories, st.lists(events, max_size=6))
def test_stale_events_never_unset_a_terminal_status(history: list[Observation], late: list[Any]) -> None:
    """Events older than the last power-on, reported late, change nothing about an end after it."""
    anchor = Event(VM, 100, Signal.VM_STARTING, at(100))
    end = Event(VM, 200, ENDS[len(history) % 2], at(200))
    observations = [*history, anchor, end]
    before, after = judge(observations), judge([*observations, *late])

    assert Evidence.EVENT is before.evidence
    assert (before.status, before.end, before.customization_seconds) == (
        after.status,
        after.end,
        after.customization_seconds,
    )


@given(histories)
def test_nothing_is_ready_while_a_specification_waits(history: list[Observation]) -> None:
    """No success and no "not customized" contradicts the newest read, which reports a VM off with work to do."""
    waiting = Snapshot(VM, at(1000), PowerState.OFF, specification_pending=True, asked_at=1000)

    assert judge([*history, waiting]).status is CustomizationStatus.VM_NOT_STARTED


@given(histories)
def test_nothing_is_ready_once_the_power_on_has_used_a_specification_up(history: list[Observation]) -> None:
    """Between that power-on and the guest's first word no earlier success counts, and no lack of a trace."""
    waiting = Snapshot(VM, at(1000), PowerState.OFF, specification_pending=True, asked_at=1000)
    power_on = Event(VM, 1100, Signal.VM_STARTING, at(1100), read_at=1100)
    silent = Snapshot(VM, at(1200), PowerState.ON, tools_running=True, asked_at=1200)
    judgement = judge([*history, waiting, power_on, silent])

    assert judgement.status is CustomizationStatus.CUSTOMIZATION_NOT_STARTED
    assert not judgement.is_untraced


@given(histories)
def test_a_vm_that_left_never_comes_back(history: list[Observation]) -> None:
    """A removal is terminal, whatever else is observed."""
    removal = Event(VM, 15, Signal.VM_REMOVED, at(15))

    assert judge([*history, removal]).status is CustomizationStatus.VM_REMOVED


@given(histories)
def test_every_verdict_says_why(history: list[Observation]) -> None:
    """Each set of observations meets a row of the table, and a status that ends a wait names its evidence."""
    judgement = judge(history)

    assert judgement.because
    assert judgement.status.is_terminal == (judgement.evidence is not None)
