"""The feed, its listeners and the reconciliation, in memory: what is lost on the way is read again."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError, AuthenticationError
from pulumi_customization_gate.core.model import Event, Missing, Snapshot
from pulumi_customization_gate.vsphere import event_feed, event_listener, reconciliation, refused_logins
from pulumi_customization_gate.vsphere import session as session_module
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.unit.vsphere.fake_vcenter import NOON, SETTINGS, TIMEOUT, FakeVcenter, connected, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulumi_customization_gate.vsphere.event_feed import EventFeed
    from pulumi_customization_gate.vsphere.session import Session

STARTED, SUCCEEDED = vim.event.CustomizationStartedEvent, vim.event.CustomizationSucceeded


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    monkeypatch.setattr(event_feed, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(event_listener, "SCOPED_INTERVAL", 0.01)
    fake = connected(monkeypatch)
    fake.state.add("vm-1")
    return fake


class Watcher:
    """A subscriber that keeps what it receives."""

    def __init__(self, session: Session, feed: EventFeed, items: queue.SimpleQueue[Any]) -> None:
        self.session, self.feed, self.items = session, feed, items
        self.reported: list[Any] = []

    def take(self) -> Any:
        self.reported.append(self.items.get(timeout=TIMEOUT))
        return self.reported[-1]

    def keys(self, last: int) -> list[int]:
        """Returns the keys of the events, sorted, once this one has come."""
        while last not in (keys := sorted(item.key for item in self.reported if isinstance(item, Event))):
            self.take()
        return keys

    def count(self, events: int) -> list[int]:
        """Returns the keys of so many events, sorted."""
        while len(keys := sorted(item.key for item in self.reported if isinstance(item, Event))) < events:
            self.take()
        return keys

    def snapshot(self) -> Snapshot:
        """Returns the next state that is read."""
        while not isinstance(item := self.take(), Snapshot):
            pass
        return item

    def notes(self) -> list[str]:
        return [item for item in self.reported if isinstance(item, str)]

    def note(self, text: str) -> str:
        """Returns the first note with this text in it."""
        while True:
            item = self.take()
            if isinstance(item, str) and text in item:
                return item


@contextlib.contextmanager
def watching(*moids: str) -> Iterator[Watcher]:
    """Subscribes to the events of VMs."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with acquire(SETTINGS) as session, subscribe(session, moids, items.put) as feed:
        feed.listen()
        yield Watcher(session, feed, items)


def test_events_are_reported_once_to_those_who_wait_for_their_vm(vcenter: FakeVcenter) -> None:
    """An event reaches the subscribers of its VM, in order and once, though each page overlaps the one before."""
    with watching("vm-1") as one, watching("vm-1", "vm-2") as both:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        for _ in range(3):
            vcenter.events.happen(STARTED, "vm-1", NOON)
            vcenter.events.happen(SUCCEEDED, "vm-2", NOON)
        assert both.count(6) == [1, 2, 3, 4, 5, 6]
        assert one.count(3) == [1, 3, 5]
        assert one.session is both.session
    assert (vcenter.sessions, vcenter.events.collectors, vcenter.events.pollers) == (set(), {}, {})
    assert all(stub.is_retired for stub in vcenter.stubs[1:])


def test_the_first_status_comes_before_the_events_of_the_collector(vcenter: FakeVcenter) -> None:
    """A start reads the events since the power-on once; the collector, which holds them too, waits until it is told."""
    vcenter.events.happen(STARTED, "vm-1", NOON)
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with acquire(SETTINGS) as session, subscribe(session, ["vm-1"], items.put) as feed:
        reading = feed.read({"vm-1": None})
        later = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert (items.empty(), vcenter.calls["WaitForUpdatesEx"]) == (True, 0)
        feed.listen()
        assert Watcher(session, feed, items).keys(later) == [1, later]
    assert [event.key for event in reading.events["vm-1"]] == [1]


def test_an_empty_page_of_a_new_collector_may_mean_that_something_happened(vcenter: FakeVcenter) -> None:
    """Of a server whose latest page is empty, also what happened before the first long poll is read."""
    vcenter.events.shows_pages = False
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with acquire(SETTINGS) as session, subscribe(session, ["vm-1"], items.put) as feed:
        key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        feed.listen()
        assert Watcher(session, feed, items).keys(key) == [key]


