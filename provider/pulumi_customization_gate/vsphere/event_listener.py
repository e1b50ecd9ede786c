"""Waits for events: with an event collector, or with a query per VM where the user may not create a collector."""

from __future__ import annotations

import contextlib
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.events import PAGE, event_filter, moid_of
from pulumi_customization_gate.vsphere.faults import FAULTS, InvalidXmlError, raise_if_logged_out

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

LATEST_PAGE = 20
"""How many events the page has that a change reports: a few, for it is sent whole each time."""
SCOPED_INTERVAL = 10.0
"""Seconds between two rounds of queries where the user may not collect events for the whole inventory."""
REACH = timedelta(seconds=60)
"""How far a round of queries overlaps the one before: an event becomes readable after its date."""


class EventListener(Protocol):
    """Waits for events on a server, and reads them."""

    entity: Any
    """The folder whose events it reads, None for all that the user may see."""

    def start(self) -> None:
        """Creates what it needs on the server.

        Raises:
            vim.fault.NoPermission: If the user lacks the privilege.
            OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
        """

    def wait_for_events(self, stub: Any, timeout: float) -> list[Any] | None:
        """Waits for news, at most `timeout` seconds; returns the newest events, None if nothing happened.

        The list may be empty although something happened: `drain` is what reads the events.
        """

    def drain(self) -> Iterator[list[Any]]:
        """Yields the events that were not read yet, page by page."""

    def rewind(self) -> None:
        """Has `drain` begin with the oldest event that can still be read."""

    def interrupt(self) -> None:
        """Ends `wait_for_events` early; called from another thread."""

    def close(self) -> bool:
        """Destroys what `start` created; returns whether nothing of it is left on the server."""


class CollectorListener:
    """An event collector, and a property filter that reports its latest page to a long poll.

    Args:
        session: The session that the collector belongs to.
        since: The server's time of the oldest event.
        entity: The folder or the like whose events are collected, None for all.
    """

    def __init__(self, session: Session, since: datetime, entity: Any = None) -> None:
        self.session, self.since, self.entity = session, since, entity
        self.generation = session.generation
        self.version = ""
        self.collector: Any = None
        self.poller: Any = None

    def start(self) -> None:
        """Creates the collector and the filter; destroys the collector if there can be no filter.

        Creating and reading a collector are queries of a database, so they may take as long as those.
        """
        content = self.session.content
        events = event_filter(self.since, entity=self.entity, count=None)
        self.collector = self.session.event_queries.CreateCollectorForEvents(events)
        # Not before: another thread may log in again while this call waits, and the collector is the new session's.
        self.generation = self.session.generation
        try:
            self.collector.SetCollectorPageSize(LATEST_PAGE)
            self.poller = content.propertyCollector.CreatePropertyCollector()
            query = vmodl.query.PropertyCollector
            self.poller.CreateFilter(
                query.FilterSpec(
                    propSet=[query.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])],
                    objectSet=[query.ObjectSpec(obj=self.collector)],
                ),
                partialUpdates=False,
            )
        except (*FAULTS, GateError):
            self.close()
            raise
        scope = "the whole inventory" if self.entity is None else moid_of(self.entity)
        _log.debug("event collector for %s since %s", scope, self.since.isoformat())

    def wait_for_events(self, stub: Any, timeout: float) -> list[Any] | None:
        """Waits for a change of the latest page and returns it; it is empty where a server reports no more than that.

        Args:
            stub: The connection for the long poll; its time-out is longer than `timeout`.
            timeout: Seconds to wait.
        """
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(0, round(timeout)))
        poller = vmodl.query.PropertyCollector(moid_of(self.poller), stub)
        _log.debug("long poll of at most %g s", timeout)
        update = poller.WaitForUpdatesEx(self.version, options)
        if update is None:
            return None
        self.version = update.version
        changes = (
            change
            for filter_update in update.filterSet
            for object_update in filter_update.objectSet
            for change in object_update.changeSet
        )
        page = [event for change in changes for event in change.val or ()]
        _log.debug("the latest page changed; it has %d events", len(page))
        return page

    def drain(self) -> Iterator[list[Any]]:
        """Yields the events that were not read yet, page by page."""
        while page := self.collector.ReadNextEvents(PAGE):
            yield page

    def rewind(self) -> None:
        """Rewinds to the oldest event that the collector still holds."""
        self.collector.RewindCollector()

    def interrupt(self) -> None:
        """Ends a long poll in flight."""
        with contextlib.suppress(*FAULTS, GateError):
            self.poller.CancelWaitForUpdates()

    def close(self) -> bool:
        """Destroys the collector: a vCenter allows few per session, and keeps them until the session ends."""
        if self.generation != self.session.generation:
            return True
        destroying: list[Callable[[], None]] = []
        if self.collector is not None:
            collector = vim.event.EventHistoryCollector(moid_of(self.collector), self.session.stub)
            destroying.append(collector.DestroyCollector)
        if self.poller is not None:
            destroying.append(self.poller.DestroyPropertyCollector)
        return not [destroy for destroy in destroying if not self._is_done(destroy)]

    def _is_done(self, destroy: Callable[[], None]) -> bool:
        try:
            destroy()
        except (vim.fault.NotAuthenticated, vmodl.fault.ManagedObjectNotFound):
            return True
        except (*FAULTS, GateError) as error:
            _log.debug("a collector could not be destroyed: %s", self.session.describe(error))
            return False
        return True


