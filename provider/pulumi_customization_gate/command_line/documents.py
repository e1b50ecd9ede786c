"""A wait's report as JSON: the names, shapes and times of the gate's own outputs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.report import plain
from pulumi_customization_gate.core.results import result_of, time_of

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import Event, GateReport


def report_document(report: GateReport) -> dict[str, Any]:
    """Returns ready, statuses, results, waited, opened_at and ended_at; keyed as a gate over a list of machines.

    The key of a machine is its name, or its ID where two share the name.
    """
    shared = Counter(outcome.name for outcome in report.outcomes)
    results = {
        plain(outcome.name) if shared[outcome.name] == 1 else outcome.id: result_of(outcome)
        for outcome in report.outcomes
    }
    return {
        "ready": report.ready,
        "statuses": {key: value["status"] for key, value in results.items()},
        "results": results,
        "waited": round(report.waited, 3),
        "opened_at": time_of(report.ended_at) if report.ready else None,
        "ended_at": time_of(report.ended_at),
    }


def event_document(event: Event, name: str) -> dict[str, Any]:
    """Returns one event of a machine's history."""
    return {
        "name": name,
        "moid": event.vm,
        "key": event.key,
        "event": event.name,
        "at": time_of(event.at),
        "reason": plain(event.reason),
        "message": plain(event.message),
        "log_location": plain(event.log_location),
    }
