"""Reads the properties of a resource as a policy gets them, where any value may be unknown during a preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pulumi_policy.proxy import UnknownValueError

if TYPE_CHECKING:
    from pulumi_policy import PolicyResource


class Missing(Enum):
    """Why a property has no value."""

    ABSENT = "absent"
    """The program leaves it out, or sets it to null."""
    UNKNOWN = "unknown"
    """It depends on something that the update has not done yet."""


ABSENT: Final = Missing.ABSENT
UNKNOWN: Final = Missing.UNKNOWN


def lookup(resource: PolicyResource, path: str) -> Any:
    """Returns the value at a dotted path, or ABSENT or UNKNOWN. Of a list on the way, the first element counts."""
    if not resource.props and _provider_is_unknown(resource):
        return UNKNOWN
    value: Any = resource.props
    for key in path.split("."):
        if is_list(value):
            value = item(value, 0) if len(value) else ABSENT
        if value is UNKNOWN:
            return UNKNOWN
        value = item(value, key) if isinstance(value, Mapping) else ABSENT
    return value


def argument(resource: PolicyResource, name: str) -> Any:
    """Returns an argument of a gate, or ABSENT or UNKNOWN: `on_failure` of a Python program, `onFailure` of others."""
    value = lookup(resource, name)
    first, *rest = name.split("_")
    return lookup(resource, first + "".join(word.title() for word in rest)) if value is ABSENT and rest else value


def item(container: Any, key: Any) -> Any:
    """Returns one element of a map or a list, or ABSENT or UNKNOWN, where the SDK's own access would raise."""
    try:
        value = container[key]
    except UnknownValueError:
        return UNKNOWN
    except (KeyError, IndexError):
        return ABSENT
    return ABSENT if value is None else value


def items(container: Any) -> list[Any]:
    """Returns the elements of a list or the values of a map, each of which may be UNKNOWN; of anything else, itself."""
    if isinstance(container, Mapping):
        return [item(container, key) for key in container]
    if is_list(container):
        return [item(container, at) for at in range(len(container))]
    return [container]


def contains_unknown(value: Any) -> bool:
    """Returns whether a value, or anything in a list or a map, is UNKNOWN."""
    if isinstance(value, Mapping) or is_list(value):
        return any(contains_unknown(element) for element in items(value))
    return value is UNKNOWN


def number(value: Any) -> float | None:
    """Returns a number, also one written as a string, or None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def labels(resource: PolicyResource) -> set[str]:
    """Returns the tags of a resource: IDs and names of vSphere tags, keys and `key=value` of any map of them.

    The ID of a tag that the same program creates is unknown in its first preview; the dependency on the tag is known,
    and with it the tag's name.
    """
    found = {other.props["name"] for other in resource.property_dependencies.get("tags", ()) if _has_name(other)}
    for key in ("tags", "metadata"):
        value = lookup(resource, key)
        if isinstance(value, Mapping):
            found |= set(value) | {f"{name}={item(value, name)}" for name in value}
        elif not isinstance(value, Missing):
            found |= {tag for tag in items(value) if isinstance(tag, str)}
    return found


def _has_name(resource: PolicyResource) -> bool:
    return isinstance(lookup(resource, "name"), str)


def is_list(value: Any) -> bool:
    """Returns whether a value is a list, be it the SDK's own kind of list."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _provider_is_unknown(resource: PolicyResource) -> bool:
    # The engine reports no properties at all while the configuration of the resource's provider is unknown.
    provider = resource.provider
    return provider is not None and any(item(provider.props, key) is UNKNOWN for key in provider.props)
