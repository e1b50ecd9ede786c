"""The functions that the native provider has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2  # noqa: TC002 -- the same

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE
from pulumi_customization_gate.lifecycle import preflight, status
from pulumi_customization_gate.lifecycle.description import Argument  # noqa: TC001 -- the same
from pulumi_customization_gate.lifecycle.outputs import Output, respelled
from pulumi_customization_gate.lifecycle.spelling import to_camel_case
from pulumi_customization_gate.plugin import properties, values

if TYPE_CHECKING:
    from pulumi_customization_gate.config_lookup import Config

Inputs = dict[str, Any]


@dataclass(frozen=True)
class HostedFunction:
    """One function.

    Args:
        name: Its name.
        text: What it does, in plain text.
        check: Takes config and arguments; returns the reasons for which they are bad.
        run: Takes config, arguments, and whether the user has cancelled; returns the outputs.
        arguments: The arguments.
        outputs: The outputs.
    """

    name: str
    text: str
    check: Callable[[Config, Inputs], Sequence[str]]
    run: Callable[[Config, Inputs, Callable[[], bool]], Mapping[str, Any]]
    arguments: Sequence[Argument]
    outputs: Sequence[Output]

    @property
    def token(self) -> str:
        """The function's token."""
        return f"{PLUGIN_NAMESPACE}:index:{self.name}"

    def decoded(self, given: struct_pb2.Struct) -> Inputs:
        """Returns arguments as the function takes them."""
        return properties.decoded(given, self.arguments)

    def encoded(self, outputs: Mapping[str, Any]) -> struct_pb2.Struct:
        """Returns outputs in the engine's form."""
        return values.encode(respelled(outputs, self.outputs, to_camel_case)).struct_value

    def call(
        self, config: Config, arguments: Inputs, cancelled: Callable[[], bool]
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Returns the reasons for which the arguments are bad, else none of them and the outputs."""
        reasons = self.check(config, arguments)
        return reasons, {} if reasons else self.run(config, arguments, cancelled)


FUNCTIONS: Mapping[str, HostedFunction] = {
    function.token: function
    for function in (
        HostedFunction(
            "getCustomizationStatus",
            "Judges VMs now, without waiting. The outputs are those that a gate would have at this moment.",
            status.check,
            status.judge,
            status.STATUS_ARGUMENTS,
            status.STATUS_OUTPUTS,
        ),
        HostedFunction(
            "preflight",
            "Checks what a gate needs: the connection, the login, the privileges, VMs, a folder and a template. "
            "Writes nothing to the server.",
            preflight.check,
            preflight.look,
            preflight.PREFLIGHT_ARGUMENTS,
            preflight.PREFLIGHT_OUTPUTS,
        ),
    )
}
"""Each function by its token."""
