"""Reads state and history of virtual machines, once for all gates that ask at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.batched import Batched
from pulumi_customization_gate.vsphere import history

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, Missing, Snapshot
    from pulumi_customization_gate.vsphere.session import Session


@dataclass(frozen=True)
class Reading:
    """State and history of virtual machines; the history was read after the state."""

    snapshots: Sequence[Snapshot | Missing]
    events: Mapping[str, Sequence[Event]]
    """By managed object ID, for those whose events were asked for."""
    incomplete: Mapping[str, str]
    """Why not all events of a VM could be read, by managed object ID."""


@dataclass(frozen=True)
class _Request:
    known: Mapping[str, datetime | None]
    details: bool


class SharedRead:
    """Reads for all subscribers of an event feed.

    Args:
        session: The session on which it reads.
        read_state: Reads the state of virtual machines; see `inventory.read`.
    """

    def __init__(
        self, session: Session, read_state: Callable[[Iterable[str], bool], Sequence[Snapshot | Missing]]
    ) -> None:
        self._session, self._read_state = session, read_state
        self._reads: Batched[_Request, _Answer] = Batched(self._read)

    def read(self, known: Mapping[str, datetime | None], *, details: bool = True) -> Reading:
        """Reads the state and the events that can still decide; both are newer than this call.

        Args:
            known: The managed object IDs, each with the server's time until which its events are known; None where
                none are.
            details: Whether host name, addresses and the version of VMware Tools are wanted, too.

        Raises:
            ServerError: If the server does not respond.
        """
        answer = self._reads.ask(_Request(known, details))
        return Reading(
            [answer.snapshots[vm] for vm in known if vm in answer.snapshots],
            {vm: answer.histories.events[vm] for vm in known if vm in answer.histories.events},
            {vm: why for vm, why in answer.histories.incomplete.items() if vm in known},
        )

    def _read(self, requests: Collection[_Request]) -> _Answer:
        known: dict[str, datetime | None] = {}
        for request in requests:
            for vm, until in request.known.items():
                before = known.get(vm, until)
                known[vm] = None if before is None or until is None else min(before, until)
        details = any(request.details for request in requests)
        snapshots = self._session.with_retries(lambda: self._read_state(known, details))
        histories = history.read(self._session, snapshots, known)
        return _Answer({snapshot.vm: snapshot for snapshot in snapshots}, histories)


@dataclass(frozen=True)
class _Answer:
    snapshots: Mapping[str, Snapshot | Missing]
    histories: history.Histories
