"""The real engine for tests: inline programs, one CLI and one vCenter for the whole session.

A test asks for the fixture `engine`, makes VMs and a stack, and looks at what came of it::

    def test_a_gate_opens(engine: Engine) -> None:
        moid = engine.vm(engine.unique("web"))   # a clone with a specification, powered on, by plain API calls

        def program() -> None:
            gate = CustomizationGate("gate", vms=[moid])
            pulumi.export("ready", gate.ready)

        stack = engine.stack(program)
        result = stack.up()                           # preview(), refresh(), destroy() give a Result as well
        assert result.succeeded, result.output
        assert stack.outputs == {"ready": True}
        assert result.steps["gate"] == ["create"]

- `engine.vm(name, duration="2s", outcome="CustomizationFailed", ...)` takes the lab's plan by keywords and gives
  the managed object ID. `engine.unique("web")` gives a name that no other test has: all share one vCenter.
- `stack.up(another_program)` goes on with the same stack. No operation raises: a failure is `not result.succeeded`, and
  `result.errors` is what the engine said of it. `stack.resources` is the state, `stack.resource("gate")` one of it.
- `engine.stack(program, config={"customization:caFile": None})` leaves a key out, or sets another one;
  `environment={"VSPHERE_USER": "..."}` sets variables for the CLI and its plugins.
- `engine.lab` is the vCenter's control: plan, forget, stats, reset_stats, post_event, purge_events,
  terminate_sessions. `with engine.lab.connected() as service` gives a pyVmomi service instance of its own session.
- A `vsphere.VirtualMachine` in a program works too, by the stand-in plugin; it costs a second more per operation.

Each operation starts the CLI once (about a second and a half with a dynamic resource): few operations per test.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import itertools
import json
import logging
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pulumi import automation
from pulumi.automation._stack import StackInitMode
from pulumi.automation.errors import CommandError
from pulumi.runtime.settings import reset_options

from lab import vcenter_client, workspace
from lab.offline.vsphere_plugin.inventory import Inventory
from lab.paths import ROOT
from lab.plugin import install_stand_in
from lab.processes import end_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pulumi.automation.events import EngineEvent

    from lab.bootstrap import Tools
    from lab.paths import Home
    from lab.vcenter_client import Lab

PROJECT = "tests"
_DELAYS = ("-start-delay", "100ms", "-duration", "300ms")
_SEED = "seed"
_LEFT_OVER_SECONDS = 3.0
"""How long the threads of a program that ended may take to notice."""


@dataclass(frozen=True)
class Result:
    """What one operation of the engine did."""

    succeeded: bool
    output: str
    """All that the CLI printed."""
    events: list[EngineEvent] = field(repr=False)
    moments: list[float] = field(repr=False)
    """When each event was received, by the monotonic clock."""

    @property
    def steps(self) -> dict[str, list[str]]:
        """The steps of each resource by its name, for example `{"gate": ["update"]}`; the stack itself is left out."""
        steps: dict[str, list[str]] = {}
        for event in self.events:
            if event.resource_pre_event:
                metadata = event.resource_pre_event.metadata
                if metadata.type != "pulumi:pulumi:Stack" and not metadata.type.startswith("pulumi:providers:"):
                    steps.setdefault(_name(metadata.urn), []).append(metadata.op.value)
        return steps

    @property
    def changes(self) -> dict[str, list[str]]:
        """The steps that change something."""
        return {name: ops for name, ops in self.steps.items() if ops not in (["same"], ["refresh"])}

    @property
    def errors(self) -> str:
        """The engine's diagnostics of severity error, of all resources."""
        messages = (event.diagnostic_event for event in self.events if event.diagnostic_event)
        return "\n".join(message.message for message in messages if message.severity == "error")


class _Stack(automation.Stack):
    """A stack whose operations start the CLI once: outputs and summary, three more starts, are nothing a test needs."""

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:  # noqa: ARG002 -- the base class's signature
        return automation.UpdateSummary("", datetime.now(timezone.utc), "", {}, {}, "succeeded")


