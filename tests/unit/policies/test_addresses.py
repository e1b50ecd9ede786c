"""The rules about addresses: from a gate, and never empty."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy import ResourceValidationArgs
from pulumi_policy.proxy import unknown_checking_proxy

from pulumi_customization_gate import policies
from tests.unit.policies.stacks import (
    COMMAND,
    SCRIPT,
    UNKNOWN,
    customized_vm,
    gate,
    judge,
    provider,
    resource,
    violators,
)

RULE = policies.ADDRESS_COMES_FROM_GATE
KEY = "tls:index/privateKey:PrivateKey"


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param({"host": UNKNOWN, "user": "root"}, id="unknown host"),
        pytest.param(UNKNOWN, id="unknown secret connection"),
        pytest.param({"host": "bastion", "proxy": {"host": UNKNOWN}}, id="unknown host of a proxy"),
        pytest.param({"host": "", "user": "root"}, id="empty host"),
        pytest.param({"host": ":22"}, id="port alone"),
        pytest.param({"host": "ssh://root@"}, id="URL without a host"),
        pytest.param({"host": "ssh://root@None"}, id="URL of an output without a value"),
        pytest.param({"host": None, "user": "root"}, id="null"),
        pytest.param({"user": UNKNOWN}, id="no host"),
        pytest.param({"hosts": []}, id="no hosts"),
        pytest.param({"hosts": ["10.0.0.1", ""]}, id="one of the hosts"),
        pytest.param([{"ip_address": UNKNOWN}], id="list of connections"),
    ],
)
@pytest.mark.parametrize("through_after", [False, True], ids=["direct", "gate.after"])
def test_stops_the_address_of_a_vm(connection: Any, through_after: bool) -> None:
    """An address that depends on the VM is empty, or is not known yet and will be; `gate.after` does not change it."""
    vm = customized_vm(moid="vm-1")
    watch = gate(vm, vms=["vm-1"], results={"web": {"status": "CustomizationSucceeded"}})
    depends = [vm, watch] if through_after else [vm]
    work = resource(COMMAND, "install", {"connection": connection}, by={"connection": depends})
    assert violators(RULE, vm, watch, work) == ["install"]


def test_says_what_happens_and_what_to_write() -> None:
    """The violation names the property, the VM and the consequence, and gives the line to write."""
    vm = customized_vm("web-0")
    work = resource(COMMAND, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
    [(_, message)] = judge(RULE, vm, gate(vm), work)
    assert message == (
        '"install" must take the address of "web-0" from a gate: connection.host is not known before the update, and '
        'depends on the VM. wait_for_guest_net_timeout of "web-0" is 0, so its default_ip_address and '
        "guest_ip_addresses are empty when it has been created, and a connection to an empty address reaches the "
        'computer that runs Pulumi.\nWrite: gate.address("web-0")'
    )
    [(_, message)] = judge(RULE, vm, work)
    assert message.endswith(
        'Write: gate.address("web-0"), and gate = CustomizationGate("web-0-gate", vms=[web_0.moid])'
    )
    known = resource(COMMAND, "install", {"connection": {"host": ""}}, by={"connection": [vm]})
    assert "connection.host is empty. " in judge(RULE, vm, known)[0][1]


@pytest.mark.parametrize(
    ("vms", "key"),
    [
        pytest.param({"web": UNKNOWN}, '"web"', id="the VM's name"),
        pytest.param({"front": UNKNOWN}, '"front"', id="only key"),
        pytest.param({"front": "vm-1", "back": "vm-2"}, '"front"', id="key of the managed object ID"),
        pytest.param({"front": UNKNOWN, "back": UNKNOWN}, "...", id="unknown references"),
    ],
)
def test_gives_the_key_of_the_gate(vms: Any, key: str) -> None:
    """The line to write has the key under which the gate gives the address, as far as it is known."""
    other = customized_vm("db", moid="vm-2")
    vm = customized_vm(moid=UNKNOWN if UNKNOWN in vms.values() else "vm-1")
    work = resource(COMMAND, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
    [(_, message)] = judge(RULE, vm, other, gate(*[vm, other][: len(vms)], vms=vms), work)
    assert message.endswith(f"Write: gate.address({key})")


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param({"host": "web.example.com"}, id="name of the VM"),
        pytest.param({"host": "10.0.0.1", "password": UNKNOWN}, id="literal host"),
        pytest.param({"host": "unix:///run/docker.sock"}, id="URL with a path"),
        pytest.param("root", id="no map"),
    ],
)
def test_passes_an_address_that_has_a_host(connection: Any) -> None:
    """A known address with a host does not come from the VM's empty outputs; other properties are not addresses."""
    vm = customized_vm()
    work = resource(COMMAND, "install", {"connection": connection}, by={"connection": [vm]})
    assert violators(RULE, vm, work) == []


def test_passes_the_address_of_the_gate() -> None:
    """`gate.address` depends on the gate alone."""
    vm = customized_vm()
    watch = gate(vm)
    work = resource(
        COMMAND, "install", {"connection": UNKNOWN, "create": UNKNOWN}, by={"connection": [watch]}, after=[vm]
    )
    assert violators(RULE, vm, watch, work) == []


@pytest.mark.parametrize("vms", [[UNKNOWN], ["vm-1"]], ids=["unknown", "literal"])
def test_a_new_gate_leaves_the_question_open(vms: Any) -> None:
    """`gate.after(vm.name)` is unknown until the gate has been created; only what is known to be empty is stopped."""
    vm = customized_vm()
    watch = gate(vm, vms=vms)
    for host, found in ((UNKNOWN, []), ("", ["install"])):
        work = resource(COMMAND, "install", {"connection": {"host": host}}, by={"connection": [vm, watch]})
        assert violators(RULE, vm, watch, work) == found


