"""A gate's verdict belongs to one VM on one server: the lifecycle with a source in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, PartialFailureError
from pulumi_customization_gate.lifecycle.inputs import VM_URNS, VM_UUIDS
from tests.unit.lifecycle.test_gate import CONFIG, FakeServer, Gate, created, server, stored, the_gate, updated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["server", "the_gate"]

VAPP = "urn:vcloud:vapp:f10538f6-b54c-5f88-93eb-895058492ab5"


def elsewhere(address: str) -> Gate:
    return Gate({**CONFIG, "vsphere:vsphereServer": address})


def without(outputs: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns outputs as a version stored them that did not know some of them."""
    left = {name: value for name, value in stored(outputs).items() if name not in names}
    results = {
        key: {name: value for name, value in result.items() if name not in names}
        for key, result in left["results"].items()
    }
    return {**left, "results": results}


# ---- the server


def test_another_address_is_a_change_that_costs_no_call(the_gate: Gate, server: FakeServer) -> None:
    """The address of the server is stored: a gate whose config names another one is updated."""
    first = created(the_gate, vms=["vm-1"])
    same = elsewhere("VC.example.com:443").diff(stored(first), {"vms": ["vm-1"]})
    other = elsewhere("vc2.example.com").diff(stored(first), {"vms": ["vm-1"]})
    assert (same.changes, other.changes, list(other.replaces)) == (False, True, [])
    assert server.questions == []


def test_another_server_inherits_nothing(the_gate: Gate, server: FakeServer) -> None:
    """A VM with the same ID on another server is judged, and so the gate can fail."""
    first = created(the_gate, vms=["vm-1"])
    server.uuid, server.stories = "server-b", {"vm-1": "bad"}
    second = updated(elsewhere("vc2.example.com"), first, vms=["vm-1"])
    assert (second["ready"], second["statuses"]) == (False, {"name-of-vm-1": "CustomizationFailed"})
    assert second["server"] == {"address": "vc2.example.com:443", "id": "server-b"}


def test_the_same_server_by_another_name_keeps_its_verdicts(the_gate: Gate, server: FakeServer) -> None:
    """The server's own UUID decides, not its address: no VM is judged again."""
    first = created(the_gate, vms=["vm-1"])
    server.stories = {"vm-1": "bad"}
    second = updated(elsewhere("vc-alias.example.com"), first, vms=["vm-1"])
    assert server.waits[1] == (["vm-1"], ["vm-1"], [])
    assert (second["results"], second["opened_at"]) == (first["results"], first["opened_at"])
    assert second["server"] == {"address": "vc-alias.example.com:443", "id": "server-a"}


def test_triggers_do_not_carry_a_verdict_to_another_server(the_gate: Gate, server: FakeServer) -> None:
    """That a VM was customized on one server is not evidence about another."""
    first = created(the_gate, vms=["vm-1"])
    server.uuid, server.stories = "server-b", {"vm-1": "plain"}
    second = updated(elsewhere("vc2.example.com"), first, vms=["vm-1"], triggers=[1])
    assert second["statuses"] == {"name-of-vm-1": "NotCustomized"}


def test_a_cloud_director_is_its_address(server: FakeServer) -> None:
    """Another address of Cloud Director is a change like another vCenter."""
    config = {"vcd:url": "https://vcd.example.com/api", "vcd:org": "acme", "vcd:apiToken": "t0ken"}
    inputs = {"platform": "cloud_director", "vms": [VAPP.replace("vapp", "vm")]}
    first = created(Gate(config), **inputs)
    slash = Gate({**config, "vcd:url": "https://VCD.example.com"}).diff(stored(first), inputs)
    other = Gate({**config, "vcd:url": "https://vcd2.example.com"}).diff(stored(first), inputs)
    assert (slash.changes, other.changes) == (False, True)
    assert len(server.waits) == 1


# ---- the VM


def test_another_vm_under_an_old_id_is_judged(the_gate: Gate, server: FakeServer) -> None:
    """The instance UUID is compared before a result is kept; the same VM keeps its own."""
    server.uuids = {"vm-1": "uuid-1", "vm-2": "uuid-2"}
    first = created(the_gate, vms={"a": "vm-1", "b": "vm-2"})
    server.uuids["vm-2"], server.stories = "uuid-9", {"vm-1": "bad", "vm-2": "bad"}
    second = updated(the_gate, first, vms={"a": "vm-1", "b": "vm-2", "c": "vm-3"})
    assert second["results"]["a"] == first["results"]["a"]
    assert second["results"]["b"]["failure"]["kind"] == "CustomizationFailed"
    assert second["results"]["b"]["instance_uuid"] == "uuid-9"


