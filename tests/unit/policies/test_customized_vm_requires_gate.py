"""The rule that every customized VM has a gate."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import (
    GATE,
    UNKNOWN,
    VM,
    customized_vm,
    gate,
    judge,
    provider,
    resource,
    violators,
)

RULE = policies.CUSTOMIZED_VM_REQUIRES_GATE


def test_stops_a_customized_vm_without_a_gate() -> None:
    """The violation names the VM, says why and gives the line to write."""
    [(name, message)] = judge(RULE, customized_vm("web-0"))
    assert name == "web-0"
    assert message == (
        '"web-0" must be watched by a CustomizationGate: it is customized, and whatever depends on it can run '
        "before its guest is ready.\n"
        'Write: gate = CustomizationGate("web-0-gate", vms=[web_0.moid])'
    )


def test_names_a_gate_that_could_watch_the_vm() -> None:
    """Where the stack has a gate, the line adds the VM to it."""
    other = customized_vm("db")
    [(_, message)] = judge(RULE, customized_vm(), other, gate(other, name="all"))
    assert 'Write: add web.moid to the vms of CustomizationGate "all", or gate = ' in message


@pytest.mark.parametrize(
    "clone",
    [
        pytest.param({"customize": {}}, id="an empty customization"),
        pytest.param({"customizationSpec": {"id": "linux"}}, id="a specification of vCenter"),
        pytest.param({"customize": UNKNOWN}, id="an unknown customization"),
        pytest.param(UNKNOWN, id="an unknown clone"),
        pytest.param([{"customize": [{"timeout": 0}]}], id="blocks as lists"),
    ],
)
def test_takes_for_customized(clone: Any) -> None:
    """Everything that requests a customization counts, and so does what is unknown in a preview."""
    assert violators(RULE, customized_vm(clone=clone)) == ["web"]


def test_says_when_it_cannot_know() -> None:
    """A customization that is unknown in preview is called unknown."""
    [(_, message)] = judge(RULE, customized_vm(clone=UNKNOWN))
    assert "whether it is customized is not known before the update" in message


@pytest.mark.parametrize(
    "clone",
    [
        pytest.param({"templateUuid": "t"}, id="a plain clone"),
        pytest.param({"customize": None}, id="null"),
        pytest.param({"customize": []}, id="no block"),
        pytest.param(None, id="no clone"),
    ],
)
def test_leaves_an_uncustomized_vm_alone(clone: Any) -> None:
    """A VM without a customization needs no gate."""
    assert violators(RULE, customized_vm(clone=clone)) == []


def test_judges_a_vm_whose_provider_is_unknown() -> None:
    """The engine reports nothing of a VM while its provider's configuration is unknown: it counts."""
    unknown = provider("vsphere", vsphereServer=UNKNOWN)
    assert violators(RULE, resource(VM, "web", {}, provided_by=unknown)) == ["web"]
    assert violators(RULE, resource(VM, "web", {}, provided_by=provider("vsphere", user="u"))) == []


def test_passes_by_input() -> None:
    """A gate whose `vms` take an output of the VM watches it, though every value is unknown."""
    vm = customized_vm()
    assert violators(RULE, vm, gate(vm)) == []
    assert violators(RULE, vm, resource(GATE, "gate", {"vms": UNKNOWN}, by={"vms": [vm]})) == []


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("vm-87", id="managed object ID"),
        pytest.param("4218A1B2-0000-0000-0000-00000000AAAA", id="UUID in capitals"),
        pytest.param("/DC0/vm/shop/web", id="inventory path"),
    ],
)
@pytest.mark.parametrize("shape", [pytest.param(lambda r: [r], id="list"), pytest.param(lambda r: {"k": r}, id="map")])
def test_passes_by_value(reference: str, shape: Any) -> None:
    """A gate that holds a known reference of the VM watches it without any dependency."""
    vm = customized_vm(moid="vm-87", uuid="4218a1b2-0000-0000-0000-00000000aaaa", folder="/shop")
    assert violators(RULE, vm, resource(GATE, "gate", {"vms": shape(reference)})) == []


