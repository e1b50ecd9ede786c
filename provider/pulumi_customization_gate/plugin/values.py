"""Property values in the engine's form (protobuf), and in the form that lifecycles take.

The marks are those of Pulumi's property wire format: sdk/go/common/resource/plugin/rpc.go in pulumi/pulumi.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from pulumi_customization_gate.lifecycle.engine import UNKNOWN

_MARK = "4dabf18193072939515e22adb298388d"
"""The key by which a map is a value of another kind."""
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a mark
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWN = frozenset(
    {
        _UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # a list
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # a map
    }
)

_SCALARS: tuple[tuple[Any, str], ...] = (
    (bool, "bool_value"),  # before numbers: it is one
    (int | float, "number_value"),
    (str, "string_value"),
)


def decode(properties: struct_pb2.Struct) -> dict[str, Any]:
    """Returns properties as a lifecycle takes them: without secrets' marks, UNKNOWN for what is not known."""
    return {name: _decoded(value) for name, value in properties.fields.items()}


def secret_names(properties: struct_pb2.Struct) -> set[str]:
    """Returns the names of properties that are or contain a secret."""
    return {name for name, value in properties.fields.items() if _has_secret(value)}


def encode(value: Any) -> struct_pb2.Value:
    """Returns a lifecycle's value in the engine's form."""
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=_UNKNOWN_TEXT)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    for kind, name in _SCALARS:
        if isinstance(value, kind):
            return struct_pb2.Value(**{name: value})
    if isinstance(value, Mapping):
        fields = {str(key): encode(item) for key, item in value.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[encode(item) for item in value]))


def as_secret(value: struct_pb2.Value) -> struct_pb2.Value:
    """Marks a value as a secret, so that the engine encrypts it."""
    if _has_secret(value):
        return value
    fields = {_MARK: struct_pb2.Value(string_value=_SECRET), "value": value}
    return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))


def _decoded(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _decoded_map(value.struct_value)
    if kind == "list_value":
        return [_decoded(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWN else value.string_value
    return None if kind in {None, "null_value"} else getattr(value, kind)


def _decoded_map(properties: struct_pb2.Struct) -> Any:
    mark = _mark(properties)
    if mark in {_SECRET, _OUTPUT}:
        return _decoded(properties.fields["value"]) if "value" in properties.fields else UNKNOWN
    if mark == _RESOURCE:
        return _decoded(properties.fields["id"]) if "id" in properties.fields else UNKNOWN
    return decode(properties)


def _has_secret(value: struct_pb2.Value) -> bool:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return any(map(_has_secret, value.list_value.values))
    if kind != "struct_value":
        return False
    properties = value.struct_value
    mark = _mark(properties)
    is_secret = mark == _SECRET or (mark == _OUTPUT and properties.fields["secret"].bool_value)
    return is_secret or any(map(_has_secret, properties.fields.values()))


def _mark(properties: struct_pb2.Struct) -> str:
    return properties.fields[_MARK].string_value if _MARK in properties.fields else ""
