"""Says why a VM is not ready, from what was observed of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.event_order import in_order
from pulumi_customization_gate.core.status import PowerState, Progress, Signal
from pulumi_customization_gate.core.text import clock_time, duration, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pulumi_customization_gate.core.model import Event, Snapshot

_UNMANAGED = 2**31 - 1
"""What the API reports for VMware Tools that came with the guest's operating system, where it knows no more."""
_POWER_ONS = (Signal.VM_STARTING, Signal.VM_POWERED_ON)
LAST_EVENTS = 5
"""How many of the newest events are shown."""


def explain(snapshot: Snapshot | None, events: Iterable[Event], unread: str = "") -> list[str]:
    """Returns the likeliest cause and what to do, then the facts, a line each.

    Args:
        snapshot: The newest state of the VM, None where it could not be read.
        events: The events of the VM that were read.
        unread: Why not all of its events could be read.
    """
    newest_first = in_order(events)[::-1]
    return [*_cause(snapshot, newest_first, unread), *_facts(snapshot), *_history(snapshot, newest_first, unread)]


def _cause(snapshot: Snapshot | None, events: list[Event], unread: str) -> Iterator[str]:
    """Yields the first cause that fits, the surest first."""
    # An earlier power-on or an earlier customization says nothing about this one.
    this_time = itertools.takewhile(lambda e: not (e.signal in _POWER_ONS or e.signal.is_end), events)
    seen = {event.signal for event in this_time}
    if snapshot is None:
        yield "likely cause: the user may not read the state of the VM; grant the role Read-only on it"
    elif snapshot.power is PowerState.OFF and snapshot.specification_pending:
        yield "likely cause: the VM was never powered on; its customization starts after the first power-on"
    elif snapshot.power is PowerState.OFF:
        yield "likely cause: the VM is powered off; power it on"
    elif snapshot.power is PowerState.SUSPENDED:
        yield "likely cause: the VM is suspended; resume it"
    elif not snapshot.tools_running:
        yield (
            "likely cause: VMware Tools are not running in the guest, and customization needs them; "
            "install them in the template, and check on the console whether the guest boots"
        )
    elif Signal.CUSTOMIZATION_STARTED in seen or snapshot.progress is Progress.RUNNING:
        yield (
            "likely cause: the customization does not end in the guest; "
            "see /var/log/vmware-imc or C:\\Windows\\Temp\\vmware-imc there"
        )
    elif snapshot.specification_pending or snapshot.progress is Progress.PENDING:
        yield (
            "likely cause: VMware Tools are running but do not apply the specification; the template may disable it "
            "(vmware-toolbox-cmd config get deployPkg enable-customization) or lack the package open-vm-tools-deploypkg"
        )
    elif unread and not _is_customized(snapshot, events):
        yield (
            "likely cause: not all events of the VM could be read, so it is unknown whether it was customized; "
            "grant the role Read-only on it if a permission is missing"
        )
    elif not _is_customized(snapshot, events):
        yield ("likely cause: no customization was requested: the VM was cloned without a customization specification")


def _is_customized(snapshot: Snapshot, events: list[Event]) -> bool:
    """Whether the VM is customized, and not ready for another reason, which is reported elsewhere."""
    last_end = next((event.signal for event in events if event.signal.is_end), None)
    return last_end is Signal.CUSTOMIZATION_SUCCEEDED or snapshot.progress is Progress.SUCCEEDED


def _facts(snapshot: Snapshot | None) -> Iterator[str]:
    if snapshot is None:
        return
    lasting = ""
    if snapshot.power.is_on and snapshot.booted_at is not None:
        lasting = f" for {duration(max(0.0, (snapshot.at - snapshot.booted_at).total_seconds()))}"
    tools = f"{'running' if snapshot.tools_running else 'not running'}{_version(snapshot.tools_version)}"
    pending = "pending" if snapshot.specification_pending else "none pending"
    yield f"power: {snapshot.power.value}{lasting}; VMware Tools: {tools}; specification: {pending}"
    detail = f": {sanitize(snapshot.message)}" if snapshot.message else ""
    yield f"customizationInfo: {sanitize(snapshot.state) or 'not reported by this vCenter'}{detail}"


def _version(reported: str) -> str:
    """Returns the version as the vendor writes it: the API reports 12.4.5 as 12421, in 5 bits for each smaller part."""
    number = int(reported) if reported.isdigit() else 0
    if number in (0, _UNMANAGED):
        return ""
    return f" ({number >> 10}.{number >> 5 & 31}.{number & 31})"


def _history(snapshot: Snapshot | None, events: list[Event], unread: str) -> Iterator[str]:
    for event in events[:LAST_EVENTS]:
        age = f", {duration(max(0.0, (snapshot.at - event.at).total_seconds()))} earlier" if snapshot else ""
        yield f"event: {event.name} at {clock_time(event.at)}{age}"
    moves = sum(event.signal is Signal.VM_MIGRATED for event in events)
    if moves:
        yield f"migrations seen: {moves}"
    if unread:
        yield f"event: not all could be read ({sanitize(unread)})"
    elif not events:
        yield "event: none available"
