"""The rule that the waits of pulumi-vsphere are off for a gated VM."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import (
    UNKNOWN,
    VM,
    customized_vm,
    gate,
    judge,
    resource,
    violators,
)

RULE = policies.GATED_VM_DOES_NOT_WAIT_TWICE


def test_names_every_wait() -> None:
    """Both waits at their defaults are named, with the lines that turn them off."""
    vm = resource(VM, "web", {"clone": {"customize": {}}})
    [(name, message)] = judge(RULE, vm, gate(vm))
    assert name == "web"
    assert message == (
        '"web" must leave the wait to CustomizationGate "gate": '
        "clone.customize.timeout is left at its default of 10 minutes and waitForGuestNetTimeout is left at its "
        "default of 5 minutes, so pulumi-vsphere waits first and can fail before the gate starts.\n"
        "Write: customize=VirtualMachineCloneCustomizeArgs(timeout=0, ...), wait_for_guest_net_timeout=0\n"
        'For an existing VM, write opts=pulumi.ResourceOptions(ignore_changes=["clone"]) instead of a change in clone, '
        "because pulumi-vsphere replaces a VM when anything in its clone changes"
    )


def test_warns_of_a_replacement_only_where_one_threatens() -> None:
    """The wait for the network is updated in place, so its message says nothing of replacements."""
    vm = customized_vm(customize=None, waitForGuestNetTimeout=5)
    [(_, message)] = judge(RULE, vm, gate(vm))
    assert message.endswith("\nWrite: wait_for_guest_net_timeout=0")


@pytest.mark.parametrize("ignored", ["clone", "clone.customize", "clone.customize.timeout"])
def test_passes_a_vm_that_keeps_its_clone(ignored: str) -> None:
    """Who follows the advice for VMs that exist is not advised again."""
    vm = customized_vm(customize={"timeout": 10})
    vm.opts.ignore_changes = [ignored]
    assert violators(RULE, vm, gate(vm)) == []
    vm.opts.ignore_changes = ["cloned", "memory"]
    assert violators(RULE, vm, gate(vm)) == ["web"]


@pytest.mark.parametrize(
    ("props", "text"),
    [
        pytest.param({"customize": {"timeout": 20}}, "clone.customize.timeout is 20 minutes,", id="customize"),
        pytest.param({"customize": {"timeout": UNKNOWN}}, "timeout is not known before the update", id="unknown"),
        pytest.param({"customize": None, "waitForGuestNetTimeout": 5.0}, "NetTimeout is 5 minutes,", id="network"),
        pytest.param(
            {"clone": {"customizationSpec": {"id": "s"}}},
            "clone.customizationSpec.timeout is left at its default of 10 minutes",
            id="specification of vCenter",
        ),
    ],
)
def test_stops(props: dict[str, Any], text: str) -> None:
    """A wait of the VM's own that is on, or may be on, is a violation."""
    vm = customized_vm(**props)
    [(_, message)] = judge(RULE, vm, gate(vm))
    assert text in message


@pytest.mark.parametrize("off", [0, 0.0, -1, "0"])
def test_passes_waits_that_are_off(off: Any) -> None:
    """Zero and less turn a wait off, as they do in pulumi-vsphere."""
    vm = customized_vm(customize={"timeout": off}, waitForGuestNetTimeout=off)
    assert violators(RULE, vm, gate(vm)) == []


def test_leaves_vms_without_own_waits_alone() -> None:
    """A Cloud Director VM has no wait of its own to turn off."""
    vm = resource("vcd:index/vm:Vm", "web", {"customization": {"enabled": True}})
    assert violators(RULE, vm, gate(vm)) == []


def test_leaves_ungated_vms_alone() -> None:
    """A VM without a gate needs its own wait."""
    assert violators(RULE, customized_vm(customize={"timeout": 10})) == []


def test_exempts() -> None:
    """An exempt VM may wait twice."""
    vm = customized_vm(customize={"timeout": 10})
    assert violators(RULE, vm, gate(vm), exempt=[{"name": "web", "reason": "r"}]) == []
