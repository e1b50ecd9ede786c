"""The machine-readable form of an outcome: the gate's output `results`, and what the command prints as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.report import plain

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.model import VmOutcome


def result_of(outcome: VmOutcome) -> dict[str, Any]:
    """Returns what is known of one machine, in snake case, with what guests and servers said made plain."""
    failure = outcome.failure
    return {
        "name": outcome.name,
        "moid": outcome.id,
        "status": outcome.status.value,
        "evidence": outcome.evidence.value if outcome.evidence else None,
        "powered_on_at": time_of(outcome.powered_on_at),
        "started_at": time_of(outcome.started_at),
        "completed_at": time_of(outcome.completed_at),
        "ready_at": time_of(outcome.ready_at),
        "seconds": outcome.seconds,
        "failure": failure
        and {
            "event": failure.event,
            "reason": plain(failure.reason),
            "message": plain(failure.message),
            "log_location": plain(failure.log_location),
        },
        "host_name": plain(outcome.host_name),
        "ip_addresses": [plain(address) for address in outcome.ip_addresses],
    }


def time_of(at: datetime | None) -> str | None:
    """Returns a time in ISO 8601, UTC, milliseconds; None where there is none."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