def test_a_state_without_uuids_learns_them(the_gate: Gate, server: FakeServer) -> None:
    """A gate of an earlier version changes nothing by itself; its next wait keeps the results and adds the UUIDs."""
    server.uuids = {"vm-1": "uuid-1"}
    old = without(created(the_gate, vms={"a": "vm-1"}), "server", "instance_uuid", "addresses")
    assert not elsewhere("vc2.example.com").diff(old, {"vms": {"a": "vm-1"}}).changes
    second = updated(the_gate, old, vms={"a": "vm-1", "b": "vm-2"})
    assert server.waits[1][1] == ["vm-1"]
    assert second["results"]["a"]["instance_uuid"] == "uuid-1"
    assert second["server"] == {"address": "vc.example.com:443", "id": "server-a"}


def test_the_program_s_uuids_reach_the_wait_and_are_not_a_change(the_gate: Gate, server: FakeServer) -> None:
    """The UUIDs of resources go to their VMs by key or place; a gate that was made without them is not changed."""
    first = created(the_gate, vms={"a": "vm-1", "b": "vm-2"}, **{VM_UUIDS: {"b": "uuid-2"}})
    assert server.uuids_given == ["", "uuid-2"]
    created(the_gate, vms=["vm-1", "vm-2"], **{VM_UUIDS: ["uuid-1", None]})
    assert server.uuids_given == ["uuid-1", ""]
    for uuids in ({"b": "uuid-2", "a": UNKNOWN}, None):
        news = {"vms": {"a": "vm-1", "b": "vm-2"}, VM_UUIDS: uuids}
        assert not the_gate.diff(stored(first), news).changes
    assert server.questions == []


# ---- references that are texts


def test_identifiers_cost_no_call(the_gate: Gate, server: FakeServer) -> None:
    """A diff of a gate whose references are managed object IDs makes no call."""
    first = created(the_gate, vms=["vm-1"])
    assert not the_gate.diff(stored(first), {"vms": ["vm-1"]}).changes
    assert server.questions == []


@pytest.mark.parametrize("vms", [["/DC/vm/web", "vm-1"], {"w": "/DC/vm/web", "x": "vm-1"}])
def test_a_vm_behind_a_path_is_looked_up_once(the_gate: Gate, server: FakeServer, vms: Any) -> None:
    """The VM that was judged is still there: no change, and one question."""
    server.behind, server.uuids = {"DC/vm/web": "vm-7"}, {"vm-7": "uuid-7"}
    first = created(the_gate, vms=vms)
    assert not the_gate.diff(stored(first), {"vms": vms}).changes
    assert server.questions == [["vm-1", "vm-7"]]


@pytest.mark.parametrize(
    ("behind", "uuids"),
    [
        pytest.param({"DC/vm/web": "vm-8"}, {}, id="another VM"),
        pytest.param({"DC/vm/web": "vm-7"}, {"vm-7": "uuid-8"}, id="another VM with the ID of the old one"),
        pytest.param({}, {}, id="none"),
    ],
)
def test_a_replaced_vm_behind_a_path_is_a_change(
    the_gate: Gate, server: FakeServer, behind: dict[str, str], uuids: dict[str, str]
) -> None:
    """The gate is updated, and the new VM is judged: a failure closes the gate."""
    server.behind, server.uuids = {"DC/vm/web": "vm-7"}, {"vm-7": "uuid-7"}
    first = created(the_gate, vms={"w": "/DC/vm/web"})
    server.behind, server.uuids = behind, uuids
    server.stories = {"vm-8": "bad", "vm-7": "bad", "/DC/vm/web": "gone"}
    assert the_gate.diff(stored(first), {"vms": {"w": "/DC/vm/web"}}).changes
    assert updated(the_gate, first, vms={"w": "/DC/vm/web"})["ready"] is False


