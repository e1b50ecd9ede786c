"""One event collector and one long poll per vCenter session, for all gates of the process.

The collector's `latestPage`, a few events long, only signals that something happened; the events are read by
`ReadNextEvents`. While nothing happens, a wait for any number of VMs costs one call per LONGEST_POLL seconds, and a
read of the state every RECONCILE_EVERY seconds.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, CertificateError, ServerError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.vsphere import event_listener, history
from pulumi_customization_gate.vsphere.event_delivery import EventDelivery
from pulumi_customization_gate.vsphere.events import observations
from pulumi_customization_gate.vsphere.faults import FAULTS, InvalidXmlError
from pulumi_customization_gate.vsphere.reconciliation import Reconciliation
from pulumi_customization_gate.vsphere.shared_read import SharedRead
from pulumi_customization_gate.vsphere.subscribers import Subscribers

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event
    from pulumi_customization_gate.vsphere.event_listener import EventListener
    from pulumi_customization_gate.vsphere.session import Session
    from pulumi_customization_gate.vsphere.subscribers import Sink

_log = logging.getLogger(__name__)

LONGEST_POLL = 60.0
"""Seconds that one long poll may last."""
FIRST_REACH = history.LATENESS
"""How far the first collector reaches back: an event becomes readable after its date.

Older events come with the history, which each subscriber reads after it has subscribed.
"""
OVERLAP = timedelta(seconds=60)
"""How far a new collector reaches back before the last event of the old one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two attempts to reconnect."""
JOIN_TIMEOUT = 5.0
"""Seconds that `close` waits for the thread to end."""
MIN_LOGIN_INTERVAL, MAX_LOGIN_INTERVAL = 60.0, 960.0
"""Seconds between two logins that are to free collectors, doubled each time: other clients may hold all there are."""
MAX_INVALID = 2
"""Responses with invalid XML in succession after which an event counts as unreadable, and is skipped."""


class EventFeed:
    """Publishes events and state of VMs to its subscribers; get one from `shared_feed.subscribe`.

    Args:
        session: The session of the collector and the long poll.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stub = session.stub_for_long_polls(LONGEST_POLL)
        """For the long poll alone: every other call has a shorter time-out."""
        self._subscribers = Subscribers()
        self._delivery = EventDelivery(session, self._publish_event)
        self._is_listening = threading.Event()
        """Set once events may be read."""
        self._has_looked = threading.Event()
        """Set once they were read, or that failed."""
        self._closing = threading.Event()
        self._is_released = False
        """Whether `close` has destroyed what there was: what the thread creates after that, the thread destroys."""
        self._failing_since: float | None = None
        self._next_login, self._login_interval = 0.0, MIN_LOGIN_INTERVAL
        self._invalid = 0
        self._has_skipped = False
        """Whether an unreadable event was skipped: the next ones, maybe with the same bad name, are not published."""
        self._restriction = ""
        self._is_stale = False
        self._end: Exception | None = None
        self._generation = session.generation
        self._stale_listeners: list[EventListener] = []
        self._listener: EventListener | None = None
        self._state = Reconciliation(session, self._subscribers.moids, self._subscribers.dispatch)
        self.read = SharedRead(session, self._state.read).read
        """Reads state and history for a subscriber; the reconciliation remembers the state."""
        self._thread = threading.Thread(target=self._run, name="customization-gate-events", daemon=True)

    def start(self) -> None:
        """Creates the first listener, and starts the threads.

        Raises:
            ServerError: If the server does not respond, or has no event collector left.
        """
        session = self._session
        self._delivery.horizon = session.with_retries(session.current_time)
        try:
            self._listener = session.with_retries(lambda: self._new_listener(FIRST_REACH))
        except ApiError as error:
            if error.code != vim.fault.InvalidState.__name__:
                raise
            raise ApiError(
                f"{session.settings.server} has no event collector left for {session.settings.user}: it allows about "
                "32 at once, and other clients of this user hold them. Run fewer of those at the same time, or end "
                "their sessions, then try again.",
                code=error.code,
            ) from None
        self._generation = session.generation
        self._state.start()
        self._thread.start()

    def add(self, moids: Collection[str], sink: Sink) -> None:
        """Subscribes: from now on the sink receives every event of these VMs."""
        self._subscribers.add(moids, sink)
        if self._end is not None:
            sink(self._end)
        if self._restriction:
            # Where this user may create a collector depends on the VMs: the thread finds out again.
            self._is_stale = True
            listener = self._listener
            if listener is not None:
                listener.interrupt()

    def listen(self, timeout: float = 0.0) -> None:
        """Begins to read events, also those since the collector was created; called once the first status is out.

        The history holds what the collector begins with: to parse that once more would delay the first status.

        Args:
            timeout: Seconds to wait until they were read once, or that failed.
        """
        self._is_listening.set()
        self._has_looked.wait(timeout)

    def remove(self, sink: Sink) -> None:
        """Ends a subscription."""
        self._subscribers.remove(sink)
        self._state.forget()

    @property
    def has_ended(self) -> bool:
        """Whether an error has ended it for good."""
        return self._end is not None

    def close(self) -> None:
        """Ends the long poll and destroys the collector."""
        self._closing.set()
        self._is_listening.set()
        self._state.close()
        self._session.stub.DropConnections()
        deadline = time.monotonic() + JOIN_TIMEOUT
        while self._thread.is_alive() and time.monotonic() < deadline:
            # Repeatedly: the thread may have been about to start the poll that this ends.
            listener = self._listener
            if listener is not None:
                listener.interrupt()
            self._thread.join(timeout=0.1)
        self._is_released = True
        for listener in (*self._stale_listeners, self._listener):
            if listener is not None:
                listener.close()
        self._stub.retire()

    def _run(self) -> None:
        self._is_listening.wait()
        try:
            while not self._closing.is_set():
                self._turn_with_retries()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the subscribers must learn of it
            self._end = error
            self._subscribers.publish(error)
        finally:
            # `close` does not wait for a collector that takes a minute to create.
            if self._is_released and self._listener is not None:
                self._listener.close()

    def _turn_with_retries(self) -> None:
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                self._turn()
            except Exception as error:
                if not _may_pass(error):
                    raise
                if self._closing.is_set():
                    return  # The fault is the end of its own long poll.
                self._recover(error)
            else:
                return
            finally:
                self._has_looked.set()
            if self._closing.wait(pause):
                return

    def _turn(self) -> None:
        # A collector ends with its session, which another thread may have replaced.
        if self._listener is None or self._is_stale or self._generation != self._session.generation:
            self._rebuild()
            if self._closing.is_set():
                return
        assert self._listener is not None
        horizon = self._delivery.horizon
        newest = self._listener.wait_for_events(self._stub, LONGEST_POLL)
        self._delivery.mark_heard()
        self._publish_recovery()
        if newest is not None:
            # Others in the page are never delivered, so none of them shows that the collector lost an event.
            unseen = self._delivery.unseen(newest)
            # An empty page signals only that something happened: the events are still to be read.
            if unseen or not newest:
                self._delivery.deliver(observations(newest))
                # Should the next read fail, older events are still unread: it raises the horizon again.
                self._delivery.horizon = horizon
                if unseen - self._delivery.drain(self._listener, unseen):
                    self._catch_up(horizon)
        self._invalid = 0

    def _catch_up(self, horizon: datetime) -> None:
        """Reads the events that the collector lost: the newest one was not among the unread ones."""
        assert self._listener is not None
        # Should this fail, the next attempt begins where the gap does.
        self._delivery.horizon = horizon
        self._subscribers.publish(
            f"{self._session.settings.server}: more events than the collector holds; reading the history"
        )
        self._listener.rewind()
        self._delivery.drain(self._listener)
        begin = self._delivery.unread_since(horizon) - OVERLAP
        self._delivery.deliver(history.since(self._session, begin, self._listener.entity))
        self._state.soon()

    def _publish_event(self, event: Event) -> None:
        self._state.unsettle(event.vm)
        self._subscribers.dispatch(event)

    def _recover(self, error: Exception) -> None:
        """Prepares a retry after an error: publishes it once, drops the listener, logs in again if the session ended.

        Raises:
            CertificateError: If the server now presents a certificate that is not trusted: a retry does not help.
        """
        _log.debug("waiting for events failed: %s", self._session.describe(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            raise self._session.untrusted(error) from None
        if self._is_stale and isinstance(error, vmodl.fault.RequestCanceled):
            return  # A new subscriber has ended the long poll.
        is_known = self._has_skipped and isinstance(error, InvalidXmlError)
        if self._failing_since is None and not is_known:
            self._failing_since = time.monotonic()
            self._subscribers.publish(f"{self._session.settings.server}: {self._session.describe(error)}; retrying")
        self._stub.DropConnections()
        if self._listener is not None:
            self._stale_listeners.append(self._listener)
            self._listener = None
        self._invalid = self._invalid + 1 if isinstance(error, InvalidXmlError) else 0
        if self._is_for_new_session(error):
            with contextlib.suppress(*FAULTS):
                self._session.log_in_again(self._generation)

    def _is_for_new_session(self, error: BaseException) -> bool:
        """Whether a new login may help: the session ended, or no collector is left.

        A new session ends the collectors of the old one, also those whose creation got no response. It does not help
        where other clients hold all collectors, so it is tried now and then only.
        """
        if isinstance(error, vim.fault.NotAuthenticated):
            return True
        if not isinstance(error, vim.fault.InvalidState) or time.monotonic() < self._next_login:
            return False
        self._next_login = time.monotonic() + self._login_interval
        self._login_interval = min(2 * self._login_interval, MAX_LOGIN_INTERVAL)
        return True

    def _rebuild(self) -> None:
        """Creates a new listener, reads the events since the old one, and has the state of all VMs read."""
        self._is_stale = False
        if self._listener is not None:
            self._stale_listeners.append(self._listener)
            self._listener = None
        self._generation = self._session.generation
        self._delivery.horizon = self._delivery.unread_since(self._delivery.horizon)
        if self._invalid >= MAX_INVALID:
            self._skip_unreadable()
        else:
            self._listener = self._new_listener(OVERLAP)
        assert self._listener is not None
        if self._closing.is_set():
            return
        self._stale_listeners = [listener for listener in self._stale_listeners if not listener.close()]
        self._subscribers.warn(self._restriction)
        self._delivery.drain(self._listener)
        self._state.soon()

    def _skip_unreadable(self) -> None:
        """Creates a listener for what happens from now on, and reads the events until now VM by VM.

        An event whose text is not XML, of any VM of the inventory, spoils every page that it is on.
        """
        begin, self._delivery.horizon = self._delivery.horizon - OVERLAP, self._session.current_time()
        if not self._has_skipped:
            self._has_skipped = True
            self._subscribers.publish(
                f"{self._session.settings.server}: an event could not be parsed; reading the events of each VM"
            )
        self._listener = self._new_listener(timedelta())
        self._delivery.deliver(history.since_for_each(self._session, self._subscribers.moids(), begin))

    def _publish_recovery(self) -> None:
        if self._failing_since is not None:
            gap = duration(time.monotonic() - self._failing_since)
            self._failing_since, self._login_interval = None, MIN_LOGIN_INTERVAL
            self._subscribers.publish(f"{self._session.settings.server}: watching again after {gap}")

    def _new_listener(self, reach: timedelta) -> EventListener:
        listener, self._restriction = event_listener.started(
            self._session, self._delivery.horizon - reach, self._subscribers.moids
        )
        return listener


def _may_pass(error: BaseException) -> bool:
    """Whether a later attempt may succeed: a vCenter that restarts may for a while answer some calls and not others."""
    is_unreachable = isinstance(error, ServerError) and not isinstance(
        error, (ApiError, AuthenticationError, CertificateError)
    )
    return isinstance(error, FAULTS) or is_unreachable