def test_a_session_that_was_replaced_before_the_first_poll(vcenter: FakeVcenter) -> None:
    """Another thread has logged in again: the feed has a new collector made, and no note names a failure."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with acquire(SETTINGS) as session, subscribe(session, ["vm-1"], items.put) as feed:
        vcenter.end_sessions()
        session.with_retries(lambda: session.content.searchIndex.FindByInventoryPath("nothing"))
        key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        feed.listen()
        watcher = Watcher(session, feed, items)
        assert watcher.keys(key) == [key]
    assert (watcher.notes(), vcenter.calls["Login"]) == ([], 2)
    assert (vcenter.sessions, vcenter.events.collectors) == (set(), {})


def test_an_empty_page_means_that_something_happened(vcenter: FakeVcenter) -> None:
    """A server whose latest page is empty still has its events read at once."""
    vcenter.events.shows_pages = False
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert watcher.keys(key) == [key]
        assert watcher.notes() == []


def test_an_event_that_is_not_delivered_is_not_a_lost_one(vcenter: FakeVcenter) -> None:
    """A class that was not asked for may be in the latest page, again and again: the history is not read for it."""
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        queries = vcenter.calls["QueryEvents"]
        vcenter.events.happen(vim.event.VmRenamedEvent, "vm-1", NOON)
        for _ in range(3):
            last = vcenter.events.happen(STARTED, "vm-1", NOON)
            watcher.keys(last)
        assert watcher.notes() == []
    assert vcenter.calls["QueryEvents"] == queries


def test_what_a_collector_lost_is_read_from_the_history(vcenter: FakeVcenter) -> None:
    """More events at once than a collector holds are read by queries, and the state is read as well."""
    vcenter.events.capacity = 5
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        with vcenter.events.changed:
            for _ in range(20):
                vcenter.events.happen(STARTED, "vm-1", NOON)
        watcher.note("more events than the collector holds; reading the history")
        assert watcher.count(20) == list(range(1, 21))
        assert watcher.snapshot().vm == "vm-1"


def test_events_older_than_the_latest_page_are_read_although_the_collector_fails(vcenter: FakeVcenter) -> None:
    """The latest page of a burst was delivered, the read of the others fails: the next collector begins with them."""
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        vcenter.failures["ReadNextEvents"] = [ConnectionResetError("reset")]
        with vcenter.events.changed:
            vcenter.now = NOON + timedelta(minutes=10)
            first = vcenter.events.happen(STARTED, "vm-1", NOON)
            for _ in range(event_listener.LATEST_PAGE):
                last = vcenter.events.happen(STARTED, "vm-1", vcenter.now)
        watcher.note("watching again after")
        assert watcher.count(last) == list(range(first, last + 1))
        assert watcher.feed._delivery.horizon == vcenter.now


def test_a_session_that_ended_is_replaced_and_nothing_is_lost(vcenter: FakeVcenter) -> None:
    """The feed logs in again, makes a new collector, and reads what happened without one."""
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        vcenter.events.happen(STARTED, "vm-1", NOON)
        vcenter.end_sessions()
        last = vcenter.events.happen(SUCCEEDED, "vm-1", NOON + timedelta(seconds=1))
        assert watcher.keys(last)[-1] == last
        assert watcher.count(2) == [1, 2]
        watcher.note("watching again after")
        assert watcher.notes()[0] == "vc.example.com: session not authenticated (NotAuthenticated); retrying"
        assert vcenter.calls["Login"] == 2
        assert len(vcenter.events.collectors) == 1


def test_a_collector_whose_creation_outlasts_the_feed_is_destroyed(
    vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session may live on with other users: the feed's thread destroys what it gets late, and starts no poll."""
    monkeypatch.setattr(event_feed, "JOIN_TIMEOUT", 0.05)
    create, begun, held = vcenter.methods["CreateCollectorForEvents"], threading.Event(), threading.Event()

    def late(*args: Any) -> Any:
        begun.set()
        assert held.wait(TIMEOUT)
        return create(*args)

    with acquire(SETTINGS):
        with watching("vm-1") as watcher:
            until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
            vcenter.methods["CreateCollectorForEvents"] = late
            vcenter.failures["WaitForUpdatesEx"] = [ConnectionResetError("reset")]
            vcenter.events.happen(STARTED, "vm-9", NOON)
            assert begun.wait(TIMEOUT)
        polls = vcenter.calls["WaitForUpdatesEx"]
        held.set()
        watcher.feed._thread.join(TIMEOUT)
        assert not watcher.feed._thread.is_alive()
        assert (vcenter.events.collectors, vcenter.events.pollers) == ({}, {})
        assert vcenter.calls["WaitForUpdatesEx"] == polls


