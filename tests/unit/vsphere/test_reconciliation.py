"""Which VMs are read again, and when."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import AuthenticationError
from pulumi_customization_gate.vsphere import reconciliation
from pulumi_customization_gate.vsphere.reconciliation import Reconciliation
from pulumi_customization_gate.vsphere.session import acquire
from tests.unit.vsphere.fake_vcenter import SETTINGS, TIMEOUT, FakeVcenter, connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.core.model import Missing, Snapshot

    Items = queue.SimpleQueue[Snapshot | Missing]

ENDED = {"guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_SUCCEEDED"}


class Reader:
    """A reconciliation whose thread is not started: the test makes each read."""

    def __init__(
        self, vcenter: FakeVcenter, reconciler: Reconciliation, items: queue.SimpleQueue[Snapshot | Missing]
    ) -> None:
        self.vcenter, self.reconciler, self.items = vcenter, reconciler, items

    def due(self) -> list[str]:
        """Reads what is due, and returns the VMs that were read."""
        self.reconciler._read_due()
        return sorted(self.vcenter.state.selected[-1])

    def published(self) -> list[str]:
        """Returns the VMs that were published since the last call."""
        return sorted(self.items.get(timeout=TIMEOUT).vm for _ in range(self.items.qsize()))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.0)
    vcenter = connected(monkeypatch)
    items: Items = queue.SimpleQueue()
    for moid in ("vm-1", "vm-2"):
        vcenter.state.add(moid)
    with acquire(SETTINGS) as session:
        reconciler = Reconciliation(session, lambda: frozenset({"vm-1", "vm-2"}), items.put)
        yield Reader(vcenter, reconciler, items)
        reconciler.close()


def test_a_vm_that_has_ended_is_not_read_again(reader: Reader) -> None:
    """A settled VM costs one more read after its end; an event, or a gap in the events, causes another read."""
    reader.vcenter.state.add("vm-1", **ENDED)
    both, second = reader.due(), reader.due()
    reader.reconciler.unsettle("vm-1")
    after_event = reader.due()
    settled = reader.due()
    reader.reconciler.soon()
    after_gap = reader.due()

    assert (both, second) == (["vm-1", "vm-2"], ["vm-2"])
    assert (after_event, settled, after_gap) == (["vm-1", "vm-2"], ["vm-2"], ["vm-1", "vm-2"])


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"runtime__powerState": "poweredOff"}, id="powered off"),
        pytest.param({"config__tools__pendingCustomization": "/spec"}, id="specification pending"),
    ],
)
def test_an_end_that_may_not_be_the_last_is_read_again(reader: Reader, properties: dict[str, str]) -> None:
    """A VM that is off, or that has another specification pending, is not settled."""
    reader.vcenter.state.add("vm-1", **{**ENDED, **properties})
    assert [reader.due(), reader.due()] == [["vm-1", "vm-2"]] * 2


def test_only_what_decides_is_read(reader: Reader) -> None:
    """Names and addresses of guests are left to the read at the end of a wait."""
    reader.due()
    asked = reader.vcenter.state.paths[-1]

    assert "guest.customizationInfo.customizationStatus" in asked
    assert {"guest.net", "guest.ipAddress", "guest.hostName", "guest.toolsVersion"} & asked == set()


def test_a_vm_that_is_not_found_is_published_at_once(reader: Reader) -> None:
    """Each read that does not find a VM is published: how many must agree is the verdict's rule."""
    del reader.vcenter.state.entities["vm-1"]
    for _ in range(2):
        reader.due()
        assert "vm-1" in reader.published()


def test_what_is_known_is_not_published_again(reader: Reader) -> None:
    """A state is published when it is another one, and after an event; names and UUIDs are read once."""
    reader.due()
    first, unchanged = reader.published(), (reader.due(), reader.published())
    reader.vcenter.state.add("vm-1", runtime__powerState="poweredOff")
    reader.reconciler.unsettle("vm-2")
    reader.due()

    assert (first, unchanged) == (["vm-1", "vm-2"], (["vm-1", "vm-2"], []))
    assert reader.published() == ["vm-1", "vm-2"]
    assert {"name", "config.uuid", "config.instanceUuid"} & reader.vcenter.state.paths[-1] == set()


def test_what_one_gate_reads_the_others_learn(reader: Reader) -> None:
    """A change that the read of one subscriber finds is published by the next regular read; the unchanged is not."""
    reader.due()
    reader.published()
    reader.vcenter.state.add("vm-1", runtime__powerState="poweredOff", name="name of vm-1")
    reader.reconciler.read(["vm-1", "vm-2"], details=True)
    reader.due()
    assert reader.published() == ["vm-1"]


def test_many_looks_are_published_with_pauses(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who judges thousands of looks can judge events in between."""
    pauses: list[float] = []
    monkeypatch.setattr(reconciliation, "AT_ONCE", 1)
    monkeypatch.setattr("time.sleep", pauses.append)
    reader.due()

    assert len(reader.published()) == len(pauses) + 1 == 2


REFUSED = AuthenticationError("the proxy refused the user name or password")


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), REFUSED], ids=["network", "proxy"])
def test_a_read_that_fails_is_made_up_for(reader: Reader, error: Exception) -> None:
    """After a gap in the events the settled VMs are still to be read, and what an event changed is published."""
    reader.vcenter.state.add("vm-1", **ENDED)
    reader.due()
    reader.published()
    reader.reconciler.soon()
    reader.reconciler.unsettle("vm-2")
    reader.vcenter.failures["RetrievePropertiesEx"] = [error]
    with pytest.raises(type(error)):
        reader.due()

    assert (reader.due(), reader.published()) == (["vm-1", "vm-2"], ["vm-2"])


def test_a_gap_during_a_read_has_all_read_again_at_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read that was under way may be older than the gap: the next one does not wait for its interval."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 1000.0)
    retrieve = reader.vcenter.methods["RetrievePropertiesEx"]

    def during(*args: Any) -> Any:
        reader.reconciler.soon()
        return retrieve(*args)

    reader.vcenter.state.add("vm-1", **ENDED)
    reader.vcenter.methods["RetrievePropertiesEx"] = during
    reader.due()
    reader.vcenter.methods["RetrievePropertiesEx"] = retrieve
    is_due = reader.reconciler._next <= time.monotonic()
    again = reader.due()

    assert (is_due, again) == (True, ["vm-1", "vm-2"])
    assert reader.reconciler._next > time.monotonic() + 900


def test_a_proxy_s_refusal_does_not_end_the_regular_reads(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next read is made after the usual interval, not sooner: refusals can lock an account."""
    monkeypatch.setattr(reconciliation, "UNDECIDED_INTERVAL", 1000.0)
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.01)
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    reader.vcenter.failures["RetrievePropertiesEx"] = [REFUSED, REFUSED]
    reader.reconciler.start()
    found = {reader.items.get(timeout=TIMEOUT).vm for _ in range(2)}
    reader.reconciler.close()
    reader.reconciler._thread.join(TIMEOUT)

    assert (found, ended) == ({"vm-1", "vm-2"}, [])


def test_a_vm_without_subscribers_is_forgotten(reader: Reader) -> None:
    """What was known of it is dropped."""
    reader.reconciler.read(["vm-1", "vm-3"], details=False)
    reader.reconciler.forget()
    assert set(reader.reconciler._last_read) == {"vm-1"}
