"""Delivers each event once, and keeps the time since when events may be unread."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.vsphere.events import PAGE, observations

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pulumi_customization_gate.core.model import Event
    from pulumi_customization_gate.vsphere.event_listener import EventListener
    from pulumi_customization_gate.vsphere.session import Session

    Identity = tuple[int, datetime]
    """The key and the time of an event: a vCenter that was restored from a backup assigns keys again."""

MAX_SEEN = 100_000
"""Identities of events that are kept so that none is delivered twice."""


class EventDelivery:
    """Delivers events that several sources read: the latest page, the collector, the history.

    Args:
        session: The session whose server's time counts.
        deliver: Receives each event.
    """

    def __init__(self, session: Session, deliver: Callable[[Event], None]) -> None:
        self._session, self._deliver = session, deliver
        self.horizon = datetime.fromtimestamp(0, timezone.utc)
        """The server's time of the newest event that was delivered."""
        self._seen: dict[Identity, None] = {}
        self._heard_at = time.monotonic()
        """When the listener last worked, by the monotonic clock."""

    def mark_heard(self) -> None:
        """Notes that the listener works."""
        self._heard_at = time.monotonic()

    def unread_since(self, horizon: datetime) -> datetime:
        """Returns the server's time since when events may be unread, never ahead of the server's present.

        An event with a date in the future, or a clock that was set back, would put the horizon there.
        """
        silence = timedelta(seconds=time.monotonic() - self._heard_at)
        return min(horizon, self._session.current_time() - silence)

    def unseen(self, events: Iterable[Any]) -> set[Identity]:
        """Returns the identities of those events that were not delivered; others than the gate's count for nothing."""
        found = ((event.key, event.at) for event in observations(events))
        return {identity for identity in found if identity not in self._seen}

    def drain(self, listener: EventListener, newest: Collection[Identity] = ()) -> set[Identity]:
        """Delivers the listener's unread events; returns their identities.

        A page that is not full and holds the newest events is the last one: later events are reported anew, so the
        call that would return nothing is saved.
        """
        drained: set[Identity] = set()
        for page in listener.drain():
            self.deliver(observations(page))
            drained |= {(event.key, event.createdTime) for event in page}
            if newest and len(page) < PAGE and drained.issuperset(newest):
                break
        return drained

    def deliver(self, events: Iterable[Event]) -> None:
        """Delivers events that were not delivered before."""
        for event in events:
            identity = event.key, event.at
            # Also by an event that was delivered: the horizon may have been set back since.
            self.horizon = max(self.horizon, event.at)
            if identity not in self._seen:
                self._seen[identity] = None
                self._deliver(event)
        if len(self._seen) > MAX_SEEN:
            # Dictionaries keep their order, and keys wrap: the first are the oldest, whatever their numbers.
            self._seen = dict.fromkeys([*self._seen][MAX_SEEN // 2 :])