def test_a_feed_that_is_closed_destroys_its_collector_once(vcenter: FakeVcenter) -> None:
    """The end of a wait costs no call that does nothing."""
    with acquire(SETTINGS):
        with watching("vm-1"):
            until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        assert (vcenter.calls["DestroyCollector"], vcenter.calls["DestroyPropertyCollector"]) == (1, 1)


def test_a_collector_that_a_new_session_got_is_destroyed(vcenter: FakeVcenter) -> None:
    """Another thread logs in again while the collector is created: it is not one of the session before."""
    create: Callable[..., Any] = vcenter.methods["CreateCollectorForEvents"]
    with acquire(SETTINGS) as session:

        def created(*args: Any) -> Any:
            session.log_in_again(session.generation)
            return create(*args)

        vcenter.methods["CreateCollectorForEvents"] = created
        listener = event_listener.CollectorListener(session, NOON)
        listener.start()
        assert len(vcenter.events.collectors) == 1
        assert listener.close()
        assert vcenter.events.collectors == {}


@pytest.mark.parametrize("method", ["SetCollectorPageSize", "CreateFilter"])
@pytest.mark.parametrize("error", [ConnectionResetError("reset"), AuthenticationError("the proxy refused")])
def test_a_collector_without_a_filter_is_destroyed(vcenter: FakeVcenter, method: str, error: Exception) -> None:
    """Whatever keeps it from being watched, a proxy's refusal included, it does not stay on the server."""
    vcenter.failures[method] = [error]
    with acquire(SETTINGS) as session:
        with pytest.raises(type(error)):
            event_listener.CollectorListener(session, NOON).start()
        assert vcenter.events.collectors == {}


def test_a_listener_whose_end_a_proxy_refuses_raises_nothing(vcenter: FakeVcenter) -> None:
    """The close of a feed goes on: what could not be destroyed is reported as left over."""
    refusals: list[BaseException] = [AuthenticationError("the proxy refused")] * 2
    with acquire(SETTINGS) as session:
        listener = event_listener.CollectorListener(session, NOON)
        listener.start()
        vcenter.failures = {"CancelWaitForUpdates": refusals[:1], "DestroyCollector": refusals[1:]}
        listener.interrupt()
        assert not listener.close()
        assert listener.close()


def test_a_refused_password_ends_the_feed_for_all(vcenter: FakeVcenter) -> None:
    """Credentials that are refused each time during the wait are an error for each subscriber, also for later ones."""
    with watching("vm-1") as watcher:
        vcenter.password = "changed"
        vcenter.end_sessions()
        while not isinstance(watcher.take(), AuthenticationError):
            pass
        later: list[Any] = []
        watcher.feed.add(["vm-1"], later.append)
        assert [type(item) for item in later] == [AuthenticationError]
        assert (watcher.feed.has_ended, vcenter.calls["Login"]) == (True, 1 + 1 + refused_logins.RETRIES)


def test_a_restricted_user_reads_the_folder(vcenter: FakeVcenter) -> None:
    """Where the inventory's events may not be read, those of the lowest common folder are."""
    vcenter.events.allowed = {"group-v1"}
    with watching("vm-1") as watcher:
        note = watcher.note("may not read")
        key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert watcher.keys(key) == [key]
    assert note == "ann may not read events of the whole inventory; reading those of vm"


