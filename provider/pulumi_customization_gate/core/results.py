"""The machine-readable form of an outcome: the gate's output `results`, and what the command prints as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from pulumi_customization_gate.core.model import VmOutcome


def result_of(outcome: VmOutcome) -> dict[str, Any]:
    """Returns what is known of one VM, in snake case, with what guests and servers reported sanitized."""
    failure = outcome.failure
    return {
        "name": outcome.name,
        "moid": outcome.id,
        "instance_uuid": outcome.instance_uuid,
        "status": outcome.status.value,
        "evidence": outcome.evidence.value if outcome.evidence else None,
        "powered_on_at": time_of(outcome.powered_on_at),
        "started_at": time_of(outcome.started_at),
        "completed_at": time_of(outcome.completed_at),
        "ready_at": time_of(outcome.ready_at),
        "customization_seconds": outcome.customization_seconds,
        "failure": failure
        and {
            "kind": failure.kind.value,
            "event": sanitize(failure.event),
            "reason": sanitize(failure.reason),
            "message": sanitize(failure.message),
            "log_location": sanitize(failure.log_location),
            "log": [sanitize(line) for line in failure.log],
        },
        "accepted": sanitize(outcome.accepted) or None,
        "host_name": sanitize(outcome.host_name),
        "ip_addresses": [sanitize(address) for address in outcome.ip_addresses],
    }


def time_of(at: datetime | None) -> str | None:
    """Returns a time in ISO 8601, UTC, milliseconds; None where there is none."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def by_key(results: Iterable[tuple[str | None, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Returns results by their keys; one without a key by the VM's name, or by its ID where two VMs share the name.

    Args:
        results: The caller's key, None for none, and what `result_of` returned.
    """
    pairs = list(results)
    names = Counter(result["name"] for _, result in pairs)

    def key_of(key: str | None, result: Mapping[str, Any]) -> str:
        if key is not None:
            return key
        return str(result["name"] if names[result["name"]] == 1 else result["moid"])

    return {key_of(key, result): dict(result) for key, result in pairs}
