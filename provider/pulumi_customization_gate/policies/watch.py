"""Which gate watches which virtual machine of a stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pulumi_customization_gate.policies.graph import WaitGraph, direct_dependencies
from pulumi_customization_gate.policies.options import GATE, GUEST_FILE, GUEST_SCRIPT
from pulumi_customization_gate.policies.properties import ABSENT, UNKNOWN, Missing, is_list, item, items, lookup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pulumi_policy import PolicyResource

    from pulumi_customization_gate.policies.options import Options

_IDENTITIES = ("moid", "uuid", "id", "href")
_VM_OF_WORK = "vm"
_FIRST = 3
"""How many machines of a violation are told by name."""


class Ungated(NamedTuple):
    """Work in a guest that can start before the guest is ready."""

    work: PolicyResource
    """What does the work."""
    vms: list[PolicyResource]
    """The first few of the machines that it waits for without a gate."""
    more: int
    """How many such machines there are beside them."""
    through: list[PolicyResource]
    """What else it depends on that waits for one of them."""


class WatchedStack:
    """A stack as the rules see it: its virtual machines, its gates, its guest work, and how they hang together.

    A gate watches a virtual machine if

    - its `vms` depend on the machine, or on a component that the machine is part of; or
    - its `vms` hold the machine's managed object ID, UUID, inventory path or Cloud Director reference; or
    - it depends on the machine by an option, and at least as many of its references as there are such machines say
      nothing of any machine of the stack: a path the program got from elsewhere, say.

    The first needs no value, so a preview of a stack yet to be made is judged like any other.
    """

    def __init__(self, resources: Sequence[PolicyResource], options: Options) -> None:
        self._options = options
        self._paths_of_type = cache(self._customization_paths)
        by_name = sorted(resources, key=lambda resource: str(resource.urn))
        self.vms = [resource for resource in by_name if self._paths_of_type(resource.resource_type) is not None]
        """Every virtual machine, customized or not."""
        self.gates = [resource for resource in by_name if resource.resource_type == GATE]
        """Every gate."""
        is_work = cache(lambda kind: any(fnmatchcase(kind, pattern) for pattern in options.work_types))
        self.work = [resource for resource in by_name if is_work(resource.resource_type)]
        """Everything that does work in a guest."""
        self._bit = {vm.urn: 1 << at for at, vm in enumerate(self.vms)}
        self._known = _Known(self.vms)
        self.graph = WaitGraph(
            resources,
            references={work.urn: self._referred(work) for work in self.work},
        )
        """Who waits for whom."""

    def _customization_paths(self, resource_type: str) -> tuple[str, ...] | None:
        types = self._options.vm_types
        if resource_type in types:
            return types[resource_type]
        return next((paths for pattern, paths in types.items() if fnmatchcase(resource_type, pattern)), None)

    def _referred(self, work: PolicyResource) -> set[str]:
        # A script that names its machine by a literal depends on the machine as much as one that takes its output.
        if work.resource_type not in {GUEST_SCRIPT, GUEST_FILE}:
            return set()
        return {vm.urn for vm in self._known.named(lookup(work, _VM_OF_WORK))}

    def customization(self, vm: PolicyResource) -> bool | None:
        """Returns whether a virtual machine has a customization; None where a preview cannot tell."""
        paths = self._paths_of_type(vm.resource_type)
        if not paths:
            return True
        values = [lookup(vm, path) for path in paths]
        if any(value not in (False, ABSENT, UNKNOWN) and not (is_list(value) and len(value) == 0) for value in values):
            return True
        return None if UNKNOWN in values else False

    def customized(self) -> list[PolicyResource]:
        """Returns the virtual machines that have a customization, or may have one: what is unknown is not waved on."""
        return [vm for vm in self.vms if self.customization(vm) is not False]

    @cached_property
    def watched(self) -> dict[str, list[PolicyResource]]:
        """The virtual machines that each gate watches, by the gate's URN."""
        members: dict[str, list[PolicyResource]] = defaultdict(list)
        for vm in self.vms:
            members[vm.urn].append(vm)
            for component in self.graph.ancestors(vm):
                members[component.urn].append(vm)
        return {gate.urn: self._watched_by(gate, members) for gate in self.gates}

    def _watched_by(self, gate: PolicyResource, members: Mapping[str, list[PolicyResource]]) -> list[PolicyResource]:
        by_input = gate.property_dependencies.get("vms", ())
        found = {vm.urn: vm for other in by_input for vm in members.get(other.urn, ())}
        value = lookup(gate, "vms")
        untold = 0
        for reference in [] if value is ABSENT else items(value):
            if reference is UNKNOWN:
                untold += not by_input
                continue
            named = self._known.named(reference)
            found.update((vm.urn, vm) for vm in named)
            untold += not named
        by_option = [
            vm
            for urn in direct_dependencies(gate).keys() - _of_properties(gate)
            for vm in members.get(urn, ())
            if vm.urn not in found
        ]
        if len(by_option) <= untold or (isinstance(value, Missing) and not by_input):
            found.update((vm.urn, vm) for vm in by_option)
        return list(found.values())

    @cached_property
    def watchers(self) -> dict[str, list[PolicyResource]]:
        """The gates that watch each virtual machine, by the machine's URN."""
        found: dict[str, list[PolicyResource]] = {vm.urn: [] for vm in self.vms}
        for gate in self.gates:
            for vm in self.watched[gate.urn]:
                found[vm.urn].append(gate)
        return found

    def ungated(self, vms: Iterable[PolicyResource]) -> list[Ungated]:
        """Returns the guest work that waits for some of these machines, but for no gate that watches them.

        Two walks over the whole graph answer for all of the work at once: which of the machines does it wait for,
        and which of them do the gates watch that it waits for.
        """
        bit = {vm.urn: self._bit[vm.urn] for vm in vms}
        covers = {gate.urn: _union(bit.get(vm.urn, 0) for vm in self.watched[gate.urn]) for gate in self.gates}
        reached, covered = self.graph.gather(bit), self.graph.gather(covers)
        found = []
        for work in self.work:
            if bare := reached[work.urn] & ~covered[work.urn]:
                direct = direct_dependencies(work)
                through = [other for urn, other in direct.items() if reached.get(urn, 0) & bare and urn not in bit]
                found.append(Ungated(work, *self._first_machines(bare), through))
        return found

    def _first_machines(self, bits: int) -> tuple[list[PolicyResource], int]:
        # A few, because work at the end of a long chain can wait for every machine of the stack.
        found: list[PolicyResource] = []
        while bits and len(found) < _FIRST:
            lowest = bits & -bits
            found.append(self.vms[lowest.bit_length() - 1])
            bits ^= lowest
        return found, bits.bit_count()


class _Known:
    """Virtual machines by what a reference can say of them, as far as it is known."""

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
        """Returns the machines that a managed object ID, a UUID, a Cloud Director reference or a path stands for."""
        if isinstance(reference, Mapping):
            texts = {value for key in _IDENTITIES if isinstance(value := item(reference, key), str)}
            return [vm for text in texts for vm in self._by_identity.get(text.lower(), ())]
        if not isinstance(reference, str):
            return []
        exact = self._by_identity.get(reference.lower(), [])
        if exact or "/" not in reference:
            return exact
        folder, _, name = reference.rpartition("/")
        return [vm for vm in self._by_name.get(name, ()) if _lies_in(vm, folder)]


def _lies_in(vm: PolicyResource, folder: str) -> bool:
    known = lookup(vm, "folder")
    return not isinstance(known, str) or f"/{folder}".endswith(f"/{known.strip('/')}")


def _of_properties(resource: PolicyResource) -> set[str]:
    return {other.urn for others in resource.property_dependencies.values() for other in others}


def _union(bits: Iterable[int]) -> int:
    found = 0
    for bit in bits:
        found |= bit
    return found