def test_a_folder_that_cannot_be_read_for_a_while_does_not_end_the_feed(
    vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vCenter that restarts may refuse the collector, and not answer the read of the folders: that passes."""
    vcenter.events.allowed = {"group-v1"}
    with watching("vm-1") as watcher:
        watcher.note("may not read")
        monkeypatch.setattr(session_module, "START_TIMEOUT", session_module.CALL_TIMEOUT)
        vcenter.failures["RetrievePropertiesEx"] = [ConnectionResetError(), ConnectionResetError()]
        vcenter.end_sessions()
        watcher.note("watching again after")
        key = vcenter.events.happen(SUCCEEDED, "vm-1", NOON)
        assert watcher.keys(key) == [key]
        assert not watcher.feed.has_ended
    assert vcenter.failures["RetrievePropertiesEx"] == []


def test_a_user_of_single_vms_queries_each(vcenter: FakeVcenter) -> None:
    """Where no collector may be made, each VM is queried; one that is gone or private does not stop the others."""
    vcenter.events.allowed = set()
    vcenter.state.add("vm-2")
    with watching("vm-1", "vm-2", "vm-3") as watcher:
        note = watcher.note("querying each")
        vcenter.failures["QueryEvents"] = [vmodl.fault.ManagedObjectNotFound(), vim.fault.NoPermission()]
        key = vcenter.events.happen(SUCCEEDED, "vm-2", NOON)
        assert watcher.keys(key) == [key]
    assert note.startswith("ann may read events of single VMs only; querying each every 0.01 s.")


def test_no_collector_left_at_the_start_is_an_error_that_says_so(vcenter: FakeVcenter) -> None:
    """The message names the limit, and the session is given back."""
    vcenter.failures["CreateCollectorForEvents"] = [vim.fault.InvalidState()]
    with pytest.raises(ApiError, match=r"^vc\.example\.com has no event collector left for ann"), watching("vm-1"):
        pass
    assert vcenter.sessions == set()


def test_no_collector_left_later_does_not_log_in_each_time(vcenter: FakeVcenter) -> None:
    """One new session is tried; after that, the feed waits for another client to free a collector."""
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        vcenter.failures["CreateCollectorForEvents"] = [vim.fault.InvalidState() for _ in range(10)]
        vcenter.end_sessions()
        watcher.note("watching again after")
        assert vcenter.calls["Login"] == 3


@pytest.mark.usefixtures("vcenter")
def test_log_ins_for_want_of_a_collector_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """While other clients hold all collectors, an hour of attempts every ten seconds costs seven logins."""
    now = 1000.0
    with acquire(SETTINGS) as session:
        feed = event_feed.EventFeed(session)
        count = 0
        with monkeypatch.context() as clock:
            clock.setattr(time, "monotonic", lambda: now)
            for _ in range(360):
                count += feed._is_for_new_session(vim.fault.InvalidState())
                now += 10.0
    assert count == 7


def test_an_event_that_cannot_be_parsed_is_skipped(vcenter: FakeVcenter) -> None:
    """A foreign VM's event that is not XML holds up nothing: the events of each VM are queried, then those after it."""
    with watching("vm-1") as watcher:
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 1)
        with vcenter.events.changed:
            vcenter.events.unreadable.add(vcenter.events.happen(STARTED, "vm-9", NOON))
            among = vcenter.events.happen(STARTED, "vm-1", NOON)
            vcenter.now = NOON + timedelta(seconds=5)
        note = watcher.note("could not be parsed")
        assert watcher.keys(among) == [among]
        watcher.note("watching again after")
        after = vcenter.events.happen(SUCCEEDED, "vm-1", NOON + timedelta(seconds=6))
        assert watcher.keys(after) == [among, after]
    assert note == "vc.example.com: an event could not be parsed; reading the events of each VM"


def test_a_vm_that_is_not_found_needs_a_second_look(vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vCenter that restarts may not list a VM for a moment: whoever waits takes another look."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.02)
    with watching("vm-1") as watcher:
        del vcenter.state.entities["vm-1"]
        while not isinstance(missing := watcher.take(), Missing):
            pass
    assert missing.needs_second_look


def test_an_undecided_vm_is_read_soon(vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """While VMware Tools have yet to start, the state is read again and again until it decides."""
    monkeypatch.setattr(reconciliation, "UNDECIDED_INTERVAL", 0.01)
    vcenter.state.add("vm-1", guest__toolsRunningStatus="guestToolsNotRunning")
    with watching("vm-1") as watcher:
        reading = watcher.feed.read({"vm-1": None})
        vcenter.failures["CurrentTime"] = [ConnectionResetError()]
        vcenter.state.add("vm-1")
        while not watcher.snapshot().tools_running:
            pass
    assert [type(one) for one in reading.snapshots] == [Snapshot]
