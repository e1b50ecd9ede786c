"""Why a gate that watches a VM does not stop a stack in which the VM's customization failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.policies.properties import ABSENT, UNKNOWN, argument, item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_policy import PolicyResource

ALLOWABLE = ("on_failure", "expect", "accept", "config_namespace")
"""The arguments of a gate that weaken it, as the configuration of a rule allows them."""

_STRICT_VALUES = {"on_failure": "fail", "expect": "required"}
_EFFECTS = {
    "on_failure": "the gate opens when a VM fails",
    "expect": "a VM whose customization never starts passes",
}
_NAMESPACES = {"vsphere": ("vsphere", "vsphereServer"), "vcd": ("vcd", "url")}
"""By the package of a VM: the config namespace of its default provider, and the key that holds the server."""


class Weakness(NamedTuple):
    """One argument of a gate because of which the gate does not guarantee that a VM is customized."""

    argument: str
    """One of ALLOWABLE."""
    reason: str
    """What the gate has and what follows from it, to be read after the gate's name."""
    fix: str
    """What to write instead."""


def weaknesses(gate: PolicyResource, vm: PolicyResource, *, may_accept: bool) -> Iterator[Weakness]:
    """Yields why a gate is not enough for a VM that it watches.

    Args:
        gate: The gate.
        vm: A VM that it watches.
        may_accept: Whether `accept` of the gate holds the VM, or can hold it.
    """
    for name, strict in _STRICT_VALUES.items():
        value = argument(gate, name)
        if value not in (ABSENT, strict):
            what = _not_known(name) if value is UNKNOWN else f"has {_shown(name, value)}, so {_EFFECTS[name]}"
            yield Weakness(name, what, f'{name}="{strict}"')
    if may_accept:
        is_unknown = argument(gate, "accept") is UNKNOWN
        what = _not_known("accept") if is_unknown else "has an entry for this VM in accept, so it opens if the VM fails"
        yield Weakness("accept", what, "no entry for this VM in accept")
    yield from _foreign_namespace(gate, vm)


def _foreign_namespace(gate: PolicyResource, vm: PolicyResource) -> Iterator[Weakness]:
    package = vm.resource_type.partition(":")[0]
    if package not in _NAMESPACES:
        return
    default, key = _NAMESPACES[package]
    namespace = argument(gate, "config_namespace")
    if namespace is UNKNOWN:
        yield Weakness("config_namespace", _not_known("config_namespace"), "config_namespace as a literal")
        return
    namespace = default if namespace is ABSENT else namespace
    # The dynamic provider of a gate is configured with the whole configuration of the stack.
    expected, watched = _server(vm, key), _server(gate, f"{namespace}:{key}")
    is_other_server = expected != watched if expected and watched else None
    # Without both servers, the namespace of a VM of the default provider is known.
    if is_other_server or (is_other_server is None and namespace != default and _has_default_provider(vm)):
        yield Weakness(
            "config_namespace",
            f"has {_shown('config_namespace', namespace)}, which is not the server of this VM's provider",
            "the config_namespace that holds the server of the VM's provider",
        )


def _server(resource: PolicyResource, key: str) -> str:
    """Returns the server that the provider of a resource is configured with, or nothing where it is not known."""
    value = item(resource.provider.props, key) if resource.provider is not None else ABSENT
    return value.strip().rstrip("/").lower().removesuffix("/api").removesuffix(":443") if isinstance(value, str) else ""


def _has_default_provider(vm: PolicyResource) -> bool:
    return vm.provider is None or vm.provider.name.startswith("default")


def _shown(name: str, value: Any) -> str:
    return f'{name}="{sanitize(str(value), 40)}"'


def _not_known(name: str) -> str:
    return f"has a value of {name} that is not known before the update"
