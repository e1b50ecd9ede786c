"""Builds observations of one VM on one time line: an event's key is its second by default."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pulumi_customization_gate.cloud_director import vocabulary as cloud_director
from pulumi_customization_gate.core.model import Event, HistoryRead, Missing, Snapshot
from pulumi_customization_gate.core.status import FailureKind, PowerState, Signal
from pulumi_customization_gate.vsphere import vocabulary as vsphere

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
VM = "vm-87"


def at(second: float) -> datetime:
    """Returns an instant of the server's clock."""
    return NOON + timedelta(seconds=second)


def _event(signal: Signal, name: str, second: int, vm: str, key: int | None, **texts: str) -> Event:
    """Returns an event that is read when it happens."""
    return Event(vm, second if key is None else key, signal, at(second), name, **texts, read_at=second)


def starting(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_STARTING, "VmStartingEvent", second, vm, key)


def powered_off(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_POWERED_OFF, "VmPoweredOffEvent", second, vm, key)


def powered_on(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_POWERED_ON, "VmPoweredOnEvent", second, vm, key)


def suspended(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_SUSPENDED, "VmSuspendedEvent", second, vm, key)


def resuming(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.VM_RESUMING, "VmResumingEvent", second, vm, key)


def removed(second: int, vm: str = VM) -> Event:
    return _event(Signal.VM_REMOVED, "VmRemovedEvent", second, vm, None)


def migrated(second: int, vm: str = VM) -> Event:
    return _event(Signal.VM_MIGRATED, "DrsVmMigratedEvent", second, vm, None)


def started(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.CUSTOMIZATION_STARTED, "CustomizationStartedEvent", second, vm, key)


def succeeded(second: int, vm: str = VM, key: int | None = None) -> Event:
    return _event(Signal.CUSTOMIZATION_SUCCEEDED, "CustomizationSucceeded", second, vm, key)


def failed(second: int, vm: str = VM, key: int | None = None, **texts: str) -> Event:
    return _event(Signal.CUSTOMIZATION_FAILED, "CustomizationSysprepFailed", second, vm, key, **texts)


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
    power: PowerState | None = None,
    booted: float | None = None,
) -> Snapshot:
    """Returns what a read of the state reports; `state` goes without its prefix TOOLSDEPLOYPKG_."""
    word = state if "_" in state or not state else f"TOOLSDEPLOYPKG_{state}"
    vocabulary = cloud_director if word in cloud_director.STATES else vsphere
    return Snapshot(
        vm,
        at(second),
        power=PowerState.of(on) if power is None else power,
        booted_at=None if booted is None else at(booted),
        specification_pending=pending,
        progress=vocabulary.progress_of(word),
        state=word,
        message=message,
        tools_running=tools,
        name=name,
        asked_at=second,
    )


def gone(second: float, vm: str = VM) -> Missing:
    """Returns a look that finds no VM; it takes two."""
    message = "vc.example.com has no virtual machine vm-87"
    return Missing(vm, at(second), message=message, needs_second_look=True, asked_at=second)


def unreadable(second: float, vm: str = VM) -> Missing:
    """Returns a look that may not read the VM; it takes two."""
    message = "reader may not read it"
    return Missing(vm, at(second), FailureKind.NO_PERMISSION, message, needs_second_look=True, asked_at=second)


ALL_READ = HistoryRead(VM)
"""What the server remembers of the VM's customizations was read."""