class _Workspace(automation.LocalWorkspace):
    """A workspace that makes a stack by a copy of an empty one, without a start of the CLI."""

    empty: Path | None = None
    """The state of a stack without resources; None lets the CLI make the stack."""

    def create_stack(self, stack_name: str) -> None:
        if self.empty is None:
            super().create_stack(stack_name)
        else:
            state = self.empty.read_text(encoding="utf-8").replace(f"/{PROJECT}/{_SEED}", f"/{PROJECT}/{stack_name}")
            self.empty.with_stem(stack_name).write_text(state, encoding="utf-8")


class Stack:
    """One stack of one test."""

    def __init__(self, stack: automation.Stack, state: Any, program: Callable[[], None]) -> None:
        self._stack = stack
        self._state = state
        self._program = program

    def configure(self, **settings: str) -> None:
        """Sets keys of the namespace `vsphere` and of the library's own from the next operation on."""
        for name, value in settings.items():
            namespace = "customization" if name == "thumbprint" else "vsphere"
            self._stack.set_config(f"{namespace}:{name}", automation.ConfigValue(value))

    def preview(self, program: Callable[[], None] | None = None, **options: Any) -> Result:
        """Previews the program, or another one from now on."""
        self._program = program or self._program
        return self._run(self._stack.preview, program=self._program, **options)

    def up(self, program: Callable[[], None] | None = None, **options: Any) -> Result:
        """Brings the program up, or another one from now on; `replace=[urn]` and the like go on to the engine."""
        self._program = program or self._program
        return self._run(self._stack.up, program=self._program, show_secrets=False, **options)

    def refresh(self, **options: Any) -> Result:
        """Compares the state with what is there."""
        return self._run(self._stack.refresh, show_secrets=False, **options)

    def destroy(self, **options: Any) -> Result:
        """Deletes everything."""
        return self._run(self._stack.destroy, show_secrets=False, **options)

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state, as the backend's file holds them: secrets are encrypted there."""
        if not self._state.exists():
            return []
        checkpoint = json.loads(self._state.read_text(encoding="utf-8"))["checkpoint"]
        return list((checkpoint.get("latest") or {}).get("resources", []))

    def resource(self, name: str) -> dict[str, Any]:
        """The one resource of this name.

        Raises:
            KeyError: None has it.
        """
        for resource in self.resources:
            if _name(resource["urn"]) == name:
                return resource
        raise KeyError(name)

    @property
    def pending_operations(self) -> list[dict[str, Any]]:
        """What the engine had begun and not finished when it was killed."""
        checkpoint = json.loads(self._state.read_text(encoding="utf-8"))["checkpoint"]
        return list((checkpoint.get("latest") or {}).get("pending_operations") or [])

    @property
    def name(self) -> str:
        """The stack's name."""
        return self._stack.name

    def unlock(self) -> None:
        """Takes away the lock that a killed engine left, as `pulumi cancel` does."""
        self._stack.cancel()

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        for resource in self.resources:
            if resource["type"] == "pulumi:pulumi:Stack":
                return dict(resource.get("outputs", {}))
        return {}

    def _run(self, operation: Callable[..., Any], **options: Any) -> Result:
        lines: list[str] = []
        events: list[EngineEvent] = []
        moments: list[float] = []

        def on_event(event: EngineEvent) -> None:
            events.append(event)
            moments.append(time.monotonic())

        succeeded = True
        with _nothing_left_over():
            try:
                operation(on_output=lines.append, on_error=lines.append, on_event=on_event, color="never", **options)
            except CommandError:
                succeeded = False
        return Result(succeeded, "\n".join(lines), events, moments)


