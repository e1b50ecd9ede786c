"""Reads the times of an example run from the stack's state, and checks that the gate held back the work behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GATE = "pulumi-python:dynamic/customization:CustomizationGate"
WORK = {
    "pulumi-python:dynamic/customization:GuestScript": "started_at",
    "pulumi-python:dynamic/lab:OrderProbe": "ran_at",
}
"""The types of work behind a gate, and the output that holds the time at which each ran."""
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
    work: datetime | None
    """When the work on it ran. Work on an earlier VM of the same name does not count."""
    output: str = ""
    """The first line of the work's output."""
    moid: str = ""
    """The server's own identifier of the VM."""

    @property
    def good(self) -> bool:
        """Whether the gate may open as far as this VM is concerned."""
        return self.status in _GOOD

    @property
    def times(self) -> tuple[datetime | None, ...]:
        """All times, in the order in which they must come."""
        return self.powered_on, self.started, self.completed, self.ready, self.opened, self.work


def rows(resources: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Returns a row per VM of the gate, from the resources of an exported stack."""
    gate: Mapping[str, Any] = {}
    ran: dict[str, datetime | None] = {}
    output: dict[str, str] = {}
    for resource in resources:
        outputs = resource.get("outputs", {})
        if resource["type"] == GATE:
            gate = outputs
        elif resource["type"] in WORK:
            ran[str(outputs.get("vm"))] = _time(outputs.get(WORK[resource["type"]]))
            output[str(outputs.get("vm"))] = next(iter(str(outputs.get("stdout") or "").splitlines()), "")
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
            work=ran.get(result.get("moid")),
            output=output.get(str(result.get("moid")), ""),
            moid=str(result.get("moid")),
        )
        for name, result in sorted(results.items())
    ]


def _opened(work: datetime | None, last: datetime | None, ready: list[datetime]) -> datetime | None:
    """Returns when the gate opened for work behind it.

    The gate remembers when it opened last. Work that had run by then was let through by an earlier opening: when
    the last of the VMs was ready that it waited for.
    """
    if work is None:
        return None
    if last is not None and last <= work:
        return last
    return max((moment for moment in ready if moment <= work), default=None)


def broken(table: list[Row], since: datetime, resolution: timedelta = timedelta()) -> list[str]:
    """Returns a sentence per case in which work ran too early; none if the gate worked.

    Args:
        table: The VMs of the gate.
        since: When this run began. Work that ran in it waited for all VMs; earlier work, on a VM that was
            not touched since, for its own.
        resolution: How coarse the coarsest clock is: times that are closer to each other have no order.
    """
    breaches = []
    for row in table:
        if row.work is None:
            continue
        waited_for = table if row.work >= since else [row]
        for other in waited_for:
            if other.good and other.ready is None:
                breaches.append(
                    f"the work on {row.name} ran although nothing but the gate says that {other.name} was ready."
                )
            elif not other.good or other.ready is None:
                breaches.append(f"the work on {row.name} ran although {other.name} is {other.status}.")
            elif other.ready > row.work:
                breaches.append(f"the work on {row.name} ran before {other.name} was ready.")
        known = [time for time in row.times if time is not None]
        if row.work >= since and any(later + resolution < earlier for earlier, later in pairwise(known)):
            breaches.append(f"the times of {row.name} are out of order.")
    return breaches


def _time(text: str | None) -> datetime | None:
    # Python 3.10 reads no "Z".
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
