"""The dynamic provider behind CustomizationGate. Its path is stored in every stack that has a gate: it is frozen."""

from __future__ import annotations

from typing import Any, ClassVar

from pulumi.dynamic import ReadResult

from pulumi_customization_gate.lifecycle import gate
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider


class CustomizationGateProvider(ConfiguredProvider):
    """Hosts the lifecycle of a gate."""

    lifecycle: ClassVar[Any] = gate
    call = host.waiting_call

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Returns what is stored: a refresh does not judge again."""
        return ReadResult(id_, gate.read(self._olds(props)))
