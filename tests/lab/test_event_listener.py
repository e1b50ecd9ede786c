"""The long poll for events, on real sockets: what ends it, what it covers, what it does without a collector."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.vsphere import event_feed
from pulumi_customization_gate.vsphere import session as sessions
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.lab.soap_server import SoapServer
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SUCCEEDED = vim.event.CustomizationSucceeded


class Items(queue.SimpleQueue[Any]):
    """What a subscriber receives."""

    def first(self, kind: type) -> Any:
        """Returns the first item of a type."""
        while not isinstance(item := self.get(timeout=10), kind):
            pass
        return item


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoapServer]:
    monkeypatch.setattr(event_feed, "LONGEST_PAUSE", 0.05)
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1")
    with SoapServer(vcenter).serving() as server:
        yield server


def polling(server: SoapServer) -> bool:
    """Whether the second long poll, which waits, has begun."""
    return server.count("WaitForUpdatesEx") > 1


def test_a_change_with_an_empty_page_is_a_change(server: SoapServer) -> None:
    """A server that reports the change without the events has them read at once, not by the next read of the state."""
    server.vcenter.events.shows_pages = False
    items = Items()
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], items.put) as feed:
        feed.listen()
        until(lambda: polling(server))
        began = time.monotonic()
        key = server.vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert items.first(Event).key == key
    assert time.monotonic() - began < 5


def test_the_reported_page_is_short(server: SoapServer) -> None:
    """Each change sends the latest page whole: it has twenty events, however many there are."""
    items = Items()
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], items.put) as feed:
        feed.listen()
        until(lambda: polling(server))
        server.vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        items.first(Event)
        (collector,) = server.vcenter.events.collectors.values()
        assert collector.page == 20


def test_a_slow_collector_is_no_fault(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """To create and to read one are queries of events: on a crowded vCenter they take longer than other calls."""
    monkeypatch.setattr(sessions, "CALL_TIMEOUT", 0.5)
    server.delays.update(dict.fromkeys(("CreateCollectorForEvents", "ReadNextEvents"), 1.0))
    items = Items()
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], items.put) as feed:
        feed.listen()
        until(lambda: polling(server))
        server.vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        items.first(Event)
        reads = server.count("ReadNextEvents")
        server.vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        until(lambda: server.count("ReadNextEvents") > reads)
        items.first(Event)
    assert server.count("CreateCollectorForEvents") == 1


def test_a_vm_in_a_vapp_has_a_folder(server: SoapServer) -> None:
    """A user who may collect the events of a folder gets those of its vApps' VMs, which have no other parent."""
    state = server.vcenter.state
    state.entities["resgroup-v5"] = {"name": "app", "parentFolder": vim.Folder("group-v1")}
    del state.entities["vm-1"]["parent"]
    state.entities["vm-1"]["parentVApp"] = vim.VirtualApp("resgroup-v5")
    server.vcenter.events.allowed = {"group-v1"}
    items = Items()
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], items.put) as feed:
        feed.listen()
        server.vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert items.first(str) == "ann may not read events of the whole inventory; reading those of vm"


def test_no_collector_left_during_the_wait_backs_off(server: SoapServer) -> None:
    """One new session is tried; then the feed waits for a collector that another client gives back."""
    items = Items()
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], items.put) as feed:
        feed.listen()
        until(lambda: polling(server))
        refused = server.refusal(vim.fault.InvalidState())
        server.reply("CreateCollectorForEvents", *[refused] * 8, None)
        server.vcenter.end_sessions()
        while "watching again after" not in items.first(str):
            pass
        assert server.count("CreateCollectorForEvents") > 8
    assert server.count("Login") == 3
