"""A wait's report as JSON: the names, shapes and times of the gate's own outputs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.report import plain

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.model import Event, GateReport, VmOutcome


def report_document(report: GateReport) -> dict[str, Any]:
    """Returns ready, statuses, results, waited, opened_at and ended_at; keyed as a gate over a list of machines.

    The key of a machine is its name, or its ID where two share the name.
    """
    shared = Counter(outcome.name for outcome in report.outcomes)
    results = {
        plain(outcome.name) if shared[outcome.name] == 1 else outcome.id: result(outcome) for outcome in report.outcomes
    }
    return {
        "ready": report.ready,
        "statuses": {key: value["status"] for key, value in results.items()},
        "results": results,
        "waited": round(report.waited, 3),
        "opened_at": time(report.ended_at) if report.ready else None,
        "ended_at": time(report.ended_at),
    }


def result(outcome: VmOutcome) -> dict[str, Any]:
    """Returns what the gate's output `results` says of one machine."""
    failure = outcome.failure
    return {
        "name": outcome.name,
        "moid": outcome.id,
        "status": outcome.status.value,
        "evidence": outcome.evidence.value if outcome.evidence else None,
        "powered_on_at": time(outcome.powered_on_at),
        "started_at": time(outcome.started_at),
        "completed_at": time(outcome.completed_at),
        "ready_at": time(outcome.ready_at),
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


def event_document(event: Event, name: str) -> dict[str, Any]:
    """Returns one event of a machine's history."""
    return {
        "name": name,
        "moid": event.vm,
        "key": event.key,
        "event": event.name,
        "at": time(event.at),
        "reason": plain(event.reason),
        "message": plain(event.message),
        "log_location": plain(event.log_location),
    }


def time(at: datetime | None) -> str | None:
    """Returns a time as the gate's outputs write it: ISO 8601, UTC, milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
