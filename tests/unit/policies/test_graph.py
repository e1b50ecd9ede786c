"""Which resource waits for which."""

from __future__ import annotations

from pulumi_customization_gate.policies.graph import WaitGraph
from tests.unit.policies.stacks import (
    COMMAND,
    resource,
)


def test_follows_a_chain_longer_than_the_stack_is_deep() -> None:
    """A chain of thousands of resources is walked to its end."""
    chain = [resource(COMMAND, "0")]
    for at in range(1, 5000):
        chain.append(resource(COMMAND, str(at), after=[chain[-1]]))
    assert WaitGraph(chain).gather({chain[0].urn: 1})[chain[-1].urn] == 1


def test_gathers_around_a_cycle() -> None:
    """Resources that wait for each other share what they gather, from whichever the walk begins."""
    first, second = resource(COMMAND, "first"), resource(COMMAND, "second")
    third = resource(COMMAND, "third", after=[second])
    first.dependencies, second.dependencies = [second], [first, third]
    seeds = {first.urn: 1, third.urn: 4}
    assert set(WaitGraph([first, second, third]).gather(seeds).values()) == {5}


def test_ignores_what_is_not_in_the_stack() -> None:
    """A dependency, a parent or a provider that is not in the list is ignored."""
    elsewhere = resource("shop:index:App", "elsewhere")
    alone = resource(COMMAND, "alone", after=[elsewhere], parent=elsewhere)
    assert WaitGraph([alone]).gather({elsewhere.urn: 1}) == {alone.urn: 0}
