"""One event collector and one long poll per vCenter session, for all gates of the process.

The collector's `latestPage`, one event long, is only the doorbell: each ring drains `ReadNextEvents`. While nothing
happens, a wait for any number of machines costs one call per LONGEST_POLL seconds and a look at the state now and then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import tenacity
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import GateError, ServerError
from pulumi_customization_gate.core.report import duration
from pulumi_customization_gate.shared import Shared
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.events import PAGE, event_filter, moid_of, observations
from pulumi_customization_gate.vsphere.faults import FAULTS, describe
from pulumi_customization_gate.vsphere.reconciliation import Reconciliation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, Observation, Snapshot
    from pulumi_customization_gate.vsphere.session import Session

    Sink = Callable[[Observation | str | ServerError], None]
    """Takes what the feed has to tell: an observation, a sentence for the log, or the end of the feed."""

LONGEST_POLL = 60.0
"""Seconds that one long poll may last."""
FIRST_REACH = timedelta(seconds=10)
"""How far the very first collector reaches back, for an event is dated before it can be read.

What is older comes with the history, which each subscriber reads after it has subscribed.
"""
SCOPED_INTERVAL = 10.0
"""Seconds between two rounds of queries where the user may not collect events for the whole inventory."""
OVERLAP = timedelta(seconds=60)
"""How far a new collector reaches back behind the last sign of life of the old one."""
FAREWELL = 5.0
"""Seconds after which a feed that closes leaves its long poll to itself."""

REMEMBERED = 100_000
"""Keys of events that are kept so that none is told twice."""


class _Bell:
    """A collector and the long poll that watches it."""

    def __init__(self, session: Session, stub: Any, since: datetime, entity: Any = None) -> None:
        self.session = session
        manager: Any = vim.event.EventManager(moid_of(session.content.eventManager), stub)
        self.collector = manager.CreateCollectorForEvents(event_filter(since, entity=entity))
        self.collector.SetCollectorPageSize(1)
        service = vmodl.query.PropertyCollector(moid_of(session.content.propertyCollector), stub)
        self.poller = service.CreatePropertyCollector()
        query = vmodl.query.PropertyCollector
        self.poller.CreateFilter(
            query.FilterSpec(
                propSet=[query.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])],
                objectSet=[query.ObjectSpec(obj=self.collector)],
            ),
            partialUpdates=False,
        )
        self.version = ""

    def ring(self, longest: float) -> list[Any]:
        """Waits for the bell at most so many seconds; returns the newest event if it rang."""
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(0, round(longest)))
        update = self.poller.WaitForUpdatesEx(self.version, options)
        if update is None:
            return []
        self.version = update.version
        changes = (
            change
            for filter_update in update.filterSet
            for object_update in filter_update.objectSet
            for change in object_update.changeSet
        )
        return [event for change in changes for event in change.val or ()]

    def drain(self) -> Iterator[list[Any]]:
        """Yields what was not read yet, page by page."""
        while page := self.collector.ReadNextEvents(PAGE):
            yield page

    def rewind(self) -> None:
        """Goes back to the oldest event that the collector still holds."""
        self.collector.RewindCollector()

    def wake(self) -> None:
        """Ends a long poll in flight, from another thread."""
        poller = vmodl.query.PropertyCollector(moid_of(self.poller), self.session.stub)
        with contextlib.suppress(*FAULTS):
            poller.CancelWaitForUpdates()

    def close(self) -> None:
        """Gives the collector back: a vCenter has few of them, and they outlive a wait that does not."""
        for thing, method in ((self.poller, "DestroyPropertyCollector"), (self.collector, "DestroyCollector")):
            mine = type(thing)(moid_of(thing), self.session.stub)
            with contextlib.suppress(*FAULTS):
                getattr(mine, method)()


class _Rounds:
    """Stands in for the bell where the user may read the machines' own events only: a query per machine."""

    def __init__(self, session: Session, since: datetime, moids: Callable[[], Collection[str]]) -> None:
        self.session, self.since, self.moids = session, since, moids
        self.woken = threading.Event()

    def ring(self, longest: float) -> list[Any]:
        self.woken.wait(min(longest, SCOPED_INTERVAL))
        now = self.session.current_time()
        found: list[Any] = []
        for moid in self.moids():
            vm = vim.VirtualMachine(moid, self.session.stub)
            found += self.session.content.eventManager.QueryEvents(event_filter(self.since, entity=vm)) or []
        self.since = now - OVERLAP
        return found

    def drain(self) -> Iterator[list[Any]]:
        return iter(())

    def rewind(self) -> None:
        """Has nothing to go back in: each round overlaps the one before."""

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        """Holds nothing on the server."""


