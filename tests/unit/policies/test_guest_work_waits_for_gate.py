"""The rule that work in a guest waits for the gate of its VM."""

from __future__ import annotations

import pytest

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import (
    COMMAND,
    FILE,
    GATE,
    SCRIPT,
    UNKNOWN,
    customized_vm,
    gate,
    judge,
    provider,
    resource,
    violators,
)

RULE = policies.GUEST_WORK_WAITS_FOR_GATE


@pytest.mark.parametrize("kind", [SCRIPT, FILE, COMMAND, "command:remote:CopyToRemote"])
def test_stops_work_beside_the_gate(kind: str) -> None:
    """Work that takes the VM's output and not the gate's is stopped, and the cure names the gate."""
    vm = customized_vm("web-0")
    work = resource(kind, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
    [(name, message)] = judge(RULE, vm, gate(vm), work)
    assert name == "install"
    assert message == (
        '"install" must wait for the gate of "web-0": it depends on "web-0", and not on a '
        'CustomizationGate that watches it and fails if a customization fails. CustomizationGate "gate" does.\n'
        'Write: gate.after(web_0.moid) in place of web_0.moid, gate.address("web-0") in place of its address, or '
        "opts=pulumi.ResourceOptions(depends_on=[gate])"
    )


def test_the_verb_agrees_with_several_gates() -> None:
    """For work on two VMs with a gate each, the violation names both gates."""
    vms = [customized_vm("web-0"), customized_vm("web-1")]
    gates = [gate(vm, name=f"each-{number}") for number, vm in enumerate(vms)]
    work = resource(SCRIPT, "install", {"vm": UNKNOWN}, by={"vm": vms})
    [(_, message)] = judge(RULE, *vms, *gates, work)
    assert '. CustomizationGates "each-0" and "each-1" do.\n' in message


def test_stops_work_where_there_is_no_gate() -> None:
    """Without any gate, the cure makes one."""
    vm = customized_vm()
    [(_, message)] = judge(RULE, vm, resource(COMMAND, "install", after=[vm]))
    assert 'No gate of the stack watches "web".\nWrite: gate = CustomizationGate("web-gate"' in message


def test_passes_work_after_the_gate() -> None:
    """`gate.after(value)` makes a consumer depend on the gate and on the VM: that is enough."""
    vm = customized_vm()
    watch = gate(vm)
    work = resource(SCRIPT, "install", {"vm": UNKNOWN}, by={"vm": [vm, watch]})
    assert violators(RULE, vm, watch, work) == []
    assert violators(RULE, vm, watch, resource(COMMAND, "by-option", after=[vm, watch])) == []


def test_follows_others() -> None:
    """Resources between work and VM are followed, and named."""
    vm = customized_vm()
    record = resource("dns:index:Record", "record", by={"address": [vm]})
    work = resource(COMMAND, "install", by={"connection": [record]})
    [(name, message)] = judge(RULE, vm, gate(vm), record, work)
    assert name == "install"
    assert 'it depends on "web" through "record", and not on' in message


def test_passes_a_gate_further_up() -> None:
    """A gate anywhere before the work holds it back."""
    vm = customized_vm()
    watch = gate(vm)
    record = resource("dns:index:Record", "record", by={"address": [vm]}, after=[watch])
    first = resource(COMMAND, "first", by={"connection": [record]})
    assert violators(RULE, vm, watch, record, first, resource(COMMAND, "second", after=[first])) == []


def test_wants_the_gate_of_that_vm() -> None:
    """The gate of another VM does not count."""
    vms = [customized_vm("a"), customized_vm("b")]
    gates = [gate(vm, name=f"gate-{vm.name}") for vm in vms]
    work = resource(COMMAND, "install", by={"connection": [vms[0]]}, after=[gates[1]])
    assert violators(RULE, *vms, *gates, work) == ["install"]


def test_wants_a_gate_for_every_vm() -> None:
    """Work on many VMs waits for the gates of all, and the message names the ones it misses."""
    vms = [customized_vm(name) for name in "abcdef"]
    watch = gate(vms[0])
    work = resource(COMMAND, "install", by={"connection": vms}, after=[watch])
    fine = resource(COMMAND, "fine", by={"connection": vms[:1]}, after=[watch])
    [(_, message)] = judge(RULE, *vms, watch, work, fine)
    assert 'gate of "b", "c", "d" and 2 more: it depends' in message


def test_follows_a_literal_reference() -> None:
    """A guest script that names its VM by a known ID depends on it like one that takes its output."""
    vm = customized_vm(moid="vm-87")
    assert violators(RULE, vm, gate(vm), resource(SCRIPT, "install", {"vm": "vm-87"})) == ["install"]


def test_follows_the_parent() -> None:
    """Children wait for their parent: for a gate as parent, and for what their component depends on."""
    vm = customized_vm()
    watch = gate(vm)
    child = resource(COMMAND, "child", by={"connection": [vm]}, parent=watch)
    component = resource("shop:index:App", "app", after=[watch])
    inner = resource(COMMAND, "inner", by={"connection": [vm]}, parent=component)
    assert violators(RULE, vm, watch, child, component, inner) == []


def test_follows_into_a_component() -> None:
    """Work that depends on a component waits for all of its children, the VM and the gate."""
    component = resource("customization-gate:index:GatedVirtualMachine", "web")
    vm = customized_vm("web-vm", parent=component)
    work = resource(COMMAND, "install", after=[component])
    assert violators(RULE, component, vm, work) == ["install"]
    inner = resource(GATE, "web-gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
    assert violators(RULE, component, vm, inner, work) == []


def test_keeps_siblings_apart() -> None:
    """Work in the same component as a gate does not wait for it only because of that."""
    component = resource("shop:index:App", "app")
    vm = customized_vm(parent=component)
    inner = resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
    work = resource(COMMAND, "install", by={"connection": [vm]}, parent=component)
    assert violators(RULE, component, vm, inner, work) == ["install"]


def test_follows_the_provider() -> None:
    """Work by a provider whose configuration comes from the VM waits for the VM."""
    vm = customized_vm()
    explicit = provider("postgresql", host=UNKNOWN)
    itself = resource("pulumi:providers:postgresql", "postgresql", by={"host": [vm]})
    itself.urn = explicit.urn
    database = resource("postgresql:index:Database", "shop", provided_by=explicit)
    types = ["postgresql:*"]
    assert violators(RULE, vm, gate(vm), itself, database, workTypes=types) == ["shop"]
    assert violators(RULE, vm, gate(vm), itself, database) == []


def test_leaves_work_elsewhere_alone() -> None:
    """Work without a customized VM before it needs no gate."""
    plain = customized_vm("plain", customize=None)
    assert violators(RULE, customized_vm(), plain, resource(COMMAND, "a"), resource(COMMAND, "b", after=[plain])) == []


def test_exempts_work_and_vms() -> None:
    """An exemption matches the work or the VM."""
    vm = customized_vm()
    work = [resource(COMMAND, name, after=[vm]) for name in ("install", "probe")]
    assert violators(RULE, vm, *work, exempt=[{"name": "probe", "reason": "waits itself"}]) == ["install"]
    assert violators(RULE, vm, *work, exempt=[{"name": "web", "reason": "cloud-init"}]) == []
