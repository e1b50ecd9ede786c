"""The names of properties in the spelling of Pulumi packages, which is camel case, and in that of Python.

Only names that a resource describes are changed: keys of the user's own stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE

Spelling: TypeAlias = Callable[[str], tuple[str, str]]
"""Takes a described name, which is in snake case, and returns the spelling that is replaced, and the new one."""


def camel(name: str) -> str:
    """Returns a name of snake case in camel case, for example `startTimeout`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def spelled(argument: str, inputs: Mapping[str, Any]) -> str:
    """Returns an argument's name as programs have it: those of the native provider have the names of Pulumi packages.

    Args:
        argument: The name in Python.
        inputs: The resource's inputs.
    """
    return camel(argument) if is_native(inputs) else argument


def is_native(inputs: Mapping[str, Any]) -> bool:
    """Whether the native provider has the resource: no other one has this namespace."""
    return bool(inputs.get("config_namespace") == PLUGIN_NAMESPACE)


def to_camel_case(name: str) -> tuple[str, str]:
    """Spells as Pulumi packages do."""
    return name, camel(name)


def to_snake_case(name: str) -> tuple[str, str]:
    """Spells as Python does."""
    return camel(name), name
