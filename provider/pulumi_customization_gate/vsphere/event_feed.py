"""One event collector and one long poll per vCenter session, for all gates of the process.

The collector's `latestPage`, one event long, only signals that something happened; the events are read by
`ReadNextEvents`. While nothing happens, a wait for any number of VMs costs one call per LONGEST_POLL seconds, and a
read of the state every RECONCILE_EVERY seconds.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import tenacity
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.refcounted import RefCounted
from pulumi_customization_gate.tls import untrusted
from pulumi_customization_gate.vsphere import event_listener, history, inventory
from pulumi_customization_gate.vsphere.event_listener import CollectorListener, PerVmPoller
from pulumi_customization_gate.vsphere.events import PAGE, observations
from pulumi_customization_gate.vsphere.faults import FAULTS, describe, raise_if_logged_out
from pulumi_customization_gate.vsphere.reconciliation import Reconciliation
from pulumi_customization_gate.vsphere.shared_read import SharedRead

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, Missing, Observation, Snapshot
    from pulumi_customization_gate.vsphere.session import Session

    Sink = Callable[[Observation | str | Exception], None]
    """Receives what the feed publishes: an observation, a sentence for the log, or the error that ended the feed."""

LONGEST_POLL = 60.0
"""Seconds that one long poll may last."""
FIRST_REACH = history.LATENESS
"""How far the first collector reaches back: an event becomes readable after its date.

