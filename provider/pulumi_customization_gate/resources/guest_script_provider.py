"""The dynamic provider behind GuestScript. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

from typing import Any, ClassVar

from pulumi_customization_gate.lifecycle import guest_script
from pulumi_customization_gate.resources.configured import ConfiguredProvider


class GuestScriptProvider(ConfiguredProvider):
    """Hosts the lifecycle of a guest script."""

    lifecycle: ClassVar[Any] = guest_script
