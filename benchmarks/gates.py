"""How long many gates of one stack take on the real engine, in Pulumi's own host of dynamic resources and in ours."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bootstrap import prepare
from lab.paths import Home, LabError
from lab.timeline_check import GATE
from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.resources.host import PLAIN_HOST
from tests.stack.engine import Engine, Result

GATES = 64
SECONDS = 3.0
"""How long each gate takes: its VM's customization never ends, and the gate reports that after its time-out."""
_ENGINES: dict[str, dict[str, Any]] = {"default": {}, "--parallel 100": {"parallel": 100}}


@dataclass(frozen=True)
class Up:
    """One `pulumi up` of all gates."""

    host: str
    parallel: str
    gates: float
    """Seconds from the moment at which the engine turns to the first gate to that at which the last one is there."""
    seconds: float
    """Seconds that the whole update takes."""


def measure(home: Home) -> list[Up]:
    """Returns how long all gates take in either host, with the engine's own parallelism and a wide one.

    Raises:
        LabError: An `up` failed, which would be no measurement.
    """
    tools = prepare(home)
    with tempfile.TemporaryDirectory() as folder, Engine.running(tools, Home(Path(folder))) as engine:
        moids = [engine.vm(engine.unique("gated"), outcome="never-ends") for _ in range(GATES)]

        def program() -> None:
            for number, moid in enumerate(moids):
                CustomizationGate(f"gate-{number}", vms=[moid], timeout=SECONDS, on_failure="report")

        rows = []
        for host, variables in (("Pulumi's own", {PLAIN_HOST: "1"}), ("with this gate", {PLAIN_HOST: ""})):
            for parallel, options in _ENGINES.items():
                stack = engine.stack(program, environment=variables)
                began = time.monotonic()
                result = stack.up(**options)
                seconds = time.monotonic() - began
                if not result.succeeded:
                    raise LabError(f"the gates of the host {host!r} failed:\n{result.output}")
                rows.append(Up(host, parallel, _of_the_gates(result), seconds))
                stack.destroy()
    return rows


def _of_the_gates(result: Result) -> float:
    moments = [
        moment
        for event, moment in zip(result.events, result.moments, strict=True)
        for step in (event.resource_pre_event, event.res_outputs_event)
        if step and step.metadata.type == GATE
    ]
    return moments[-1] - moments[0]
