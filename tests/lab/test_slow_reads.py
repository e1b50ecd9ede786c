"""Reads of the state, on real sockets: what they read, and what goes on while the answer is slow."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere import reconciliation
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.lab.soap_server import SoapServer
from tests.lab.sources import vsphere_source
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.core.progress import Update

STATE = "guest.customizationInfo.customizationStatus"
SLOW = 4.0
"""Seconds that a slow read takes."""
READ = "RetrievePropertiesEx"


@pytest.fixture
def server() -> Iterator[SoapServer]:
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    vcenter.state.add("vm-2", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_RUNNING")
    with SoapServer(vcenter).serving() as server:
        yield server


def end(server: SoapServer) -> int:
    """Lets the customization of `vm-2` succeed, and returns the key of the event."""
    server.vcenter.state.add("vm-2", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    return server.vcenter.events.happen(vim.event.CustomizationSucceeded, "vm-2", NOON)


def test_a_regular_read_is_of_what_has_not_ended(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has neither the VM that is customized, nor names and addresses, nor whole trees of properties."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.1)
    state = server.vcenter.state
    with acquire(server.settings()) as session, subscribe(session, ["vm-1", "vm-2"], lambda _: None) as feed:
        feed.read(dict.fromkeys(("vm-1", "vm-2")), details=False)
        begun = len(state.selected)
        until(lambda: len(state.selected) >= begun + 3)
    assert [sorted(moids) for moids in state.selected[begun : begun + 3]] == [["vm-2"]] * 3
    for paths in state.paths[begun : begun + 3]:
        assert paths == {
            "runtime.powerState",
            "summary.runtime.bootTime",
            "config.tools.pendingCustomization",
            "guest.toolsRunningStatus",
            "guest.customizationInfo.customizationStatus",
            "guest.customizationInfo.errorMsg",
        }


def test_names_and_addresses_are_read_once(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read that confirms the end of a wait has them, and no other read."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.1)
    state = server.vcenter.state
    ended: list[int] = []

    def listen(_: Update) -> None:
        if not ended:
            until(lambda: len(state.paths) > 3)
            ended.append(end(server))

    source = vsphere_source(server.settings(), ["vm-1", "vm-2"])
    report = wait(source, WaitRules(timeout=20.0), listener=listen)
    assert report.ready
    assert [{"guest.net", "guest.hostName"} <= paths for paths in state.paths].count(True) == 1


def test_a_regular_read_holds_up_no_event(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is there before the read that is under way."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.5)
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with acquire(server.settings()) as session, subscribe(session, ["vm-2"], items.put) as feed:
        feed.read({"vm-2": None}, details=False)
        feed.listen()
        server.delays[READ] = SLOW
        reads = server.count(READ)
        until(lambda: server.count(READ) > reads)
        began = time.monotonic()
        key = end(server)
        while not (isinstance(item := items.get(timeout=10), Event) and item.key == key):
            pass
        assert time.monotonic() - began < SLOW / 2


def test_a_second_look_holds_up_no_event(server: SoapServer) -> None:
    """A VM that was not found is looked for again; what happens to the others during that read is reported at once."""
    updates: queue.SimpleQueue[Update] = queue.SimpleQueue()
    stop = threading.Event()

    def first(condition: Any) -> Update:
        while not condition(update := updates.get(timeout=10)):
            pass
        return update

    with ThreadPoolExecutor(1) as pool:
        source = vsphere_source(server.settings(), {"web": "vm-2", "gone": "vm-9"})
        rules = WaitRules(timeout=60.0, stop_on_missing=False)
        waiting = pool.submit(wait, source, rules, listener=updates.put, cancelled=stop.is_set)
        try:
            first(lambda update: update.outcomes[0].status is CustomizationStatus.CUSTOMIZATION_STARTED)
            server.delays[READ] = SLOW
            reads = server.count(READ)
            until(lambda: server.count(READ) > reads)
            began = time.monotonic()
            end(server)
            first(lambda update: update.outcomes[0].status is CustomizationStatus.CUSTOMIZATION_SUCCEEDED)
            lasted = time.monotonic() - began
        finally:
            stop.set()
        assert waiting.result(10).cancelled
    assert lasted < SLOW / 2
