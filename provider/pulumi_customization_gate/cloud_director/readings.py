"""The requests that tell of a machine. Each blocks; the source runs them on the session's threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.cloud_director.vocabulary import DISABLED, progress_of
from pulumi_customization_gate.core.errors import ApiError
from pulumi_customization_gate.core.model import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.cloud_director.representations import Machine
    from pulumi_customization_gate.cloud_director.session import Session

BATCH = 50
"""Machines in one query: its filter stands in the address, which some proxies cut at 4 KiB."""
_SMALL = 64 * 1024
_GONE = (403, 404)
_BEGUN = (Progress.RUNNING, Progress.SUCCEEDED, Progress.FAILED)
"""What cannot be reported of a VM whose guest customization is not enabled."""


@dataclass(frozen=True)
class State:
    """The customization state of one machine."""

    word: str
    """The server's word."""
    at: datetime
    enabled: bool | None = None
    """Whether guest customization is enabled; None where that was not asked, or this user may not know."""
    asked: bool = False
    """Whether that was asked."""

    @property
    def state(self) -> str:
        """The server's word, or ours where nothing is ever to come."""
        return DISABLED if self.enabled is False else self.word


@dataclass(frozen=True)
class Gone:
    """The server does not know the machine, or does not show it to this user."""

    message: str


def read_state(session: Session, vm: str, *, ask_enabled: bool) -> State | Gone:
    """Reads the state, and where it could be that nothing was ever asked for, whether customization is enabled.

    Args:
        session: The login.
        vm: `vm-{uuid}`.
        ask_enabled: Whether it is still open if customization is enabled.

    Raises:
        ServerError: If the server does not answer well.
    """
    path = f"/api/vApp/{vm}/guestcustomizationstatus"
    try:
        answer, word = session.read(path, representations.guest_status, _SMALL)
    except ApiError as error:
        if error.status in _GONE and error.code:
            return _confirm(session, vm, error)
        raise
    if not ask_enabled or progress_of(word) in _BEGUN:
        return State(word, answer.at)
    return State(word, answer.at, read_enabled(session, vm), asked=True)


def read_enabled(session: Session, vm: str) -> bool | None:
    """Returns whether guest customization is enabled; None where this user may not know."""
    path = f"/api/vApp/{vm}/guestCustomizationSection/"
    try:
        return session.read(path, representations.is_customization_enabled)[1]
    except ApiError as error:
        if error.status in _GONE:
            return None
        raise


def read_machines(session: Session, vms: Sequence[str]) -> Mapping[str, tuple[datetime, Machine]]:
    """Returns what the inventory says of machines, by one query; a machine that is gone is left out.

    Where the query tells nothing of a machine, the machine's own document tells its name and power state.
    """
    filters = ",".join(f"id==urn:vcloud:vm:{vm.removeprefix('vm-')}" for vm in vms)
    # A provider's administrator sees the tenants' machines in records of another type, which do not tell Tools.
    kind = "adminVM" if session.is_provider else "vm"
    path = f"/api/query?type={kind}&format=records&pageSize={BATCH}&filter=({filters})"
    found: dict[str, tuple[datetime, Machine]] = {}
    try:
        answer, records = session.read(path, representations.records)
        found = {vm: (answer.at, records[vm]) for vm in vms if vm in records}
    except ApiError as error:
        if error.status not in _REFUSED:
            raise
    for vm in vms:
        if vm not in found:
            try:
                answer, machine = session.read(f"/api/vApp/{vm}", representations.machine)
            except ApiError as error:
                if error.status not in _GONE:
                    raise
            else:
                found[vm] = (answer.at, machine)
    return found


def read_vapp(session: Session, vapp: str) -> Sequence[Machine]:
    """Returns the machines of a vApp.

    Raises:
        ServerError: If the server does not answer well; ApiError with status 403 or 404 if it does not know the vApp.
    """
    return session.read(f"/api/vApp/{vapp}", representations.machines_of_vapp)[1]


_REFUSED = (400, 403, 404)


def _confirm(session: Session, vm: str, refusal: ApiError) -> Gone:
    """Asks for the machine itself: a right that is missing on its status alone must not count as its removal."""
    try:
        session.get(f"/api/vApp/{vm}")
    except ApiError as error:
        if error.status in _GONE and error.code:
            return Gone(f"no such machine, or no right to see it: {error}")
        raise
    raise refusal
