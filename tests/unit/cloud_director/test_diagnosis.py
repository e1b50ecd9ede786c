"""Why a VM of Cloud Director did not get there, in words."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.cloud_director.diagnosis import explain
from pulumi_customization_gate.cloud_director.representations import InventoryVm


def vm(on: bool | None, tools: bool | None) -> InventoryVm:
    return InventoryVm("vm-x", "x", powered_on=on, tools_running=tools)


@pytest.mark.parametrize(
    ("state", "found", "cause"),
    [
        pytest.param("GC_PENDING", vm(on=True, tools=True), "forceCustomization", id="stuck"),
        pytest.param("GC_PENDING", vm(on=True, tools=None), "forceCustomization", id="stuck-tools-not-reported"),
        pytest.param("GC_PENDING", vm(on=True, tools=False), "VMware Tools are not running", id="no-tools"),
        pytest.param("GC_PENDING", vm(on=False, tools=False), "powered off", id="off"),
        pytest.param("POST_GC_PENDING", vm(on=False, tools=None), "powered off", id="off-on-the-way"),
        pytest.param("GC_DISABLED", vm(on=True, tools=True), "not enabled", id="disabled"),
        pytest.param("GC_FAILED", None, "/var/log/vmware-imc", id="failed"),
    ],
)
def test_the_likeliest_cause_comes_first(state: str, found: InventoryVm | None, cause: str) -> None:
    """The first line is the cause that the facts point to."""
    assert cause in explain(state, found, 90.0)[0]


def test_a_server_that_does_not_answer_comes_before_any_cause() -> None:
    """What is known is old, so no cause is read out of it."""
    message = list(explain("GC_PENDING", vm(on=True, tools=True), 5.0, fault="connection refused", silence=90.0))
    assert message == [
        (
            "likely cause: the server has not reported the VM's state for 1 min 30 s, and the next lines are "
            "from its last report; connection refused"
        ),
        "status: GC_PENDING for 5 s",
        "power: on",
        "VMware Tools: running",
    ]


@pytest.mark.parametrize(
    ("state", "found", "lines"),
    [
        pytest.param("", None, ["status: not reported by the server"], id="nothing"),
        pytest.param(
            "POST_GC_PENDING",
            vm(on=True, tools=True),
            ["status: POST_GC_PENDING for 1 min 30 s", "power: on", "VMware Tools: running"],
            id="on-its-way",
        ),
        pytest.param(
            "GC_PENDING",
            vm(on=None, tools=None),
            ["status: GC_PENDING for 1 min 30 s", "power: unknown", "VMware Tools: unknown"],
            id="not-reported",
        ),
    ],
)
def test_without_a_likely_cause_the_facts_are_alone(state: str, found: InventoryVm | None, lines: list[str]) -> None:
    """Where nothing points to a cause, none is made up."""
    assert lines == list(explain(state, found, 90.0))
