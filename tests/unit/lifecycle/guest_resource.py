"""A guest script or file from its creation to its deletion, without an engine's process: state and operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.lifecycle import guest_file, guest_script
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from tests.unit.lifecycle.fake_engine import FakeEngine
from tests.unit.vsphere.fake_vcenter import PASSWORD, SETTINGS
from tests.unit.vsphere.guest.fake_guest import GUEST_PASSWORD, LOGIN, VM

if TYPE_CHECKING:
    from types import ModuleType

    from pulumi_customization_gate.lifecycle.engine import Difference

CONFIG = {
    "vsphere:vsphereServer": SETTINGS.server,
    "vsphere:user": SETTINGS.user,
    "vsphere:password": PASSWORD,
    "vsphere:allowUnverifiedSsl": "true",
    "customization:guestUser": LOGIN.user,
    "customization:guestPassword": GUEST_PASSWORD,
}


class GuestResource:
    """One resource, of which is kept what the engine keeps."""

    def __init__(self, lifecycle: ModuleType, **inputs: Any) -> None:
        self._lifecycle = lifecycle
        self.engine = FakeEngine()
        self.config = dict(CONFIG)
        self.inputs = {"vm": VM, **inputs}
        self.id = ""
        self.outputs: dict[str, Any] = {}

    def up(self, **inputs: Any) -> str:
        """Creates or updates it with changed inputs, as `pulumi up` does, and returns the error's text."""
        self.inputs |= inputs
        try:
            if self.id:
                if self.difference().changes:
                    self.outputs = self._lifecycle.update(
                        self.engine, self.config.get, self.id, self.outputs, self.checked()
                    )
            else:
                created = self._lifecycle.create(self.engine, self.config.get, self.checked())
                self.id, self.outputs = created.id, dict(created.outputs)
        except PartialFailureError as error:
            self.id, self.outputs = error.resource_id, dict(error.outputs)
            return str(error)
        except GateError as error:
            return str(error)
        return ""

    def checked(self) -> dict[str, Any]:
        """Returns the inputs as they are stored."""
        if self._lifecycle is guest_script:
            return dict(self.inputs)
        problems, known = guest_file.check(self.config.get, self.inputs)
        assert problems == []
        return {**self.inputs, **known}

    def difference(self, **inputs: Any) -> Difference:
        """Returns what a preview shows of changed inputs."""
        news = {**self.checked(), **inputs}
        difference: Difference = self._lifecycle.diff(self.engine, self.config.get, self.outputs, news)
        return difference

    def delete(self) -> list[str]:
        """Deletes it, and returns the lines that were logged meanwhile."""
        self.engine.lines.clear()
        if self._lifecycle is guest_script:
            guest_script.delete(self.engine, self.config.get, self.id, self.outputs)
        else:
            guest_file.delete(self.engine, self.config.get, self.id, self.outputs)
        return self.engine.lines
