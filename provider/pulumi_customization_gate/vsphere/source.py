"""Joins inventory, history and event feed into the observations of one wait."""

from __future__ import annotations

import contextlib
import itertools
import queue
import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.errors import ConfigurationError, ServerError
from pulumi_customization_gate.core.model import Event, Observation, Remembered, Snapshot, VmRef
from pulumi_customization_gate.vsphere import diagnosis, event_feed, inventory
from pulumi_customization_gate.vsphere.faults import FAULTS
from pulumi_customization_gate.vsphere.session import Session, VsphereSettings, acquire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.vsphere.shared_read import Reading


class VsphereSource:
    """Tells what happens to virtual machines of one vCenter.

    Args:
        settings: Which vCenter, and as whom.
        references: What names each machine, by the user's key; a key that is the reference itself gives way to the
            machine's name.
        kept: Managed object IDs of machines that are not watched, because they have been judged.
        remembered: Managed object IDs of machines that an earlier wait found customized.
    """

    def __init__(
        self,
        settings: VsphereSettings,
        references: Mapping[str, str],
        *,
        kept: Collection[str] = (),
        remembered: Collection[str] = (),
    ) -> None:
        self._settings, self._references = settings, references
        self._kept, self._remembered = kept, remembered
        self.skipped: dict[str, str] = {}
        """After `start`: the managed object IDs of the kept machines, by the user's key."""
        self._queue: queue.SimpleQueue[Observation | str | Exception] = queue.SimpleQueue()
        self._notes: list[str] = []
        self._end: Exception | None = None
        self._is_closed = False
        self._held = contextlib.ExitStack()
        self._feed: event_feed.EventFeed | None = None
        self._session: Session | None = None
        self._events: dict[str, dict[int, Event]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._known_until: dict[str, datetime] = {}
        """The server's time of the last read of each machine's history: what comes later, the next one reads."""

    def start(self) -> Sequence[VmRef]:
        """Logs in, finds the machines, subscribes to their events, then reads their state and history."""
        try:
            return self._start()
        finally:
            if self._is_closed:
                self._held.close()

    def _start(self) -> Sequence[VmRef]:
        began = time.monotonic()
        session = self._session = self._held.enter_context(acquire(self._settings))
        moids = inventory.resolve(session, self._references)
        _refuse_twins(moids)
        self.skipped = {key: moid for key, moid in moids.items() if moid in self._kept and moid is not None}
        moids = {key: moid for key, moid in moids.items() if key not in self.skipped}
        present = [moid for moid in moids.values() if moid is not None]
        feed = self._feed = self._held.enter_context(event_feed.subscribe(session, present, self._queue.put))
        # A machine that is not customized yet has no name and no address that anybody wants; a later look reads them.
        reading = feed.read(dict.fromkeys(present), details=False)
        self._take(reading, reading.snapshots)
        for known in present:
            if known in self._remembered:
                self._queue.put(Remembered(known))
        for key, moid in moids.items():
            if moid is None:
                at = session.patiently(session.current_time)
                self._queue.put(inventory.not_found(session, key, self._references[key], at))
        names = {snapshot.vm: snapshot.name for snapshot in reading.snapshots}
        self._notes += session.ridden_out(began)
        return [self._vm(key, moid, names.get(moid or "") or key) for key, moid in moids.items()]

    def _vm(self, key: str, moid: str | None, name: str) -> VmRef:
        reference = self._references[key]
        return VmRef(key=name if key == reference else key, id=moid or reference, name=name)

    def _take(self, reading: Reading, snapshots: Iterable[Snapshot]) -> None:
        for event in itertools.chain.from_iterable(reading.events.values()):
            self._queue.put(event)
        for snapshot in snapshots:
            self._queue.put(snapshot)
        read_at = {snapshot.vm: snapshot.at for snapshot in reading.snapshots}
        self._known_until.update({vm: read_at[vm] for vm in reading.events})

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Waits for the feed; no call to the server is made here."""
        items: list[Observation | str | Exception] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait())
            while True:
                items.append(self._queue.get_nowait())
        observations = [item for item in items if isinstance(item, Event | Snapshot | Remembered)]
        self._notes += (item for item in items if isinstance(item, str))
        self._remember(observations)
        self._end = next((item for item in items if isinstance(item, Exception)), self._end)
        if self._end is not None and not observations:
            raise self._end
        return observations

    def look(self, timeout: float) -> Sequence[Observation]:
        """Reads state and history in a thread of their own, so that a server that hangs costs no more than the time."""
        feed = self._feed
        if feed is None:
            return []

        def ask() -> None:
            with contextlib.suppress(*FAULTS, ServerError):
                present = [vm for vm, snapshot in self._snapshots.items() if snapshot.exists]
                reading = feed.read({vm: self._known_until.get(vm) for vm in present})
                # One look does not tell a machine that is gone from one that a restarted vCenter has yet to find.
                self._take(reading, [snapshot for snapshot in reading.snapshots if snapshot.exists])

        with contextlib.closing(Background("customization-gate-look")) as background:
            asking = background.submit(ask)
            if wait_until_done(asking, time.monotonic() + timeout):
                asking.result()
        return self.poll(0)

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:  # noqa: ARG002 -- all is known already
        """Explains from what this wait has seen; the server is not asked again."""
        events = self._events.get(vm.id, {}).values()
        return diagnosis.explain(self._snapshots.get(vm.id), events)

    def notes(self) -> Sequence[str]:
        """Returns what the feed rode out since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Ends the subscription; the last of a process gives back collector and session.

        A start that is still under way gives back what it gets by itself.
        """
        self._is_closed = True
        self._held.close()

    def _remember(self, observations: Iterable[Observation]) -> None:
        for observation in observations:
            if isinstance(observation, Snapshot):
                known = self._snapshots.get(observation.vm)
                if known is None or known.at <= observation.at:
                    self._snapshots[observation.vm] = observation
            elif isinstance(observation, Event):
                self._events.setdefault(observation.vm, {})[observation.key] = observation


def _refuse_twins(moids: Mapping[str, str | None]) -> None:
    """Refuses two references to one machine: it would be judged under two names."""
    keys: dict[str, str] = {}
    for key, moid in moids.items():
        if moid is not None and keys.setdefault(moid, key) != key:
            raise ConfigurationError(f"vms: {keys[moid]!r} and {key!r} are the same virtual machine, {moid}; keep one")
