"""What the words of a command line mean in an inventory, and what the command reads of it, in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.command_line.vm_events import histories
from pulumi_customization_gate.core.errors import ApiError, ConfigurationError
from pulumi_customization_gate.core.model import Snapshot
from pulumi_customization_gate.vsphere import inventory, search
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter, connected

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.session import Session

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    fake.state.entities["group-v2"] = {"name": "web", "parent": vim.Folder("group-v1")}
    fake.state.add("vm-1", name="web-1", parent=vim.Folder("group-v2"), config__instanceUuid=UUID)
    fake.state.add("vm-2", name="web-2")
    fake.state.add("vm-3", name="web-golden", summary__config__template=True)
    return fake


def test_the_inventory_is_read_in_one_call(vcenter: FakeVcenter, session: Session) -> None:
    """Each VM has its path; the view is given back."""
    found = {vm.moid: (vm.path, vm.is_template) for vm in search.read(session)}

    assert found == {
        "vm-1": ("/vm/web/web-1", False),
        "vm-2": ("/vm/web-2", False),
        "vm-3": ("/vm/web-golden", True),
    }
    assert (vcenter.calls["RetrievePropertiesEx"], vcenter.calls["DestroyView"]) == (1, 1)


def test_a_session_that_ended_is_not_an_inventory_without_names(vcenter: FakeVcenter, session: Session) -> None:
    """NotAuthenticated in the place of a property is an error, although the call itself succeeds."""
    vcenter.state.private, vcenter.state.refusal = {"vm-1"}, vim.fault.NotAuthenticated()
    with pytest.raises(ApiError, match="sessions in succession ended at once"):
        search.read(session)


def test_references_of_each_kind_find_vms(session: Session) -> None:
    """A VM that two words mean is there once; what is not there is left to the report."""
    words = ["web-2", "/vm/web/*", UUID, "vm-2", "web-*", "vm-99"]

    assert [reference.text for reference in search.expand(session, words)] == ["vm-2", "vm-1", "vm-99"]


def test_a_name_with_a_slash_is_shown_as_people_write_it(vcenter: FakeVcenter, session: Session) -> None:
    """The server escapes it; the path keeps the escape, so that each of its slashes is a step."""
    vcenter.state.add("vm-4", name="disk%2f1 %25")
    found = {vm.moid: (vm.name, vm.path) for vm in search.read(session)}
    (look,) = inventory.read(session, ["vm-4"])

    assert found["vm-4"] == ("disk/1 %", "/vm/disk%2f1 %25")
    assert isinstance(look, Snapshot)
    assert look.name == "disk/1 %"


def test_all_wrong_references_are_reported_at_once(session: Session) -> None:
    """Each has a line, up to five of them."""
    with pytest.raises(ConfigurationError) as caught:
        search.expand(session, [f"db-{number}" for number in range(7)])
    lines = str(caught.value).splitlines()

    assert (len(lines), lines[-1]) == (6, "and 2 more")
    assert lines[0].startswith("no virtual machine is named 'db-0'")


def test_the_history_of_the_command(vcenter: FakeVcenter, session: Session) -> None:
    """Events of all words, oldest first, with the names of their VMs."""
    first = vcenter.events.happen(vim.event.CustomizationStartedEvent, "vm-1", NOON - timedelta(days=2))
    last = vcenter.events.happen(vim.event.CustomizationSucceeded, "vm-2", NOON)
    events, names, incomplete = histories(session, ["web-*"])

    assert [event.key for event in events] == [first, last]
    assert (names, incomplete) == ({"vm-1": "web-1", "vm-2": "web-2"}, {})


def test_the_history_of_what_is_gone_is_an_error(session: Session) -> None:
    """The message names each reference without a VM."""
    with pytest.raises(ConfigurationError, match=r"has no virtual machine /vm/typo, vm-99$"):
        histories(session, ["vm-99", "/vm/typo"])
