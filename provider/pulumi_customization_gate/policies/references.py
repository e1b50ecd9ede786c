"""Finds the VMs of a stack that a reference of a gate names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.policies.properties import item, lookup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_policy import PolicyResource

_IDENTITIES = ("moid", "uuid", "id", "href")


class ReferenceIndex:
    """The VMs of a stack by what a reference can say about them, as far as it is known.

    Args:
        vms: The VMs, customized or not.
    """

    def __init__(self, vms: Iterable[PolicyResource]) -> None:
        self._by_identity: dict[str, list[PolicyResource]] = defaultdict(list)
        self._by_name: dict[str, list[PolicyResource]] = defaultdict(list)
        for vm in vms:
            values = {value for key in _IDENTITIES if isinstance(value := lookup(vm, key), str)}
            for value in values - {""}:
                self._by_identity[value.lower()].append(vm)
            name = lookup(vm, "name")
            if isinstance(name, str):
                self._by_name[name].append(vm)

    def named(self, reference: Any) -> list[PolicyResource]:
        """Returns the VMs that a managed object ID, a UUID, a Cloud Director reference or an inventory path names."""
        if isinstance(reference, Mapping):
            texts = {value for key in _IDENTITIES if isinstance(value := item(reference, key), str)}
            return [vm for text in texts for vm in self._by_identity.get(text.lower(), ())]
        if not isinstance(reference, str):
            return []
        exact = self._by_identity.get(reference.lower(), [])
        if exact or "/" not in reference:
            return exact
        folder, _, name = reference.rpartition("/")
        return [vm for vm in self._by_name.get(name, ()) if _is_in(vm, folder)]


def _is_in(vm: PolicyResource, folder: str) -> bool:
    known = lookup(vm, "folder")
    return not isinstance(known, str) or f"/{folder}".endswith(f"/{known.strip('/')}")
