"""Which VM a reference names now, against a vCenter in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import ConfigurationError, ServerError
from pulumi_customization_gate.vsphere import session as session_module
from pulumi_customization_gate.vsphere.identity import may_be, named_now
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.session import CALL_TIMEOUT
from tests.unit.vsphere.fake_vcenter import SETTINGS, FakeVcenter, connected

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTANCE, BIOS = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e", "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1f"


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    fake.state.entities["group-v1"]["parent"] = vim.Datacenter("datacenter-1")
    fake.state.entities["datacenter-1"] = {"name": "DC", "parent": vim.Folder("group-d1")}
    fake.state.add("vm-1", name="web", config__instanceUuid=INSTANCE, config__uuid=BIOS)
    return fake


def named(*texts: str, judged: tuple[str, ...] = ("vm-1",)) -> list[Mapping[str, str]]:
    return named_now(SETTINGS, [parse_reference(text) for text in texts], judged)


@pytest.mark.parametrize("text", ["/DC/vm/web", "DC/vm/web/", INSTANCE, BIOS.upper()])
def test_a_vm_that_is_where_it_was_costs_no_search(vcenter: FakeVcenter, text: str) -> None:
    """Path and UUID are compared with what one read says of the judged VM."""
    assert named(text) == [{"vm-1": INSTANCE}]
    assert (vcenter.calls["FindByInventoryPath"], vcenter.calls["FindAllByUuid"]) == (0, 0)
    assert vcenter.sessions == set()


def test_many_references_cost_one_log_in_and_one_read(vcenter: FakeVcenter) -> None:
    """However many VMs there are, and however deep they are in the inventory."""
    moids = [
        vcenter.state.add(f"vm-{number}", name=f"web-{number}", config__instanceUuid=f"uuid-{number}")
        for number in range(100, 200)
    ]
    paths = [f"/DC/vm/web-{number}" for number in range(100, 200)]
    assert named(*paths, judged=tuple(moids)) == [{moid: f"uuid-{moid[3:]}"} for moid in moids]
    assert (vcenter.calls["Login"], vcenter.calls["RetrievePropertiesEx"]) == (1, 1)


def test_a_replaced_vm_is_searched_for(vcenter: FakeVcenter) -> None:
    """The VM at the path is another one by now; its identity is read."""
    del vcenter.state.entities["vm-1"]
    vcenter.state.add("vm-2", name="web", config__instanceUuid="uuid-2")
    assert named("/DC/vm/web") == [{"vm-2": "uuid-2"}]


def test_a_reconstructed_vm_keeps_its_id_and_not_its_uuid(vcenter: FakeVcenter) -> None:
    """After a restore of vCenter an ID may be that of another VM: the instance UUID says so."""
    vcenter.state.add("vm-1", name="web", config__instanceUuid="uuid-2")
    assert named("/DC/vm/web") == [{"vm-1": "uuid-2"}]


def test_a_renamed_vm_is_not_at_its_path(vcenter: FakeVcenter) -> None:
    """A path that names no VM is returned as it was written."""
    vcenter.state.add("vm-1", name="old-web", config__instanceUuid=INSTANCE)
    assert named("/DC/vm/web", INSTANCE) == [{"/DC/vm/web": ""}, {"vm-1": INSTANCE}]


def test_a_uuid_of_two_vms_is_an_error(vcenter: FakeVcenter) -> None:
    """A copy has the BIOS UUID of a VM that was judged: which of them is meant cannot be known."""
    vcenter.state.add("vm-2", name="copy", config__instanceUuid="uuid-2", config__uuid=BIOS)
    with pytest.raises(ConfigurationError, match="belongs to"):
        named(BIOS, judged=("vm-1", "vm-2"))


def test_a_vcenter_that_does_not_respond_is_an_error(vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides what that means for a preview."""
    monkeypatch.setattr(session_module, "START_TIMEOUT", CALL_TIMEOUT)
    vcenter.failures["RetrieveServiceContent"] = [ConnectionRefusedError(111, "refused")]
    with pytest.raises(ServerError, match="connection refused"):
        named("/DC/vm/web")


@pytest.mark.parametrize(
    ("uuids", "expected", "result"),
    [
        pytest.param(("a", "b"), "B", True, id="BIOS UUID"),
        pytest.param(("a", "b"), "a", True, id="instance UUID"),
        pytest.param(("a", "b"), "c", False, id="neither"),
        pytest.param(("a", "b"), "", True, id="nothing expected"),
        pytest.param(("a", ""), "c", True, id="one is not known"),
    ],
)
def test_a_uuid_is_compared_where_it_is_known(uuids: tuple[str, str], expected: str, result: bool) -> None:
    """Only a VM whose two UUIDs are known can be another than the expected one."""
    assert may_be(uuids, expected) == result
