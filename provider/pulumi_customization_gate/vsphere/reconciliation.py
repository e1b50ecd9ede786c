"""The slow second look at the machines: finds what no event told, in a thread that holds no event up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pulumi_customization_gate.vsphere.session import Session

RECONCILE_EVERY = 120.0
"""Seconds between two bulk reads of the state of all machines."""
IMPATIENT = 5.0
"""Seconds until the first read of a machine whose VMware Tools have yet to say that nothing was requested."""


class Reconciliation:
    """Reads the state of all machines now and then, and more often of those whose state alone can decide.

    Args:
        session: The session on which it reads.
        watched: Returns the managed object IDs of all machines that somebody waits for.
        tell: Takes what was read.
    """

    def __init__(
        self, session: Session, watched: Callable[[], frozenset[str]], tell: Callable[[Snapshot | Missing], None]
    ) -> None:
        self._session, self._watched, self._tell = session, watched, tell
        self._changed = threading.Condition()
        self._latest: dict[str, Snapshot | Missing] = {}
        self._suspects: set[str] = set()
        self._patience = IMPATIENT
        self._next = self._next_of_all = time.monotonic() + RECONCILE_EVERY
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="customization-gate-state", daemon=True)
        self._thread.start()

    def read(self, moids: Iterable[str], details: bool) -> list[Snapshot | Missing]:
        """Reads the state of machines now, in the caller's thread, and remembers which are undecided.

        Raises:
            OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
        """
        snapshots = inventory.read(self._session, moids, details=details)
        with self._changed:
            self._latest.update({snapshot.vm: snapshot for snapshot in snapshots})
            if any(map(_is_undecided, snapshots)):
                self._patience = IMPATIENT
                self._next = min(self._next, time.monotonic() + IMPATIENT)
                self._changed.notify()
        return snapshots

    def soon(self) -> None:
        """Has all machines read at once, because events may have been lost."""
        with self._changed:
            self._next = self._next_of_all = time.monotonic()
            self._changed.notify()

    def forget(self) -> None:
        """Drops what is known of machines that nobody waits for any more."""
        with self._changed:
            for moid in self._latest.keys() - self._watched():
                del self._latest[moid]

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
                self._look()
            except FAULTS:
                # The feed's own thread meets the same fault, tells it and mends the session.
                with self._changed:
                    self._next = time.monotonic() + IMPATIENT

    def _look(self) -> None:
        now = time.monotonic()
        with self._changed:
            hasty = self._hasty()
            is_of_all = now >= self._next_of_all
        for snapshot in inventory.read(self._session, sorted(self._watched() if is_of_all else hasty)):
            self._believe(snapshot)
        with self._changed:
            if is_of_all:
                self._next_of_all = now + RECONCILE_EVERY
            self._patience = min(2 * self._patience, RECONCILE_EVERY) if hasty else IMPATIENT
            soon = now + self._patience if self._hasty() else self._next_of_all
            self._next = min(soon, self._next_of_all)

    def _hasty(self) -> set[str]:
        watched = self._watched()
        return {moid for moid in watched if _is_undecided(self._latest.get(moid))} | (self._suspects & watched)

    def _believe(self, snapshot: Snapshot | Missing) -> None:
        """Passes a snapshot on. A vCenter that restarts may forget a machine for a moment: gone takes two looks."""
        with self._changed:
            is_certain = isinstance(snapshot, Snapshot) or snapshot.vm in self._suspects
            if is_certain:
                self._suspects.discard(snapshot.vm)
                self._latest[snapshot.vm] = snapshot
            else:
                self._suspects.add(snapshot.vm)
        if is_certain:
            self._tell(snapshot)


def _is_undecided(snapshot: Snapshot | Missing | None) -> bool:
    """Whether the machine will be found untraced as soon as its VMware Tools run."""
    return (
        isinstance(snapshot, Snapshot)
        and bool(snapshot.powered_on)
        and not snapshot.specification_pending
        and not snapshot.tools_running
        and snapshot.progress is not None
        and snapshot.progress.is_idle
    )
