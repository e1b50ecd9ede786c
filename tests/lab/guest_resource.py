"""A guest script or file without an engine: its state, and the operations that change it, in this process or another.

What stands in for the engine keeps of an operation what the engine keeps: the outputs of one that succeeded or failed
in part, and nothing of one that was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.lifecycle import guest_file, guest_script
from pulumi_customization_gate.lifecycle.engine import PartialFailureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

Kind = Literal["script", "file", "directory"]
State = tuple[str, dict[str, Any]]
"""The resource's id and its outputs."""
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.lab.guest_resource"])


@dataclass
class FakeEngine:
    """The engine of one operation."""

    urn: str
    lines: list[str] = field(default_factory=list)
    is_cancelled: Callable[[], bool] = lambda: False
    custom_timeout: float = 0.0
    has_terminal: bool = False

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:  # noqa: ARG002 -- the protocol's
        """Keeps the line."""
        self.lines.append(message)

    def cancelled(self) -> bool:
        """Whether the user has cancelled the update."""
        return self.is_cancelled()


def operate(
    engine: FakeEngine, kind: Kind, config: dict[str, str], state: State | None, inputs: dict[str, Any]
) -> tuple[State | None, str]:
    """Creates or updates a resource, as `pulumi up` does.

    Returns:
        The state to keep, and the error's text; empty where there was none.
    """
    try:
        if state is None:
            lifecycle = guest_script if kind == "script" else guest_file
            created = lifecycle.create(engine, config.get, inputs)
            return (created.id, dict(created.outputs)), ""
        key, olds = state
        lifecycle = guest_script if kind == "script" else guest_file
        difference = lifecycle.diff(engine, config.get, olds, inputs)
        assert not difference.replaces
        if not difference.changes:
            return state, ""
        return (key, dict(lifecycle.update(engine, config.get, key, olds, inputs))), ""
    except PartialFailureError as error:
        return (error.resource_id, dict(error.outputs)), str(error)
    except GateError as error:
        return state, str(error)


@dataclass
class GuestResource:
    """One resource and its state."""

    kind: Kind
    urn: str
    config: dict[str, str] = field(repr=False)
    inputs: dict[str, Any] = field(repr=False)
    state: State | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs in the state."""
        assert self.state is not None
        return self.state[1]

    def up(self, cancelled: Callable[[], bool] = lambda: False) -> str:
        """Runs `up` in this process, and returns its error."""
        engine = FakeEngine(self.urn, self.lines, cancelled)
        self.state, error = operate(engine, self.kind, self.config, self.state, self.inputs)
        return error

    def up_until_killed(self, condition: Callable[[], bool]) -> bool:
        """Runs `up` in another process, and kills it once the condition holds; returns whether it held."""
        here, there = _PROCESSES.Pipe(duplex=False)
        process = _PROCESSES.Process(
            target=_operate,
            args=(there, GuestResource(self.kind, self.urn, self.config, self.inputs, self.state)),
            daemon=True,
        )
        process.start()
        there.close()
        try:
            while not here.poll(0.005):
                if condition():
                    assert process.pid is not None
                    os.kill(process.pid, signal.SIGKILL)
                    return True
            self.state, _ = here.recv()
            return False
        finally:
            process.join(30)
            process.close()
            here.close()


def _operate(answer: Connection, resource: GuestResource) -> None:
    answer.send(operate(FakeEngine(resource.urn), resource.kind, resource.config, resource.state, resource.inputs))
