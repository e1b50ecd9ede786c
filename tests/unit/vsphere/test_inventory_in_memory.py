"""How VMs are found and read, against a vCenter in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.core.status import FailureKind
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.references import parse_reference
from tests.unit.vsphere.fake_vcenter import FakeVcenter, connected

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.session import Session

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    fake.state.add("vm-1", name="web-1", config__instanceUuid=UUID)
    fake.state.add("vm-2", name="web-2")
    return fake


@pytest.mark.parametrize(
    ("text", "moid"),
    [
        pytest.param("vm-7", "vm-7", id="moid, which is looked up later"),
        pytest.param("/DC/vm/web-2", "vm-2", id="path"),
        pytest.param("/DC/vm/typo", None, id="path to nothing"),
        pytest.param(UUID.upper(), "vm-1", id="UUID"),
        pytest.param(UUID.replace("4", "5"), None, id="UUID of nothing"),
    ],
)
def test_a_reference_is_found(session: Session, text: str, moid: str | None) -> None:
    """Each kind of reference leads to a managed object ID, or to None."""
    assert moid == inventory.find(session, parse_reference(text))


def test_a_uuid_of_two_vms_is_refused_with_their_paths(vcenter: FakeVcenter, session: Session) -> None:
    """Copies share a BIOS UUID: the message says which VMs have it."""
    vcenter.state.add("vm-2", name="web-2", config__uuid=UUID)
    with pytest.raises(ConfigurationError) as caught:
        inventory.find(session, parse_reference(UUID))
    assert "belongs to /vm/web-1 (vm-1) and /vm/web-2 (vm-2)" in str(caught.value)


def test_a_read_has_an_answer_for_each_vm(vcenter: FakeVcenter, session: Session) -> None:
    """One that is gone and one that may not be read are Missing, with the reason."""
    vcenter.state.private = {"vm-2"}
    first, private, gone = inventory.read(session, ["vm-1", "vm-2", "vm-3"])

    assert isinstance(first, Snapshot)
    assert (first.name, first.tools_running) == ("web-1", True)
    assert isinstance(private, Missing)
    assert isinstance(gone, Missing)
    message = "vc.example.com has no virtual machine vm-3 that ann may see"
    assert (private.kind, gone.kind, gone.message) == (FailureKind.NO_PERMISSION, FailureKind.NOT_FOUND, message)
    assert private.needs_second_look
    assert gone.needs_second_look
    assert inventory.read(session, []) == []


def test_a_session_that_ended_is_not_a_missing_vm(vcenter: FakeVcenter, session: Session) -> None:
    """NotAuthenticated in the place of a property is raised, although it is a kind of NoPermission."""
    vcenter.state.private, vcenter.state.refusal = {"vm-1"}, vim.fault.NotAuthenticated()
    with pytest.raises(vim.fault.NotAuthenticated):
        inventory.read(session, ["vm-1"])


def test_the_folder_of_vms_in_a_vapp_is_found_through_it(vcenter: FakeVcenter, session: Session) -> None:
    """A VM in a vApp has no parent; the lowest common folder is above the vApp, also above a nested one."""
    vcenter.state.entities["resgroup-v1"] = {
        "name": "shop",
        "parent": vim.ResourcePool("resgroup-1"),
        "parentFolder": vim.Folder("group-v1"),
    }
    vcenter.state.entities["resgroup-v2"] = {"name": "inner", "parentVApp": vim.VirtualApp("resgroup-v1")}
    vcenter.state.add("vm-1", name="web-1", parent=None, parentVApp=vim.VirtualApp("resgroup-v2"))
    folder = inventory.common_folder(session, ["vm-1", "vm-2"])
    alone = inventory.common_folder(session, ["vm-1"])

    assert folder is not None
    assert alone is not None
    assert (folder.name, alone.name) == ("vm", "vm")
    assert inventory.common_folder(session, ["vm-gone"]) is None
    assert inventory.inventory_path(session, vim.VirtualMachine("vm-1", session.stub)) == "/vm/shop/inner/web-1"