def test_another_unknown_dependency_leaves_the_question_open() -> None:
    """A key that is yet to be created can be what is unknown; once it exists, only the VM can be."""
    vm = customized_vm()
    for pem, found in ((UNKNOWN, []), ("-----BEGIN", ["install"])):
        key = resource(KEY, "key", {"algorithm": "ED25519", "privateKeyPem": pem})
        work = resource(COMMAND, "install", {"connection": UNKNOWN}, by={"connection": [vm, key]})
        assert violators(RULE, vm, key, work) == found


@pytest.mark.parametrize(
    ("waits", "found"),
    [
        pytest.param({"waitForGuestNetTimeout": 0}, ["install"], id="off"),
        pytest.param({"waitForGuestNetTimeout": -1, "waitForGuestIpTimeout": 0}, ["install"], id="both off"),
        pytest.param({"waitForGuestNetTimeout": 5}, [], id="on"),
        pytest.param({"waitForGuestNetTimeout": None}, [], id="default"),
        pytest.param({"waitForGuestNetTimeout": UNKNOWN}, [], id="unknown"),
        pytest.param({"waitForGuestNetTimeout": 0, "waitForGuestIpTimeout": 3}, [], id="the older wait is on"),
        pytest.param({"waitForGuestNetTimeout": 0, "waitForGuestIpTimeout": UNKNOWN}, [], id="the older is unknown"),
    ],
)
def test_only_a_vm_whose_network_waits_are_off_has_no_address(waits: dict[str, Any], found: list[str]) -> None:
    """Where pulumi-vsphere waits for the network, the VM has its address once it has been created."""
    vm = customized_vm(**waits)
    work = resource(COMMAND, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
    assert violators(RULE, vm, work) == found


def test_stops_an_explicit_provider() -> None:
    """A provider that connects to the guest takes the address as work does; a default one takes none."""
    vm = customized_vm()
    docker = resource("pulumi:providers:docker", "docker", {"host": "ssh://root@"}, by={"host": [vm]})
    assert violators(RULE, vm, docker, resource("pulumi:providers:docker", "default", {"host": ""})) == ["docker"]


def test_leaves_other_resources_and_vms_of_other_types_alone() -> None:
    """Only work connects to a guest, and only pulumi-vsphere has the wait. More types are a matter of configuration."""
    vm = customized_vm()
    record = resource("dns:index:Record", "record", {"address": UNKNOWN}, by={"address": [vm]})
    assert violators(RULE, vm, record) == []
    assert violators(RULE, vm, record, workTypes=["dns:*"]) == ["record"]
    foreign = resource("vcd:index/vm:Vm", "web", {"customization": {"enabled": True}})
    assert violators(RULE, foreign, resource(COMMAND, "a", {"connection": UNKNOWN}, by={"connection": [foreign]})) == []


@pytest.mark.parametrize("exempt", ["web", "install"])
def test_exempts_work_and_vms(exempt: str) -> None:
    """An exemption matches the work or the VM."""
    vm = customized_vm()
    work = resource(COMMAND, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
    assert violators(RULE, vm, work, exempt=[{"name": exempt, "reason": "resolved by a hook"}]) == []


def empty(kind: str, props: dict[str, Any], **config: Any) -> list[str]:
    """Returns what the rule about empty addresses reports of one resource, as the engine asks before creating it."""
    found: list[str] = []
    options: Any = resource(kind, "install").opts
    args = ResourceValidationArgs(
        kind, unknown_checking_proxy(props), "urn:install", "install", options, provider("command"), config
    )
    policies.ADDRESS_IS_NOT_EMPTY.validate(args, lambda message, _urn=None: found.append(message))
    return found


@pytest.mark.parametrize(
    ("props", "path"),
    [
        pytest.param({"connection": {"host": ""}}, "connection.host", id="host"),
        pytest.param({"connection": {"user": "root"}}, "connection.host", id="no host"),
        pytest.param({"connection": {"host": "a", "proxy": {"host": ":22"}}}, "connection.proxy.host", id="proxy"),
        pytest.param({"hosts": ["a", ""]}, "hosts[1]", id="one of many"),
    ],
)
def test_stops_an_empty_address(props: dict[str, Any], path: str) -> None:
    """Immediately before work is created its address is known: an empty one is stopped wherever it comes from."""
    [message] = empty(COMMAND, props)
    assert message == (
        f'"install" must have an address in {path}: it is empty, and a connection to an empty address reaches the '
        'computer that runs Pulumi.\nWrite: gate.address("<key of the VM>")'
    )


def test_passes_what_is_not_an_empty_address_of_work() -> None:
    """Unknown and given addresses pass, so does what is not work, and what is exempt."""
    assert empty(COMMAND, {"connection": {"host": UNKNOWN}}) == []
    assert empty(COMMAND, {"connection": UNKNOWN}) == []
    assert empty(COMMAND, {"connection": {"host": "10.0.0.1"}}) == []
    assert empty(SCRIPT, {"vm": ""}) == []
    assert empty("dns:index:Record", {"address": ""}) == []
    assert len(empty("dns:index:Record", {"address": ""}, workTypes=["dns:*"])) == 1
    assert empty(COMMAND, {"connection": {"host": ""}}, exempt=[{"name": "inst*", "reason": "r"}]) == []
