"""Reads the results of gates out of JSON: stack outputs, a stack's export, or a report of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.lifecycle.spelling import camel

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATES = ("pulumi-python:dynamic/customization:CustomizationGate", "customization-gate:index:CustomizationGate")
"""The types of a gate: of the dynamic provider, and of the native one, whose properties are in camel case."""
_SCRIPTS = ("pulumi-python:dynamic/customization:GuestScript", "customization-gate:index:GuestScript")
_GOOD = frozenset({"CustomizationSucceeded", "NotCustomized"})
_ENDED_BADLY = frozenset({"CustomizationFailed", "VmRemoved"})
_LONGEST_NAME = 80
_CLOCK_RESOLUTION = timedelta(seconds=1)
"""The tolerance for a server that reports whole seconds."""
_KINDS = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (Mapping, "an object"),
    (list, "an array"),
)


@dataclass(frozen=True)
class VmTimes:
    """The times of one VM; a time that is not known is None."""

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
        """Whether the gate could open if all other VMs were ready."""
        return self.status in _GOOD and not self.failure

    @property
    def has_failed(self) -> bool:
        """Whether it failed; a VM that is neither good nor failed was not finished."""
        return self.status in _ENDED_BADLY or (self.status in _GOOD and not self.is_good)

    @property
    def times(self) -> list[datetime]:
        """The times that are known."""
        return [time for time in (self.powered_on, self.started, self.completed, self.ready) if time is not None]


@dataclass(frozen=True)
class Work:
    """The last run of a script that waited for a gate."""

    began: datetime
    ended: datetime


@dataclass(frozen=True)
class Wait:
    """The VMs of one gate, and the work that waited for it."""

    name: str
    vms: tuple[VmTimes, ...]
    opened: datetime | None = None
    """When the gate opened; None if it stayed closed."""
    ended: datetime | None = None
    """The last known time of the wait."""
    work: tuple[Work, ...] = ()


def waits(document: object) -> list[Wait]:
    """Returns the gates whose results are anywhere in a JSON document, whatever its shape.

    Raises:
        ConfigurationError: If it has no results, or what is in an export or in results is not what belongs there.
    """
    found = list(_found(document))
    if not found:
        raise ConfigurationError(
            "this JSON has no results of a gate. Export the gate's output `results` "
            '(pulumi.export("results", gate.results)), or use the whole `pulumi stack export`'
        )
    return found


def _found(document: object) -> Iterator[Wait]:
    deployment = document.get("deployment") if isinstance(document, Mapping) else None
    if not isinstance(deployment, Mapping):
        yield from (_wait(*one) for one in _search(document, ""))
        return
    resources = deployment.get("resources")
    if resources is None:
        return
    for number, resource in enumerate(_expect(list, resources, "deployment.resources", "an array")):
        _expect(Mapping, resource, f"deployment.resources[{number}]", "an object")
    current = [resource for resource in resources if not resource.get("delete")]
    scripts = [resource for resource in current if resource.get("type") in _SCRIPTS]
    for gate in (resource for resource in current if resource.get("type") in _GATES):
        urn = gate.get("urn")
        work = [script for script in scripts if urn in _list(script.get("dependencies"))]
        for one in _search(gate.get("outputs"), _name(gate)):
            yield replace(_wait(*one), work=tuple(run for script in work if (run := _work(script)) is not None))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(resource: Mapping[str, Any]) -> str:
    urn = resource.get("urn")
    return urn.rsplit("::", 1)[-1] if isinstance(urn, str) else ""


def _work(script: Mapping[str, Any]) -> Work | None:
    """Returns the last run of a script; None if it is not known when it ran."""
    outputs = script.get("outputs")
    if not isinstance(outputs, Mapping) or outputs.get("seconds") is None:
        return None
    name = sanitize(_name(script), _LONGEST_NAME)
    began = _time(outputs, "started_at", name)
    seconds = _expect((int, float), outputs["seconds"], _path(name, "seconds"), "a number of seconds")
    try:
        return None if began is None else Work(began, began + timedelta(seconds=max(seconds, 0)))
    except (OverflowError, ValueError):  # ValueError: not a number
        raise ConfigurationError(
            f"{_path(name, 'seconds')}: expected a number of seconds, got one out of range"
        ) from None


def _search(value: object, name: str) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yields what looks like the output `results`; without recursion, because JSON can be nested to any depth."""
    left = [(name, value)]
    while left:
        name, value = left.pop()
        if not isinstance(value, Mapping):
            continue
        if _are_results(value):
            yield name, value, {}
        elif _are_results(value.get("results")):
            yield name, value["results"], value
        else:
            left += [(str(key), child) for key, child in reversed(list(value.items()))]


