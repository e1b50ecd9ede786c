"""One event feed per session, for all gates of the process that use it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pulumi_customization_gate.refcounted import RefCounted
from pulumi_customization_gate.vsphere.event_feed import EventFeed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pulumi_customization_gate.vsphere.session import Session
    from pulumi_customization_gate.vsphere.subscribers import Sink


def _started(session: Session) -> EventFeed:
    feed = EventFeed(session)
    feed.start()
    return feed


_feeds: RefCounted[Session, EventFeed] = RefCounted(_started, EventFeed.close, lambda feed: not feed.has_ended)


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
