"""The VMs of a wait: what it costs to keep thousands of them, and that it does not matter how observations come."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.model import Observation, Snapshot, VmRef
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import PowerState, Progress
from pulumi_customization_gate.core.tracking import TrackedVms
from pulumi_customization_gate.core.verdict import Judgement
from tests.unit.core.timeline import (
    VM,
    powered_off,
    powered_on,
    read,
    resuming,
    started,
    starting,
    succeeded,
    suspended,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VMS = 200
NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def snapshot(vm: str, asked_at: float = 1.0) -> Snapshot:
    return Snapshot(vm=vm, at=NOON, power=PowerState.ON, progress=Progress.RUNNING, asked_at=asked_at)


def test_the_cost_of_a_change_does_not_grow_with_the_other_vms(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observation of one VM, and the situation of each, look at the verdict of that VM only."""
    asked: list[str] = []

    def needs_look(judgement: Judgement) -> bool:
        asked.append(judgement.because)
        return False

    monkeypatch.setattr(Judgement, "needs_look", property(needs_look))
    monkeypatch.setattr(Judgement, "is_held", property(needs_look))
    vms = [VmRef(key=f"web-{n}", id=f"vm-{n}", name=f"web-{n}") for n in range(VMS)]
    tracked = TrackedVms(vms, WaitRules(timeout=60, start_timeout=60), 0.0)
    tracked.observe([snapshot(vm.id) for vm in vms], 1.0)
    asked.clear()

    tracked.observe([snapshot("vm-7", 2.0)], 2.0)
    for vm in vms:
        tracked.situation(vm, 2.0, None)
    tracked.next_due(2.0, 60.0)

    assert len(asked) == 2


CUSTOMIZED: list[Observation] = [starting(-90), succeeded(-60), read(-1)]
"""Of a VM on a vCenter that reports no state, with VMware Tools that run."""
HAPPENINGS = st.sampled_from(
    [
        starting,
        powered_on,
        powered_off,
        suspended,
        resuming,
        started,
        read,
        lambda second: read(second, tools=False),
        lambda second: read(second, on=False, tools=False),
    ]
)


def verdicts(batches: Sequence[Sequence[Observation]]) -> list[str]:
    """Returns the verdicts of a VM when the batches come, just before Tools have run for long enough, and then."""
    tracked = TrackedVms([VmRef("web", VM, "web")], WaitRules(timeout=900, start_timeout=600), 0.0)
    tracked.observe(CUSTOMIZED, 0.0)
    for batch in batches:
        tracked.observe(batch, 100.0)
    situations = [tracked.situation(tracked.refs[0], second, None) for second in (100.0, 109.9, 110.0)]
    return [situation.judgement.because for situation in situations]


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param([powered_off(90), starting(95), read(99)], id="events and state"),
        pytest.param([starting(95), read(99)], id="the power-on and the state"),
        pytest.param([read(90, on=False, tools=False), read(99)], id="the state only"),
    ],
)
def test_tools_run_since_the_last_power_on_however_it_is_reported(happens: list[Observation]) -> None:
    """One poll that brings all that happened gives the verdicts of several: those ten seconds begin with the last."""
    not_yet = "the VM is powered on and there is no sign of a customization yet"
    earlier = "the customization succeeded before the last power-on and none was requested since"

    assert verdicts([happens]) == verdicts([[one] for one in happens]) == [not_yet, not_yet, earlier]


@given(st.lists(HAPPENINGS, max_size=7), st.data())
def test_how_observations_are_split_into_polls_changes_no_verdict(happens: list[Any], data: st.DataObject) -> None:
    """A poll may return many observations or one: the verdicts are the same, then and later."""
    observations = [*(happening(50 + second) for second, happening in enumerate(happens)), read(99)]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(happens)))))
    batches = [observations[i:j] for i, j in zip([0, *cuts], [*cuts, None], strict=True)]

    assert verdicts(batches) == verdicts([observations])
