"""One event collector and one long poll per vCenter session, for all gates of the process.

The collector's `latestPage`, one event long, is only the doorbell: each ring drains `ReadNextEvents`. While nothing
happens, a wait for any number of machines costs one call per LONGEST_POLL seconds and a look at the state now and then.
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

from pulumi_customization_gate.core.errors import ApiError, CertificateError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.refcounted import RefCounted
from pulumi_customization_gate.vsphere import bells, history, inventory
from pulumi_customization_gate.vsphere.bells import Bell, Rounds
from pulumi_customization_gate.vsphere.events import PAGE, observations
from pulumi_customization_gate.vsphere.faults import FAULTS, describe, raise_if_logged_out
from pulumi_customization_gate.vsphere.reconciliation import Reconciliation
from pulumi_customization_gate.vsphere.session import untrusted
from pulumi_customization_gate.vsphere.shared_read import SharedRead

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, Missing, Observation, Snapshot
    from pulumi_customization_gate.vsphere.session import Session

    Sink = Callable[[Observation | str | Exception], None]
    """Takes what the feed has to tell: an observation, a sentence for the log, or the end of the feed."""

LONGEST_POLL = 60.0
"""Seconds that one long poll may last."""
FIRST_REACH = history.LATENESS
"""How far the very first collector reaches back, for an event is dated before it can be read.