class EventFeed:
    """Tells its subscribers what happens to their machines; get one from `subscribe`.

    Args:
        session: The session on which collector and long poll live.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stub = session.stub_for_long_polls(LONGEST_POLL)
        self._lock = threading.Lock()
        self._subscribers: dict[Sink, frozenset[str]] = {}
        self._warned: dict[Sink, str] = {}
        self._told: set[int] = set()
        self._closing = threading.Event()
        self._silent_since: float | None = None
        self._restriction = ""
        self._is_stale = False
        self._horizon: datetime = session.patiently(session.current_time)
        self._generation = session.generation
        self._dead_bells: list[_Bell | _Rounds] = []
        self._bell: _Bell | _Rounds | None = session.patiently(lambda: self._new_bell(FIRST_REACH))
        self._state = Reconciliation(session, self._watched, self._dispatch)
        self._thread = threading.Thread(target=self._run, name="customization-gate-events", daemon=True)
        self._thread.start()

    def add(self, moids: Collection[str], sink: Sink) -> None:
        """Subscribes: from now on the sink is told every event of these machines."""
        with self._lock:
            self._subscribers[sink] = frozenset(moids)
            bell = self._bell
        if self._restriction:
            # What this user may watch depends on the machines: the thread finds out anew, and tells.
            self._is_stale = True
            if bell is not None:
                bell.wake()

    def remove(self, sink: Sink) -> None:
        """Ends a subscription."""
        with self._lock:
            self._subscribers.pop(sink, None)
            self._warned.pop(sink, None)
        self._state.forget()

    def read(self, moids: Iterable[str], *, addresses: bool = True) -> list[Snapshot]:
        """Reads the state of machines now, and remembers it for the reconciliation; see `inventory.read`."""
        return self._state.read(moids, addresses=addresses)

    def close(self) -> None:
        """Ends the long poll and gives the collector back."""
        self._closing.set()
        self._state.close()
        deadline = time.monotonic() + FAREWELL
        while self._thread.is_alive() and time.monotonic() < deadline:
            # Again and again: the thread may have been about to begin the poll that this ends.
            if self._bell is not None:
                self._bell.wake()
            self._thread.join(timeout=0.1)
        if self._bell is not None:
            self._bell.close()
        self._stub.DropConnections()

    def _watched(self) -> frozenset[str]:
        with self._lock:
            return frozenset().union(*self._subscribers.values())

    def _run(self) -> None:
        retrying = tenacity.Retrying(
            # Also an answer that pyVmomi cannot read: a feed that dies in silence would leave the waits deaf.
            retry=tenacity.retry_if_not_exception_type(GateError),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            stop=tenacity.stop_when_event_set(self._closing),
            sleep=tenacity.sleep_using_event(self._closing),
            before_sleep=self._mend,
            reraise=True,
        )
        try:
            while not self._closing.is_set():
                retrying(self._turn)
        except GateError as error:
            self._broadcast(error if isinstance(error, ServerError) else ServerError(str(error)))
        except Exception:  # noqa: BLE001, S110 -- the feed is closing: this is the end of its own long poll
            pass

    def _turn(self) -> None:
        if self._bell is None or self._is_stale:
            self._rebuild()
        assert self._bell is not None
        newest = self._bell.ring(LONGEST_POLL)
        unheard = {event.key for event in newest} - self._told
        if unheard:
            self._tell(newest)
            if unheard - self._drain(unheard):
                # The newest event was not among the unread ones: others may be lost as well.
                self._bell.rewind()
                self._drain()
                self._state.soon()

    def _drain(self, newest: Collection[int] = ()) -> set[int]:
        """Tells what the collector holds unread; returns the keys of it.

        A page that is not full and holds the newest events is the last one: what comes later rings again, so the call
        that would return nothing is saved.
        """
        assert self._bell is not None
        keys: set[int] = set()
        for page in self._bell.drain():
            self._tell(page)
            keys |= {event.key for event in page}
            if newest and len(page) < PAGE and keys.issuperset(newest):
                break
        return keys

    def _tell(self, events: Iterable[Any]) -> None:
        for event in observations(e for e in events if e.key not in self._told):
            self._told.add(event.key)
            self._horizon = max(self._horizon, event.at)
            self._dispatch(event)
        if len(self._told) > REMEMBERED:
            self._told = set(sorted(self._told)[REMEMBERED // 2 :])

    def _dispatch(self, observation: Event | Snapshot) -> None:
        with self._lock:
            sinks = [sink for sink, moids in self._subscribers.items() if observation.vm in moids]
        for sink in sinks:
            sink(observation)

    def _broadcast(self, item: str | ServerError) -> None:
        with self._lock:
            sinks = list(self._subscribers)
        for sink in sinks:
            sink(item)

    def _warn(self) -> None:
        """Tells each subscriber once what this user may not watch."""
        with self._lock:
            sinks = [sink for sink in self._subscribers if self._warned.get(sink, "") != self._restriction]
            self._warned.update(dict.fromkeys(sinks, self._restriction))
        for sink in sinks:
            sink(self._restriction)

    def _mend(self, state: tenacity.RetryCallState) -> None:
        """Gets ready to try again after a fault: tells it once, logs in again if asked to, forgets the bell."""
        error = state.outcome.exception() if state.outcome else None
        if self._closing.is_set() or error is None:
            return
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._broadcast(f"{self._session.settings.server}: {describe(error)}; trying again")
        self._stub.DropConnections()
        if self._bell is not None:
            self._dead_bells.append(self._bell)
            self._bell = None
        if isinstance(error, vim.fault.NotAuthenticated):
            with contextlib.suppress(*FAULTS):
                self._session.log_in_again(self._generation)

    def _rebuild(self) -> None:
        """Makes the collector anew, replays what it missed and has the state of all machines read."""
        self._is_stale = False
        if self._bell is not None:
            self._dead_bells.append(self._bell)
        if self._generation == self._session.generation:
            for bell in self._dead_bells:
                bell.close()
        self._dead_bells.clear()
        self._generation = self._session.generation
        self._stub.cookie = self._session.stub.cookie
        self._bell = self._new_bell(OVERLAP)
        self._warn()
        self._drain()
        self._state.soon()
        if self._silent_since is not None:
            gap = duration(time.monotonic() - self._silent_since)
            self._silent_since = None
            self._broadcast(f"{self._session.settings.server}: watching again after {gap}")

    def _new_bell(self, reach: timedelta) -> _Bell | _Rounds:
        """Returns the cheapest way to hear of events that this user may use."""
        since = self._horizon - reach
        moids = sorted(self._watched())
        self._restriction = ""
        try:
            return _Bell(self._session, self._stub, since)
        except vim.fault.NoPermission as error:
            _raise_if_logged_out(error)
        user = self._session.settings.user
        folder = inventory.common_folder(self._session, moids) if moids else None
        if folder is not None:
            self._restriction = f"{user} may not read the events of the whole inventory: watching {folder.name} only"
            try:
                return _Bell(self._session, self._stub, since, folder.entity)
            except vim.fault.NoPermission as error:
                _raise_if_logged_out(error)
        self._restriction = (
            f"{user} may read the events of single machines only: asking for each every {SCOPED_INTERVAL:g} s; "
            "the privilege System.View on their folder makes this cheap"
        )
        return _Rounds(self._session, since, self._watched)


def _raise_if_logged_out(error: Exception) -> None:
    """Tells a session that ended from a permission that is missing: the one fault is a subclass of the other."""
    if isinstance(error, vim.fault.NotAuthenticated):
        raise error


_feeds: Shared[Session, EventFeed] = Shared(EventFeed, EventFeed.close)


@contextlib.contextmanager
def subscribe(session: Session, moids: Collection[str], sink: Sink) -> Iterator[EventFeed]:
    """Tells the sink every event of these machines from now on; the feed is shared by all subscribers of a session.

    Raises:
        ServerError: If the collector cannot be made.
    """
    with _feeds.lend(session) as feed:
        feed.add(moids, sink)
        try:
            yield feed
        finally:
            feed.remove(sink)
