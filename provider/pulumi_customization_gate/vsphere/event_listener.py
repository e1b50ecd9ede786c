"""Waits for events: with an event collector, or with a query per VM where the user may not create a collector."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.vsphere.events import PAGE, event_filter, moid_of
from pulumi_customization_gate.vsphere.faults import FAULTS, raise_if_logged_out

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from pulumi_customization_gate.vsphere.session import Session

SCOPED_INTERVAL = 10.0
"""Seconds between two rounds of queries where the user may not collect events for the whole inventory."""
REACH = timedelta(seconds=60)
"""How far a round of queries overlaps the one before: an event becomes readable after its date."""


class CollectorListener:
    """An event collector, and a property filter that reports its latest page to a long poll."""

    def __init__(self, session: Session, since: datetime, entity: Any = None) -> None:
        self.session, self.entity, self.generation = session, entity, session.generation
        self.version = ""
        self.poller: Any = None
        self.collector = session.content.eventManager.CreateCollectorForEvents(event_filter(since, entity=entity))
        try:
            self.collector.SetCollectorPageSize(1)
            self.poller = session.content.propertyCollector.CreatePropertyCollector()
            query = vmodl.query.PropertyCollector
            self.poller.CreateFilter(
                query.FilterSpec(
                    propSet=[query.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])],
                    objectSet=[query.ObjectSpec(obj=self.collector)],
                ),
                partialUpdates=False,
            )
        except FAULTS:
            self.close()
            raise

    def wait_for_events(self, stub: Any, timeout: float) -> list[Any]:
        """Waits for new events; returns the collector's latest page, empty if nothing happened in `timeout` seconds.

        Args:
            stub: The connection for the long poll; its time-out is longer than `timeout`.
            timeout: Seconds to wait.
        """
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(0, round(timeout)))
        poller = vmodl.query.PropertyCollector(moid_of(self.poller), stub)
        update = poller.WaitForUpdatesEx(self.version, options)
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
        """Yields the events that were not read yet, page by page."""
        while page := self.collector.ReadNextEvents(PAGE):
            yield page

    def rewind(self) -> None:
        """Rewinds to the oldest event that the collector still holds."""
        self.collector.RewindCollector()

    def interrupt(self) -> None:
        """Ends a long poll in flight; called from another thread."""
        with contextlib.suppress(*FAULTS):
            self.poller.CancelWaitForUpdates()

    def close(self) -> bool:
        """Destroys the collector: a vCenter allows few per session, and keeps them until the session ends.

        Returns:
            Whether nothing of it is left on the server.
        """
        if self.generation != self.session.generation:
            return True
        destroying = [self.collector.DestroyCollector]
        if self.poller is not None:
            destroying.append(self.poller.DestroyPropertyCollector)
        return not [destroy for destroy in destroying if not _is_done(destroy)]


def _is_done(destroy: Callable[[], None]) -> bool:
    try:
        destroy()
    except (vim.fault.NotAuthenticated, vmodl.fault.ManagedObjectNotFound):
        return True
    except FAULTS:
        return False
    return True


class PerVmPoller:
    """Queries the events of each VM, for a user who may read events of single VMs only."""

    entity = None

    def __init__(self, session: Session, since: datetime, moids: Callable[[], Collection[str]]) -> None:
        self.session, self.since, self.moids = session, since, moids
        self.interrupted = threading.Event()
        self.unread: list[Any] = []

    def wait_for_events(self, stub: Any, timeout: float) -> list[Any]:  # noqa: ARG002 -- these calls are short
        """Queries each VM's events, SCOPED_INTERVAL seconds after the last round or when interrupted."""
        self.interrupted.wait(min(timeout, SCOPED_INTERVAL))
        now = self.session.current_time()
        found: list[Any] = []
        for moid in self.moids():
            vm = vim.VirtualMachine(moid, self.session.stub)
            try:
                found += self.session.content.eventManager.QueryEvents(event_filter(self.since, entity=vm)) or []
            except vmodl.fault.ManagedObjectNotFound:
                pass  # Removed: the next read of the state reports it. The other VMs are still to be queried.
            except vim.fault.NoPermission as error:
                raise_if_logged_out(error)
        self.since = now - REACH
        self.unread = found
        return found

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
