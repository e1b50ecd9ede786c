"""Reads the state of VMs at intervals, in a thread of its own, and finds what no event reported."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

_NEVER = datetime.min.replace(tzinfo=timezone.utc)

RECONCILE_EVERY = 120.0
"""Seconds between two bulk reads of the state of all VMs."""
AT_ONCE, PAUSE = 200, 0.05
"""How many looks are published before a pause, and its seconds: who judges thousands of them judges events in between.
"""
UNDECIDED_INTERVAL = 5.0
"""Seconds until an undecided VM is read again; the interval doubles each time."""


class Reconciliation:
    """Reads the state of VMs that are not settled every RECONCILE_EVERY seconds, and more often of undecided ones.

    It reads what decides; names and addresses are left to the read at the end of a wait.

    Args:
        session: The session on which it reads.
        watched: Returns the managed object IDs of all VMs that have a subscriber.
        publish: Receives what was read.
    """

    def __init__(
        self, session: Session, watched: Callable[[], frozenset[str]], publish: Callable[[Snapshot | Missing], None]
    ) -> None:
        self._session, self._watched, self._publish = session, watched, publish
        self._changed = threading.Condition()
        self._last_read: dict[str, Snapshot | Missing] = {}
        """What all who wait for a VM know of it."""
        self._unsettled: set[str] = set()
        """The VMs of which not all who wait know what was read, or whose state an event has changed since."""
        self._is_complete = False
        """Whether the next read of all VMs is one of settled ones, too."""
        self._undecided_interval = UNDECIDED_INTERVAL
        self._next = self._next_of_all = time.monotonic() + RECONCILE_EVERY
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="customization-gate-state", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        with self._changed:
            self._next = self._next_of_all = time.monotonic() + RECONCILE_EVERY
        self._thread.start()

    def read(self, moids: Iterable[str], details: bool) -> list[Snapshot | Missing]:
        """Reads the state of VMs now, in the caller's thread, and remembers which are undecided.

        Raises:
            OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
        """
        snapshots = inventory.read(self._session, moids, details=details)
        with self._changed:
            # Who asks gets them all; others who wait for the same VMs learn what is new from the next regular read.
            self._unsettled.update(look.vm for look in snapshots if look.vm in self._last_read and self._is_new(look))
            self._last_read.update({snapshot.vm: snapshot for snapshot in snapshots})
            if any(map(_is_undecided, snapshots)):
                self._undecided_interval = UNDECIDED_INTERVAL
                self._next = min(self._next, time.monotonic() + UNDECIDED_INTERVAL)
                self._changed.notify()
        return snapshots

    def soon(self) -> None:
        """Has all VMs read at once, because events may have been lost."""
        with self._changed:
            self._next = self._next_of_all = time.monotonic()
            self._is_complete = True
            self._changed.notify()

    def unsettle(self, moid: str) -> None:
        """Has a VM read again with the others, because an event says that its state has changed."""
        with self._changed:
            self._unsettled.add(moid)

    def forget(self) -> None:
        """Drops the state of VMs that have no subscriber any more."""
        with self._changed:
            watched = self._watched()
            for moid in self._last_read.keys() - watched:
                del self._last_read[moid]
            self._unsettled &= watched

    def close(self) -> None:
        """Ends the thread, without waiting for a call in flight."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and (left := self._next - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._closing:
                    return
            try:
                self._read_due()
            except (*FAULTS, GateError) as error:
                _log.debug("reading the state failed: %s", self._session.describe(error))
                # The feed's thread gets the same error, publishes it and recovers the session. Credentials that a proxy
                # refuses are not sent often: that could lock the account.
                pause = RECONCILE_EVERY if isinstance(error, GateError) else UNDECIDED_INTERVAL
                with self._changed:
                    self._next = time.monotonic() + pause

    def _read_due(self) -> None:
        now = time.monotonic()
        with self._changed:
            undecided = self._undecided()
            is_of_all = now >= self._next_of_all
            due = self._due() if is_of_all else undecided
            planned = self._next_of_all, self._is_complete
            if is_of_all:
                # A call of `soon` during the read asks for another one.
                self._next_of_all, self._is_complete = now + RECONCILE_EVERY, False
            known = {moid: look for moid, look in self._last_read.items() if isinstance(look, Snapshot)}
            # An event that comes during the read marks its VM anew.
            unsettled, self._unsettled = self._unsettled & due, self._unsettled - due
        _log.debug("reading the state of %d VMs", len(due))
        try:
            snapshots = inventory.read(self._session, sorted(due), details=False, known=known)
        except BaseException:
            with self._changed:
                self._unsettled |= unsettled
                self._next_of_all = min(self._next_of_all, planned[0])
                self._is_complete |= planned[1]
            raise
        with self._changed:
            new = [snapshot for snapshot in snapshots if snapshot.vm in unsettled or self._is_new(snapshot)]
            self._last_read.update({snapshot.vm: snapshot for snapshot in snapshots})
            longer = min(2 * self._undecided_interval, RECONCILE_EVERY)
            self._undecided_interval = longer if undecided else UNDECIDED_INTERVAL
            soon = now + self._undecided_interval if self._undecided() else self._next_of_all
            self._next = min(soon, self._next_of_all)
        for number, snapshot in enumerate(new):
            if number and number % AT_ONCE == 0:
                time.sleep(PAUSE)
            self._publish(snapshot)

    def _due(self) -> set[str]:
        return {moid for moid in self._watched() if self._is_complete or not self._is_settled(moid)}

    def _is_settled(self, moid: str) -> bool:
        return moid not in self._unsettled and _is_settled(self._last_read.get(moid))

    def _is_new(self, look: Snapshot | Missing) -> bool:
        """Whether those who wait for the VM do not know what a look says: to judge thousands of looks takes seconds."""
        return isinstance(look, Missing) or _deciding(look) != _deciding(self._last_read.get(look.vm))

    def _undecided(self) -> set[str]:
        return {moid for moid in self._watched() if _is_undecided(self._last_read.get(moid))}


def _deciding(look: Snapshot | Missing | None) -> Snapshot | Missing | None:
    """Returns a look without its times, and without what decides nothing."""
    if not isinstance(look, Snapshot):
        return look
    return replace(look, at=_NEVER, asked_at=0.0, name="", host_name="", tools_version="", ip_addresses=())


def _is_undecided(snapshot: Snapshot | Missing | None) -> bool:
    """Whether VMware Tools have yet to start before the state can say that no customization was requested."""
    return (
        isinstance(snapshot, Snapshot)
        and bool(snapshot.power.is_on)
        and not snapshot.specification_pending
        and not snapshot.tools_running
        and snapshot.progress is not None
        and snapshot.progress.is_idle
    )


def _is_settled(snapshot: Snapshot | Missing | None) -> bool:
    """Whether the customization has ended on a VM that is on: an event reports whatever changes that."""
    return (
        isinstance(snapshot, Snapshot)
        and bool(snapshot.power.is_on)
        and not snapshot.specification_pending
        and snapshot.progress is not None
        and snapshot.progress.is_end
    )
