"""Which resource of a stack waits for which, whatever their values."""

from __future__ import annotations

import contextlib
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pulumi_policy import PolicyResource

_PROVIDER_TYPES = "pulumi:providers:"


class WaitGraph:
    """The order in which the engine works through a stack, as a graph of waits.

    A custom resource is one node. A component, which is what has children and no provider, is two: its start is its
    registration, its end is its registration and the end of all its children. What depends on a component waits for its
    end; a child waits for its start. Without the two nodes, a child would seem to wait for its siblings.

    A resource waits for its dependencies, for those of each of its properties, for its parent and for its explicit
    provider.

    Args:
        resources: All resources of the stack, in any order.
        references: Waits that the engine does not know: URNs of resources that a value names, by the URN of the
            resource that has the value.
    """

    def __init__(
        self,
        resources: Sequence[PolicyResource],
        references: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._resources = resources
        self._start = {resource.urn: node for node, resource in enumerate(resources)}
        parents = {resource.parent.urn for resource in resources if resource.parent}
        components = [
            resource.urn
            for resource in resources
            if resource.urn in parents
            and resource.provider is None
            and not resource.resource_type.startswith(_PROVIDER_TYPES)
        ]
        self._end = {**self._start, **{urn: len(resources) + at for at, urn in enumerate(components)}}
        self.components = frozenset(components)
        """URNs of the components that have children."""
        self._waits = [self._before(resource, references or {}) for resource in resources]
        self._waits += [[self._start[urn]] for urn in components]
        for resource in resources:
            if resource.parent and resource.parent.urn in self.components:
                self._waits[self._end[resource.parent.urn]].append(self._end[resource.urn])
        # The result of `gather` does not depend on the order, only its speed does.
        self._order: Sequence[int] = range(len(self._waits))
        with contextlib.suppress(CycleError):
            self._order = tuple(TopologicalSorter(dict(enumerate(self._waits))).static_order())

    def _before(self, resource: PolicyResource, references: Mapping[str, Collection[str]]) -> list[int]:
        urns = set(direct_dependencies(resource)).union(references.get(resource.urn, ()))
        nodes = [self._end[urn] for urn in urns if urn in self._end]
        earlier = [resource.parent.urn] if resource.parent else []
        if resource.provider is not None:
            earlier.append(resource.provider.urn)
        return nodes + [self._start[urn] for urn in earlier if urn in self._start]

    def gather(self, seeds: Mapping[str, int]) -> dict[str, int]:
        """Returns by URN the union of the bit sets of the resource and of everything that it waits for.

        A graph without cycles takes one pass in topological order, and a second one that changes nothing: the cost
        grows with resources and dependencies. A cycle, which the engine does not produce, takes more passes.

        Args:
            seeds: The bit set of a resource, by its URN.
        """
        sets = [seeds.get(resource.urn, 0) for resource in self._resources] + [0] * len(self.components)
        changed = True
        while changed:
            changed = False
            for node in self._order:
                union = sets[node]
                for other in self._waits[node]:
                    union |= sets[other]
                if union != sets[node]:
                    sets[node] = union
                    changed = True
        return {urn: sets[node] for urn, node in self._end.items()}

    def ancestors(self, resource: PolicyResource) -> Iterator[PolicyResource]:
        """Yields the components that a resource is part of, the innermost first."""
        parent = resource.parent
        while parent is not None and parent.urn in self.components:
            yield parent
            parent = parent.parent


def direct_dependencies(resource: PolicyResource) -> dict[str, PolicyResource]:
    """Returns by URN what a resource depends on by an option or by the value of a property."""
    found = {other.urn: other for other in resource.dependencies}
    for others in resource.property_dependencies.values():
        found.update((other.urn, other) for other in others)
    return found
