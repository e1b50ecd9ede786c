"""The report of a wait as JSON: names, forms and times are those of the gate's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.results import by_key, result_of, time_of
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import Event, GateReport


def report_document(report: GateReport) -> dict[str, Any]:
    """Returns ready, statuses, results, wait_seconds, opened_at and ended_at; keyed as a gate over a list of VMs.

    The key of a VM is its name, or its ID where two share the name.
    """
    results = by_key((None, result_of(outcome)) for outcome in report.outcomes)
    return {
        "ready": report.ready,
        "statuses": {key: value["status"] for key, value in results.items()},
        "results": results,
        "wait_seconds": round(report.wait_seconds, 3),
        "opened_at": time_of(report.ended_at) if report.ready else None,
        "ended_at": time_of(report.ended_at),
    }


def event_document(event: Event, name: str) -> dict[str, Any]:
    """Returns one event of a VM."""
    return {
        "name": name,
        "moid": event.vm,
        "key": event.key,
        "event": event.name,
        "at": time_of(event.at),
        "reason": sanitize(event.reason),
        "message": sanitize(event.message),
        "log_location": sanitize(event.log_location),
    }
