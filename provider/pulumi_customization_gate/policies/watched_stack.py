"""Which gate watches which VM of a stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from pulumi_customization_gate.policies.graph import WaitGraph, direct_dependencies
from pulumi_customization_gate.policies.options import GATES, GUEST_WORK
from pulumi_customization_gate.policies.properties import ABSENT, UNKNOWN, argument, is_list, item, items, lookup
from pulumi_customization_gate.policies.references import ReferenceIndex
from pulumi_customization_gate.policies.strictness import Weakness, weaknesses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pulumi_policy import PolicyResource

    from pulumi_customization_gate.policies.options import Options

_VM_OF_WORK = "vm"
_FIRST = 3
"""How many VMs a violation names."""


class Ungated(NamedTuple):
    """Work in a guest that can start before the guest is ready."""

    work: PolicyResource
    """What does the work."""
    vms: list[PolicyResource]
    """The first few of the VMs that it waits for without a gate."""
    more: int
    """How many more such VMs there are."""
    through: list[PolicyResource]
    """Its other dependencies that wait for one of these VMs."""


class WatchedStack:
    """A stack as the rules see it: its VMs, its gates, its guest work, and their dependencies.

    A gate watches a VM if its `vms`

    - hold the VM's managed object ID, UUID, inventory path or Cloud Director reference; or
    - hold references that are unknown or name no VM of the stack, at least as many as there are customized VMs on
      which `vms` depend without naming them, and this VM, or a component that it is part of, is one of them.

    The second needs no value, so a preview of a new stack is judged like any other. A dependency by the option
    `depends_on` or by another argument is not enough: it orders the gate, and says nothing about what the gate watches.
    """

    def __init__(self, resources: Sequence[PolicyResource], options: Options) -> None:
        self._options = options
        self._paths_of_type = cache(self._customization_paths)
        by_name = sorted(resources, key=lambda resource: str(resource.urn))
        self.vms = [resource for resource in by_name if self._paths_of_type(resource.resource_type) is not None]
        """Every VM, customized or not."""
        self.gates = [resource for resource in by_name if resource.resource_type in GATES]
        """Every gate."""
        is_work = cache(lambda kind: any(fnmatchcase(kind, pattern) for pattern in options.work_types))
        self.work = [resource for resource in by_name if is_work(resource.resource_type)]
        """Everything that does work in a guest."""
        self._bit = {vm.urn: 1 << at for at, vm in enumerate(self.vms)}
        self._index = ReferenceIndex(self.vms)
        self.graph = WaitGraph(
            resources,
            references={work.urn: self._referred(work) for work in self.work},
        )
        """Which resource waits for which."""

    def _customization_paths(self, resource_type: str) -> tuple[str, ...] | None:
        types = self._options.vm_types
        if resource_type in types:
            return types[resource_type]
        return next((paths for pattern, paths in types.items() if fnmatchcase(resource_type, pattern)), None)

    def _referred(self, work: PolicyResource) -> set[str]:
        # A script that names its VM by a literal depends on the VM as much as one that takes the VM's output.
        if work.resource_type not in GUEST_WORK:
            return set()
        return {vm.urn for vm in self._index.named(lookup(work, _VM_OF_WORK))}

    def customization(self, vm: PolicyResource) -> bool | None:
        """Returns whether a VM has a customization, or None if it is unknown in a preview."""
        paths = self._paths_of_type(vm.resource_type)
        if not paths:
            return True
        values = [lookup(vm, path) for path in paths]
        if any(value not in (False, ABSENT, UNKNOWN) and not (is_list(value) and len(value) == 0) for value in values):
            return True
        return None if UNKNOWN in values else False

    def customized(self) -> list[PolicyResource]:
        """Returns the VMs that have a customization, or may have one."""
        return [vm for vm in self.vms if self.customization(vm) is not False]

    @cached_property
    def watched(self) -> dict[str, list[PolicyResource]]:
        """The VMs that each gate watches, by the gate's URN."""
        members: dict[str, list[PolicyResource]] = defaultdict(list)
        for vm in self.vms:
            members[vm.urn].append(vm)
            for component in self.graph.ancestors(vm):
                members[component.urn].append(vm)
        return {gate.urn: self._watched_by(gate, members) for gate in self.gates}

    def _watched_by(self, gate: PolicyResource, members: Mapping[str, list[PolicyResource]]) -> list[PolicyResource]:
        value = lookup(gate, "vms")
        references = [] if value is ABSENT else items(value)
        named = [self._index.named(reference) for reference in references]
        found = {vm.urn: vm for vms in named for vm in vms}
        dependencies = gate.property_dependencies.get("vms", ())
        others = {vm.urn: vm for other in dependencies for vm in members.get(other.urn, ()) if vm.urn not in found}
        # One reference names one VM: with fewer references than VMs, which of these is watched is not known.
        count = sum(self.customization(vm) is not False for vm in others.values())
        if value is UNKNOWN or count <= named.count([]):
            found.update(others)
        return list(found.values())

    @cached_property
    def watchers(self) -> dict[str, list[PolicyResource]]:
        """The gates that watch each VM, by the VM's URN."""
        found: dict[str, list[PolicyResource]] = {vm.urn: [] for vm in self.vms}
        for gate in self.gates:
            for vm in self.watched[gate.urn]:
                found[vm.urn].append(gate)
        return found

    def strict_watchers(self, vm: PolicyResource) -> list[PolicyResource]:
        """Returns the gates that watch a VM and stop the stack if its customization fails."""
        return [gate for gate in self.watchers[vm.urn] if not self.weaknesses(gate, vm)]

    def weaknesses(self, gate: PolicyResource, vm: PolicyResource) -> list[Weakness]:
        """Returns why a gate is not enough for a VM that it watches, without what the configuration allows."""
        found = weaknesses(gate, vm, may_accept=self._may_accept(gate, vm))
        return [weakness for weakness in found if weakness.argument not in self._options.allow]

    def _may_accept(self, gate: PolicyResource, vm: PolicyResource) -> bool:
        accepted = argument(gate, "accept")
        if not isinstance(accepted, Mapping):
            return accepted is UNKNOWN
        references = lookup(gate, "vms")
        for key in accepted:
            # In a map the key leads to a reference; in a list it is the VM's name or its managed object ID.
            reference = item(references, key) if isinstance(references, Mapping) else key
            named = self._index.named(reference)
            is_unknown = reference is UNKNOWN or UNKNOWN in (references, lookup(vm, "name"))
            if vm in named or reference == lookup(vm, "name") or (is_unknown and not named):
                return True
        return False

    def ungated(self, vms: Iterable[PolicyResource]) -> list[Ungated]:
        """Returns the guest work that waits for some of these VMs, but for no strict gate that watches them.

        Two walks over the whole graph answer for all of the work at once: which of the VMs does it wait for, and which
        of them do the gates watch that it waits for.
        """
        bit = {vm.urn: self._bit[vm.urn] for vm in vms}
        covers: dict[str, int] = defaultdict(int)
        for gate in self.gates:
            for vm in self.watched[gate.urn]:
                if vm.urn in bit and not self.weaknesses(gate, vm):
                    covers[gate.urn] |= bit[vm.urn]
        reached, covered = self.graph.gather(bit), self.graph.gather(covers)
        found = []
        for work in self.work:
            if bare := reached[work.urn] & ~covered[work.urn]:
                direct = direct_dependencies(work)
                through = [other for urn, other in direct.items() if reached.get(urn, 0) & bare and urn not in bit]
                found.append(Ungated(work, *self._first_vms(bare), through))
        return found

    def _first_vms(self, bits: int) -> tuple[list[PolicyResource], int]:
        # A few, because work at the end of a long chain can wait for every VM of the stack.
        found: list[PolicyResource] = []
        while bits and len(found) < _FIRST:
            lowest = bits & -bits
            found.append(self.vms[lowest.bit_length() - 1])
            bits ^= lowest
        return found, bits.bit_count()
