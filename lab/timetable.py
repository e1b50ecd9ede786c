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
    opened: datetime | None
    """When the gate opened for the work on it: never, if that work has not run."""
    witness: datetime | None
    """When the work on it ran. Work on an earlier machine of the same name does not count."""

    @property
    def good(self) -> bool:
        """Whether the gate may open as far as this machine goes."""
        return self.status in _GOOD

    @property
    def times(self) -> tuple[datetime | None, ...]:
        """All times, in the order in which they must come."""
        return self.powered_on, self.started, self.completed, self.ready, self.opened, self.witness


def rows(resources: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Returns a row per machine of the gate, from the resources of an exported stack."""
    gate: Mapping[str, Any] = {}
    ran: dict[str, datetime | None] = {}
    for resource in resources:
        outputs = resource.get("outputs", {})
        if resource["type"] == GATE:
            gate = outputs
        elif resource["type"] == WITNESS:
            ran[str(outputs.get("vm"))] = _time(outputs.get("ran_at"))
    results: Mapping[str, Any] = gate.get("results") or {}
    last_opened = _time(gate.get("opened_at"))
    all_ready = [moment for moment in (_time(result.get("ready_at")) for result in results.values()) if moment]
    return [
        Row(
            name,
            str(result.get("status")),
            powered_on=_time(result.get("powered_on_at")),
            started=_time(result.get("started_at")),
            completed=_time(result.get("completed_at")),
            ready=_time(result.get("ready_at")),
            opened=_opened(ran.get(result.get("moid")), last_opened, all_ready),
            witness=ran.get(result.get("moid")),
        )
        for name, result in sorted(results.items())
    ]


def _opened(witness: datetime | None, last: datetime | None, ready: list[datetime]) -> datetime | None:
    """Returns when the gate opened for a witness.

    The gate remembers when it opened last. A witness that had run by then was let through by an earlier opening: when
    the last of the machines was ready that it waited for.
    """
    if witness is None:
        return None
    if last is not None and last <= witness:
        return last
    return max((moment for moment in ready if moment <= witness), default=None)


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
            if not other.good or other.ready is None:
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
