"""Turns vCenter's events into observations, and says which events are asked for."""

from __future__ import annotations

import time
from datetime import timezone
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.facts import END_OF
from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.core.status import Signal
from pulumi_customization_gate.vsphere.vocabulary import EVENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from pulumi_customization_gate.core.model import Snapshot

PAGE = 1000
"""The most events that vCenter returns in one answer (EventManager.QueryEvents, ReadNextEvents)."""

_OF_A_RUN = (
    Signal.VM_STARTING,
    Signal.VM_POWERED_ON,
    Signal.CUSTOMIZATION_STARTED,
    Signal.CUSTOMIZATION_SUCCEEDED,
    Signal.CUSTOMIZATION_FAILED,
)


def moid_of(entity: Any) -> str:
    """Returns the managed object ID of a pyVmomi reference."""
    return str(entity._GetMoId())  # noqa: SLF001 -- pyVmomi has no public name for it


def event_filter(
    begin: datetime | None,
    end: datetime | None = None,
    entity: Any = None,
    *,
    kinds: Collection[str] = EVENTS,
    count: int | None = PAGE,
) -> Any:
    """Returns a filter for the events that a verdict needs, always bounded by type and never by a local clock.

    Args:
        begin: The server's time of the oldest event, None for all there are.
        end: The server's time of the newest event, None for no bound.
        entity: The folder or VM that the events must be about, None for all that the user may see.
        kinds: The classes of the events.
        count: The most events of one answer, at most PAGE; None for a collector, which has a page size instead.
    """
    spec = vim.event.EventFilterSpec
    scope = None if entity is None else spec.ByEntity(entity=entity, recursion="all")
    return spec(
        eventTypeId=list(kinds),
        time=spec.ByTime(beginTime=begin, endTime=end),
        entity=scope,
        disableFullMessage=False,
        maxCount=count,
    )


def observations(events: Iterable[Any]) -> Iterator[Event]:
    """Yields an observation for each event that is about a virtual machine and of a class that is asked for.

    They count as read when this is called, so it is called as soon as they are there.
    """
    read_at = time.monotonic()
    for event in events:
        name = type(event).__name__.rsplit(".", 1)[-1]
        if name in EVENTS and event.vm is not None:
            yield Event(
                vm=moid_of(event.vm.vm),
                key=event.key,
                signal=EVENTS[name],
                at=event.createdTime.astimezone(timezone.utc),
                name=name,
                reason=str(getattr(event, "reason", None) or ""),
                message=str(event.fullFormattedMessage or ""),
                log_location=_log_location(event),
                read_at=read_at,
            )


def explain_end(snapshot: Snapshot, events: Iterable[Event]) -> bool:
    """Returns whether events of a VM report the end that its state is: no power-on, start or other end is newer."""
    signals = [event.signal for event in in_order(events) if event.signal in _OF_A_RUN]
    return bool(signals) and signals[-1].is_end and END_OF[signals[-1]] is snapshot.progress


def _log_location(event: Any) -> str:
    """Returns where the guest keeps its log; vCenter writes "<No Log>" where it does not know."""
    location = str(getattr(event, "logLocation", None) or "")
    return "" if location.startswith("<") else location
