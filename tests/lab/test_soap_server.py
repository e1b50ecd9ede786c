"""The SOAP server of the tests: what it holds arrives, and it misbehaves as it is told."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.vsphere import shared_feed
from pulumi_customization_gate.vsphere.session import acquire
from tests.lab.misbehaving import head, raw
from tests.lab.soap_server import SoapServer
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[SoapServer]:
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1")
    with SoapServer(vcenter).serving() as server:
        yield server


def test_an_event_reaches_a_subscriber_through_real_sockets(server: SoapServer) -> None:
    """A feed logs in, reads the state, waits for an event in a long poll, and logs out."""
    seen: queue.SimpleQueue[object] = queue.SimpleQueue()
    with acquire(server.settings()) as session, shared_feed.subscribe(session, ["vm-1"], seen.put) as feed:
        (snapshot,) = feed.read({"vm-1": None}).snapshots
        feed.listen()
        server.vcenter.events.happen(vim.event.CustomizationStartedEvent, "vm-1", NOON)
        event = seen.get(timeout=10)
    assert (snapshot.vm, isinstance(event, Event)) == ("vm-1", True)
    assert (server.count("Login"), server.count("Logout"), server.vcenter.sessions) == (1, 1, set())


def test_a_reply_is_sent_instead_of_the_usual_one(server: SoapServer) -> None:
    """The first response is cut short, the second is the usual one."""
    server.reply("RetrieveServiceContent", raw(head(200), b"<Envelope>"), None)
    with acquire(server.settings()) as session:
        notes = session.retries_since(0)
    assert "malformed response" in notes[0]
