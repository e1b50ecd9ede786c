"""What the lab says of a run, read from the resources of a stack's state."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lab.timeline_check import GATE, WORK, Row, broken, rows

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def _at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _vm(moid: str, *, ready: float | None, status: str = "CustomizationSucceeded") -> dict[str, Any]:
    ends = ready if ready is not None else 3
    return {
        "moid": moid,
        "status": status,
        "powered_on_at": _at(ends - 3),
        "started_at": _at(ends - 2),
        "completed_at": _at(ends),
        "ready_at": None if ready is None else _at(ready),
    }


def _table(opened: float | None, vms: dict[str, dict[str, Any]], work: dict[str, float]) -> list[Row]:
    gate = {"results": vms, "opened_at": "" if opened is None else _at(opened)}
    resources: list[dict[str, Any]] = [{"type": "pulumi:pulumi:Stack", "urn": "s"}, {"type": GATE, "outputs": gate}]
    resources += [
        {"type": kind, "outputs": {"vm": moid, reported: _at(seconds), "stdout": f"ran in {moid}\nfor long\n"}}
        for (kind, reported), (moid, seconds) in zip(itertools.cycle(WORK.items()), work.items(), strict=False)
    ]
    return rows(resources)


TWO = {"a": _vm("vm-1", ready=3), "b": _vm("vm-2", ready=5)}


@pytest.mark.parametrize(
    ("opened", "vms", "work", "breaches"),
    [
        pytest.param(5.1, TWO, {"vm-1": 6, "vm-2": 6}, [], id="all work ran after all VMs were ready"),
        pytest.param(5.1, TWO, {"vm-1": 6}, [], id="work that did not run breaks nothing"),
        pytest.param(
            5.1,
            TWO,
            {"vm-1": 4, "vm-2": 6},
            ["the work on a ran before b was ready."],
            id="one did not wait for the other",
        ),
        pytest.param(
            None,
            {**TWO, "b": _vm("vm-2", ready=None, status="CustomizationFailed")},
            {"vm-1": 6},
            ["the work on a ran although b is CustomizationFailed."],
            id="one ran although another failed",
        ),
        pytest.param(
            None,
            {**TWO, "b": _vm("vm-2", ready=None, status="CustomizationFailed")},
            {"vm-1": -10, "vm-0": -10},
            ["the work on a ran before a was ready."],
            id="earlier work is held against its own VM alone",
        ),
        pytest.param(
            9,
            {"a": _vm("vm-1", ready=-20), "b": _vm("vm-2", ready=8)},
            {"vm-1": -19, "vm-2": 10},
            [],
            id="the work on a VM that was not touched ran long ago",
        ),
    ],
)
def test_a_breach_is_named(
    opened: float | None, vms: dict[str, dict[str, Any]], work: dict[str, float], breaches: list[str]
) -> None:
    """Work of this run must have waited for all VMs, earlier work for its own."""
    assert broken(_table(opened, vms, work), since=NOON) == breaches


def test_times_out_of_order_are_a_breach() -> None:
    """A VM whose customization ended before it started is reported."""
    vm = {**_vm("vm-1", ready=3), "started_at": _at(4)}
    assert broken(_table(3, {"a": vm}, {"vm-1": 5}), since=NOON) == ["the times of a are out of order."]


@pytest.mark.parametrize(
    ("resolution", "breaches"), [(0.0, ["the times of a are out of order."]), (1.0, [])], ids=["exact", "coarse"]
)
def test_a_coarse_clock_gives_no_order(resolution: float, breaches: list[str]) -> None:
    """A server that counts whole seconds says of an opening only that it was within that second or later."""
    table = _table(2.0, {"a": _vm("vm-1", ready=2.7)}, {"vm-1": 2.9})
    assert broken(table, NOON, timedelta(seconds=resolution)) == breaches


def test_the_gates_own_report_is_not_enough() -> None:
    """Where no time says when a VM was ready, work on it is a breach although the gate reports the VM as ready."""
    (breach,) = broken(_table(3, {"a": _vm("vm-1", ready=None)}, {"vm-1": 5}), NOON)
    assert breach == "the work on a ran although nothing but the gate says that a was ready."


def test_work_on_an_earlier_vm_does_not_count() -> None:
    """After a replacement, work on the old VM does not count as work on the new one."""
    (row,) = _table(None, {"a": _vm("vm-9", ready=None, status="CustomizationFailed")}, {"vm-1": -5})
    assert (row.work, row.opened, row.good) == (None, None, False)


@pytest.mark.parametrize(
    ("opened", "expected"),
    [pytest.param(5.1, 5.1, id="the last opening"), pytest.param(9.0, 5, id="an earlier one: the last was ready")],
)
def test_the_opening_is_the_one_that_let_the_work_through(opened: float, expected: float) -> None:
    """The gate keeps the time of its last opening; for work before that the VMs' times decide."""
    row, _ = _table(opened, TWO, {"vm-1": 6, "vm-2": 6})
    assert row.opened == NOON + timedelta(seconds=expected)


def test_a_stack_without_a_gate_has_no_vms() -> None:
    """A run that failed before the gate has nothing to show."""
    assert rows([{"type": "pulumi:pulumi:Stack", "urn": "s"}]) == []
