"""How long many gates of one stack take on the real engine, in Pulumi's own host of dynamic resources and in ours."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bootstrap import prepare
from lab.home import Home, LabError
from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.resources.host import PLAIN_HOST
from tests.stack.engine import Engine, Stack

GATES = 64
SECONDS = 3.0
"""How long each gate takes: its machine's customization never ends, and the gate reports that after its time-out."""
_ENGINES: dict[str, dict[str, Any]] = {"default": {}, "--parallel 100": {"parallel": 100}}


@dataclass(frozen=True)
class Up:
    """One `pulumi up` of all gates."""

    host: str
    parallel: str
    seconds: float


def measure(home: Home) -> list[Up]:
    """Returns how long `pulumi up` takes without any gate, and with all of them in either host.

    With the engine's own parallelism and a wide one.

    Raises:
        LabError: An `up` failed, which would be no measurement.
    """
    tools = prepare(home)
    with tempfile.TemporaryDirectory() as folder, Engine.running(tools, Home(Path(folder))) as engine:
        moids = [engine.machine(engine.unique("gated"), outcome="never-ends") for _ in range(GATES)]

        def program() -> None:
            for number, moid in enumerate(moids):
                CustomizationGate(f"gate-{number}", vms=[moid], timeout=SECONDS, on_failure="report")

        rows = [Up("no gate at all", "default", _seconds(engine.stack(lambda: None)))]
        for host, variables in (("Pulumi's own", {PLAIN_HOST: "1"}), ("with this gate", {PLAIN_HOST: ""})):
            for parallel, options in _ENGINES.items():
                stack = engine.stack(program, environment=variables)
                rows.append(Up(host, parallel, _seconds(stack, **options)))
                stack.destroy()
    return rows


def _seconds(stack: Stack, **options: Any) -> float:
    began = time.monotonic()
    result = stack.up(**options)
    if not result.succeeded:
        raise LabError(f"an update that was to be measured failed:\n{result.output}")
    return time.monotonic() - began
