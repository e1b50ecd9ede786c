"""The names of properties in the spelling of Pulumi packages, which is camel case, and in that of Python.

Only names that a resource describes are changed: keys of the user's own stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Spelling: TypeAlias = Callable[[str], tuple[str, str]]
"""Takes a described name, which is in snake case, and returns the spelling that is replaced, and the new one."""


def camel(name: str) -> str:
    """Returns a name of snake case in camel case, for example `startTimeout`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def to_camel_case(name: str) -> tuple[str, str]:
    """Spells as Pulumi packages do."""
    return name, camel(name)


def to_snake_case(name: str) -> tuple[str, str]:
    """Spells as Python does."""
    return camel(name), name
