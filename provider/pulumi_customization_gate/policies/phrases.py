"""The texts of the violations: names of resources, and lines of a program to write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.policies.options import VSPHERE_VM
from pulumi_customization_gate.policies.properties import UNKNOWN, item, lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_policy import PolicyResource, ResourceValidationArgs

    from pulumi_customization_gate.policies.strictness import Weakness

_NAMES_SHOWN = 3
_LONGEST_NAME = 100


def name(resource: PolicyResource | ResourceValidationArgs) -> str:
    """Returns the name of a resource in quotes, without control characters."""
    return f'"{sanitize(resource.name, _LONGEST_NAME)}"'


def names(resources: Sequence[PolicyResource], more: int = 0) -> str:
    """Returns the names of the first few resources, and how many more there are."""
    shown = [name(resource) for resource in resources[:_NAMES_SHOWN]]
    more += len(resources) - len(shown)
    last = f"{more} more" if more else shown.pop()
    return f"{', '.join(shown)} and {last}" if shown else last


def gate_names(gates: Sequence[PolicyResource]) -> str:
    """Returns the names of gates, with their type."""
    return f"CustomizationGate{'' if len(gates) == 1 else 's'} {names(gates)}"


def identifier(resource: PolicyResource) -> str:
    """Returns the variable that holds a resource in the lines to write."""
    word = re.sub(r"\W+", "_", resource.name, flags=re.ASCII).strip("_")
    return word if word.isidentifier() else f"resource_{word}"


def reference(vm: PolicyResource) -> str:
    """Returns the output of a VM that a gate takes."""
    return f"{identifier(vm)}.{'moid' if vm.resource_type == VSPHERE_VM else 'id'}"


def gate_line(vm: PolicyResource) -> str:
    """Returns the line that creates a gate for a VM."""
    platform = ', platform="cloud_director"' if vm.resource_type.startswith("vcd:") else ""
    return f'gate = CustomizationGate("{sanitize(vm.name, _LONGEST_NAME)}-gate", vms=[{reference(vm)}]{platform})'


def address_line(gate: PolicyResource | None, vm: PolicyResource) -> str:
    """Returns the expression for the address of a VM, as its gate gives it."""
    return f"{identifier(gate) if gate else 'gate'}.address({_key(gate, vm)})"


def _key(gate: PolicyResource | None, vm: PolicyResource) -> str:
    """Returns the key of a VM in the outputs of a gate: the one in the map `vms`, or the VM's name for a list."""
    references = lookup(gate, "vms") if gate else UNKNOWN
    known = lookup(vm, "name")
    key = known if isinstance(known, str) else vm.name
    # `in` of the SDK's map reads the value, which may be unknown.
    if isinstance(references, Mapping) and key not in set(references):
        moid = lookup(vm, "moid")
        keys = [other for other in references if len(references) == 1 or item(references, other) == moid]
        if len(keys) != 1 or (moid is UNKNOWN and len(references) > 1):
            return "..."
        key = keys[0]
    return f'"{sanitize(key, _LONGEST_NAME)}"'


def weakness(gate: PolicyResource, found: Sequence[Weakness]) -> str:
    """Returns in a sentence why a gate is not enough."""
    reasons = " and ".join(one.reason for one in found)
    return f"CustomizationGate {name(gate)} {reasons}"


def strict_line(gate: PolicyResource, found: Sequence[Weakness]) -> str:
    """Returns what to write so that a gate is enough, or how to allow it as it is."""
    fixes = ", ".join(one.fix for one in found)
    allow = ", ".join(f'"{one.argument}"' for one in found)
    return f'for {identifier(gate)}: {fixes}; or allow it in the configuration of this rule: "allow": [{allow}]'
