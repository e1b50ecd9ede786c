"""The mandatory rules accept only a gate that fails if the customization of the VM fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import COMMAND, UNKNOWN, customized_vm, gate, judge, provider, resource, violators

if TYPE_CHECKING:
    from pulumi_policy import PolicyResource

REQUIRES = policies.CUSTOMIZED_VM_REQUIRES_GATE
WAITS = policies.GUEST_WORK_WAITS_FOR_GATE
CONFIGURED = {"vsphere:vsphereServer": "vcenter-a.example.com", "east:vsphereServer": "vcenter-b.example.com"}


def with_work(vm: PolicyResource, *gates: PolicyResource) -> list[PolicyResource]:
    """Returns a stack of a VM, gates, and work behind all of them."""
    return [vm, *gates, resource(COMMAND, "install", by={"connection": [vm]}, after=[*gates])]


@pytest.mark.parametrize(
    ("props", "argument", "reason"),
    [
        pytest.param(
            {"on_failure": "report"},
            "on_failure",
            'has on_failure="report", so the gate opens when a VM fails',
            id="on_failure",
        ),
        pytest.param({"onFailure": "report"}, "on_failure", 'has on_failure="report"', id="onFailure of the plugin"),
        pytest.param(
            {"expect": "optional"},
            "expect",
            'has expect="optional", so a VM whose customization never starts passes',
            id="expect",
        ),
        pytest.param(
            {"accept": {"web": "repaired"}},
            "accept",
            "has an entry for this VM in accept, so it opens if the VM fails",
            id="accept",
        ),
        pytest.param(
            {"on_failure": UNKNOWN},
            "on_failure",
            "has a value of on_failure that is not known before the update",
            id="unknown on_failure",
        ),
        pytest.param(
            {"accept": UNKNOWN},
            "accept",
            "has a value of accept that is not known before the update",
            id="unknown accept",
        ),
    ],
)
def test_stops_a_weak_gate_unless_it_is_allowed(props: dict[str, Any], argument: str, reason: str) -> None:
    """Both rules name the argument that weakens the gate; the configuration of a rule can allow it."""
    vm = customized_vm()
    stack = with_work(vm, gate(vm, **props))
    [(name, message)] = judge(REQUIRES, *stack)
    assert name == "web"
    assert (
        '"web" must be watched by a CustomizationGate that fails if its customization fails: '
        f'CustomizationGate "gate" {reason}' in message
    )
    assert f'or allow it in the configuration of this rule: "allow": ["{argument}"]' in message
    [(name, message)] = judge(WAITS, *stack)
    assert name == "install"
    assert f'CustomizationGate "gate" {reason}' in message
    for rule in (REQUIRES, WAITS):
        assert violators(rule, *stack, allow=[argument]) == []
        others = [other for other in ("on_failure", "expect", "accept", "config_namespace") if other != argument]
        assert len(violators(rule, *stack, allow=others)) == 1


@pytest.mark.parametrize(
    "props",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"on_failure": "fail", "expect": "required", "accept": {}}, id="the defaults, written"),
        pytest.param({"on_failure": None, "accept": None, "config_namespace": None}, id="null"),
        pytest.param({"config_namespace": "vsphere"}, id="the provider's namespace"),
    ],
)
def test_passes_a_strict_gate(props: dict[str, Any]) -> None:
    """A gate that fails with its VMs satisfies both rules."""
    vm = customized_vm()
    stack = with_work(vm, gate(vm, **props))
    assert violators(REQUIRES, *stack) + violators(WAITS, *stack) == []


def test_one_strict_gate_is_enough() -> None:
    """A second gate that only reports is allowed, and work has to wait for the strict one."""
    vm = customized_vm()
    strict, weak = gate(vm, name="strict"), gate(vm, name="weak", on_failure="report")
    assert violators(REQUIRES, vm, strict, weak) == []
    assert violators(WAITS, *with_work(vm, strict, weak)) == []
    beside = resource(COMMAND, "install", by={"connection": [vm]}, after=[weak])
    [(_, message)] = judge(WAITS, vm, strict, weak, beside)
    assert 'CustomizationGate "strict" does.' in message


@pytest.mark.parametrize(
    ("vms", "accept", "weak"),
    [
        pytest.param({"a": "vm-1", "b": "vm-2"}, "b", ["db"], id="key of a map"),
        pytest.param({"a": UNKNOWN, "b": UNKNOWN}, "b", ["db", "web"], id="unknown references"),
        pytest.param({"a": "vm-1", "b": "vm-2"}, "c", [], id="no key"),
        pytest.param(["vm-1", "vm-2"], "db", ["db"], id="name of a VM in a list"),
        pytest.param(["vm-1", "vm-2"], "vm-2", ["db"], id="managed object ID in a list"),
    ],
)
def test_accept_weakens_the_gate_for_its_vm_only(vms: Any, accept: str, weak: list[str]) -> None:
    """A gate that accepts one failed VM still fails for the others."""
    web, db = customized_vm(moid="vm-1"), customized_vm("db", moid="vm-2")
    accepts = gate(web, db, vms=vms, accept={accept: "repaired by hand"})
    assert violators(REQUIRES, web, db, accepts) == weak


@pytest.mark.parametrize(
    ("server", "namespace", "is_strict"),
    [
        pytest.param("vcenter-a.example.com", None, True, id="same server, default namespace"),
        pytest.param("VCENTER-B.example.com:443", "east", True, id="same server, namespace of its own"),
        pytest.param("vcenter-b.example.com", None, False, id="another server, default namespace"),
        pytest.param("vcenter-a.example.com", "east", False, id="another server, namespace of its own"),
        pytest.param(UNKNOWN, "east", True, id="unknown server"),
    ],
)
def test_compares_the_servers_of_gate_and_explicit_provider(
    server: str, namespace: str | None, is_strict: bool
) -> None:
    """The stack's configuration shows which server a gate reads; it must be the one of the VM's provider."""
    vm = customized_vm(provided_by=provider("vsphere", "b", vsphereServer=server, password="secret-word"))
    configured = provider("pulumi-python", "default", **CONFIGURED)
    watch = gate(vm, config_namespace=namespace, provided_by=configured)
    found = judge(REQUIRES, vm, watch)
    assert [name for name, _ in found] == ([] if is_strict else ["web"])
    for _, message in found:
        assert f'config_namespace="{namespace or "vsphere"}", which is not the server of this VM\'s provider' in message
        assert "vcenter" not in message
        assert "secret-word" not in message
    assert violators(REQUIRES, vm, watch, allow=["config_namespace"]) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [pytest.param("default_4_18_2", ["web"], id="default provider"), pytest.param("b", [], id="explicit provider")],
)
def test_without_configured_servers_the_default_provider_needs_its_namespace(name: str, found: list[str]) -> None:
    """Where the environment holds the server, a VM of the default provider belongs to the default namespace."""
    vm = customized_vm(provided_by=provider("vsphere", name))
    assert violators(REQUIRES, vm, gate(vm, config_namespace="east")) == found
    assert violators(REQUIRES, vm, gate(vm)) == []
    unknown = judge(REQUIRES, vm, gate(vm, config_namespace=UNKNOWN))
    assert "has a value of config_namespace that is not known before the update" in unknown[0][1]


def test_knows_the_namespace_of_cloud_director() -> None:
    """A Cloud Director VM belongs to the server in `vcd`, whose address can end in /api."""
    props = {"customization": {"enabled": True}}
    vm = resource("vcd:index/vm:Vm", "web", props, provided_by=provider("vcd", "default", url="https://vcd/api"))
    for url, found in (("https://vcd", []), ("https://other", ["web"])):
        configured = provider("pulumi-python", "default", **{"vcd:url": url})
        assert violators(REQUIRES, vm, gate(vm, platform="cloud_director", provided_by=configured)) == found


def test_does_not_judge_the_server_of_other_types() -> None:
    """The provider of a configured type is not known to the rule."""
    vm = resource("acme:index:Vm", "web")
    assert violators(REQUIRES, vm, gate(vm, config_namespace="east"), vmTypes={"acme:index:Vm": []}) == []
