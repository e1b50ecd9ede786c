"""Says why a machine did not get there, from what was seen of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import Event, Signal, Snapshot
from pulumi_customization_gate.core.report import clock_time, duration, plain
from pulumi_customization_gate.core.verdict import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UNMANAGED = 2**31 - 1
"""What the API tells of VMware Tools that came with the guest's system, where it knows no more."""
LAST_EVENTS = 5
"""How many of the newest events are told."""


def explain(snapshot: Snapshot | None, events: Iterable[Event]) -> list[str]:
    """Returns the likeliest cause and what to do, then the facts, a line each."""
    newest_first = sorted(events, key=lambda event: event.key, reverse=True)
    return [*_cause(snapshot, newest_first), *_facts(snapshot), *_history(snapshot, newest_first)]


def _cause(snapshot: Snapshot | None, events: list[Event]) -> Iterator[str]:
    """Yields the first cause that fits, the surest first."""
    # What an earlier power-on or an earlier customization brought says nothing of this one.
    this_time = itertools.takewhile(lambda event: event.signal not in (Signal.VM_STARTING, *TERMINAL), events)
    seen = {event.signal for event in this_time}
    if snapshot is None:
        yield "likely cause: the state of the machine may not be read; grant the role Read-only on it"
    elif snapshot.powered_on is False and snapshot.specification_pending:
        yield "likely cause: the machine was never powered on; its specification waits for that"
    elif snapshot.powered_on is False:
        yield "likely cause: the machine is powered off; power it on"
    elif not snapshot.tools_running:
        yield (
            "likely cause: VMware Tools do not run in the guest, and customization is their work; "
            "install them in the template, and see on the console whether the guest boots"
        )
    elif Signal.CUSTOMIZATION_STARTED in seen or snapshot.state.endswith("RUNNING"):
        yield (
            "likely cause: the customization hangs in the guest; "
            "see /var/log/vmware-imc or C:\\Windows\\Temp\\vmware-imc there"
        )
    elif snapshot.specification_pending or snapshot.state.endswith("PENDING"):
        yield (
            "likely cause: VMware Tools run but do not take the specification up; the template may forbid it "
            "(vmware-toolbox-cmd config get deployPkg enable-customization) or lack the package open-vm-tools-deploypkg"
        )
    elif not _is_customized(snapshot, events):
        yield (
            "likely cause: nobody asked for a customization; give the clone a specification "
            '(clone.customize), or set expect="auto" where none is wanted'
        )


def _is_customized(snapshot: Snapshot, events: list[Event]) -> bool:
    """Whether the customization is not what the machine lacks: it is not ready for another reason, told elsewhere."""
    last_end = next((event.signal for event in events if event.signal in TERMINAL), None)
    return last_end is Signal.CUSTOMIZATION_SUCCEEDED or snapshot.state.endswith("SUCCEEDED")


def _facts(snapshot: Snapshot | None) -> Iterator[str]:
    if snapshot is None:
        return
    power = {True: "on", False: "off", None: "unknown"}[snapshot.powered_on]
    lasting = ""
    if snapshot.powered_on and snapshot.booted_at is not None:
        lasting = f" for {duration(max(0.0, (snapshot.at - snapshot.booted_at).total_seconds()))}"
    tools = f"{'running' if snapshot.tools_running else 'not running'}{_version(snapshot.tools_version)}"
    pending = "waits" if snapshot.specification_pending else "none waits"
    yield f"power: {power}{lasting}; VMware Tools: {tools}; specification: {pending}"
    said = f": {plain(snapshot.message)}" if snapshot.message else ""
    yield f"customizationInfo: {plain(snapshot.state) or 'not told by this vCenter'}{said}"


def _version(told: str) -> str:
    """Returns the version as its maker writes it: the API tells 12.4.5 as 12421, in 5 bits for each smaller part."""
    number = int(told) if told.isdigit() else 0
    if number in (0, _UNMANAGED):
        return ""
    return f" ({number >> 10}.{number >> 5 & 31}.{number & 31})"


def _history(snapshot: Snapshot | None, events: list[Event]) -> Iterator[str]:
    for event in events[:LAST_EVENTS]:
        age = f", {duration(max(0.0, (snapshot.at - event.at).total_seconds()))} earlier" if snapshot else ""
        yield f"event: {event.name} at {clock_time(event.at)}{age}"
    moves = sum(event.signal is Signal.VM_MIGRATED for event in events)
    if moves:
        yield f"migrations seen: {moves}"
    if not events:
        yield "event: none in reach"
