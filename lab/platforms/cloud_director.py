"""The example on the lab's Cloud Director."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace as changed
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pulumi import automation

from lab import timeline_check, workspace
from lab.bootstrap import prepare
from lab.cloud_director import client, example
from lab.cloud_director.client import CloudDirectorLab
from lab.paths import ROOT, Home, digest
from lab.platforms.platform import Column, Platform, clock, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lab.bootstrap import Tools
    from lab.timeline_check import Row

_PACE = {"start_delay": 1.0, "duration": 3.0}
"""Seconds: enough for the gate to be seen waiting, for the engine takes some to get there."""


class CloudDirector(Platform[CloudDirectorLab]):
    """The lab's Cloud Director, whose machines are there before the stack is."""

    title = "Cloud Director"
    command = "make up PLATFORM=cloud_director"
    password_key = "vcd:password"  # noqa: S105 -- the setting's name
    columns: ClassVar[Sequence[Column]] = (
        ("power-on", lambda row: clock(row.powered_on)),
        ("completed", lambda row: clock(row.completed)),
        ("gate open", lambda row: clock(row.opened, "seconds") if row.opened or not row.work else "earlier"),
        ("work", lambda row: clock(row.work)),
        ("status", lambda row: row.status),
    )
    note = (
        "Cloud Director tells no times: power-on and completed are what the lab knows by itself, and the gate's\n"
        "opening is told by a server whose clock counts whole seconds."
    )
    resolution = timedelta(seconds=1)

    def __init__(self, base: Home) -> None:
        super().__init__(base)
        self.home = Home(base.path / "cloud-director")

    @property
    def folder(self) -> Path:
        """What the running Cloud Director leaves."""
        return self.home.path / "server"

    def build(self) -> str:
        """Returns a digest of the server's sources."""
        return digest(files=(ROOT / "lab" / "cloud_director").glob("*.py"))

    def find(self) -> CloudDirectorLab | None:
        """Returns the Cloud Director that was started."""
        return client.find(self.folder)

    def start(self) -> CloudDirectorLab:
        """Starts a Cloud Director with three machines that are off."""
        return client.start(self.base, self.folder, ["--powered-off"])

    def stop(self) -> None:
        """Stops the Cloud Director."""
        client.stop(self.folder)

    def tools(self) -> Tools:
        """Returns the command line, which is all that is needed."""
        return prepare(self.base)

    def project(self, command: automation.PulumiCommand) -> automation.ProjectSettings:  # noqa: ARG002 -- has no file
        """Returns a project without settings of its own but `vms`."""
        return automation.ProjectSettings("customization-gate-cloud-director", "python", main=str(ROOT))

    def program(self) -> None:
        """Declares gate and work."""
        example.program()

    def variables(self, lab: CloudDirectorLab) -> dict[str, str]:  # noqa: ARG002 -- the settings hold all of it
        """Returns the variables that every engine of the lab gets."""
        return workspace.common(self.home)

    def settings(self, lab: CloudDirectorLab) -> dict[str, str]:
        """Returns the connection, and the machines that are on the server now."""
        vms = {name: machine.urn for name, machine in sorted(lab.machines().items())}
        return {**example.connection(lab), "vms": json.dumps(vms)}

    @contextmanager
    def arranged(
        self, lab: CloudDirectorLab, stack: automation.Stack, fail: str, replace: str
    ) -> Iterator[dict[str, Any]]:
        """Puts other machines in the place of those that have been on, and switches on what is off.

        A machine that was customized is left alone. One that shall fail or be replaced is deleted and made anew, as a
        new machine has a new URN: the gate judges it and no other.
        """
        there = lab.machines()
        refuse_unknown(there, fail, replace)
        used = [name for name in (fail, replace) if name and there[name].powered_on is not None]
        for name in dict.fromkeys(used):
            lab.remove(name)
        for name, machine in there.items():
            if name in used or machine.powered_on is None:
                lab.plan(name, outcome="failed" if name == fail else "succeeded", **_PACE)
        if used:
            stack.set_all_config({key: automation.ConfigValue(value) for key, value in self.settings(lab).items()})
        yield {}

    def rows(self, lab: CloudDirectorLab, resources: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Returns the rows with the times that the lab knows, so that the gate is not its own judge."""
        there = {f"vm-{machine.urn.rpartition(':')[2]}": machine for machine in lab.machines().values()}
        rows = []
        for row in timeline_check.rows(resources):
            machine = there.get(row.moid)
            if machine is None:
                # It was deleted, and what ran on it says nothing of the machine that took its place.
                rows.append(changed(row, opened=None, work=None))
            else:
                ended = machine.completed
                rows.append(changed(row, powered_on=machine.powered_on, completed=ended, ready=ended))
        return rows
