"""The native provider on the real engine, from Python programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from lab import workspace
from pulumi_customization_gate import CustomizationGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine, Stack

NATIVE, DYNAMIC = "customization-gate:index:CustomizationGate", "pulumi-python:dynamic/customization:CustomizationGate"


def connection(engine: Engine) -> dict[str, str]:
    """Returns the native provider's config."""
    return {
        f"customization-gate:{key.partition(':')[2]}": value for key, value in workspace.connection(engine.lab).items()
    }


def stack(engine: Engine, program: Callable[[], None], **config: str | None) -> Stack:
    """Returns a stack that has the connection of both hosts; the native one takes the password from the environment."""
    return engine.stack(
        program,
        config={**connection(engine), **config},
        environment={"VSPHERE_PASSWORD": engine.lab.password},
    )


def test_a_gate_moves_between_the_hosts_without_a_judgement(engine: Engine) -> None:
    """The other host takes the gate over as it is, in preview and up, in both directions."""
    moid = engine.vm(engine.unique("web"))

    def program(host: Any) -> Callable[[], None]:
        def run() -> None:
            gate = CustomizationGate("gate", {"web": moid}, start_timeout=60, host=host)
            pulumi.export("waited", gate.wait_seconds)
            pulumi.export("uuid", gate.results["web"]["instance_uuid"])

        return run

    made = stack(engine, program("dynamic"))
    assert made.up().succeeded
    outputs = made.outputs
    engine.lab.reset_stats()
    for host, kind in (("plugin", NATIVE), ("dynamic", DYNAMIC), ("plugin", NATIVE)):
        preview = made.preview(program(host))
        assert preview.changes == {}, preview.output
        moved = made.up()
        assert moved.succeeded, moved.output
        assert moved.changes == {}, moved.output
        assert made.resource("gate")["type"] == kind
        assert made.outputs == outputs
    assert engine.lab.stats()["calls"] == {}
    assert made.destroy().succeeded
