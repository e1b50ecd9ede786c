"""The requests that read VMs. Each blocks; the poller runs them on the session's threads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.cloud_director.vocabulary import DISABLED, progress_of
from pulumi_customization_gate.core.errors import ApiError
from pulumi_customization_gate.core.status import FailureKind, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.cloud_director.representations import InventoryVm
    from pulumi_customization_gate.cloud_director.session import Session

BATCH = 50
"""VMs in one query: its filter is part of the URL, which some proxies cut at 4 KiB."""
_SMALL = 64 * 1024
_REFUSED = (403, 404)
_QUERY_REFUSED = (400, 403, 404)
_FORBIDDEN = 403
_STARTED = (Progress.RUNNING, Progress.SUCCEEDED, Progress.FAILED)
"""What cannot be reported of a VM whose guest customization is not enabled."""
_RIGHTS = re.compile(r"following rights \[([^\]]*)\]")
"""The rights that a 403 names. It names `Base`, which every user has, where the VM itself is not there."""


@dataclass(frozen=True)
class CustomizationState:
    """The customization state of one VM."""

    word: str
    """The server's word."""
    at: datetime
    """The server's time."""
    enabled: bool | None = None
    """Whether guest customization is enabled; None where that was not read, or this user may not read it."""
    enabled_was_read: bool = False

    @property
    def state(self) -> str:
        """The server's word, or ours where no customization can come."""
        return DISABLED if self.enabled is False else self.word


@dataclass(frozen=True)
class Refusal:
    """The server does not have the VM, or does not let this user read it."""

    kind: FailureKind
    """NOT_FOUND or NO_PERMISSION."""
    message: str
    at: datetime
    """The server's time."""


def read_state(session: Session, vm: str, *, read_enabled: bool) -> CustomizationState | Refusal:
    """Reads the state, and where no customization may have been requested, whether guest customization is enabled.

    Args:
        session: The login.
        vm: `vm-{uuid}`.
        read_enabled: Whether it is still open if guest customization is enabled.

    Raises:
        ServerError: If the server does not answer well.
    """
    path = f"/api/vApp/{vm}/guestcustomizationstatus"
    try:
        answer, word = session.read(path, representations.guest_status, _SMALL)
    except ApiError as error:
        if error.status in _REFUSED and error.code:
            return _refusal_of_state(session, vm, error)
        raise
    if not read_enabled or progress_of(word) in _STARTED:
        return CustomizationState(word, answer.at)
    return CustomizationState(word, answer.at, _is_enabled(session, vm), enabled_was_read=True)


def read_inventory(session: Session, vms: Sequence[str]) -> Mapping[str, tuple[datetime, InventoryVm]]:
    """Returns what the inventory reports of VMs, by one query; a VM that is not there is left out.

    Where the query does not report a VM, the VM's own document has its name and power state.
    """
    filters = ",".join(f"id==urn:vcloud:vm:{vm.removeprefix('vm-')}" for vm in vms)
    # A provider's administrator sees the tenants' VMs in records of another type, which do not report VMware Tools.
    kind = "adminVM" if session.is_provider else "vm"
    path = f"/api/query?type={kind}&format=records&pageSize={BATCH}&filter=({filters})"
    found: dict[str, tuple[datetime, InventoryVm]] = {}
    try:
        answer, records = session.read(path, representations.records)
        found = {vm: (answer.at, records[vm]) for vm in vms if vm in records}
    except ApiError as error:
        if error.status not in _QUERY_REFUSED:
            raise
    for vm in vms:
        if vm not in found:
            try:
                answer, document = session.read(f"/api/vApp/{vm}", representations.vm)
            except ApiError as error:
                if error.status not in _REFUSED:
                    raise
            else:
                found[vm] = (answer.at, document)
    return found


def read_vapp(session: Session, vapp: str) -> Sequence[InventoryVm] | Refusal:
    """Returns the VMs in a vApp.

    Raises:
        ServerError: If the server does not answer well.
    """
    try:
        return session.read(f"/api/vApp/{vapp}", representations.vms_of_vapp)[1]
    except ApiError as error:
        if error.status in _REFUSED and error.code:
            return _refusal(session, "vApp", error)
        raise


def _is_enabled(session: Session, vm: str) -> bool | None:
    """Returns whether guest customization is enabled; None where this user may not read it."""
    path = f"/api/vApp/{vm}/guestCustomizationSection/"
    try:
        return session.read(path, representations.is_customization_enabled)[1]
    except ApiError as error:
        if error.status in _REFUSED:
            return None
        raise


def _refusal_of_state(session: Session, vm: str, error: ApiError) -> Refusal:
    """Returns why a status cannot be read, by a look at the VM itself: a right may be missing on the status alone."""
    try:
        session.get(f"/api/vApp/{vm}")
    except ApiError as refusal:
        if refusal.status in _REFUSED and refusal.code:
            return _refusal(session, "VM", refusal)
        raise
    if error.status != _FORBIDDEN:
        raise error
    message = f"the user may read the VM and not its guest customization status: {error}"
    return Refusal(FailureKind.NO_PERMISSION, message, session.server_time)


def _refusal(session: Session, noun: str, error: ApiError) -> Refusal:
    match = _RIGHTS.search(str(error)) if error.status == _FORBIDDEN else None
    rights = {right.strip() for right in match[1].split(",")} if match else set()
    if rights - {"Base", ""}:
        return Refusal(FailureKind.NO_PERMISSION, f"the user may not read the {noun}: {error}", session.server_time)
    message = f"no such {noun}, or it is hidden from the user: {error}"
    return Refusal(FailureKind.NOT_FOUND, message, session.server_time)
