"""What is measured: this project's wait, and the peers' algorithms, each alone in a process of its own.

`python -m benchmarks.subjects NAME READY_FILE SECONDS` waits for all machines of a lab but the template and prints
a JSON object: set-up time, the moment at which each machine's end was noticed, and the peak of memory.
"""

from __future__ import annotations

import json
import resource
import ssl
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVim.connect import Connect, Disconnect
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.watch import Update, WaitRules, watch
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.session import VsphereSettings, acquire
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from collections.abc import Callable

    Noticed = Callable[[str], None]
    """Takes the managed object ID of a machine whose customization is seen to have ended well."""
    Step = Callable[[], None]
    """Is called when the machines are known and the set-up begins, and again when the wait proper begins."""

POWERCLI_INTERVAL = 15.0
"""Seconds that the PowerCLI script sleeps between two rounds."""


def machines(content: Any) -> list[Any]:
    """Returns all virtual machines but the template, by one bulk read of their names."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
    )
    try:
        found = content.propertyCollector.RetrieveContents([spec])
    finally:
        view.Destroy()
    return [found_one.obj for found_one in found if found_one.propSet[0].val.startswith("vm-")]


def gate(lab: dict[str, Any], seconds: float, began: Step, set_up: Step, noticed: Noticed) -> None:
    """This project's wait, as the resource runs it."""
    settings = VsphereSettings(lab["server"], lab["user"], lab["password"], ca_file=lab["ca_file"])
    with acquire(settings) as session:
        references = {moid: moid for moid in map(moid_of, machines(session.content))}
    began()
    told: set[str] = set()

    def listen(update: Update) -> None:
        if not told:
            set_up()
            told.add("")
        for outcome in update.changed:
            if outcome.good and outcome.id not in told:
                told.add(outcome.id)
                noticed(outcome.id)

    watch(VsphereSource(settings, references), WaitRules(timeout=seconds, start_timeout=seconds), listener=listen)


def powercli(lab: dict[str, Any], seconds: float, began: Step, set_up: Step, noticed: Noticed) -> None:
    """The algorithm of the PowerCLI team's WaitVmCustomization script, from its description: polls each machine."""
    host, _, port = lab["server"].partition(":")
    context = ssl.create_default_context(cafile=lab["ca_file"])
    service = Connect(
        host=host,
        port=int(port),
        user=lab["user"],
        pwd=lab["password"],
        sslContext=context,
        version="vim.version.v8_0_3_0",
    )
    events = service.content.eventManager

    def since(vm: Any, begin: Any) -> list[Any]:
        spec = vim.event.EventFilterSpec
        entity = spec.ByEntity(entity=vm, recursion="self")
        return list(events.QueryEvents(spec(entity=entity, time=spec.ByTime(beginTime=begin))) or [])

    targets = machines(service.content)
    began()
    now_there = service.CurrentTime()
    started: dict[Any, Any] = {}
    status: dict[Any, str] = {}
    for vm in targets:
        starts = [e for e in since(vm, now_there - timedelta(minutes=5)) if isinstance(e, vim.event.VmStartingEvent)]
        status[vm] = "CustomizationNotStarted" if starts else "VmNotStarted"
        if starts:
            started[vm] = max(e.createdTime for e in starts)
    set_up()
    deadline = time.monotonic() + seconds
    while "CustomizationNotStarted" in status.values() or "CustomizationStarted" in status.values():
        for vm, now in list(status.items()):
            if now == "CustomizationNotStarted":
                if any(isinstance(e, vim.event.CustomizationStartedEvent) for e in since(vm, started[vm])):
                    status[vm] = "CustomizationStarted"
            elif now == "CustomizationStarted" and any(
                isinstance(e, vim.event.CustomizationSucceeded) for e in since(vm, started[vm])
            ):
                status[vm] = "CustomizationSucceeded"
                noticed(moid_of(vm))
        if time.monotonic() >= deadline:
            break
        time.sleep(POWERCLI_INTERVAL)
    Disconnect(service)


SUBJECTS = {"gate": gate, "powercli": powercli}


def main() -> None:
    """Runs one subject and prints what it saw."""
    name, ready, seconds = sys.argv[1:]
    lab = json.loads(Path(ready).read_text(encoding="utf-8"))
    steps: list[float] = []
    seen: dict[str, float] = {}

    def began() -> None:
        steps.append(time.monotonic())

    def set_up() -> None:
        steps.append(time.monotonic())
        print("watching", flush=True)

    def noticed(moid: str) -> None:
        seen[moid] = time.time()

    SUBJECTS[name](lab, float(seconds), began, set_up, noticed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"setup": steps[1] - steps[0], "noticed": seen, "peak_kib": peak}))


if __name__ == "__main__":
    main()
