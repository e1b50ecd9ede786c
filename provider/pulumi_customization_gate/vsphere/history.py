"""What happened to the VMs before the wait began, without reading everything that ever happened."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.model import Event, Missing, Progress, Snapshot
from pulumi_customization_gate.vsphere.events import PAGE, event_filter, observations
from pulumi_customization_gate.vsphere.faults import InvalidXmlError, raise_if_logged_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

RECENT = timedelta(hours=24)
"""How long ago the VMs booted whose history one query for all of them reads."""
MARGIN = timedelta(minutes=5)
"""How far before the earliest boot that query begins: the boot time is the host's word, the event's time vCenter's."""
LATENESS = timedelta(seconds=10)
"""How long after its date an event may become readable: a later query begins this long before the one before it."""
MOST_PAGES = 40
"""Pages that one query may need before it is left to queries for the single VMs."""
MOST_FOREIGN_PAGES = 2
"""Full pages, mostly of other VMs' events, after which that query is left to queries for the single VMs."""
QUERIES_PER_PAGE = 20
"""Queries for single VMs that cost about as much as one full page: many VMs allow for more foreign pages."""
AT_ONCE = 8
"""Queries for single VMs that run side by side."""
FEW = AT_ONCE
"""This many VMs are always queried one by one: a query for all returns the events of others, too."""


def read(
    session: Session,
    snapshots: Iterable[Snapshot | Missing],
    known: Mapping[str, datetime | None] = MappingProxyType({}),
) -> dict[str, list[Event]]:
    """Returns the events that can still decide, by the managed object ID of each VM whose events were asked for.

    VMs that booted within RECENT share one query where they are more than FEW; of the others only those are asked
    for one by one that their state does not settle.

    Args:
        session: The session on which it reads.
        snapshots: The VMs' states, read before.
        known: The server's time until which the events of a VM are known already, by its managed object ID.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
    """
    present = {snapshot.vm: snapshot for snapshot in snapshots if isinstance(snapshot, Snapshot)}
    # Of a clock that was set back since, no time is known: these VMs' events are read as if for the first time.
    begins: dict[str, datetime | None] = {
        vm: at - LATENESS for vm, at in known.items() if at is not None and vm in present and at <= present[vm].at
    }
    recent = {
        vm: max(s.booted_at - MARGIN, begins.get(vm) or s.booted_at - MARGIN)
        for vm, s in present.items()
        if s.booted_at is not None and s.at - s.booted_at < RECENT
    }
    single = {vm for vm, s in present.items() if vm not in recent and not _is_settled(s)}
    # Only events report a customization before the last power-on where there is no state, and where it is idle.
    unknown = {vm for vm in recent.keys() - begins.keys() if _leaves_open(present[vm])}
    if len(recent) <= FEW:
        events = _of_each(session, {vm: None if vm in unknown else begin for vm, begin in recent.items()})
    else:
        events = _of_all(session, recent)
        single |= unknown - {event.vm for event in events if event.signal.is_end}
        events = [event for event in events if event.vm not in single]
    found: dict[str, list[Event]] = {vm: [] for vm in recent.keys() | single}
    for event in events + _of_each(session, {vm: begins.get(vm) for vm in single}):
        found[event.vm].append(event)
    return found


def read_all(session: Session, moids: Iterable[str]) -> list[Event]:
    """Returns every event of these VMs that the server remembers and a verdict could look at, oldest first.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
    """
    return in_order(_of_each(session, dict.fromkeys(moids)))


def since(session: Session, begin: datetime, entity: Any = None) -> list[Event]:
    """Returns the events since a time of the server's, of what is in an entity where one is given.

    Where more has happened than MOST_PAGES hold, the newest events.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
    """
    events: list[Event] = []
    with contextlib.suppress(_TooManyPagesError):
        for event in _query(session, begin, entity=entity):
            events.append(event)  # noqa: PERF402 -- what was read before the error counts
    return events


def since_for_each(session: Session, moids: Iterable[str], begin: datetime) -> list[Event]:
    """Returns the events of VMs since a time of the server's, by a query for each, oldest first.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the calls do.
    """
    return sorted(_of_each(session, dict.fromkeys(moids, begin)), key=lambda event: event.key)


def _is_settled(snapshot: Snapshot) -> bool:
    """Whether the state alone decides, because what events could add is long gone or never was."""
    progress = snapshot.progress
    return progress is not None and progress.is_end and not snapshot.specification_pending


def _leaves_open(snapshot: Snapshot) -> bool:
    """Whether the state does not show what came of an earlier customization."""
    return snapshot.progress in (None, Progress.UNKNOWN) or snapshot.progress.is_idle


class _TooManyPagesError(Exception):
    """So much happens in this inventory that reading all of it costs more than asking for each VM."""


def _query(
    session: Session, begin: datetime | None, entity: Any = None, wanted: Collection[str] = ()
) -> Iterator[Event]:
    """Yields the events since `begin`, newest first, page by page.

    Args:
        session: The session on which it reads.
        begin: The server's time of the oldest event, None for all there are.
        entity: The folder or VM that the events must be about, None for all that the user may see.
        wanted: Managed object IDs of the VMs whose events the query is made for, where it returns others, too.

    Raises:
        _TooManyPagesError: More pages than MOST_PAGES, or too many mostly of others' events.
    """
    seen: set[int] = set()
    foreign_pages = 0
    end: datetime | None = None
    for _ in range(MOST_PAGES):
        page = session.content.eventManager.QueryEvents(event_filter(begin, end, entity)) or []
        new = [event for event in page if event.key not in seen]
        found = list(observations(new))
        yield from found
        if len(page) < PAGE or not new:
            return
        foreign_pages += bool(wanted) and 2 * sum(event.vm in wanted for event in found) < len(page)
        if foreign_pages == max(MOST_FOREIGN_PAGES, len(wanted) // QUERIES_PER_PAGE):
            break
        seen.update(event.key for event in new)
        # Pages overlap by one instant, because two events may share it.
        end = min(event.createdTime for event in new)
    raise _TooManyPagesError


def _of_all(session: Session, begins: Mapping[str, datetime]) -> list[Event]:
    """Returns the events of many VMs, each at least since its own time, by one query if that is possible."""
    try:
        return [event for event in _query(session, min(begins.values()), wanted=begins) if event.vm in begins]
    except _TooManyPagesError:
        _log.debug("the query for %d VMs returned too many events of others; querying each VM", len(begins))
    except InvalidXmlError as error:
        _log.debug("an event could not be parsed (%s); querying each of %d VMs", session.describe(error), len(begins))
    except vim.fault.NoPermission as error:
        raise_if_logged_out(error)
    return _of_each(session, begins)


def _of_each(session: Session, begins: Mapping[str, datetime | None]) -> list[Event]:
    """Returns the events of each VM since its own time, None for all there are, by a query for each."""
    if not begins:
        return []
    with contextlib.closing(Background("customization-gate-history", AT_ONCE)) as background:
        found = background.map(lambda vm: _of_one(session, vm, begins[vm]), begins)
    return [event for events in found for event in events]


def _of_one(session: Session, moid: str, begin: datetime | None) -> list[Event]:
    events: list[Event] = []
    try:
        for event in _query(session, begin, vim.VirtualMachine(moid, session.stub)):
            events.append(event)  # noqa: PERF402 -- what was read before the error counts
    except (_TooManyPagesError, vim.fault.NoPermission, InvalidXmlError) as error:
        raise_if_logged_out(error)
        _log.debug("not all events of %s were read: %s", moid, session.describe(error))
    return events