Older events come with the history, which each subscriber reads after it has subscribed.
"""
OVERLAP = timedelta(seconds=60)
"""How far a new collector reaches back before the last event of the old one."""
LONGEST_PAUSE = 10.0
"""The most seconds between two attempts to reconnect."""
JOIN_TIMEOUT = 5.0
"""Seconds that `close` waits for the thread to end."""
MAX_SEEN_KEYS = 100_000
"""Keys of events that are kept so that none is published twice."""


class EventFeed:
    """Publishes events and state of VMs to its subscribers; get one from `subscribe`.

    Args:
        session: The session on which collector and long poll live.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stub = session.stub_for_long_polls(LONGEST_POLL)
        """For the long poll alone: every other call has a shorter time-out."""
        self._lock = threading.Lock()
        self._subscribers: dict[Sink, frozenset[str]] = {}
        self._warned: dict[Sink, str] = {}
        self._seen: set[int] = set()
        self._closing = threading.Event()
        self._failing_since: float | None = None
        self._restriction = ""
        self._is_stale = False
        self._end: Exception | None = None
        self._horizon: datetime = session.with_retries(session.current_time)
        self._generation = session.generation
        self._stale_listeners: list[CollectorListener | PerVmPoller] = []
        self._listener: CollectorListener | PerVmPoller | None = self._first_listener()
        self._state = Reconciliation(session, self._watched, self._dispatch)
        self.read = SharedRead(session, self._state.read).read
        """Reads state and history for a subscriber; the reconciliation remembers the state."""
        self._thread = threading.Thread(target=self._run, name="customization-gate-events", daemon=True)
        self._thread.start()

    def add(self, moids: Collection[str], sink: Sink) -> None:
        """Subscribes: from now on the sink receives every event of these VMs."""
        with self._lock:
            self._subscribers[sink] = frozenset(moids)
            listener = self._listener
        if self._end is not None:
            sink(self._end)
        if self._restriction:
            # Where this user may create a collector depends on the VMs: the thread finds out again.
            self._is_stale = True
            if listener is not None:
                listener.interrupt()

    def remove(self, sink: Sink) -> None:
        """Ends a subscription."""
        with self._lock:
            self._subscribers.pop(sink, None)
            self._warned.pop(sink, None)
        self._state.forget()

    @property
    def has_ended(self) -> bool:
        """Whether an error has ended it for good."""
        return self._end is not None

    def close(self) -> None:
        """Ends the long poll and destroys the collector."""
        self._closing.set()
        self._state.close()
        self._session.stub.DropConnections()
        deadline = time.monotonic() + JOIN_TIMEOUT
        while self._thread.is_alive() and time.monotonic() < deadline:
            # Repeatedly: the thread may have been about to start the poll that this ends.
            if self._listener is not None:
                self._listener.interrupt()
            self._thread.join(timeout=0.1)
        for listener in (*self._stale_listeners, self._listener):
            if listener is not None:
                listener.close()
        self._stub.retire()

    def _watched(self) -> frozenset[str]:
        with self._lock:
            return frozenset().union(*self._subscribers.values())

    def _run(self) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(FAULTS),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=LONGEST_PAUSE),
            stop=tenacity.stop_when_event_set(self._closing),
            sleep=tenacity.sleep_using_event(self._closing),
            before_sleep=self._recover,
            reraise=True,
        )
        try:
            while not self._closing.is_set():
                retrying(self._turn)
        except FAULTS:
            pass  # The feed is closing: the fault is the end of its own long poll.
        except Exception as error:  # noqa: BLE001 -- whatever it is, the subscribers must learn of it
            self._end = error
            self._publish(error)

    def _turn(self) -> None:
        if self._listener is None or self._is_stale:
            self._rebuild()
        assert self._listener is not None
        horizon = self._horizon
        newest = self._listener.wait_for_events(self._stub, LONGEST_POLL)
        self._publish_recovery()
        unseen = {event.key for event in newest} - self._seen
        if unseen:
            self._deliver_all(newest)
            if unseen - self._drain(unseen):
                self._catch_up(horizon)

    def _catch_up(self, horizon: datetime) -> None:
        """Reads the events that the collector lost: the newest one was not among the unread ones."""
        assert self._listener is not None
        self._publish(f"{self._session.settings.server}: more events than the collector holds; reading the history")
        self._listener.rewind()
        self._drain()
        for event in history.since(self._session, horizon - OVERLAP, self._listener.entity):
            self._deliver(event)
        self._state.soon()

    def _drain(self, newest: Collection[int] = ()) -> set[int]:
        """Publishes the collector's unread events; returns their keys.

        A page that is not full and holds the newest events is the last one: later events are reported anew, so the
        call that would return nothing is saved.
        """
        assert self._listener is not None
        keys: set[int] = set()
        for page in self._listener.drain():
            self._deliver_all(page)
            keys |= {event.key for event in page}
            if newest and len(page) < PAGE and keys.issuperset(newest):
                break
        return keys

    def _deliver_all(self, events: Iterable[Any]) -> None:
        for event in observations(events):
            self._deliver(event)

    def _deliver(self, event: Event) -> None:
        if event.key in self._seen:
            return
        self._seen.add(event.key)
        self._horizon = max(self._horizon, event.at)
        self._dispatch(event)
        if len(self._seen) > MAX_SEEN_KEYS:
            self._seen = set(sorted(self._seen)[MAX_SEEN_KEYS // 2 :])

    def _dispatch(self, observation: Event | Snapshot | Missing) -> None:
        with self._lock:
            sinks = [sink for sink, moids in self._subscribers.items() if observation.vm in moids]
        for sink in sinks:
            sink(observation)

    def _publish(self, item: str | Exception) -> None:
        with self._lock:
            sinks = list(self._subscribers)
        for sink in sinks:
            sink(item)

    def _warn(self) -> None:
        """Tells each subscriber once what this user may not read."""
        with self._lock:
            sinks = [sink for sink in self._subscribers if self._warned.get(sink, "") != self._restriction]
            self._warned.update(dict.fromkeys(sinks, self._restriction))
        for sink in sinks:
            sink(self._restriction)

    def _recover(self, state: tenacity.RetryCallState) -> None:
        """Prepares a retry after an error: publishes it once, drops the listener, logs in again if the session ended.

        Raises:
            CertificateError: If the server now presents a certificate that is not trusted: a retry does not help.
        """
        error = state.outcome.exception() if state.outcome else None
        if self._closing.is_set() or error is None:
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            settings = self._session.settings
            raise untrusted(settings.server, settings.called, error) from None
        if self._is_stale and isinstance(error, vmodl.fault.RequestCanceled):
            return  # A new subscriber has ended the long poll.
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            self._publish(f"{self._session.settings.server}: {describe(error)}; retrying")
        self._stub.DropConnections()
        if self._listener is not None:
            self._stale_listeners.append(self._listener)
            self._listener = None
        # A new session also helps where no collector is left (InvalidState): it ends those of the old session, also
        # the ones whose creation got no response.
        if isinstance(error, vim.fault.NotAuthenticated | vim.fault.InvalidState):
            with contextlib.suppress(*FAULTS):
                self._session.log_in_again(self._generation)

    def _rebuild(self) -> None:
        """Creates a new listener, reads the events since the old one, and has the state of all VMs read."""
        self._is_stale = False
        if self._listener is not None:
            self._stale_listeners.append(self._listener)
            self._listener = None
        self._generation = self._session.generation
        self._stub.cookie = self._session.stub.cookie
        self._listener = self._new_listener(OVERLAP)
        self._stale_listeners = [listener for listener in self._stale_listeners if not listener.close()]
        self._warn()
        self._drain()
        self._state.soon()

    def _publish_recovery(self) -> None:
        if self._failing_since is not None:
            gap = duration(time.monotonic() - self._failing_since)
            self._failing_since = None
            self._publish(f"{self._session.settings.server}: watching again after {gap}")

    def _first_listener(self) -> CollectorListener | PerVmPoller:
        session = self._session
        try:
            return session.with_retries(lambda: self._new_listener(FIRST_REACH))
        except ApiError as error:
            if error.code != vim.fault.InvalidState.__name__:
                raise
            raise ApiError(
                f"{session.settings.server} has no event collector left for {session.settings.user}: it allows about "
                "32 at once, and other clients of this user hold them. Run fewer of those at the same time, or end "
                "their sessions, then try again.",
                code=error.code,
            ) from None

    def _new_listener(self, reach: timedelta) -> CollectorListener | PerVmPoller:
        """Returns the cheapest listener that this user has the privileges for."""
        since = self._horizon - reach
        moids = sorted(self._watched())
        self._restriction = ""
        try:
            return CollectorListener(self._session, since)
        except vim.fault.NoPermission as error:
            raise_if_logged_out(error)
        user = self._session.settings.user
        folder = inventory.common_folder(self._session, moids) if moids else None
        if folder is not None:
            self._restriction = f"{user} may not read events of the whole inventory; reading those of {folder.name}"
            try:
                return CollectorListener(self._session, since, folder.entity)
            except vim.fault.NoPermission as error:
                raise_if_logged_out(error)
        self._restriction = (
            f"{user} may read events of single VMs only; querying each every {event_listener.SCOPED_INTERVAL:g} s. "
            "The privilege System.View on their folder makes this one call for all."
        )
        return PerVmPoller(self._session, since, self._watched)


_feeds: RefCounted[Session, EventFeed] = RefCounted(EventFeed, EventFeed.close, lambda feed: not feed.has_ended)


@contextlib.contextmanager
def subscribe(session: Session, moids: Collection[str], sink: Sink) -> Iterator[EventFeed]:
    """Passes every event of these VMs to the sink from now on; all subscribers of a session share one feed.

    Raises:
        ServerError: If the collector cannot be created.
    """
    with _feeds.acquire(session) as feed:
        feed.add(moids, sink)
        try:
            yield feed
        finally:
            feed.remove(sink)
