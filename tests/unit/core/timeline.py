"""Builds observations of one machine on one time line: an event's key is its second, unless said otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pulumi_customization_gate.cloud_director import vocabulary as cloud_director
from pulumi_customization_gate.core.model import Event, Missing, Signal, Snapshot
from pulumi_customization_gate.vsphere import vocabulary as vsphere

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
VM = "vm-87"


def at(second: float) -> datetime:
    """Returns an instant of the server's clock."""
    return NOON + timedelta(seconds=second)


def _event(signal: Signal, name: str, second: int, vm: str, key: int | None, **said: str) -> Event:
    return Event(vm, second if key is None else key, signal, at(second), name, **said)


def starting(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_STARTING, "VmStartingEvent", second, vm, key)


def powered_off(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_POWERED_OFF, "VmPoweredOffEvent", second, vm, key)


def removed(second: int, vm: str = VM) -> Event:
    return _event(Signal.VM_REMOVED, "VmRemovedEvent", second, vm, None)


def migrated(second: int, vm: str = VM) -> Event:
    return _event(Signal.VM_MIGRATED, "DrsVmMigratedEvent", second, vm, None)


def started(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.CUSTOMIZATION_STARTED, "CustomizationStartedEvent", second, vm, key)


def succeeded(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.CUSTOMIZATION_SUCCEEDED, "CustomizationSucceeded", second, vm, key)


def failed(second: int, vm: str = VM, key: int | None = None, **said: str) -> Event:
    return _event(Signal.CUSTOMIZATION_FAILED, "CustomizationSysprepFailed", second, vm, key, **said)


def read(
    second: float,
    state: str = "",
    *,
    vm: str = VM,
    on: bool | None = True,
    pending: bool = False,
    tools: bool = True,
    message: str = "",
    name: str = "",
) -> Snapshot:
    """Returns what a read of the state tells; `state` goes without its prefix TOOLSDEPLOYPKG_."""
    word = state if "_" in state or not state else f"TOOLSDEPLOYPKG_{state}"
    vocabulary = cloud_director if word in cloud_director.STATES else vsphere
    return Snapshot(
        vm,
        at(second),
        powered_on=on,
        specification_pending=pending,
        progress=vocabulary.progress_of(word),
        state=word,
        message=message,
        tools_running=tools,
        name=name,
    )


def gone(second: float, vm: str = VM) -> Missing:
    return Missing(vm, at(second), message="vc.example.com has no virtual machine vm-87")
