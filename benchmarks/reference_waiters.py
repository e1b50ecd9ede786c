"""The algorithms of two other waiters, written from their descriptions.

PowerCLI: the script WaitVmCustomization.ps1 of the PowerCLI team, from its published description.

Terraform: the vSphere provider's wait for a customization, see `lab.offline.vsphere_plugin.waiter`. It follows the
event manager of the provider's library in one more thing: a collector that the server refuses goes unnoticed, which
ends the wait without an error, as a success.
"""

from __future__ import annotations

import ssl
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyVim.connect import Connect, Disconnect
from pyVmomi import vim, vmodl

from benchmarks.progress import BROKE_OFF, FAILED, NOT_STARTED, SUCCEEDED, TIMED_OUT
from benchmarks.vms import list_vms
from lab.offline.vsphere_plugin.waiter import CustomizationWaiter
from pulumi_customization_gate.vsphere.events import moid_of

if TYPE_CHECKING:
    from benchmarks.progress import Progress

POWERCLI_INTERVAL = 15.0
"""Seconds that the PowerCLI script sleeps between two rounds."""
POWERCLI_LOOK_BACK = timedelta(minutes=5)
"""How old a power-on may be for the PowerCLI script."""


def _connect(lab: dict[str, Any]) -> Any:
    host, _, port = lab["server"].partition(":")
    return Connect(
        host=host,
        port=int(port),
        user=lab["user"],
        pwd=lab["password"],
        sslContext=ssl.create_default_context(cafile=lab["ca_file"]),
        version="vim.version.v8_0_3_0",
    )


def powercli(lab: dict[str, Any], seconds: float, progress: Progress) -> None:
    """Asks for the events of each VM since its last power-on, one after the other, again and again."""
    service = _connect(lab)
    manager = service.content.eventManager

    def since(vm: Any, begin: Any) -> list[Any]:
        spec = vim.event.EventFilterSpec
        entity = spec.ByEntity(entity=vm, recursion="self")
        return list(manager.QueryEvents(spec(entity=entity, time=spec.ByTime(beginTime=begin))) or [])

    targets = list_vms(service.content)
    progress.began()
    earliest = service.CurrentTime() - POWERCLI_LOOK_BACK
    started: dict[Any, Any] = {}
    status: dict[Any, str] = {}
    for vm in targets:
        starts = [event for event in since(vm, earliest) if isinstance(event, vim.event.VmStartingEvent)]
        status[vm] = "CustomizationNotStarted" if starts else "VmNotStarted"
        if starts:
            started[vm] = max(event.createdTime for event in starts)
        else:
            progress.report(moid_of(vm), NOT_STARTED, "VmNotStarted")
    progress.watching()
    deadline = time.monotonic() + seconds
    while "CustomizationNotStarted" in status.values() or "CustomizationStarted" in status.values():
        try:
            _powercli_round(status, lambda vm: since(vm, started[vm]), progress)
        except vmodl.MethodFault as fault:
            _end(status, progress, BROKE_OFF, _name(fault))
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(POWERCLI_INTERVAL)
    _end(status, progress, TIMED_OUT)
    Disconnect(service)


def _powercli_round(status: dict[Any, str], events_of: Any, progress: Progress) -> None:
    for vm, now in list(status.items()):
        if now == "CustomizationNotStarted":
            if any(isinstance(event, vim.event.CustomizationStartedEvent) for event in events_of(vm)):
                status[vm] = "CustomizationStarted"
        elif now == "CustomizationStarted":
            events = events_of(vm)
            if any(isinstance(event, vim.event.CustomizationFailed) for event in events):
                status[vm] = "CustomizationFailed"
                progress.report(moid_of(vm), FAILED, status[vm])
            elif any(isinstance(event, vim.event.CustomizationSucceeded) for event in events):
                status[vm] = "CustomizationSucceeded"
                progress.report(moid_of(vm), SUCCEEDED, status[vm])


def _end(status: dict[Any, str], progress: Progress, verdict: str, detail: str = "") -> None:
    for vm, now in status.items():
        progress.report(moid_of(vm), verdict, detail or now)


def terraform(lab: dict[str, Any], seconds: float, progress: Progress) -> None:
    """Watches each VM by a collector and a held call of its own, on one session."""
    service = _connect(lab)
    targets = list_vms(service.content)
    deadline = time.monotonic() + seconds
    set_up = threading.Barrier(len(targets) + 1)

    def wait(vm: Any) -> None:
        try:
            verdict, detail = _terraform_wait(service, vm, set_up)
        except vmodl.MethodFault as fault:
            set_up.abort()  # Means nothing once all are watching.
            verdict, detail = BROKE_OFF, _name(fault)
        progress.report(moid_of(vm), verdict, detail)

    progress.began()
    waits = [threading.Thread(target=wait, args=(vm,), daemon=True) for vm in targets]
    for one in waits:
        one.start()
    set_up.wait()
    progress.watching()
    for one in waits:
        one.join(max(0.0, deadline - time.monotonic()))
    for vm in targets:
        progress.report(moid_of(vm), TIMED_OUT)


def _terraform_wait(service: Any, vm: Any, set_up: threading.Barrier) -> tuple[str, str]:
    try:
        waiter = CustomizationWaiter(service.content, vm)
    except vim.fault.InvalidState:
        set_up.wait()
        return SUCCEEDED, "no collector was left, which went unnoticed"
    set_up.wait()
    event = waiter.wait()
    waiter.close()
    is_failure = isinstance(event, vim.event.CustomizationFailed)
    return (FAILED, str(event.fullFormattedMessage)) if is_failure else (SUCCEEDED, "")


def _name(fault: Exception) -> str:
    return type(fault).__name__.rpartition(".")[2]
