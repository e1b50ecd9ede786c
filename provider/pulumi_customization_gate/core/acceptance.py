"""A failure that a user has accepted, because the VM was repaired by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Acceptance:
    """What a user accepts: one failure of one VM, and no later one."""

    key: str
    """The caller's own key of the VM."""
    reason: str
    failed_at: str | None
    """When the accepted failure happened, in the form of `results`; None where the server did not say."""
    instance_uuid: str = ""
    """The failed VM's, empty where it is not known: its identifier may belong to another VM by now."""