def test_paths_that_exchange_their_vms_are_a_change(the_gate: Gate, server: FakeServer) -> None:
    """Each key's outputs are those of its own VM."""
    server.behind = {"DC/vm/a": "vm-1", "DC/vm/b": "vm-2"}
    vms = {"a": "/DC/vm/a", "b": "/DC/vm/b"}
    first = created(the_gate, vms=vms)
    server.behind = {"DC/vm/a": "vm-2", "DC/vm/b": "vm-1"}
    assert the_gate.diff(stored(first), {"vms": vms}).changes
    second = updated(the_gate, first, vms=vms)
    assert {key: result["moid"] for key, result in second["results"].items()} == {"a": "vm-2", "b": "vm-1"}


def test_changed_times_do_not_hide_a_replaced_vm(the_gate: Gate, server: FakeServer) -> None:
    """Where only the server knows which VM a reference names, an update of the times looks, too."""
    server.behind = {"DC/vm/web": "vm-7"}
    first = created(the_gate, vms={"w": "/DC/vm/web"})
    server.behind, server.stories = {"DC/vm/web": "vm-8"}, {"vm-8": "bad"}
    assert updated(the_gate, first, vms={"w": "/DC/vm/web"}, timeout=60)["ready"] is False


def test_a_reporting_gate_does_not_judge_a_missing_vm_for_ever(the_gate: Gate, server: FakeServer) -> None:
    """A path that named no VM and still names none is not a change."""
    server.stories = {"/DC/vm/typo": "gone"}
    inputs = {"vms": {"w": "/DC/vm/typo"}, "on_failure": "report"}
    first = created(the_gate, **inputs)
    assert (first["opened_at"], the_gate.diff(stored(first), inputs).changes) == ("2025-03-01T12:00:06.000Z", False)


def test_a_server_that_does_not_respond_is_a_warning(the_gate: Gate, server: FakeServer) -> None:
    """A preview works without the server, and says what it could not check."""
    server.behind = {"DC/vm/web": "vm-7"}
    first = created(the_gate, vms=["/DC/vm/web"])
    the_gate.engine.lines.clear()
    server.breaks = ServerError("vc.example.com did not respond.")
    assert not the_gate.diff(stored(first), {"vms": ["/DC/vm/web"]}).changes
    assert the_gate.engine.lines == [
        "warning: cannot check whether the references in vms still name the same VMs: vc.example.com did not respond."
    ]


def test_missing_settings_are_left_to_check(the_gate: Gate, server: FakeServer) -> None:
    """A diff without settings does not fail: `check` has named what is missing."""
    server.behind = {"DC/vm/web": "vm-7"}
    first = created(the_gate, vms=["/DC/vm/web"])
    assert not Gate({}).diff(stored(first), {"vms": ["/DC/vm/web"]}).changes


# ---- what a failure says to type


URN = "urn:pulumi:dev::shop::vsphere:index/virtualMachine:VirtualMachine::{}"


@pytest.mark.parametrize(
    ("vms", "urns", "message"),
    [
        pytest.param(
            {"a": "vm-1", "b": "vm-2"},
            {"a": URN.format("web{1}"), "b": URN.format("web-2")},
            f"replace a: `pulumi up --replace '{URN.format('web{1}')}'`",
            id="a map",
        ),
        pytest.param(
            ["vm-2", "vm-1"],
            [None, URN.format("web-1")],
            f"`pulumi up --replace '{URN.format('web-1')}'`",
            id="a list with a text in it",
        ),
        pytest.param(["vm-1"], None, "`pulumi up --replace URN`; `pulumi stack --show-urns`", id="texts"),
        pytest.param({"a": "vm-1"}, {}, "`pulumi up --replace URN`; `pulumi stack --show-urns`", id="a gate of before"),
    ],
)
def test_a_failure_says_what_to_replace_by_its_urn(
    the_gate: Gate, server: FakeServer, vms: Any, urns: Any, message: str
) -> None:
    """The command can be copied where the VM is a resource of the program."""
    server.stories = {"vm-1": "bad"}
    with pytest.raises(PartialFailureError) as caught:
        the_gate.create({"vms": vms, VM_URNS: urns})
    assert message in str(caught.value)


def test_the_urns_are_no_change(the_gate: Gate, server: FakeServer) -> None:
    """A gate that was made without them stays as it is."""
    first = created(the_gate, vms={"a": "vm-1"})
    news = {"vms": {"a": "vm-1"}, VM_URNS: {"a": URN.format("web-1")}}
    assert not the_gate.diff(stored(first), news).changes
    assert server.questions == []
