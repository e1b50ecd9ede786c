"""Cloud Director's words for the customization of a VM, and what each means for the gate."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.status import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

DISABLED = "GC_DISABLED"
"""Our word for a VM whose guest customization is not enabled: Cloud Director's status has none for it."""

STATES: Mapping[str, Progress] = MappingProxyType(
    {
        DISABLED: Progress.DISABLED,
        "GC_PENDING": Progress.PENDING_OR_RUNNING,
        "REBOOT_PENDING": Progress.RUNNING,
        "POST_GC_PENDING": Progress.RUNNING,
        "GC_COMPLETE": Progress.SUCCEEDED,
        "GC_FAILED": Progress.FAILED,
    }
)
"""`GuestCustStatus` (VMware Cloud Director API, GET /vApp/{id}/guestcustomizationstatus), and ours."""


def progress_of(state: str) -> Progress | None:
    """Returns what a state means, None where the server has not reported one yet."""
    return STATES.get(state, Progress.UNKNOWN) if state else None
