"""The example on the lab's vCenter."""

from __future__ import annotations

import runpy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pulumi import automation
from rich.markup import escape

from lab import plugin, vcenter_client, workspace
from lab.bootstrap import build_digest, prepare
from lab.paths import ROOT, read_text, write_private
from lab.platforms.platform import Column, Platform, clock, refuse_unknown
from lab.vcenter_client import Lab
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lab.bootstrap import Tools

_VIRTUAL_MACHINE = "vsphere:index/virtualMachine:VirtualMachine"
_FAILURE = {
    "outcome": "CustomizationLinuxIdentityFailed",
    "reason": "the host name could not be set",
    "message": "An error occurred while setting up Linux identity.",
    "logLocation": "/var/log/vmware-imc/toolsDeployPkg.log",
}
"""What `FAIL=` plans for a VM."""


class Vsphere(Platform[Lab]):
    """The lab's vCenter, and the `__main__.py` that a plain `pulumi up` runs as well."""

    title = "vCenter"
    password_key = "vsphere:password"  # noqa: S105 -- the setting's name
    columns: ClassVar[Sequence[Column]] = (
        ("power-on", lambda row: clock(row.powered_on)),
        ("started", lambda row: clock(row.started)),
        ("completed", lambda row: clock(row.completed)),
        ("gate open", lambda row: clock(row.opened)),
        ("script", lambda row: clock(row.work)),
        ("status", lambda row: row.status),
        ("output", lambda row: escape(sanitize(row.output))),
    )

    @property
    def folder(self) -> Path:
        """The folder of the vCenter's ready file and log."""
        return self.home.vcenter_folder

    def build(self) -> str:
        """Returns the digest of the build."""
        return build_digest(self.base)

    def find(self) -> Lab | None:
        """Returns the vCenter that was started."""
        return vcenter_client.find(self.base.vcenter, self.folder)

    def start(self) -> Lab:
        """Starts the vCenter."""
        return vcenter_client.start(self.base.vcenter, self.folder)

    def stop(self) -> None:
        """Stops the vCenter."""
        vcenter_client.stop(self.base.vcenter, self.folder)

    def tools(self) -> Tools:
        """Returns the CLI, and installs the vSphere plugin or its stand-in."""
        tools = prepare(self.base)
        record = self.folder / "plugin"
        made_with = read_text(record) if self.was_started() and self.find() else ""
        choice = plugin.choose(self.base, tools.pulumi, made_with=made_with)
        write_private(record, choice.name)
        print(choice.sentence, flush=True)
        return tools

    def project(self, command: automation.PulumiCommand) -> automation.ProjectSettings:
        """Returns the checkout's own project."""
        project = automation.LocalWorkspace(work_dir=str(ROOT), pulumi_command=command).project_settings()
        project.main = str(ROOT)
        # A variable says where the packages are; the project's own relative path is for a plain `pulumi up`.
        project.runtime = "python"
        return project

    def program(self) -> None:
        """Runs the checkout's own program."""
        runpy.run_path(str(ROOT / "__main__.py"))

    def variables(self, lab: Lab) -> dict[str, str]:
        """Returns the variables, with the guest credentials among them."""
        return workspace.variables(self.home, lab)

    def settings(self, lab: Lab) -> dict[str, str]:
        """Returns the connection."""
        return workspace.connection(lab)

    @contextmanager
    def arranged(self, lab: Lab, stack: automation.Stack, fail: str, replace: str) -> Iterator[dict[str, Any]]:
        """Plans the failure, and makes the engine replace the VMs."""
        known = _vms(stack) if fail or replace else {}
        if known:
            refuse_unknown(known, fail, replace)
        targets = [known[name] for name in dict.fromkeys((fail, replace)) if name in known]
        if fail:
            lab.plan(fail, **_FAILURE)
        try:
            yield {"replace": targets or None}
        finally:
            if fail:
                lab.forget(fail)


def _vms(stack: automation.Stack) -> dict[str, str]:
    """Returns the URNs of a stack's virtual machines by their names."""
    resources = (stack.export_stack().deployment or {}).get("resources", [])
    urns = [resource["urn"] for resource in resources if resource["type"] == _VIRTUAL_MACHINE]
    return {urn.rsplit("::", 1)[-1]: urn for urn in urns}
