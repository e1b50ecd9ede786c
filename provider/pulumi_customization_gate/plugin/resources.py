"""The resources that the native provider has: for each its lifecycle, and the names of its properties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE
from pulumi_customization_gate.lifecycle import gate
from pulumi_customization_gate.lifecycle.arguments import GATE
from pulumi_customization_gate.lifecycle.description import Argument  # noqa: TC001 -- the same
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.guest_description import FILE, SCRIPT
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS
from pulumi_customization_gate.lifecycle.outputs import (
    FILE_INPUTS,
    FILE_OUTPUTS,
    FILE_STORED,
    GATE_INPUTS,
    GATE_OUTPUTS,
    SCRIPT_OUTPUTS,
    SCRIPT_STORED,
    Output,
    respelled,
)
from pulumi_customization_gate.lifecycle.spelling import camel, to_camel_case
from pulumi_customization_gate.plugin import values
from pulumi_customization_gate.plugin.properties import NAMESPACE, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi_customization_gate.config_lookup import Config


@dataclass(frozen=True)
class HostedResource:
    """One type of resource.

    Args:
        name: The type's name.
        text: What the resource does, in plain text.
        load: Returns the module with `PROPERTIES`, `diff`, `create`, `update`, `preview` and `delete`. Those of guest
            work need client libraries that a program without such work does not load.
        check: Takes config and inputs; returns the reasons for which they are bad, and what is stored beside them.
        read: Takes the outputs, and returns those of a refresh.
        arguments: The arguments.
        outputs: The outputs.
        inputs: What it takes beside the arguments.
        stored: What is stored beside inputs and outputs.
        secrets: The inputs that the state always has encrypted.
    """

    name: str
    text: str
    load: Callable[[], Any]
    check: Callable[[Config, Mapping[str, Any]], tuple[list[str], Mapping[str, Any]]]
    arguments: Sequence[Argument]
    outputs: Sequence[Output]
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    inputs: Sequence[Output] = ()
    stored: Sequence[Output] = ()
    secrets: frozenset[str] = field(default=frozenset())

    @property
    def type(self) -> str:
        """The type's token."""
        return f"{PLUGIN_NAMESPACE}:index:{self.name}"

    @property
    def lifecycle(self) -> Any:
        """The module that `load` returns."""
        return self.load()

    def decoded(self, properties: struct_pb2.Struct) -> dict[str, Any]:
        """Returns properties as the lifecycle takes them."""
        return decoded(properties, self.lifecycle.PROPERTIES, self.secrets)

    def checked(self, properties: struct_pb2.Struct, known: Mapping[str, Any]) -> struct_pb2.Struct:
        """Returns inputs as they are stored, with what `check` adds, and with secrets marked."""
        checked = self._with(properties, known)
        for name in self.secrets:
            for key in {name, camel(name)} & set(checked.fields):
                checked.fields[key].CopyFrom(values.as_secret(checked.fields[key]))
        return checked

    def encoded(self, properties: struct_pb2.Struct, outputs: Mapping[str, Any]) -> struct_pb2.Struct:
        """Returns all outputs: the inputs as they came, secrets' marks included, and what the lifecycle has added."""
        names = [output.name for output in (*self.outputs, *self.stored)]
        return self._with(properties, {name: outputs[name] for name in names if name in outputs})

    def created_in_preview(self, properties: struct_pb2.Struct) -> struct_pb2.Struct:
        """Returns the outputs of a resource that a preview would create: nothing is known of them but the inputs."""
        return self._with(properties, {output.name: UNKNOWN for output in self.outputs})

    def spelled(self, names: Sequence[str]) -> list[str]:
        """Returns the names of properties as the engine has them."""
        return [camel(name) for name in names]

    def _with(self, properties: struct_pb2.Struct, added: Mapping[str, Any]) -> struct_pb2.Struct:
        result = struct_pb2.Struct()
        result.CopyFrom(properties)
        for name in added:
            result.fields.pop(name, None)
        for name, value in respelled(added, self.lifecycle.PROPERTIES, to_camel_case).items():
            if value is None:
                result.fields.pop(name, None)
            else:
                result.fields[name].CopyFrom(values.encode(value))
        return result


def _without_namespace(arguments: Sequence[Argument]) -> Sequence[Argument]:
    return tuple(argument for argument in arguments if argument.name != NAMESPACE)


def _guest_script() -> Any:
    from pulumi_customization_gate.lifecycle import guest_script  # noqa: PLC0415 -- see HostedResource.load

    return guest_script


def _guest_file() -> Any:
    from pulumi_customization_gate.lifecycle import guest_file  # noqa: PLC0415 -- the same

    return guest_file


RESOURCES: Mapping[str, HostedResource] = {
    resource.type: resource
    for resource in (
        HostedResource(
            "CustomizationGate",
            "Blocks until the guest customization of VMs has succeeded, and fails with the reason if it has not. "
            "Resources that depend on it wait for it. The gate writes nothing to the server.",
            lambda: gate,
            lambda config, news: (gate.check(config, news), {}),
            _without_namespace(GATE),
            GATE_OUTPUTS,
            read=gate.read,
            inputs=GATE_INPUTS,
        ),
        HostedResource(
            "GuestScript",
            "Runs a script in the guest of a VM, by VMware Tools: once when the resource is created, and again when "
            "what runs has changed or the last run failed.",
            _guest_script,
            lambda config, news: (_guest_script().check(config, news), {}),
            _without_namespace(SCRIPT),
            SCRIPT_OUTPUTS,
            stored=SCRIPT_STORED,
            secrets=frozenset({"environment", "password", "stdin"}),
        ),
        HostedResource(
            "GuestFile",
            "Writes a file, or a directory of files, in the guest of a VM, by VMware Tools. Deleting the resource "
            "removes what it created.",
            _guest_file,
            lambda config, news: _guest_file().check(config, news),
            _without_namespace(FILE),
            FILE_OUTPUTS,
            inputs=FILE_INPUTS,
            stored=FILE_STORED,
            secrets=frozenset({"password", TEXTS}),
        ),
    )
}
"""Each resource by its type."""
