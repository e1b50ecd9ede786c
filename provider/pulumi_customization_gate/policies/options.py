"""The configuration of the rules: its schema for the engine, and the options that the rules read from it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pulumi_policy import PolicyConfigSchema

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.policies.strictness import ALLOWABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pulumi_policy import Policy

VSPHERE_VM = "vsphere:index/virtualMachine:VirtualMachine"
VM_TYPES: Mapping[str, tuple[str, ...]] = {
    VSPHERE_VM: ("clone.customize", "clone.customizationSpec"),
    "vcd:index/vm:Vm": ("customization.enabled",),
    "vcd:index/vappVm:VappVm": ("customization.enabled",),
}
"""Types of VMs, and the properties any of which, if set and not false, means a customization."""

GATE = "pulumi-python:dynamic/customization:CustomizationGate"
GATES = (GATE, "customization-gate:index:CustomizationGate")
"""The types of the gate: in a Python program, and in a program of any language."""
GUEST_WORK = (
    "pulumi-python:dynamic/customization:GuestScript",
    "pulumi-python:dynamic/customization:GuestFile",
    "customization-gate:index:GuestScript",
    "customization-gate:index:GuestFile",
)
"""The types of the library's own work in a guest, which name a VM in `vm`."""
WORK_TYPES = (*GUEST_WORK, "command:remote:*")
"""Patterns of the types that do work in a guest."""

FAMILIES = ("linux", "windows", "other")
_BOUNDS: Mapping[str, tuple[float, float]] = {"linux": (120, 3600), "windows": (600, 7200), "other": (120, 7200)}

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_SECONDS = {"type": "number", "exclusiveMinimum": 0}
_PROPERTIES: Mapping[str, dict[str, Any]] = {
    "exempt": {
        "type": "array",
        "description": "Resources that the rule does not check: a pattern of the name or of a tag, and the reason.",
        "items": {
            "type": "object",
            "properties": {"name": _TEXT, "tag": _TEXT, "reason": _TEXT},
            "required": ["reason"],
            "anyOf": [{"required": ["name"]}, {"required": ["tag"]}],
            "additionalProperties": False,
        },
    },
    "vmTypes": {
        "type": "object",
        "description": "More types of VMs: a type or a pattern of types, and the paths of the properties that mean a "
        "customization (none: every VM of the type is customized).",
        "additionalProperties": _TEXTS,
    },
    "workTypes": {**_TEXTS, "description": "More types, or patterns of types, that do work in a guest."},
    "allow": {
        "type": "array",
        "description": "Arguments that a gate may have and still satisfy the rule.",
        "items": {"type": "string", "enum": list(ALLOWABLE)},
    },
    "bounds": {
        "type": "object",
        "description": "The shortest and the longest timeout of a gate in seconds, by family of guest OS.",
        "properties": {
            family: {
                "type": "object",
                "properties": {"minimum": _SECONDS, "maximum": _SECONDS},
                "additionalProperties": False,
            }
            for family in FAMILIES
        },
        "additionalProperties": False,
    },
}


def schema(*names: str) -> PolicyConfigSchema:
    """Returns the schema of a rule that takes the named options. The engine validates a configuration with it."""
    return PolicyConfigSchema({name: _PROPERTIES[name] for name in names})


@dataclass(frozen=True)
class Exemption:
    """Excludes a resource from a rule if every pattern that is given matches it."""

    reason: str
    """Why the resource is exempt. Required, so that the next reader of the configuration can judge it."""
    name: str | None = None
    """A pattern (`*`, `?`, `[abc]`) of the resource's name in the program."""
    tag: str | None = None
    """A pattern of a tag: its name, its ID, or `key=value`."""

    def covers(self, name: str, tags: Iterable[str]) -> bool:
        """Returns whether a resource with this name and these tags is exempt."""
        by_name = self.name is None or fnmatchcase(name, self.name)
        return by_name and (self.tag is None or any(fnmatchcase(tag, self.tag) for tag in tags))


@dataclass(frozen=True)
class Options:
    """The configuration of a rule, added to its defaults."""

    exempt: tuple[Exemption, ...]
    """In the order of the configuration."""
    vm_types: Mapping[str, tuple[str, ...]]
    """Types of VMs and the paths that mean a customization."""
    work_types: tuple[str, ...]
    """Patterns of types that do work in a guest."""
    allow: frozenset[str]
    """Arguments that weaken a gate and that the rule permits; see ALLOWABLE."""
    bounds: Mapping[str, tuple[float, float]]
    """The shortest and the longest timeout in seconds, by family."""

    @classmethod
    def read(cls, policy: Policy, config: Mapping[str, Any]) -> Options:
        """Reads the configuration of a rule.

        The engine has validated it with the schema, but accepts keys that the schema does not know; a misspelt one
        would silently disable an exemption or a type.

        Raises:
            ConfigurationError: There is an unknown key, an exemption without a reason or without a pattern, an
                argument that cannot be allowed, or a minimum above its maximum.
        """
        known = policy.config_schema.properties
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise ConfigurationError(
                f"configuration of {policy.name}: expected only the keys {', '.join(sorted(known))}, "
                f"got {', '.join(unknown)}"
            )
        if refused := sorted(set(config.get("allow") or ()) - set(ALLOWABLE)):
            raise ConfigurationError(
                f"allow: expected arguments of {', '.join(ALLOWABLE)}, got {', '.join(map(str, refused))}"
            )
        return cls(
            exempt=tuple(_exemption(entry) for entry in config.get("exempt") or ()),
            vm_types={
                **VM_TYPES,
                **{name: tuple(paths) for name, paths in (config.get("vmTypes") or {}).items()},
            },
            work_types=(*WORK_TYPES, *(config.get("workTypes") or ())),
            allow=frozenset(config.get("allow") or ()),
            bounds={family: _bounds(family, config.get("bounds") or {}) for family in FAMILIES},
        )


def _exemption(entry: Mapping[str, Any]) -> Exemption:
    if not entry.get("reason") or not (entry.get("name") or entry.get("tag")):
        raise ConfigurationError(
            'exempt: expected entries with a "reason", and a "name" or a "tag", for example '
            '{"name": "legacy-*", "reason": "cloud-init images"}'
        )
    return Exemption(entry["reason"], entry.get("name"), entry.get("tag"))


def _bounds(family: str, configured: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    minimum, maximum = _BOUNDS[family]
    given = configured.get(family) or {}
    minimum, maximum = given.get("minimum", minimum), given.get("maximum", maximum)
    if minimum > maximum:
        raise ConfigurationError(
            f"bounds.{family}: expected a minimum below the maximum of {maximum:g} s, got {minimum:g} s"
        )
    return minimum, maximum
