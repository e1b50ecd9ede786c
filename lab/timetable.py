"""Reads out of a stack's state when each thing happened, and judges whether the gate held back what it should."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GATE = "pulumi-python:dynamic/customization:CustomizationGate"
WITNESS = "pulumi-python:dynamic/lab:Witness"
_GOOD = {"CustomizationSucceeded", "NotCustomized"}


@dataclass(frozen=True)
class Row:
    """One virtual machine of the example. A time that did not come, or is not known, is None."""

    name: str
    status: str
    powered_on: datetime | None
    started: datetime | None
    completed: datetime | None
    ready: datetime | None
    witness: datetime | None

    @property
    def times(self) -> tuple[datetime | None, ...]:
        """All times, in the order in which they must come."""
        return self.powered_on, self.started, self.completed, self.ready, self.witness


def rows(resources: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Returns a row per machine of the gate, from the resources of an exported stack."""
    results: dict[str, Any] = {}
    ran: dict[str, datetime | None] = {}
    for resource in resources:
        if resource["type"] == GATE:
            results = resource.get("outputs", {}).get("results") or {}
        elif resource["type"] == WITNESS:
            name = resource["urn"].rsplit("::", 1)[-1]
            ran[name] = _time(resource.get("outputs", {}).get("ran_at"))
    return [
        Row(
            name,
            str(result.get("status")),
            powered_on=_time(result.get("powered_on_at")),
            started=_time(result.get("started_at")),
            completed=_time(result.get("completed_at")),
            ready=_time(result.get("ready_at")),
            witness=ran.get(name),
        )
        for name, result in sorted(results.items())
    ]


def opened(row: Row, table: Iterable[Row]) -> datetime | None:
    """Returns when the gate opened for a machine: when the last of those was ready that its witness waited for."""
    if row.witness is None:
        return None
    return max((other.ready for other in table if other.ready and other.ready <= row.witness), default=None)


def broken(table: list[Row], since: datetime) -> list[str]:
    """Returns what the gate let through: a sentence per breach, none if it did its job.

    Args:
        table: The machines of the gate.
        since: When this run began. A witness that ran in it waited for all machines; an earlier one, whose machine
            was not touched since, for its own.
    """
    breaches = []
    for row in table:
        if row.witness is None:
            continue
        waited_for = table if row.witness >= since else [row]
        for other in waited_for:
            if other.status not in _GOOD or other.ready is None:
                breaches.append(f"{row.name}'s witness ran although {other.name} is {other.status}.")
            elif other.ready > row.witness:
                breaches.append(f"{row.name}'s witness ran before {other.name} was ready.")
        known = [time for time in row.times if time is not None]
        if row.witness >= since and known != sorted(known):
            breaches.append(f"the times of {row.name} are out of order.")
    return breaches


def _time(text: str | None) -> datetime | None:
    # Python 3.10 reads no "Z".
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