class PerVmPoller:
    """Queries the events of each VM, for a user who may read events of single VMs only.

    Args:
        session: The session on which it queries.
        since: The server's time of the oldest event of the first round.
        moids: Returns the managed object IDs of the VMs.
    """

    entity = None

    def __init__(self, session: Session, since: datetime, moids: Callable[[], Collection[str]]) -> None:
        self.session, self.since, self.moids = session, since, moids
        self.interrupted = threading.Event()
        self.unread: list[Any] = []

    def start(self) -> None:
        """Creates nothing."""

    def wait_for_events(self, stub: Any, timeout: float) -> list[Any] | None:  # noqa: ARG002 -- these calls are short
        """Queries each VM's events, SCOPED_INTERVAL seconds after the last round or when interrupted."""
        self.interrupted.wait(min(timeout, SCOPED_INTERVAL))
        now = self.session.current_time()
        found: list[Any] = []
        for moid in self.moids():
            vm = vim.VirtualMachine(moid, self.session.stub)
            try:
                found += self.session.event_queries.QueryEvents(event_filter(self.since, entity=vm)) or []
            except vmodl.fault.ManagedObjectNotFound:
                pass  # Removed: the next read of the state reports it. The other VMs are still to be queried.
            except vim.fault.NoPermission as error:
                raise_if_logged_out(error)
            except InvalidXmlError as error:
                _log.debug("the events of %s could not be parsed: %s", moid, self.session.describe(error))
        self.since = now - REACH
        self.unread = found
        return found or None

    def drain(self) -> Iterator[list[Any]]:
        """Yields the events of the last round."""
        page, self.unread = self.unread, []
        return iter([page] if page else [])

    def rewind(self) -> None:
        """Does nothing: each round overlaps the one before."""

    def interrupt(self) -> None:
        """Starts the next round at once."""
        self.interrupted.set()

    def close(self) -> bool:
        """Returns True: there is nothing to destroy on the server."""
        return True


def started(
    session: Session, since: datetime, moids: Callable[[], Collection[str]], folder: Any = None
) -> tuple[CollectorListener | PerVmPoller, str]:
    """Starts the cheapest listener that the user has the privileges for.

    Args:
        session: The session that it belongs to.
        since: The server's time of the oldest event.
        moids: Returns the managed object IDs of the VMs whose events are needed.
        folder: The folder that holds the VMs, where it is known.

    Returns:
        The listener, and what this user may not read, in words; nothing for a user who may read all.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
    """
    if (listener := _permitted(CollectorListener(session, since))) is not None:
        return listener, ""
    user, wanted = session.settings.user, sorted(moids())
    places = inventory.read_places(session, [folder]) if folder is not None else {}
    place = next(iter(places.values()), None) or (inventory.common_folder(session, wanted) if wanted else None)
    if place is not None and (listener := _permitted(CollectorListener(session, since, place.entity))) is not None:
        return listener, f"{user} may not read events of the whole inventory; reading those of {place.name}"
    restriction = (
        f"{user} may read events of single VMs only; querying each every {SCOPED_INTERVAL:g} s. "
        "With the privilege System.View on their folder, one call reads the events of all VMs."
    )
    return PerVmPoller(session, since, moids), restriction


def _permitted(listener: CollectorListener) -> CollectorListener | None:
    try:
        listener.start()
    except vim.fault.NoPermission as error:
        raise_if_logged_out(error)
        return None
    return listener
