"""The VMs of a wait: what it costs to keep thousands of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import Snapshot, VmRef
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import PowerState, Progress
from pulumi_customization_gate.core.tracking import TrackedVms
from pulumi_customization_gate.core.verdict import Judgement

if TYPE_CHECKING:
    import pytest

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
