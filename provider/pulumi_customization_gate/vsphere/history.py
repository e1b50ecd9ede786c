"""What happened to the VMs before the wait began, without reading everything that ever happened."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.model import Event, Missing, Snapshot
from pulumi_customization_gate.core.status import Progress, Signal
from pulumi_customization_gate.vsphere.events import PAGE, event_filter, explain_end, observations
from pulumi_customization_gate.vsphere.faults import CallTimeoutError, InvalidXmlError, raise_if_logged_out
from pulumi_customization_gate.vsphere.vocabulary import EVENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

RECENT = timedelta(hours=24)
"""How long ago the VMs booted whose history one query for all of them reads."""
MARGIN = timedelta(minutes=5)
"""How far before the earliest boot that query begins: the boot time is the host's word, the event's time vCenter's."""
LATENESS = timedelta(seconds=10)
"""How long after its date an event may become readable: a later query begins this long before the one before it."""
DECIDING = tuple(name for name, signal in EVENTS.items() if signal is not Signal.VM_MIGRATED)
"""The classes of events that a verdict needs. DRS may migrate VMs every few minutes, which decides nothing."""
MOST_PAGES = 40
"""Pages that one query may need before it is left to queries for the single VMs; more where those are more."""
SHORT_PAGE = 100
"""Events of one answer after a longer one took too long."""
QUERIES_PER_PAGE = 20
"""Queries for single VMs that cost about as much as one full page.

A query for all of N VMs reads at most N / QUERIES_PER_PAGE pages of mostly other VMs' events before it is left to
queries for the single VMs: together they cost at most twice as much as those alone.
"""
AT_ONCE = 8
"""Queries for single VMs that run side by side."""
FEW = AT_ONCE
"""This many VMs are always queried one by one: a query for all returns the events of others, too."""


@dataclass(frozen=True)
class Histories:
    """The events of VMs, as far as they could be read."""

    events: Mapping[str, Sequence[Event]]
    """By the managed object ID of each VM whose events were asked for."""
    incomplete: Mapping[str, str]
    """Why not all events of a VM could be read, by its managed object ID."""


@dataclass
class _Found:
    """What queries returned, and why not all events of a VM could be read."""

    events: list[Event] = field(default_factory=list)
    incomplete: dict[str, str] = field(default_factory=dict)


