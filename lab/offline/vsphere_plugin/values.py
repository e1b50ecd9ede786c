"""Plain Python values in and out of the SDK's property values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

UNKNOWN_VALUE = PropertyValue(UNKNOWN)
"""A value that the engine does not know yet. The server passes this marker through as a string, in both directions."""


def plain(value: Any) -> Any:
    """Returns a property value, or a mapping of them, as plain Python."""
    if isinstance(value, PropertyValue):
        value = value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def wrapped(value: Any) -> PropertyValue:
    """Returns plain Python as a property value. The protocol knows one kind of number: integers become floats."""
    if isinstance(value, Mapping):
        return PropertyValue({key: wrapped(item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return PropertyValue([wrapped(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def is_known(value: Any) -> bool:
    """Whether a value contains no unknown value."""
    if isinstance(value, Mapping):
        return all(map(is_known, value.values()))
    if isinstance(value, list):
        return all(map(is_known, value))
    return bool(value != UNKNOWN)