What is older comes with the history, which each subscriber reads after it has subscribed.
"""
OVERLAP = timedelta(seconds=60)
"""How far a new collector reaches back behind the last sign of life of the old one."""
LONGEST_PAUSE = 10.0
"""Seconds between two attempts to hear again from a server that is away for long."""
FAREWELL = 5.0
"""Seconds after which a feed that closes leaves its long poll to itself."""
REMEMBERED = 100_000
"""Keys of events that are kept so that none is told twice."""


class EventFeed:
    """Tells its subscribers what happens to their machines; get one from `subscribe`.

    Args:
        session: The session on which collector and long poll live.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stub = session.stub_for_long_polls(LONGEST_POLL)
        """For the long poll alone: whatever else hangs is given up much sooner."""
        self._lock = threading.Lock()
        self._subscribers: dict[Sink, frozenset[str]] = {}
        self._warned: dict[Sink, str] = {}
        self._told: set[int] = set()
        self._closing = threading.Event()
        self._silent_since: float | None = None
        self._restriction = ""
        self._is_stale = False
        self._end: Exception | None = None
        self._horizon: datetime = session.patiently(session.current_time)
        self._generation = session.generation
        self._dead_bells: list[Bell | Rounds] = []
        self._bell: Bell | Rounds | None = self._first_bell()
        self._state = Reconciliation(session, self._watched, self._dispatch)
        self.read = SharedRead(session, self._state.read).read
        """Reads state and history for a subscriber; the reconciliation remembers the state."""
        self._thread = threading.Thread(target=self._run, name="customization-gate-events", daemon=True)
        self._thread.start()

    def add(self, moids: Collection[str], sink: Sink) -> None:
        """Subscribes: from now on the sink is told every event of these machines."""
        with self._lock:
            self._subscribers[sink] = frozenset(moids)
            bell = self._bell
        if self._end is not None:
            sink(self._end)
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

    @property
    def has_ended(self) -> bool:
        """Whether an error has ended it for good."""
        return self._end is not None

    def close(self) -> None:
        """Ends the long poll and gives the collector back."""
        self._closing.set()
        self._state.close()
        self._session.stub.DropConnections()
        deadline = time.monotonic() + FAREWELL
        while self._thread.is_alive() and time.monotonic() < deadline:
            # Again and again: the thread may have been about to begin the poll that this ends.
            if self._bell is not None:
                self._bell.wake()
            self._thread.join(timeout=0.1)
        for bell in (*self._dead_bells, self._bell):
            if bell is not None:
                bell.close()
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
            before_sleep=self._mend,
            reraise=True,
        )
        try:
            while not self._closing.is_set():
                retrying(self._turn)
        except FAULTS:
            pass  # The feed is closing: the fault is the end of its own long poll.
        except Exception as error:  # noqa: BLE001 -- whatever it is, the waits must not go deaf in silence
            self._end = error
            self._broadcast(error)

    def _turn(self) -> None:
        if self._bell is None or self._is_stale:
            self._rebuild()
        assert self._bell is not None
        horizon = self._horizon
        newest = self._bell.ring(self._stub, LONGEST_POLL)
        self._tell_recovery()
        unheard = {event.key for event in newest} - self._told
        if unheard:
            self._tell(newest)
            if unheard - self._drain(unheard):
                self._catch_up(horizon)

    def _catch_up(self, horizon: datetime) -> None:
        """Reads what the collector has lost: the newest event was not among the unread ones."""
        assert self._bell is not None
        self._broadcast(f"{self._session.settings.server}: more events at once than a collector holds; read once more")
        self._bell.rewind()
        self._drain()
        for event in history.since(self._session, horizon - OVERLAP, self._bell.entity):
            self._pass_on(event)
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
        for event in observations(events):
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        if event.key in self._told:
            return
        self._told.add(event.key)
        self._horizon = max(self._horizon, event.at)
        self._dispatch(event)
        if len(self._told) > REMEMBERED:
            self._told = set(sorted(self._told)[REMEMBERED // 2 :])

    def _dispatch(self, observation: Event | Snapshot | Missing) -> None:
        with self._lock:
            sinks = [sink for sink, moids in self._subscribers.items() if observation.vm in moids]
        for sink in sinks:
            sink(observation)

    def _broadcast(self, item: str | Exception) -> None:
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
        """Gets ready to try again after a fault: tells it once, logs in again if asked to, forgets the bell.

        Raises:
            CertificateError: If the server shows a certificate that is not trusted, now: that is not to be sat out.
        """
        error = state.outcome.exception() if state.outcome else None
        if self._closing.is_set() or error is None:
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            raise CertificateError(untrusted(self._session.settings, error)) from None
        if self._is_stale and isinstance(error, vmodl.fault.RequestCanceled):
            return  # A new subscriber has ended the long poll.
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._broadcast(f"{self._session.settings.server}: {describe(error)}; trying again")
        self._stub.DropConnections()
        if self._bell is not None:
            self._dead_bells.append(self._bell)
            self._bell = None
        # With no collector left (InvalidState) a new session helps, too: those whose making was answered into the void
        # go with the old one.
        if isinstance(error, vim.fault.NotAuthenticated | vim.fault.InvalidState):
            with contextlib.suppress(*FAULTS):
                self._session.log_in_again(self._generation)

    def _rebuild(self) -> None:
        """Makes the collector anew, replays what it missed and has the state of all machines read."""
        self._is_stale = False
        if self._bell is not None:
            self._dead_bells.append(self._bell)
            self._bell = None
        self._generation = self._session.generation
        self._stub.cookie = self._session.stub.cookie
        self._bell = self._new_bell(OVERLAP)
        self._dead_bells = [bell for bell in self._dead_bells if not bell.close()]
        self._warn()
        self._drain()
        self._state.soon()

    def _tell_recovery(self) -> None:
        if self._silent_since is not None:
            gap = duration(time.monotonic() - self._silent_since)
            self._silent_since = None
            self._broadcast(f"{self._session.settings.server}: watching again after {gap}")

    def _first_bell(self) -> Bell | Rounds:
        session = self._session
        try:
            return session.patiently(lambda: self._new_bell(FIRST_REACH))
        except ApiError as error:
            if error.code != vim.fault.InvalidState.__name__:
                raise
            raise ApiError(
                f"{session.settings.server} has no event collector left for {session.settings.user}: it allows about "
                "32 at once, and other clients of this user hold them. Run fewer of those at the same time, or end "
                "their sessions, then try again.",
                code=error.code,
            ) from None

    def _new_bell(self, reach: timedelta) -> Bell | Rounds:
        """Returns the cheapest way to hear of events that this user may use."""
        since = self._horizon - reach
        moids = sorted(self._watched())
        self._restriction = ""
        try:
            return Bell(self._session, since)
        except vim.fault.NoPermission as error:
            raise_if_logged_out(error)
        user = self._session.settings.user
        folder = inventory.common_folder(self._session, moids) if moids else None
        if folder is not None:
            self._restriction = f"{user} may not read the events of the whole inventory: watching {folder.name} only"
            try:
                return Bell(self._session, since, folder.entity)
            except vim.fault.NoPermission as error:
                raise_if_logged_out(error)
        self._restriction = (
            f"{user} may read the events of single machines only: asking for each every {bells.SCOPED_INTERVAL:g} s; "
            "the privilege System.View on their folder makes this cheap"
        )
        return Rounds(self._session, since, self._watched)


_feeds: RefCounted[Session, EventFeed] = RefCounted(EventFeed, EventFeed.close, lambda feed: not feed.has_ended)


@contextlib.contextmanager
def subscribe(session: Session, moids: Collection[str], sink: Sink) -> Iterator[EventFeed]:
    """Tells the sink every event of these machines from now on; the feed is shared by all subscribers of a session.

    Raises:
        ServerError: If the collector cannot be made.
    """
    with _feeds.acquire(session) as feed:
        feed.add(moids, sink)
        try:
            yield feed
        finally:
            feed.remove(sink)
