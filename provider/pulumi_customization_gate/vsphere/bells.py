"""What rings when something happened: a vCenter's event collector, or a stand-in where there may be none."""

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
"""How far a round reaches back behind the one before, for an event is dated before it can be read."""


class Bell:
    """A collector and the long poll that watches it."""

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

    def ring(self, stub: Any, longest: float) -> list[Any]:
        """Waits for the bell at most so many seconds; returns the newest event if it rang.

        The long poll alone goes over a connection that is patient enough for it.
        """
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(0, round(longest)))
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
        """Yields what was not read yet, page by page."""
        while page := self.collector.ReadNextEvents(PAGE):
            yield page

    def rewind(self) -> None:
        """Goes back to the oldest event that the collector still holds."""
        self.collector.RewindCollector()

    def wake(self) -> None:
        """Ends a long poll in flight, from another thread."""
        with contextlib.suppress(*FAULTS):
            self.poller.CancelWaitForUpdates()

    def close(self) -> bool:
        """Gives the collector back: a vCenter has few of them, and they outlive a wait that does not.

        Returns:
            Whether the server has none of it left.
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


class Rounds:
    """Stands in for the bell where the user may read the machines' own events only: a query per machine."""

    entity = None

    def __init__(self, session: Session, since: datetime, moids: Callable[[], Collection[str]]) -> None:
        self.session, self.since, self.moids = session, since, moids
        self.woken = threading.Event()
        self.unread: list[Any] = []

    def ring(self, stub: Any, longest: float) -> list[Any]:  # noqa: ARG002 -- these calls are short ones
        """Asks for each machine's events, after SCOPED_INTERVAL seconds."""
        self.woken.wait(min(longest, SCOPED_INTERVAL))
        now = self.session.current_time()
        found: list[Any] = []
        for moid in self.moids():
            vm = vim.VirtualMachine(moid, self.session.stub)
            try:
                found += self.session.content.eventManager.QueryEvents(event_filter(self.since, entity=vm)) or []
            except vmodl.fault.ManagedObjectNotFound:
                pass  # It is not there any more: a look at the state tells. The others are still to be asked for.
            except vim.fault.NoPermission as error:
                raise_if_logged_out(error)
        self.since = now - REACH
        self.unread = found
        return found

    def drain(self) -> Iterator[list[Any]]:
        """Yields what the round has found."""
        page, self.unread = self.unread, []
        return iter([page] if page else [])

    def rewind(self) -> None:
        """Has nothing to go back in: each round overlaps the one before."""

    def wake(self) -> None:
        """Begins the round at once."""
        self.woken.set()

    def close(self) -> bool:
        """Holds nothing on the server."""
        return True