class Engine:
    """The CLI, its folders, and a running vCenter."""

    def __init__(self, tools: Tools, home: Home, lab: Lab) -> None:
        self.lab = lab
        self.cli = tools.pulumi
        self._home = home
        self._numbers = itertools.count(101)  # the examples' VMs have names with small numbers
        self._variables = workspace.variables(home, lab)
        self._command = workspace.command(tools.pulumi, home)
        install_stand_in(tools.pulumi, home)
        connection = {"vsphereServer": lab.server, "user": lab.user, "password": lab.password}
        self._inventory = Inventory(connection, ca_file=lab.ca_file)
        self._template = self._inventory.look_up("getVirtualMachine", {"name": "linux-template"})["uuid"]
        self._pool = self._inventory.look_up("getComputeCluster", {"name": ""})["resourcePoolId"]
        self._settings = self._seed(tools)

    @classmethod
    @contextlib.contextmanager
    def running(cls, tools: Tools, home: Home) -> Iterator[Engine]:
        """Starts a vCenter for the length of a block."""
        lab = vcenter_client.start(tools.vcenter, home.vcenter_folder, _DELAYS)
        running = cls(tools, home, lab)
        try:
            yield running
        finally:
            running._inventory.close()
            # A test that kills the CLI leaves the CLI's plugins behind.
            end_leftovers("PULUMI_HOME", str(home.pulumi_home), workspace.PLUGINS)
            vcenter_client.stop(tools.vcenter, home.vcenter_folder)

    def unique(self, name: str) -> str:
        """Returns a name that nothing else in this session has."""
        return f"{name}-{next(self._numbers)}"

    def vm(self, name: str, *, specification: bool = True, **plan: str) -> str:
        """Clones a VM, powers it on, and returns its managed object ID.

        Args:
            name: The VM's name; `unique` makes one that is free.
            specification: Whether the clone gets a customization specification.
            plan: What happens to it, in the words of the lab's control endpoint.
        """
        if plan:
            self.lab.plan(name, **plan)
        clone: dict[str, Any] = {"templateUuid": self._template}
        if specification:
            linux = {"hostName": name, "domain": "example.com"}
            clone["customize"] = {"linuxOptions": linux, "networkInterfaces": [{}]}
        wanted = {"name": name, "resourcePoolId": self._pool, "clone": clone}
        return str(self._inventory.clone(wanted)["moid"])

    def stack(
        self,
        program: Callable[[], None],
        *,
        config: Mapping[str, str | None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Stack:
        """Makes a new, empty stack.

        Args:
            program: The inline program.
            config: Settings to add to those of the connection; a None takes one out.
            environment: Variables for the CLI and its plugins.
        """
        name = self.unique("stack")
        settings = {**self._settings.config, **(config or {})}
        present = {key: value for key, value in settings.items() if value is not None}
        stored = automation.StackSettings(encryption_salt=self._settings.encryption_salt, config=present)
        made = self._workspace({**self._variables, **(environment or {})})
        made.empty = self._state_of(_SEED)
        made.save_stack_settings(name, stored)
        stack = _Stack(name, made, StackInitMode.CREATE)
        return Stack(stack, self._state_of(name), program)

    def _state_of(self, stack: str) -> Path:
        return self._home.state / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"

    def _workspace(self, variables: Mapping[str, str]) -> _Workspace:
        return _Workspace(
            work_dir=str(self._home.work),
            env_vars=variables,
            pulumi_command=self._command,
            project_settings=automation.ProjectSettings(name=PROJECT, runtime="python", main=str(ROOT)),
        )

    def _seed(self, tools: Tools) -> Any:
        """Encrypts the password once; with the same salt, every stack of the session can decrypt it."""
        made = self._workspace(self._variables)
        made.create_stack(_SEED)
        workspace.set_password(tools.pulumi, _SEED, self.lab, self._variables, self._home.work)
        settings = made.stack_settings(_SEED)
        settings.config = workspace.for_both_hosts({**workspace.connection(self.lab), **(settings.config or {})})
        return settings


@contextlib.contextmanager
def _nothing_left_over() -> Iterator[None]:
    """Collects what the SDK leaves open per run of a program, here, where the warnings about it are known.

    A run leaves an event loop, and a failed one also the program's coroutines and the threads that served it. Python's
    log of the server's failure would hold on to them, and they would turn up as warnings of some later test.
    """
    threads = set(threading.enumerate())
    hook, log = sys.unraisablehook, logging.getLogger("grpc._server")
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sys.unraisablehook = lambda _: None
            yield
            # The SDK's settings remember the last program by a default of theirs.
            contextvars.Context().run(reset_options)
            deadline = time.monotonic() + _LEFT_OVER_SECONDS
            while True:
                gc.collect()
                serving = [t for t in threading.enumerate() if t not in threads and "ThreadPool" in t.name]
                if not serving or time.monotonic() > deadline:
                    return
                serving[0].join(_LEFT_OVER_SECONDS / 100)
    finally:
        sys.unraisablehook, log.disabled = hook, False


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]