@pytest.mark.parametrize("reference", ["vm-8", "/DC0/vm/other/web", "web", ""])
def test_stops_a_reference_of_another_vm(reference: str) -> None:
    """A reference to another VM does not count."""
    vm = customized_vm(moid="vm-87", uuid="", folder="shop")
    assert violators(RULE, vm, resource(GATE, "gate", {"vms": [reference]})) == ["web"]


@pytest.mark.parametrize("vms", [["vm-1"], ["vm-2"], [UNKNOWN], UNKNOWN], ids=["elsewhere", "other", "some", "all"])
def test_stops_a_mere_dependency(vms: Any) -> None:
    """`depends_on` orders a gate; it does not make the gate watch the VM, whatever else the gate watches."""
    vm, other = customized_vm(moid="vm-3"), customized_vm("db", customize=None, moid="vm-2")
    assert violators(RULE, vm, other, resource(GATE, "gate", {"vms": vms}, after=[vm])) == ["web"]


def test_stops_a_dependency_of_vms_whose_value_names_another_vm() -> None:
    """Once all references are known, they decide, although `vms` also depends on this VM."""
    vm, other = customized_vm(moid="vm-3"), customized_vm("db", moid="vm-2")
    mixed = resource(GATE, "gate", {"vms": ["vm-2"]}, by={"vms": [vm, other]})
    assert violators(RULE, vm, other, mixed) == ["web"]
    assert violators(RULE, vm, other, resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": [vm]})) == ["db"]


def test_stops_a_gate_that_only_depends_on_the_vm() -> None:
    """A gate over other VMs that depends on this one does not watch it, and the message says so."""
    vm, other = customized_vm(), customized_vm("db")
    later = resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": [other]}, after=[vm])
    [(name, message)] = judge(RULE, vm, other, later)
    assert name == "web"
    assert 'CustomizationGate "gate" depends on it, but its vms do not hold it' in message


def test_the_verb_agrees_with_several_gates() -> None:
    """Two gates that only depend on the VM are named in the plural."""
    vm, other = customized_vm(), customized_vm("db")
    later = [resource(GATE, f"each-{n}", {"vms": [UNKNOWN]}, by={"vms": [other]}, after=[vm]) for n in (0, 1)]
    [(_, message)] = judge(RULE, vm, other, *later)
    assert '. CustomizationGates "each-0" and "each-1" depend on it, but their vms do not hold it' in message


def test_stops_a_gate_with_fewer_references_than_vms() -> None:
    """One reference cannot be two VMs, and which of them it refers to is unknown."""
    vms = [customized_vm("a"), customized_vm("b")]
    both = resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": vms})
    assert violators(RULE, *vms, both) == ["a", "b"]
    assert violators(RULE, *vms, resource(GATE, "gate", {"vms": {"a": UNKNOWN, "b": UNKNOWN}}, by={"vms": vms})) == []


def test_stops_a_vm_in_triggers_only() -> None:
    """A VM whose output is only a trigger of a gate is not watched by it."""
    vm = customized_vm()
    trigger = resource(GATE, "gate", {"vms": ["vm-1"], "triggers": {"ip": UNKNOWN}}, by={"triggers": [vm]})
    assert violators(RULE, vm, trigger) == ["web"]


def test_passes_by_component() -> None:
    """A gate over a component watches the VMs inside it, however deep."""
    outer = resource("shop:index:Tier", "tier")
    inner = resource("shop:index:Node", "node", parent=outer)
    vm = customized_vm(parent=inner)
    assert violators(RULE, outer, inner, vm, gate(outer)) == []


@pytest.mark.parametrize("kind", ["GatedVirtualMachine", "GatedFleet"])
def test_passes_the_components_of_the_library(kind: str) -> None:
    """VM and gate inside one of the library's components hang together as outside of it."""
    component = resource(f"customization-gate:index:{kind}", "web")
    vm = customized_vm("web-vm", parent=component)
    inner = resource(GATE, "web-gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
    assert violators(RULE, component, vm, inner) == []
    assert violators(RULE, component, vm) == ["web-vm"]


def test_leaves_the_children_of_custom_resources_out() -> None:
    """A VM that is the child of another VM, or of a folder, is not part of it."""
    vm, folder = customized_vm(), resource("vsphere:index/folder:Folder", "folder")
    children = [customized_vm("a", parent=vm), customized_vm("b", parent=folder)]
    watch = resource(GATE, "gate", {"vms": UNKNOWN}, by={"vms": [vm, folder]})
    assert violators(RULE, vm, folder, *children, watch) == ["a", "b"]


@pytest.mark.parametrize("kind", ["vcd:index/vm:Vm", "vcd:index/vappVm:VappVm"])
def test_knows_cloud_director(kind: str) -> None:
    """A Cloud Director VM with guest customization enabled needs a gate of its platform."""
    on = resource(kind, "web", {"customization": {"enabled": True}, "href": "https://vcd/api/vApp/vm-1"})
    off = resource(kind, "db", {"customization": {"enabled": False}})
    [(name, message)] = judge(RULE, on, off)
    assert name == "web"
    assert 'CustomizationGate("web-gate", vms=[web.id], platform="cloud_director")' in message
    assert violators(RULE, on, resource(GATE, "gate", {"vms": ["https://vcd/api/vApp/vm-1"]})) == []


def test_takes_more_types() -> None:
    """A configured type needs a gate where one of its properties is set, or always where it lists none."""
    always = resource("acme:index:Vm", "always")
    some = [resource("acme:index/box:Box", name, {"prep": prep}) for name, prep in (("on", {"os": "x"}), ("off", None))]
    types = {"acme:index:Vm": [], "acme:index/*": ["prep"]}
    assert violators(RULE, always, *some, vmTypes=types) == ["on", "always"]
    assert violators(RULE, always, *some) == []
    assert violators(RULE, customized_vm(), vmTypes=types) == ["web"]


@pytest.mark.parametrize(
    ("exempt", "found"),
    [
        pytest.param({"name": "legacy-*"}, ["web"], id="name"),
        pytest.param({"tag": "ungated"}, ["web"], id="name of a tag made by the program"),
        pytest.param({"tag": "urn:vmomi:*"}, ["web"], id="ID of a tag"),
        pytest.param({"name": "legacy-*", "tag": "other"}, ["legacy-1", "web"], id="name and another tag"),
        pytest.param({"name": "LEGACY-*"}, ["legacy-1", "web"], id="capitals differ"),
    ],
)
def test_exempts(exempt: dict[str, str], found: list[str]) -> None:
    """An exemption covers what all of its patterns match, and nothing else."""
    tag = resource("vsphere:index/tag:Tag", "t", {"name": "ungated"})
    legacy = customized_vm("legacy-1", tags=[UNKNOWN, "urn:vmomi:1"], by={"tags": [tag]})
    exemption = {**exempt, "reason": "moves out in May"}
    assert violators(RULE, tag, legacy, customized_vm(), exempt=[exemption]) == found


def test_exempts_by_a_map_of_tags() -> None:
    """A map of tags is matched by key, or by key and value."""
    vm = resource("vcd:index/vm:Vm", "web", {"customization": {"enabled": True}, "metadata": {"gate": "none"}})
    assert violators(RULE, vm, exempt=[{"tag": "gate=none", "reason": "r"}]) == []
    assert violators(RULE, vm, exempt=[{"tag": "gate", "reason": "r"}]) == []
    assert violators(RULE, vm, exempt=[{"tag": "gate=yes", "reason": "r"}]) == ["web"]
