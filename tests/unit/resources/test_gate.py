"""How a program names its VMs."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.resources.gate import _address, _known, _not_judged, _platform, _references


class VM(pulumi.Resource):
    """A resource that is not registered with an engine."""

    def __init__(self, **outputs: str) -> None:
        self.__dict__.update(outputs)


class Network(VM):
    """A resource without a managed object ID."""


@pytest.mark.parametrize(
    ("vms", "platform", "references"),
    [
        pytest.param(["vm-1", VM(moid="vm-2")], None, ["vm-1", "vm-2"], id="a list"),
        pytest.param((VM(moid="vm-2"),), None, ["vm-2"], id="a tuple"),
        pytest.param({"a": VM(moid="vm-2"), "b": "vm-1"}, None, {"a": "vm-2", "b": "vm-1"}, id="a map"),
        pytest.param([VM(id="urn:1")], "cloud_director", ["urn:1"], id="Cloud Director"),
        pytest.param("vm-1", None, "vm-1", id="what check will refuse"),
    ],
)
def test_a_resource_represents_its_id(vms: Any, platform: str | None, references: object) -> None:
    """A VM of the program is named by its managed object ID, one of Cloud Director by its resource's ID."""
    assert _references(vms, platform) == references


@pytest.mark.parametrize(
    ("vms", "message"),
    [
        pytest.param(
            [Network()],
            "vms: expected a vsphere.VirtualMachine or another resource with a moid, or the VM's reference as a "
            "string, got Network, which has no moid",
            id="no VM",
        ),
        pytest.param(
            VM(moid="vm-1"),
            "vms: expected a list or a map of VMs, for example [web], got one VM",
            id="one VM",
        ),
    ],
)
def test_what_cannot_name_a_vm_is_refused_where_it_is_written(vms: Any, message: str) -> None:
    """A resource of the wrong kind, or one without a list, fails in the program's own line."""
    with pytest.raises(TypeError) as refusal:
        _references(vms, None)
    assert str(refusal.value) == message


# ---- which VM a resource is


@pytest.mark.parametrize(
    ("vms", "platform", "uuids"),
    [
        pytest.param([VM(moid="vm-1", uuid="u-1"), "vm-2"], None, ["u-1", None], id="a list"),
        pytest.param({"a": VM(moid="vm-1", uuid="u-1"), "b": "vm-2"}, None, {"a": "u-1"}, id="a map"),
        pytest.param(["vm-1"], None, None, id="texts"),
        pytest.param({"a": VM(moid="vm-1")}, None, None, id="a resource without UUID"),
        pytest.param([VM(id="urn:1", uuid="u-1")], "cloud_director", None, id="Cloud Director"),
        pytest.param("vm-1", None, None, id="what check refuses"),
    ],
)
def test_the_uuid_of_a_resource_goes_along(vms: Any, platform: str | None, uuids: object) -> None:
    """The gate receives the UUIDs of the VMs in the form in which it receives the references."""
    assert _known(vms, _platform(platform).uuid_attribute) == uuids


# ---- what a gate hands out


NO_ADDRESS, WAIT = (
    "has no usable IP address: VMware Tools reported",
    'The check {"kind": "address"} lets the gate wait for one',
)
URN = "urn:vcloud:vm:f10538f6-b54c-5f88-93eb-895058492ab5"
RESULTS = {"web": {"moid": "vm-1"}, "db": {"moid": "vm-f10538f6-b54c-5f88-93eb-895058492ab5"}}


@pytest.mark.parametrize(
    ("value", "references", "results", "found"),
    [
        pytest.param("vm-1", ["vm-1", "vm-2"], RESULTS, None, id="judged"),
        pytest.param("vm-2", ["vm-1", "vm-2"], RESULTS, "vm-2", id="not judged"),
        pytest.param(["x", {"vm": "vm-2"}], {"b": "vm-2"}, RESULTS, "vm-2", id="inside a value"),
        pytest.param("vm-3", ["vm-1", "vm-2"], RESULTS, None, id="not of this gate"),
        pytest.param("a text", ["vm-1"], RESULTS, None, id="no reference"),
        pytest.param(7, ["vm-2"], RESULTS, None, id="a number"),
        pytest.param(URN, [URN], RESULTS, None, id="another spelling of a judged VM"),
        pytest.param(URN, [URN], {}, URN, id="another spelling of one that is not judged"),
        pytest.param("/DC/vm/web", ["/DC/vm/web"], RESULTS, None, id="a path, which diff resolves"),
        pytest.param("vm-2", ["vm-2"], None, None, id="results that a preview does not know"),
        pytest.param("vm-2", None, RESULTS, None, id="references that a preview does not know"),
    ],
)
def test_after_finds_a_vm_that_was_not_judged(value: Any, references: Any, results: Any, found: str | None) -> None:
    """A value that names a VM among the gate's inputs must be among its results."""
    assert _not_judged(value, references, results) == found


@pytest.mark.parametrize(
    "reported",
    [
        pytest.param(["192.0.2.7", "fe80::1"], id="the first"),
        pytest.param(
            ["169.254.3.4", "fe80::1%eth0", "127.0.0.1", "::1", "unknown", "10.0.0.5/24", "192.0.2.7"], id="the last"
        ),
    ],
)
def test_an_address_can_be_used(reported: list[str]) -> None:
    """What no other computer can reach, and what is not an address, is passed over."""
    assert _address({"web": {"ip_addresses": reported}}, "web") == "192.0.2.7"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param(
            "web-3", "key: expected a key of the gate's results, got 'web-3'; did you mean 'web-1'?", id="key"
        ),
        pytest.param("web-1", f"'web-1' {NO_ADDRESS} ['fe80::1']. {WAIT}", id="link-local only"),
        pytest.param("db", f"'db' {NO_ADDRESS} nothing. {WAIT}", id="none"),
    ],
)
def test_an_address_that_is_not_there_is_an_error(key: str, message: str) -> None:
    """No IndexError of a list, and no KeyError of a map: a sentence."""
    with pytest.raises(ConfigurationError) as error:
        _address({"web-1": {"ip_addresses": ["fe80::1"]}, "db": {}}, key)
    assert str(error.value) == message
