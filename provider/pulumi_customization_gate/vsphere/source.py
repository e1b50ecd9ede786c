"""Joins inventory, history and event feed into the observations of one wait."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.errors import ConfigurationError, ServerError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import (
    Event,
    HistoryRead,
    Missing,
    Observation,
    PreviouslyCustomized,
    Snapshot,
    Target,
    VmRef,
    duplicates,
)
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere import diagnosis, history, identity, inventory, login, shared_feed
from pulumi_customization_gate.vsphere.events import explain_end
from pulumi_customization_gate.vsphere.faults import FAULTS
from pulumi_customization_gate.vsphere.session import Session, acquire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pulumi_customization_gate.vsphere.event_feed import EventFeed
    from pulumi_customization_gate.vsphere.references import Reference
    from pulumi_customization_gate.vsphere.settings import VsphereSettings
    from pulumi_customization_gate.vsphere.shared_read import Reading

_log = logging.getLogger(__name__)

FIRST_LOOK = 1.0
"""Seconds that a refresh waits at most until the events since the start were read."""
MOST_NAMES = 3
"""How many VMs a note names."""


class VsphereSource:
    """Observes virtual machines of one vCenter.

    Args:
        settings: Which vCenter, and as whom.
        targets: What names each VM, and the user's key.
        already_ready: Managed object IDs of VMs that are not observed, because an earlier wait found them ready.
        previously_customized: Managed object IDs of VMs that an earlier wait found customized.
        judged_as: The identities of both, as far as they are known: another server, or another VM under the same
            managed object ID, inherits nothing.
    """

    def __init__(
        self,
        settings: VsphereSettings,
        targets: Sequence[Target[Reference]],
        *,
        already_ready: Collection[str] = (),
        previously_customized: Collection[str] = (),
        judged_as: Mapping[str, Identity] = MappingProxyType({}),
    ) -> None:
        self._settings, self._targets, self._judged_as = settings, targets, judged_as
        self._already_ready, self._previously_customized = already_ready, previously_customized
        self.server_id = ""
        """After `start`: the server's instance UUID."""
        self.instance_uuids: dict[str, str] = {}
        """After `start`: the instance UUID of each VM that is not observed."""
        self.already_ready: list[tuple[str | None, str]] = []
        """After `start`: the user's key and the managed object ID of each VM that is not observed."""
        self._queue: queue.SimpleQueue[Observation | str | Exception] = queue.SimpleQueue()
        self._notes: list[str] = []
        self._end: Exception | None = None
        self._is_started = self._is_closed = self._is_slow_noted = False
        self._held = contextlib.ExitStack()
        self._feed: EventFeed | None = None
        self._session: Session | None = None
        self._events: dict[str, dict[int, Event]] = {}
        self._present: Sequence[str] = ()
        """The managed object IDs of all VMs that are observed."""
        self._snapshots: dict[str, Snapshot] = {}
        self._details: dict[str, Snapshot] = {}
        """The newest state of each VM that was read with names and addresses."""
        self._background = Background("customization-gate-refresh", threads=2)
        self._reading: Future[bool] | None = None
        """The last refresh, while it has no answer and nothing has happened since it began."""
        self._read: dict[str, Snapshot] = {}
        """The state with which each VM's history was last read in full: what comes later, the next read reads."""
        self._incomplete: dict[str, str] = {}
        """Why the last read of a VM's history did not return all of it, by managed object ID."""
        self._noted: set[str] = set()
        """The VMs whose history a note has named."""

    def start(self) -> Sequence[VmRef]:
        """Logs in, finds the VMs, subscribes to their events, then reads their state and history."""
        try:
            return self._start()
        finally:
            if self._is_closed:
                self._held.close()

    def _start(self) -> Sequence[VmRef]:
        began = time.monotonic()
        self._held.enter_context(login.unlimited_login(self._settings))
        session = self._session = self._held.enter_context(acquire(self._settings))
        if self._is_closed:
            return []  # The server responded after the wait had ended.
        found = [(target, inventory.find(session, target.reference)) for target in self._targets]
        _reject_duplicates(found)
        located = found
        self.server_id = str(session.about.instanceUuid or "").lower()
        uuids = self._uuids_of_ready(session, found)
        self.already_ready = [(target.key, moid) for target, moid in found if moid and moid in self.instance_uuids]
        found = [(target, moid) for target, moid in found if moid not in self.instance_uuids]
        present = self._present = [moid for _, moid in found if moid is not None]
        feed = self._feed = self._held.enter_context(shared_feed.subscribe(session, present, self._queue.put))
        # A VM that is not customized yet has no final name and address; a later read gets them.
        reading = feed.read(dict.fromkeys(present), details=False)
        self._take(reading)
        snapshots = {snapshot.vm: snapshot for snapshot in reading.snapshots if isinstance(snapshot, Snapshot)}
        uuids.update({vm: (snapshot.instance_uuid, snapshot.bios_uuid) for vm, snapshot in snapshots.items()})
        _reject_others(session, located, uuids)
        for known in present:
            if known in self._previously_customized and not self._is_another(known, uuids.get(known, ("", ""))[0]):
                self._queue.put(PreviouslyCustomized(known))
        for target, moid in found:
            if moid is None:
                at = session.with_retries(session.current_time)
                self._queue.put(inventory.not_found(session, target.reference.given, at))
        names = {vm: snapshot.name for vm, snapshot in snapshots.items()}
        self._notes += session.retries_since(began)
        self._is_started = True
        return [_vm_ref(target, moid, names.get(moid or "")) for target, moid in found]

    def _uuids_of_ready(
        self, session: Session, found: Sequence[tuple[Target[Reference], str | None]]
    ) -> dict[str, Sequence[str]]:
        """Finds out which VMs are still those that were found ready; returns the UUIDs of all that were asked for."""
        listed = {moid: target for target, moid in found if moid is not None and moid in self._already_ready}
        uuids = identity.read_uuids(session, listed)
        for moid, target in listed.items():
            instance_uuid = uuids.get(moid, ("", ""))[0]
            if self._is_another(moid, instance_uuid):
                named = sanitize(target.key or target.reference.given)
                self._notes.append(f"{named}: {moid} is not the VM that was judged before, so it is judged again")
            else:
                self.instance_uuids[moid] = instance_uuid
        return uuids

    def _is_another(self, moid: str, instance_uuid: str) -> bool:
        judged = self._judged_as.get(moid, Identity())
        return judged.differs(Identity(self.server_id, instance_uuid))

    def _take(self, reading: Reading) -> None:
        for event in itertools.chain.from_iterable(reading.events.values()):
            self._queue.put(event)
        for snapshot in reading.snapshots:
            self._queue.put(snapshot)
        complete = reading.events.keys() - reading.incomplete.keys()
        for vm in reading.events:
            if vm in complete:
                self._queue.put(HistoryRead(vm))
                self._incomplete.pop(vm, None)
        self._incomplete.update(reading.incomplete)
        present = [snapshot for snapshot in reading.snapshots if isinstance(snapshot, Snapshot)]
        self._read.update({snapshot.vm: snapshot for snapshot in present if snapshot.vm in complete})
        self._note_incomplete([snapshot for snapshot in present if snapshot.vm in reading.incomplete])

    def _note_incomplete(self, snapshots: Iterable[Snapshot]) -> None:
        """Says once of which VMs the history cannot be read, where the state alone does not decide."""
        fresh = [one for one in snapshots if one.vm not in self._noted and history.leaves_open(one)]
        if not fresh or self._session is None:
            return
        self._noted.update(one.vm for one in fresh)
        names = [sanitize(one.name or one.vm, 80) for one in fresh[:MOST_NAMES]]
        more = f" and {len(fresh) - len(names)} more" if len(fresh) > len(names) else ""
        self._queue.put(
            f"{self._session.settings.server}: not all events of {', '.join(names)}{more} could be read "
            f"({self._incomplete[fresh[0].vm]}), so it is unknown whether an earlier customization failed"
        )

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Waits for the feed; no call to the server is made here."""
        if self._feed is not None and self._queue.empty():
            self._feed.listen()  # What `start` read has been judged.
        items: list[Observation | str | Exception] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait())
            while True:
                items.append(self._queue.get_nowait())
        observations = self._with_details([item for item in items if isinstance(item, Observation)])
        self._notes += (item for item in items if isinstance(item, str))
        self._keep(observations)
        self._end = next((item for item in items if isinstance(item, Exception)), self._end)
        if self._end is not None and not observations:
            raise self._end
        return observations

    def refresh(self, timeout: float) -> bool:
        """Reads state and history in a thread of their own, so that a server that hangs costs no more than the time.

        A read that takes longer goes on, and the next refresh waits for it: another one would begin anew each time.
        """
        feed, session = self._feed, self._session
        if feed is None or session is None:
            return False

        def is_read() -> bool:
            try:
                # An event may show a change, such as a power-off, that the state shows seconds later.
                feed.listen(min(FIRST_LOOK, timeout / 4))
                self._take(feed.read({vm: self._events_known_until(vm) for vm in self._present}))
            except (*FAULTS, ServerError) as error:
                _log.debug("the state could not be read: %s", session.describe(error))
                return False
            return True

        reading = self._reading = self._reading or self._background.submit(is_read)
        if not wait_until_done(reading, time.monotonic() + timeout):
            return False
        self._reading = None
        return reading.result()

    def _events_known_until(self, vm: str) -> datetime | None:
        """Returns until when the events of a VM are known; None where they do not explain its state."""
        read, seen = self._read.get(vm), self._snapshots.get(vm)
        if read is None or seen is None:
            return None
        is_as_read = (seen.progress, seen.booted_at) == (read.progress, read.booted_at)
        if is_as_read or seen.progress is None or not seen.progress.is_end:
            return read.at
        return read.at if explain_end(seen, list(self._events.get(vm, {}).values())) else None

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:  # noqa: ARG002 -- all is known already
        """Explains from what this wait has seen; the server is not asked again."""
        events = self._events.get(vm.id, {}).values()
        return diagnosis.explain(self._snapshots.get(vm.id), events, self._incomplete.get(vm.id, ""))

    def notes(self) -> Sequence[str]:
        """Returns what the feed recovered from since the last call, and that a login takes long."""
        slow = login.slow_login(self._settings)
        if not self._is_started:
            return [slow] if slow and not self._session else []
        if slow and not self._is_slow_noted:
            self._notes.append(slow)
        self._is_slow_noted = bool(slow)
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Ends the subscription; the last of a process releases collector and session.

        A start that is still running releases by itself what it acquires.
        """
        self._is_closed = True
        self._background.close()
        self._held.close()

    def _with_details(self, observations: Sequence[Observation]) -> list[Observation]:
        """Adds the names and addresses that a later read of the same boot left out."""
        for one in observations:
            if isinstance(one, Snapshot) and _has_details(one):
                known = self._details.get(one.vm)
                if known is None or known.at <= one.at:
                    self._details[one.vm] = one
        return [self._detailed(one) if isinstance(one, Snapshot) else one for one in observations]

    def _detailed(self, snapshot: Snapshot) -> Snapshot:
        known = self._details.get(snapshot.vm)
        if known is None or _has_details(snapshot) or known.at > snapshot.at or known.booted_at != snapshot.booted_at:
            return snapshot
        return replace(
            snapshot,
            tools_version=known.tools_version,
            host_name=known.host_name,
            ip_addresses=known.ip_addresses,
        )

    def _keep(self, observations: Iterable[Observation]) -> None:
        for observation in observations:
            if isinstance(observation, Snapshot):
                known = self._snapshots.get(observation.vm)
                if known is None or known.asked_at <= observation.asked_at:
                    self._snapshots[observation.vm] = observation
            elif isinstance(observation, Missing):
                self._snapshots.pop(observation.vm, None)
            elif isinstance(observation, Event):
                events = self._events.setdefault(observation.vm, {})
                if observation.key not in events:
                    self._reading = None  # a read that began before it confirms nothing
                events[observation.key] = observation


