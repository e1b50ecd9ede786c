"""The rule that the timeout of a gate suits its VMs."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import (
    GATE,
    UNKNOWN,
    customized_vm,
    gate,
    judge,
    resource,
    violators,
)

RULE = policies.GATE_TIMEOUT_IS_SANE


@pytest.mark.parametrize(
    ("guest", "timeout", "sane"),
    [
        pytest.param({"guestId": "ubuntu64Guest"}, 119, False, id="linux, short"),
        pytest.param({"guestId": "ubuntu64Guest"}, 120, True, id="linux, shortest"),
        pytest.param({"guestId": "otherLinux64Guest"}, 3600, True, id="linux, longest"),
        pytest.param({"guestId": "rhel9_64Guest"}, 3601, False, id="linux, long"),
        pytest.param({"guestId": "windows2022srvNext_64Guest"}, 300, False, id="windows, short"),
        pytest.param({"guestId": "winNetStandardGuest"}, 5400, True, id="windows, long enough"),
        pytest.param({"guestId": "freebsd14_64Guest"}, 7200, True, id="other, longest"),
        pytest.param({"guestId": UNKNOWN}, 7201, False, id="unknown, long"),
        pytest.param({"guestId": UNKNOWN, "customize": {"windowsOptions": {}}}, 300, False, id="by customization"),
    ],
)
def test_has_bounds_by_family(guest: dict[str, Any], timeout: float, sane: bool) -> None:
    """The guest's family, from the customization or else from the guest ID, decides."""
    vm = customized_vm(**{"customize": {}} | guest)
    assert violators(RULE, vm, gate(vm, timeout=timeout)) == ([] if sane else ["gate"])


def test_gives_the_nearest_bound() -> None:
    """The message names family, bounds and VMs; the line to write is the nearest sane value."""
    vm = customized_vm("web-0")
    [(_, message)] = judge(RULE, vm, gate(vm, timeout=30))
    assert message == (
        '"gate" must have a timeout from 120 s to 3600 s for linux VMs ("web-0"): it is 30 s.\nWrite: timeout=120'
    )


def test_suits_the_slowest_guest() -> None:
    """A gate over two families keeps the larger of their bounds."""
    vms = [customized_vm("a"), customized_vm("b", customize={"windowsOptions": {}})]
    assert violators(RULE, *vms, gate(*vms, timeout=7200)) == []
    assert violators(RULE, *vms, gate(*vms, timeout=300)) == ["gate"]


def test_takes_bounds_from_the_configuration() -> None:
    """Configured bounds replace the built-in ones, one by one."""
    vm = customized_vm()
    bounds = {"linux": {"maximum": 900}}
    assert violators(RULE, vm, gate(vm, timeout=900), bounds=bounds) == []
    assert violators(RULE, vm, gate(vm), bounds=bounds) == ["gate"]
    assert violators(RULE, vm, gate(vm, timeout=60), bounds=bounds) == ["gate"]


def test_judges_a_gate_over_vms_of_other_stacks() -> None:
    """A gate over VMs of elsewhere keeps the bounds of other guests."""
    for timeout, found in ((10, ["gate"]), (7200, [])):
        foreign = resource(GATE, "gate", {"vms": ["vm-1"], "timeout": timeout})
        assert violators(RULE, foreign) == found


def test_says_that_a_timeout_is_unknown() -> None:
    """An unknown timeout is reported, not passed over."""
    vm = customized_vm()
    [(_, message)] = judge(RULE, vm, gate(vm, timeout=UNKNOWN))
    assert "it is not known before the update.\nWrite: timeout=1800" in message


def test_exempts() -> None:
    """An exempt gate may wait as long as it likes."""
    vm = customized_vm()
    assert violators(RULE, vm, gate(vm, timeout=1), exempt=[{"name": "gate", "reason": "r"}]) == []


def test_reads_durations_and_custom_timeouts() -> None:
    """A timeout can be a duration, and `custom_timeouts` count where there is none."""
    vm = customized_vm()
    assert violators(RULE, vm, gate(vm, timeout="30m")) == []
    [(_, message)] = judge(RULE, vm, gate(vm, timeout="90s"))
    assert "it is 90 s." in message
    custom = gate(vm)
    custom.opts.custom_timeouts.create_seconds = 60
    assert violators(RULE, vm, custom) == ["gate"]
