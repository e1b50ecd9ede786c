"""Reads the results of gates out of JSON: stack outputs, a stack's export, or a report of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.report import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

GATE = "pulumi-python:dynamic/customization:CustomizationGate"
_GOOD = frozenset({"CustomizationSucceeded", "NotCustomized"})
_ENDED_BADLY = frozenset({"CustomizationFailed", "VmRemoved"})
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Machine:
    """What happened to one machine; a time that is not known is None."""

    name: str
    status: str
    powered_on: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    ready: datetime | None = None
    failure: str = ""
    """The failure's event, for example CustomizationSysprepFailed."""

    @property
    def is_good(self) -> bool:
        """Whether the gate could open as far as this machine goes."""
        return self.status in _GOOD and not self.failure

    @property
    def has_failed(self) -> bool:
        """Whether its end is a bad one; one that is neither good nor failed was still on its way."""
        return self.status in _ENDED_BADLY or (self.status in _GOOD and not self.is_good)

    @property
    def times(self) -> list[datetime]:
        """The times that are known."""
        return [time for time in (self.powered_on, self.started, self.completed, self.ready) if time is not None]


@dataclass(frozen=True)
class Wait:
    """The machines of one gate."""

    name: str
    machines: tuple[Machine, ...]
    opened: datetime | None = None
    """When the gate opened; None if it stayed closed."""
    ended: datetime | None = None
    """The last moment that is known."""


def waits(document: object) -> list[Wait]:
    """Returns the gates whose results stand anywhere in a document.

    Raises:
        ConfigurationError: If there are none, or a time in them is not one.
    """
    found = list(_gates_of_export(document) if _is_export(document) else _search(document, ""))
    if not found:
        raise ConfigurationError(
            "there are no results of a gate in this JSON. Export the gate's output `results` "
            '(pulumi.export("results", gate.results)), or give the whole `pulumi stack export`'
        )
    return found


def _is_export(document: object) -> bool:
    return isinstance(document, Mapping) and isinstance(document.get("deployment"), Mapping)


def _gates_of_export(document: Any) -> Iterator[Wait]:
    for resource in document["deployment"].get("resources") or ():
        outputs = resource.get("outputs")
        if resource.get("type") == GATE and not resource.get("delete") and isinstance(outputs, Mapping):
            yield from _search(outputs, str(resource.get("urn", "")).rsplit("::", 1)[-1])


def _search(value: object, name: str) -> Iterator[Wait]:
    """Yields what looks like the output `results` of a gate, and the times that stand beside it."""
    if not isinstance(value, Mapping):
        return
    if _are_results(value):
        yield _wait(name, value, {})
    elif _are_results(value.get("results")):
        yield _wait(name, value["results"], value)
    else:
        for key, child in value.items():
            yield from _search(child, str(key))


def _are_results(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(result, Mapping) and {"status", "powered_on_at"} <= result.keys() for result in value.values()
        )
    )


def _wait(name: str, results: Mapping[str, Any], beside: Mapping[str, Any]) -> Wait:
    machines = tuple(_machine(str(key), result) for key, result in sorted(results.items(), key=_naturally))
    opened = _time(beside.get("opened_at"))
    if opened is None and all(machine.is_good for machine in machines):
        ready = (machine.ready or machine.completed for machine in machines)
        opened = max((time for time in ready if time is not None), default=None)
    times = [time for machine in machines for time in machine.times]
    known = [time for time in (*times, opened, _time(beside.get("ended_at"))) if time is not None]
    return Wait(plain(name, _LONGEST_NAME), machines, opened, max(known, default=None))


def _naturally(item: tuple[str, Any]) -> list[tuple[bool, int, str]]:
    """Orders web-2 before web-10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", item[0])]


def _machine(key: str, result: Mapping[str, Any]) -> Machine:
    failure = result.get("failure")
    return Machine(
        name=plain(key, _LONGEST_NAME),
        status=plain(str(result.get("status")), _LONGEST_NAME),
        powered_on=_time(result.get("powered_on_at")),
        started=_time(result.get("started_at")),
        completed=_time(result.get("completed_at")),
        ready=_time(result.get("ready_at")),
        failure=plain(str(failure.get("event") or "failed"), _LONGEST_NAME) if isinstance(failure, Mapping) else "",
    )


def _time(value: object) -> datetime | None:
    if not value:
        return None
    try:
        # Python 3.10 reads no "Z".
        at = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise ConfigurationError(
            f"{plain(str(value), 40)!r} is no time; wanted is ISO 8601 as a gate writes it"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