def _has_details(snapshot: Snapshot) -> bool:
    return bool(snapshot.tools_version or snapshot.host_name or snapshot.ip_addresses)


def _vm_ref(target: Target[Reference], moid: str | None, name: str | None) -> VmRef:
    given = target.reference.given
    return VmRef(
        key=target.key or name or given,
        id=moid or given,
        name=name or target.key or given,
        given="" if target.key else given,
    )


def _reject_others(
    session: Session, found: Iterable[tuple[Target[Reference], str | None]], uuids: Mapping[str, Sequence[str]]
) -> None:
    """Rejects a VM that is not the one that the caller means: a gate on the wrong vCenter finds others by its IDs."""
    for target, moid in found:
        known = uuids.get(moid or "", ())
        if known and not identity.may_be(known, target.uuid):
            named, server = sanitize(target.key or target.reference.given), session.settings.server
            raise ConfigurationError(
                f"{named}: expected the VM with the UUID {sanitize(target.uuid)}, got {moid} on {server} with the UUID "
                f"{known[1]}. Set {session.settings.called['vsphereServer']} to the vCenter on which the VM is."
            )


def _reject_duplicates(found: Iterable[tuple[Target[Reference], str | None]]) -> None:
    """Rejects two references to one VM: it would be judged under two names."""
    named = [(target.key or target.reference.given, moid) for target, moid in found if moid is not None]
    for first, second in duplicates(named):
        raise ConfigurationError(
            f"expected each VM once, got {first!r} and {second!r}, which are the same VM, {dict(named)[second]}"
        )
