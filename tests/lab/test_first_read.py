"""The first read of the history, on real sockets: in which order pages come, and what is left out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.vsphere import events, history
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.lab.soap_server import SoapServer
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 50


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoapServer]:
    for module in (events, history):
        monkeypatch.setattr(module, "PAGE", PAGE)
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_RUNNING")
    with SoapServer(vcenter).serving() as server:
        yield server


def first_read(server: SoapServer) -> list[int]:
    """Returns the keys of the events that a wait for `vm-1` reads when it starts."""
    with acquire(server.settings()) as session, subscribe(session, ["vm-1"], lambda _: None) as feed:
        reading = feed.read({"vm-1": None}, details=False)
    return sorted(event.key for event in reading.events["vm-1"])


@pytest.mark.parametrize("is_newest_first", [True, False], ids=["newest first", "oldest first"])
def test_no_event_is_lost_in_either_order_of_pages(server: SoapServer, is_newest_first: bool) -> None:
    """A page that is full may lack the oldest events or the newest ones: both are queried."""
    journal = server.vcenter.events
    journal.is_newest_first = is_newest_first
    started, begin = vim.event.CustomizationStartedEvent, NOON - timedelta(minutes=4)
    keys = [journal.happen(started, "vm-1", begin + timedelta(seconds=number)) for number in range(4 * PAGE)]

    assert first_read(server) == keys


def test_migrations_are_not_read(server: SoapServer) -> None:
    """However often DRS moves a VM, the read costs one query and returns what decides."""
    journal = server.vcenter.events
    key = journal.happen(vim.event.CustomizationStartedEvent, "vm-1", NOON - timedelta(minutes=2))
    for number in range(4 * PAGE):
        journal.happen(vim.event.DrsVmMigratedEvent, "vm-1", NOON - timedelta(seconds=number / PAGE))

    assert first_read(server) == [key]
    assert server.count("QueryEvents") == 1