def read(
    session: Session,
    snapshots: Iterable[Snapshot | Missing],
    known: Mapping[str, datetime | None] = MappingProxyType({}),
) -> Histories:
    """Returns the events that can still decide, and the VMs of which not all could be read.

    VMs that booted within RECENT share one query where they are more than FEW, and those whose events are known up to a
    time another one; of the others only those are asked for one by one that their state does not settle. Each query is
    retried by itself: of a thousand, one always fails while a server is in trouble.

    Args:
        session: The session on which it reads.
        snapshots: The VMs' states, read before.
        known: The server's time until which the events of a VM are known already, by its managed object ID.

    Raises:
        ServerError: If the server does not respond.
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
    first = {vm: begin for vm, begin in recent.items() if vm not in begins}
    unknown = {vm for vm in first if leaves_open(present[vm])}
    if len(first) <= FEW:
        firsts = _of_each(session, {vm: None if vm in unknown else begin for vm, begin in first.items()})
    else:
        firsts = _of_all(session, first)
        single |= unknown - {event.vm for event in firsts.events if event.signal.is_end}
    found, incomplete = _by_vm(firsts.events), firsts.incomplete
    # An end that is not among them was dated before the boot, by a clock that was set: only a query without a
    # beginning returns it.
    single |= {vm for vm in first if _is_settled(present[vm]) and not explain_end(present[vm], found.get(vm, ()))}
    again = {vm: begin for vm, begin in recent.items() if vm in begins}
    agains = _of_each(session, again) if len(again) <= FEW else _of_all(session, again)
    singles = _of_each(session, {vm: begins.get(vm) for vm in single})
    # The query for a single VM returns what the one before it did, and more; one that fails takes nothing away.
    incomplete = {vm: why for vm, why in incomplete.items() if vm not in single}
    incomplete |= agains.incomplete | singles.incomplete
    for vm, events in (_by_vm(agains.events) | _by_vm(singles.events)).items():
        found[vm] = [*found.get(vm, ()), *events] if vm in incomplete else events
    return Histories({vm: found.get(vm, []) for vm in recent.keys() | single}, incomplete)


def read_all(session: Session, moids: Iterable[str]) -> tuple[list[Event], dict[str, str]]:
    """Returns every event of these VMs that the server remembers and a verdict could look at, oldest first.

    Returns:
        The events, and why not all events of a VM could be read, by its managed object ID.

    Raises:
        ServerError: If the server does not respond.
    """
    found = _of_each(session, dict.fromkeys(moids), tuple(EVENTS))
    return in_order(found.events), found.incomplete


def since(session: Session, begin: datetime, entity: Any = None) -> list[Event]:
    """Returns the events since a time of the server's, of what is in an entity where one is given.

    Where more has happened than MOST_PAGES hold, as many of them as those hold.

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
        ServerError: If the server does not respond.
    """
    return sorted(_of_each(session, dict.fromkeys(moids, begin)).events, key=lambda event: event.key)


def _is_settled(snapshot: Snapshot) -> bool:
    """Whether the state alone decides, because what events could add is long gone or never was."""
    progress = snapshot.progress
    return progress is not None and progress.is_end and not snapshot.specification_pending


def _by_vm(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.vm, []).append(event)
    return found


def leaves_open(snapshot: Snapshot) -> bool:
    """Returns whether the state does not show what came of an earlier customization."""
    return snapshot.progress in (None, Progress.UNKNOWN) or snapshot.progress.is_idle


class _TooManyPagesError(Exception):
    """So much happens in this inventory that reading all of it costs more than asking for each VM."""


def _query(
    session: Session,
    begin: datetime | None,
    entity: Any = None,
    wanted: Collection[str] = (),
    kinds: Collection[str] = DECIDING,
) -> Iterator[Event]:
    """Yields the events since `begin`, page by page.

    The API reference does not say in which order QueryEvents returns events, nor which end of a result that is longer
    than a page is left out. So after a full page both the time before its oldest event and the time after its newest
    one are queried: whichever end was left out, it is read. A server that begins with the newest events, as the ones
    known so far do, costs one short query more. A query that takes too long is made again for fewer events.

    Args:
        session: The session on which it reads.
        begin: The server's time of the oldest event, None for all there are.
        entity: The folder or VM that the events must be about, None for all that the user may see.
        wanted: Managed object IDs of the VMs whose events the query is made for, where it returns others, too.
        kinds: The classes of the events.

    Raises:
        _TooManyPagesError: More pages than MOST_PAGES, or too many mostly of others' events.
        CallTimeoutError: If a query for many VMs takes too long, which queries for each are to follow.
    """
    most_foreign = max(1, len(wanted) // QUERIES_PER_PAGE)
    most_pages = max(MOST_PAGES, most_foreign)
    count = min(PAGE, PAGE * len(wanted) // QUERIES_PER_PAGE) if wanted else PAGE
    seen: set[int] = set()
    foreign_pages = pages = 0
    windows: list[tuple[datetime | None, datetime | None]] = [(begin, None)]
    while windows:
        begin, end = windows.pop()
        query = event_filter(begin, end, entity, kinds=kinds, count=count)
        try:
            page = session.event_queries.QueryEvents(query) or []
        except CallTimeoutError as error:
            if wanted or count == SHORT_PAGE:
                raise
            _log.debug("a query of %d events %s; querying %d at a time", count, error, SHORT_PAGE)
            count = SHORT_PAGE
            windows.append((begin, end))
            continue
        new = [event for event in page if event.key not in seen]
        found = list(observations(new))
        yield from found
        if len(page) < count:
            continue
        pages += 1
        foreign_pages += bool(wanted) and 2 * sum(event.vm in wanted for event in found) < len(page)
        if foreign_pages == most_foreign or pages == most_pages:
            raise _TooManyPagesError
        if not new:
            continue
        seen.update(event.key for event in new)
        # Windows overlap by one instant, because two events may share it.
        oldest, newest = (choose(event.createdTime for event in page) for choose in (min, max))
        if begin is None or oldest > begin:
            windows.append((begin, oldest))
        if end is None or newest < end:
            windows.append((newest, end))


def _of_all(session: Session, begins: Mapping[str, datetime]) -> _Found:
    """Returns the events of many VMs, each at least since its own time, by one query if that is possible."""
    found = session.with_retries(lambda: _of_all_by_one_query(session, begins))
    return _of_each(session, begins) if found is None else _Found(found)


def _of_all_by_one_query(session: Session, begins: Mapping[str, datetime]) -> list[Event] | None:
    """Returns the events of many VMs; None where a query for each costs less, or is all that is possible."""
    try:
        return [event for event in _query(session, min(begins.values()), wanted=begins) if event.vm in begins]
    except _TooManyPagesError:
        _log.debug("the query for %d VMs returned too many events of others; querying each VM", len(begins))
    except InvalidXmlError as error:
        _log.debug("an event could not be parsed (%s); querying each of %d VMs", session.describe(error), len(begins))
    except CallTimeoutError as error:
        _log.debug("the query for %d VMs %s; querying each VM", len(begins), error)
    except vim.fault.NoPermission as error:
        raise_if_logged_out(error)
    return None


def _of_each(session: Session, begins: Mapping[str, datetime | None], kinds: Collection[str] = DECIDING) -> _Found:
    """Returns the events of each VM since its own time, None for all there are, by a query for each."""
    if not begins:
        return _Found()

    def of_one(vm: str) -> _Found:
        return session.with_retries(lambda: _of_one(session, vm, begins[vm], kinds))

    if len(begins) == 1:
        return of_one(*begins)
    found = _Found()
    with contextlib.closing(Background("customization-gate-history", AT_ONCE)) as background:
        for one in background.map(of_one, begins):
            found.events += one.events
            found.incomplete |= one.incomplete
    return found


def _of_one(session: Session, moid: str, begin: datetime | None, kinds: Collection[str]) -> _Found:
    found = _Found()
    try:
        for event in _query(session, begin, vim.VirtualMachine(moid, session.stub), kinds=kinds):
            found.events.append(event)  # What was read before the error counts.
    except _TooManyPagesError:
        found.incomplete[moid] = f"more than {MOST_PAGES} pages of events"
    # A VM that was removed is reported by the next read of the state; a server that restarts may only say so.
    except (vmodl.fault.ManagedObjectNotFound, vim.fault.NoPermission, InvalidXmlError) as error:
        raise_if_logged_out(error)
        found.incomplete[moid] = session.describe(error)
    if found.incomplete:
        _log.debug("not all events of %s were read: %s", moid, found.incomplete[moid])
    return found
