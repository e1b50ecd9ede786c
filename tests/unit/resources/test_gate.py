"""How a program names its machines."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from pulumi_customization_gate.resources.gate import _references


class Machine(pulumi.Resource):
    """A resource that no engine knows of."""

    def __init__(self, **outputs: str) -> None:
        self.__dict__.update(outputs)


class Network(Machine):
    """A resource without a managed object ID."""


@pytest.mark.parametrize(
    ("vms", "platform", "references"),
    [
        pytest.param(["vm-1", Machine(moid="vm-2")], None, ["vm-1", "vm-2"], id="a list"),
        pytest.param((Machine(moid="vm-2"),), None, ["vm-2"], id="a tuple"),
        pytest.param({"a": Machine(moid="vm-2"), "b": "vm-1"}, None, {"a": "vm-2", "b": "vm-1"}, id="a map"),
        pytest.param([Machine(id="urn:1")], "cloud_director", ["urn:1"], id="Cloud Director"),
        pytest.param("vm-1", None, "vm-1", id="what check will refuse"),
    ],
)
def test_a_resource_stands_for_its_id(vms: Any, platform: str | None, references: object) -> None:
    """A machine of the program is named by its managed object ID, one of Cloud Director by its resource's ID."""
    assert _references(vms, platform) == references


@pytest.mark.parametrize(
    ("vms", "told"),
    [
        pytest.param(
            [Network()],
            "vms: expected a vsphere.VirtualMachine or another resource with a moid, or the VM's reference as a "
            "string, got Network, which has no moid",
            id="no machine",
        ),
        pytest.param(
            Machine(moid="vm-1"),
            "vms: expected a list or a map of VMs, for example [web], got one Machine",
            id="one machine",
        ),
    ],
)
def test_what_cannot_name_a_machine_is_refused_where_it_is_written(vms: Any, told: str) -> None:
    """A resource of the wrong kind, or one that stands alone, fails in the program's own line."""
    with pytest.raises(TypeError) as refusal:
        _references(vms, None)
    assert str(refusal.value) == told
