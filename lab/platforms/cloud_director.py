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
"""Seconds: long enough to see the gate wait, because the engine needs some to reach it."""


class CloudDirector(Platform[CloudDirectorLab]):
    """The lab's Cloud Director, whose VMs exist before the stack."""

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
        "Cloud Director does not report times: power-on and completed come from the lab itself, and the time of the\n"
        "gate's opening comes from a server clock with a resolution of one second."
    )
    resolution = timedelta(seconds=1)

    def __init__(self, base: Home) -> None:
        super().__init__(base)
        self.home = Home(base.path / "cloud-director")

    @property
    def folder(self) -> Path:
        """The folder of the Cloud Director's ready file and log."""
        return self.home.path / "server"

    def build(self) -> str:
        """Returns a digest of the server's sources."""
        return digest(files=(ROOT / "lab" / "cloud_director").glob("*.py"))

    def find(self) -> CloudDirectorLab | None:
        """Returns the Cloud Director that was started."""
        return client.find(self.folder)

    def start(self) -> CloudDirectorLab:
        """Starts a Cloud Director with three VMs that are powered off."""
        return client.start(self.base, self.folder, ["--powered-off"])

    def stop(self) -> None:
        """Stops the Cloud Director."""
        client.stop(self.folder)

    def tools(self) -> Tools:
        """Returns the CLI, the only tool that is needed."""
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
        """Returns the connection, and the VMs that are on the server now."""
        vms = {name: vm.urn for name, vm in sorted(lab.current_vms().items())}
        return {**example.connection(lab), "vms": json.dumps(vms)}

    @contextmanager
    def arranged(
        self, lab: CloudDirectorLab, stack: automation.Stack, fail: str, replace: str
    ) -> Iterator[dict[str, Any]]:
        """Replaces VMs that have been powered on, and powers on those that have not.

        A customized VM is left alone. One that is to fail or to be replaced is deleted and created again: the new VM
        has a new URN, so the gate judges it and no other.
        """
        there = lab.current_vms()
        refuse_unknown(there, fail, replace)
        used = [name for name in (fail, replace) if name and there[name].powered_on is not None]
        for name in dict.fromkeys(used):
            lab.remove(name)
        for name, vm in there.items():
            if name in used or vm.powered_on is None:
                lab.plan(name, outcome="failed" if name == fail else "succeeded", **_PACE)
        if used:
            stack.set_all_config({key: automation.ConfigValue(value) for key, value in self.settings(lab).items()})
        yield {}

    def rows(self, lab: CloudDirectorLab, resources: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Returns the rows with the lab's own times, so that the gate is not checked against itself."""
        there = {f"vm-{vm.urn.rpartition(':')[2]}": vm for vm in lab.current_vms().values()}
        rows = []
        for row in timeline_check.rows(resources):
            vm = there.get(row.moid)
            if vm is None:
                # It was deleted: what ran on it does not count for the VM that replaced it.
                rows.append(changed(row, opened=None, work=None))
            else:
                ended = vm.completed
                rows.append(changed(row, powered_on=vm.powered_on, completed=ended, ready=ended))
        return rows
