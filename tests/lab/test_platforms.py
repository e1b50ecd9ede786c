"""The state of Cloud Director's VMs in the lab, compared with the report of the gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cloud_director.client import CloudDirectorLab, LabVm
from lab.paths import Home
from lab.platforms import CloudDirector
from lab.timeline_check import GATE, WORK, broken

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
ORDER_PROBE = "pulumi-python:dynamic/lab:OrderProbe"


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


@dataclass
class Known:
    """A lab that knows one VM."""

    urn: str
    completed: float | None

    def current_vms(self) -> dict[str, LabVm]:
        return {"web-0": LabVm(self.urn, at(0), at(self.completed))}


def resources(work: float) -> list[dict[str, Any]]:
    result = {"moid": "vm-1", "status": "CustomizationSucceeded"}
    gate = {"results": {"web-0": result}, "opened_at": NOON.isoformat()}
    ran = {"vm": "vm-1", WORK[ORDER_PROBE]: (NOON + timedelta(seconds=work)).isoformat()}
    return [{"type": GATE, "outputs": gate}, {"type": ORDER_PROBE, "outputs": ran}]


@pytest.mark.parametrize(
    ("known", "breaches"),
    [
        pytest.param(Known("urn:vcloud:vm:1", 3), [], id="customized before"),
        pytest.param(Known("urn:vcloud:vm:1", 5), ["ran before web-0 was ready"], id="customized after"),
        pytest.param(Known("urn:vcloud:vm:1", None), ["nothing but the gate says that"], id="never customized"),
        pytest.param(Known("urn:vcloud:vm:2", None), [], id="another VM by now"),
    ],
)
def test_the_gate_is_not_its_own_judge(tmp_path: Path, known: Known, breaches: list[str]) -> None:
    """Work is held against the time at which the lab itself customized the VM, whatever the gate says."""
    platform = CloudDirector(Home(tmp_path))
    table = platform.rows(cast("CloudDirectorLab", known), resources(work=4))
    found = broken(table, NOON + timedelta(seconds=3.5), timedelta(seconds=10))
    assert len(found) == len(breaches)
    assert all(part in sentence for part, sentence in zip(breaches, found, strict=True))
