"""Reads the end of a guest's customization log, by guest operations: what happened in the guest is nowhere else."""

from __future__ import annotations

import codecs
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.session import acquire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

_log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that reading all logs may take."""
LINES = 40
"""Lines of a log that are kept, the last ones."""
MOST_GUESTS = 16
"""Guests whose logs are read; where more have failed, the others have most likely failed for the same reason."""
_LARGEST = 256 * 1024
_LINUX = ("/var/log/vmware-imc/toolsDeployPkg.log",)
_WINDOWS = (
    "C:\\Windows\\Temp\\vmware-imc\\guestcust.log",
    "C:\\Windows\\Panther\\UnattendGC\\setuperr.log",
    "C:\\Windows\\Panther\\setuperr.log",
)


@dataclass(frozen=True)
class GuestLog:
    """The end of a log in a guest."""

    path: str
    lines: tuple[str, ...]
    """Sanitized, the newest last."""


def read_logs(
    settings: VsphereSettings,
    credentials: GuestCredentials,
    moids: Sequence[str],
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, list[GuestLog]]:
    """Returns the logs of each guest that lets its log be read within TIMEOUT; the others are left out.

    Args:
        settings: Which vCenter, and as whom.
        credentials: Who reads in the guests.
        moids: The VMs' managed object IDs.
        cancelled: Whether the user has cancelled the work.
    """
    deadline = Deadline(TIMEOUT, cancelled)
    readers = Background("guest-log", threads=MOST_GUESTS)
    try:
        with acquire(settings) as session:

            def read(moid: str) -> list[GuestLog]:
                logs: list[GuestLog] = []
                try:
                    guest = Guest(session, moid, credentials, deadline)
                    if guest.is_powered_on:
                        guest.check_login()
                        for path in _WINDOWS if guest.is_windows else _LINUX:
                            logs += _read(guest, path, credentials.password)
                except GateError as error:
                    _log.debug("%s: logs cannot be read: %s", moid, error)
                return logs

            chosen = moids[:MOST_GUESTS]
            found = dict(zip(chosen, readers.map(read, chosen), strict=True))
    except GateError as error:
        _log.debug("%s: guest logs cannot be read: %s", settings.server, error)
        return {}
    finally:
        readers.close()
    return {moid: logs for moid, logs in found.items() if logs}


def _read(guest: Guest, path: str, secret: str) -> list[GuestLog]:
    """Returns the log, or nothing where the guest does not have it or does not give it."""
    try:
        content = guest.download(path, _LARGEST, keeps_end=True)
    except GateError as error:
        _log.debug("%s: %s cannot be read: %s", guest, path, error)
        return []
    lines = [sanitize(line.replace(secret, "[secret]")) for line in _decoded(content).splitlines()]
    kept = tuple(line for line in lines if line)[-LINES:]
    return [GuestLog(path, kept)] if kept else []


def _decoded(content: bytes) -> str:
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