def _are_results(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(result, Mapping) and "status" in result and {"powered_on_at", "poweredOnAt"} & result.keys()
            for result in value.values()
        )
    )


def _wait(name: str, results: Mapping[str, Any], beside: Mapping[str, Any]) -> Wait:
    gate = sanitize(name, _LONGEST_NAME)
    vms = tuple(_vm(str(key), result) for key, result in sorted(results.items(), key=_naturally))
    times = [time for vm in vms for time in vm.times]
    opened = _time(beside, "opened_at", gate)
    if opened is None and all(vm.is_good for vm in vms):
        ready = (vm.ready or vm.completed for vm in vms)
        opened = max((time for time in ready if time is not None), default=None)
    if opened is not None and times and opened < min(times) - _CLOCK_RESOLUTION:
        raise ConfigurationError(
            f"{_path(gate, 'opened_at')}: expected a time after the first power-on of its VMs, "
            f"{min(times).isoformat()}, got {opened.isoformat()}"
        )
    known = [time for time in (*times, opened, _time(beside, "ended_at", gate)) if time is not None]
    return Wait(gate, vms, opened, max(known, default=None))


def _naturally(item: tuple[str, Any]) -> list[tuple[bool, int, str]]:
    """Orders web-2 before web-10, without int(), which refuses more than 4300 digits."""
    parts = re.split(r"([0-9]+)", str(item[0]))
    return [
        (False, len(part.lstrip("0")), part.lstrip("0")) if number % 2 else (True, 0, part)
        for number, part in enumerate(parts)
    ]


def _vm(key: str, result: Mapping[str, Any]) -> VmTimes:
    name = sanitize(key, _LONGEST_NAME)
    failure = result.get("failure")
    event = failure.get("event") or failure.get("kind") or "failed" if isinstance(failure, Mapping) else ""
    return VmTimes(
        name=name,
        status=_text(result["status"], f"{name}.status"),
        powered_on=_time(result, "powered_on_at", name),
        started=_time(result, "started_at", name),
        completed=_time(result, "completed_at", name),
        ready=_time(result, "ready_at", name),
        failure=_text(event, f"{name}.failure.event"),
    )


def _text(value: object, where: str) -> str:
    return sanitize(_expect(str, value, where, "a string"), _LONGEST_NAME)


def _time(values: Mapping[str, Any], key: str, of: str) -> datetime | None:
    """Returns a time in UTC, or None if it is null, empty or missing."""
    value = values.get(key, values.get(camel(key)))
    if value is None or value == "":
        return None
    where, wanted = _path(of, key), "an ISO 8601 time such as 2026-11-20T12:00:00Z"
    text = _expect(str, value, where, wanted)
    try:
        # Python 3.10 does not read "Z".
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{where}: expected {wanted}, got {sanitize(text, 40)!r}") from None


def _path(of: str, key: str) -> str:
    return f"{of}.{key}" if of else key


def _expect(kind: type | tuple[type, ...], value: Any, where: str, wanted: str) -> Any:
    """Returns a value of a kind.

    Raises:
        ConfigurationError: If it is of another kind, which the message names.
    """
    if isinstance(value, kind):
        return value
    got = next((name for types, name in _KINDS if isinstance(value, types)), "null")
    raise ConfigurationError(f"{where}: expected {wanted}, got {got}")
