"""Texts that no XML may hold, on real sockets: an event of any VM, the host name of one guest."""

from __future__ import annotations

import logging
import queue
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.model import Event, Snapshot
from pulumi_customization_gate.vsphere import event_feed, history, inventory, search
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.lab.soap_server import SoapServer
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED, SUCCEEDED = vim.event.CustomizationStartedEvent, vim.event.CustomizationSucceeded
VMS = [f"vm-{number}" for number in range(history.FEW + 2)]
UNREADABLE = ("name of vm-foreign", "a name with \x01 in it")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoapServer]:
    monkeypatch.setattr(event_feed, "LONGEST_PAUSE", 0.05)
    vcenter = FakeVcenter()
    for moid in VMS:
        vcenter.state.add(moid, guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_RUNNING")
    with SoapServer(vcenter).serving() as server:
        yield server


def test_an_event_of_another_vm_does_not_stop_the_first_read(server: SoapServer) -> None:
    """The history of ten VMs is read by a query for each where the query for all of them cannot be parsed."""
    server.edits["QueryEvents"] = UNREADABLE
    keys = [server.vcenter.events.happen(STARTED, moid, NOON) for moid in VMS]
    server.vcenter.events.happen(STARTED, "vm-foreign", NOON)
    with acquire(server.settings()) as session, subscribe(session, VMS, lambda _: None) as feed:
        reading = feed.read(dict.fromkeys(VMS), details=False)
    assert {vm: [event.key for event in events] for vm, events in reading.events.items()} == {
        vm: [key] for vm, key in zip(VMS, keys, strict=True)
    }


def test_an_event_of_another_vm_does_not_stop_the_events(server: SoapServer) -> None:
    """Where the page, the collector and the query for all cannot be parsed, events arrive, and later ones too."""
    vcenter = server.vcenter
    for method in ("QueryEvents", "ReadNextEvents", "WaitForUpdatesEx"):
        server.edits[method] = UNREADABLE
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def event() -> int:
        while not isinstance(item := items.get(timeout=10), Event):
            pass
        return item.key

    with acquire(server.settings()) as session, subscribe(session, VMS, items.put) as feed:
        feed.listen()
        vcenter.events.happen(STARTED, "vm-foreign", NOON)
        among = vcenter.events.happen(STARTED, "vm-1", NOON)
        vcenter.now = NOON + timedelta(seconds=5)
        assert event() == among
        later = vcenter.events.happen(SUCCEEDED, "vm-2", NOON + timedelta(seconds=6))
        assert event() == later


def test_the_log_names_what_cannot_be_parsed_once(server: SoapServer) -> None:
    """A foreign VM with a bad name has one event after the other: the notes are those of the first."""
    vcenter = server.vcenter
    for method in ("QueryEvents", "ReadNextEvents", "WaitForUpdatesEx"):
        server.edits[method] = UNREADABLE
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    notes: list[str] = []
    with acquire(server.settings()) as session, subscribe(session, VMS, items.put) as feed:
        feed.listen()
        for number in range(1, 4):
            at = NOON + timedelta(minutes=number)
            vcenter.now = at + timedelta(seconds=5)
            vcenter.events.happen(STARTED, "vm-foreign", at)
            ours = vcenter.events.happen(STARTED, "vm-1", at)
            found = 0
            while found != ours or "watching again after" not in "".join(notes):
                item = items.get(timeout=10)
                found = item.key if isinstance(item, Event) else found
                notes += [item] if isinstance(item, str) else []
    parts = ("; retrying", "an event could not be parsed; ", "watching again after")
    assert [sum(part in note for note in notes) for part in parts] == [1, 1, 1], notes


@pytest.mark.parametrize("path", ["guest.hostName", "name"])
@pytest.mark.parametrize("at_once", [inventory.MOST_AT_ONCE, 2])
def test_a_text_of_one_vm_does_not_keep_the_others_from_being_read(
    server: SoapServer, path: str, at_once: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The VM is read without its texts, and named once in the log; the others have theirs, also of other calls."""
    monkeypatch.setattr(inventory, "MOST_AT_ONCE", at_once)
    inventory._log_unreadable.cache_clear()
    for moid in VMS:
        server.vcenter.state.entities[moid]["guest.hostName"] = f"host of {moid}"
    server.vcenter.state.entities["vm-3"][path] = "vm-foreign"
    server.edits["RetrievePropertiesEx"] = ("vm-foreign", "\x01")
    caplog.set_level(logging.WARNING)
    with acquire(server.settings()) as session, subscribe(session, VMS, lambda _: None) as feed:
        readings = [feed.read(dict.fromkeys(VMS)) for _ in range(2)]
    for reading in readings:
        names = {look.vm: look.host_name for look in reading.snapshots if isinstance(look, Snapshot)}
        assert names == {vm: "" if vm == "vm-3" else f"host of {vm}" for vm in VMS}
    assert caplog.text.count("a text of vm-3 could not be parsed") == 1


def test_a_name_of_another_vm_does_not_keep_the_others_from_being_found(server: SoapServer) -> None:
    """The VM whose name cannot be parsed goes by its ID."""
    server.vcenter.state.entities["vm-3"]["name"] = "vm-foreign"
    server.edits["RetrievePropertiesEx"] = ("vm-foreign", "\x01")
    with acquire(server.settings()) as session:
        names = {vm.moid: vm.name for vm in search.read(session)}
    assert names == {vm: vm if vm == "vm-3" else f"name of {vm}" for vm in VMS}
