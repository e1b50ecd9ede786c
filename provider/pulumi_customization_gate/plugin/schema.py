"""The schema of the package, from which `pulumi package add` makes the SDK of a language.

It is made from the description of the arguments and outputs. `python -m pulumi_customization_gate.plugin.schema` writes
it to `schema.json`, which the provider returns, and which a test compares.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE
from pulumi_customization_gate.lifecycle.collection_types import ListOf, MapOrListOfAnything
from pulumi_customization_gate.lifecycle.description import Argument, OneOfKinds, Record
from pulumi_customization_gate.lifecycle.outputs import Fields, ListTo, MapTo, Output
from pulumi_customization_gate.lifecycle.spelling import camel
from pulumi_customization_gate.lifecycle.value_types import Choice
from pulumi_customization_gate.plugin import settings
from pulumi_customization_gate.plugin.functions import FUNCTIONS
from pulumi_customization_gate.plugin.resources import RESOURCES, HostedResource
from pulumi_customization_gate.version import __version__

if TYPE_CHECKING:
    from pulumi_customization_gate.plugin.functions import HostedFunction

Spec = dict[str, Any]

FILE = Path(__file__).with_name("schema.json")
PYTHON_PACKAGE = "pulumi_customization_gate_native"
"""The name of the Python SDK that is generated: that of the library itself would replace the library."""
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def package_schema() -> Spec:
    """Returns the schema."""
    schema = _Schema()
    resources = {resource.type: schema.resource(resource) for resource in RESOURCES.values()}
    functions = {function.token: schema.function(function) for function in FUNCTIONS.values()}
    variables = {name: _setting(name, text) for name, text in settings.SETTINGS.items()}
    return {
        "name": PLUGIN_NAMESPACE,
        "version": __version__,
        "displayName": "Customization Gate",
        "description": "Blocks until the guest customization of VMs in vSphere or Cloud Director has succeeded. Runs "
        "scripts and writes files in guests.",
        "keywords": ["category/infrastructure", "kind/native", "vsphere", "vmware", "cloud-director", "customization"],
        "license": "Apache-2.0",
        "publisher": "The maintainers of pulumi-customization-gate",
        "language": {
            "csharp": {"respectSchemaVersion": True},
            "go": {"respectSchemaVersion": True, "generateResourceContainerTypes": True},
            "nodejs": {"respectSchemaVersion": True},
            "python": {
                "packageName": PYTHON_PACKAGE,
                "respectSchemaVersion": True,
                "pyproject": {"enabled": True},
                "inputTypes": "classes-and-dicts",
            },
        },
        "config": {"variables": variables},
        "provider": {
            "description": "The connection to one vCenter or one Cloud Director. Two servers are two providers.",
            "inputProperties": variables,
        },
        "types": dict(sorted(schema.types.items())),
        "resources": resources,
        "functions": functions,
    }


class _Schema:
    """Collects the types that resources and functions refer to."""

    def __init__(self) -> None:
        self.types: dict[str, Spec] = {}

    def resource(self, resource: HostedResource) -> Spec:
        """Returns a resource: its properties are its inputs and its outputs."""
        taken: tuple[Argument | Output, ...] = (*resource.arguments, *resource.inputs)
        inputs = {camel(one.name): self._property(one, is_secret=one.name in resource.secrets) for one in taken}
        given = (*resource.outputs, *resource.stored)
        outputs = {camel(one.name): self._property(one) for one in given}
        required = [camel(argument.name) for argument in resource.arguments if argument.is_required]
        always = [camel(output.name) for output in resource.outputs if not output.is_optional]
        return {
            "description": resource.text,
            "inputProperties": inputs,
            "requiredInputs": required,
            "properties": {**inputs, **outputs},
            "required": [*required, *always],
        }

    def function(self, function: HostedFunction) -> Spec:
        """Returns a function."""
        return {
            "description": function.text,
            "inputs": {
                "properties": {camel(one.name): self._property(one) for one in function.arguments},
                "required": [camel(one.name) for one in function.arguments if one.is_required],
            },
            "outputs": self._object(function.outputs),
        }

    def _property(self, described: Argument | Output, *, is_secret: bool = False) -> Spec:
        text = described.text[0].upper() + described.text[1:]
        default = _default(described) if isinstance(described, Argument) else ""
        text = f"{text}. {default}" if default else f"{text}."
        spec = self._of(described.type, described.name)
        return {**spec, "description": text.replace("`", ""), **({"secret": True} if is_secret else {})}

    def _of(self, kind: Any, name: str) -> Spec:  # noqa: PLR0911 -- a case for each type
        """Returns what a property of a type is; `name` names an enumeration."""
        if isinstance(kind, Choice):
            return self._enumeration("".join(map(str.capitalize, name.split("_"))), kind.choices)
        if isinstance(kind, OneOfKinds):
            return self._union(kind)
        if isinstance(kind, ListOf | ListTo):
            return {"type": "array", "items": self._of(kind.item, name)}
        if isinstance(kind, MapOrListOfAnything):
            return {"$ref": "pulumi.json#/Any"}
        if isinstance(kind, Fields):
            return self._reference(kind.name, {"description": kind.text, **self._object(kind.fields)})
        if isinstance(kind, MapTo):
            return {"type": "object", "additionalProperties": self._of(kind.item, name)}
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return self._enumeration(kind.__name__, [member.value for member in kind])
        return _plain(getattr(kind, "annotation", kind))

    def _object(self, fields: Sequence[Output]) -> Spec:
        return {
            "type": "object",
            "properties": {camel(field.name): self._property(field) for field in fields},
            "required": [camel(field.name) for field in fields if not field.is_optional],
        }

    def _union(self, kind: OneOfKinds) -> Spec:
        references = {record.kind: self._record(record) for record in kind.records}
        return {
            "oneOf": list(references.values()),
            "discriminator": {
                "propertyName": "kind",
                "mapping": {name: reference["$ref"] for name, reference in references.items()},
            },
        }

    def _record(self, record: Record) -> Spec:
        name = "".join(map(str.capitalize, record.kind.split("_"))) + "Check"
        properties = {camel(field.name): self._property(field) for field in record.fields}
        kind = {"type": "string", "const": record.kind, "description": "The kind of the check."}
        return self._reference(
            name,
            {
                "description": f"{record.text[0].upper()}{record.text[1:]}.",
                "type": "object",
                "properties": {"kind": kind, **properties},
                "required": ["kind", *(camel(field.name) for field in record.fields if field.is_required)],
            },
        )

    def _enumeration(self, name: str, choices: Sequence[str]) -> Spec:
        return self._reference(name, {"type": "string", "enum": [{"value": choice} for choice in choices]})

    def _reference(self, name: str, spec: Spec) -> Spec:
        token = f"{PLUGIN_NAMESPACE}:index:{name}"
        self.types[token] = spec
        return {"$ref": f"#/types/{token}"}


def _plain(annotation: Any) -> Spec:
    """Returns what a Python type is in a schema."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {"$ref": "pulumi.json#/Any"}
    if origin in {Union, types.UnionType}:
        return {"oneOf": [_plain(argument) for argument in arguments]}
    if origin is Literal:
        return {"type": _SCALARS[type(arguments[0])]}
    if origin is Sequence:
        return {"type": "array", "items": _plain(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _plain(arguments[1])}
    return {"type": _SCALARS[annotation]}


def _default(argument: Argument) -> str:
    """Returns the sentence about an argument's default, nothing where it has none or is an option of a check."""
    if argument.is_required:
        return ""
    if argument.default is None:
        return f"Default: {argument.default_text}." if argument.default_text else ""
    default = argument.default
    return f"Default: {f'{default:g}' if isinstance(default, float) else json.dumps(default)}."


def _setting(name: str, text: str) -> Spec:
    kind = "boolean" if name in settings.BOOLEANS else "string"
    return {"type": kind, "description": text, **({"secret": True} if name in settings.SECRETS else {})}


def text() -> str:
    """Returns the schema as it is stored."""
    return json.dumps(package_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
