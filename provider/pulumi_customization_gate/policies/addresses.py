"""Finds the addresses in the properties of a resource, and those that are empty because nothing waited for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pulumi_customization_gate.policies.options import GATES, VSPHERE_VM
from pulumi_customization_gate.policies.properties import (
    ABSENT,
    UNKNOWN,
    contains_unknown,
    is_list,
    item,
    lookup,
    number,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pulumi_policy import PolicyResource

_ADDRESSES = frozenset(
    {"host", "hosts", "hostname", "address", "addresses", "ip", "ips", "ipaddress", "ipaddresses", "endpoint"}
)
"""Names of properties that hold an address, in lower case and without underscores."""
_CONNECTIONS = frozenset({"connection", "proxy"})
"""Names of properties that need an address among their own: a connection without one is to this computer."""
_NO_HOST = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?([^@/]*@)?(\[\]|None|undefined|null)?(:\d*)?/?")
"""An address or a URL without a host: an empty one, `:22`, `ssh://root@`, and `ssh://root@None`, which is how a program
joins an output that the provider has left out."""


class EmptyAddress(NamedTuple):
    """A property that takes the address of a VM for whose address pulumi-vsphere does not wait."""

    path: str
    """The path of the property."""
    vm: PolicyResource
    """The VM."""
    is_known: bool
    """Whether the address is known to be empty. If not, it depends on the VM and is not known before the update."""


def addresses(container: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields path and value of every address in a map of properties; a value can be UNKNOWN.

    A connection that is unknown as a whole counts as one address. An empty list and a connection without an address
    count as an empty one: pulumi-vsphere leaves an output without a value out, and so does the engine in an input.

    Args:
        container: The map, or any other value, which has no addresses.
        prefix: What to write before the paths.
    """
    if not isinstance(container, Mapping):
        return
    for name in container:
        value, path = item(container, name), f"{prefix}{name}"
        word = str(name).replace("_", "").lower()
        is_address = word in _ADDRESSES
        if isinstance(value, Mapping):
            found = list(addresses(value, f"{path}."))
            yield from found or ([(f"{path}.host", "")] if word in _CONNECTIONS else [])
        elif is_list(value):
            if is_address and len(value) == 0:
                yield path, ""
            for at in range(len(value)):
                element = item(value, at)
                if is_address and not isinstance(element, Mapping):
                    yield f"{path}[{at}]", element
                yield from addresses(element, f"{path}[{at}].")
        elif (is_address and value is not ABSENT) or (word in _CONNECTIONS and value is UNKNOWN):
            yield path, value


def is_empty(address: Any) -> bool:
    """Returns whether an address is known and has no host, so that a connection to it reaches this computer."""
    return isinstance(address, str) and _NO_HOST.fullmatch(address.strip()) is not None


def has_no_address(vm: PolicyResource) -> bool:
    """Returns whether the waits of pulumi-vsphere for the network of a VM are known to be off."""
    if vm.resource_type != VSPHERE_VM:
        return False
    # pulumi-vsphere turns the first wait on and the second one off by default; less than a minute turns a wait off.
    waits = (("waitForGuestNetTimeout", 5), ("waitForGuestIpTimeout", 0))
    minutes = [number(default if (value := lookup(vm, path)) is ABSENT else value) for path, default in waits]
    return all(length is not None and length < 1 for length in minutes)


def empty_addresses(resource: PolicyResource, vms: Collection[str]) -> Iterator[EmptyAddress]:
    """Yields the properties of a resource whose address comes from a VM and is empty, or will be.

    The engine reports on which resources a top-level property depends, not which of their outputs it takes, and in a
    preview most outputs are unknown. An address in a property that depends on such a VM counts if it

    - is known and has no host; or
    - is unknown, and no other dependency of the property has an unknown output that could be the reason. A new gate has
      one: `gate.after(vm.name)` is as unknown as `gate.after(vm.default_ip_address)`.

    An address that is known and has a host, for example one made of the VM's name, does not count.

    Args:
        resource: The resource that takes addresses.
        vms: URNs of the VMs without an address.
    """
    for name, dependencies in resource.property_dependencies.items():
        vm = next((other for other in dependencies if other.urn in vms), None)
        if vm is None:
            continue
        others = [other for other in dependencies if other.urn not in vms]
        for path, value in addresses({name: lookup(resource, name)}):
            if is_empty(value) or (value is UNKNOWN and not any(_has_unknown(other) for other in others)):
                yield EmptyAddress(path, vm, value is not UNKNOWN)


def _has_unknown(resource: PolicyResource) -> bool:
    # Of a gate that is yet to be created, only the ID need be unknown, which no rule sees; its results are absent then.
    is_new_gate = resource.resource_type in GATES and lookup(resource, "results") is ABSENT
    return is_new_gate or not resource.props or contains_unknown(resource.props)
