"""Both hosts of the gate on other packages than those of the other engine tests, on the real engine.

They are the oldest that the library supports, and those that pip chooses for the library without its extras: without
pulumi-policy that is protobuf 6. What the dynamic host lends the gate beyond a plain provider is looked for here too.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from lab.environment import make_from
from lab.paths import ROOT, Home
from pulumi_customization_gate import CustomizationGate
from tests.prepare import OTHER_PACKAGES
from tests.stack.background import Running, is_quiet, of_gates, until, words_of
from tests.stack.hosts import PROCESSES, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Engine

HOSTS: tuple[Host, ...] = ("dynamic", "plugin")

ENDED = 15.0
"""The seconds within which gates that wait for half an hour react to Ctrl-C; the newest SDK reports it sooner."""


@pytest.fixture(scope="session", params=OTHER_PACKAGES)
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The variables that make the engine start both hosts on the packages of a lock file."""
    environment, library = make_from(request.param, Home()), ROOT / "provider"
    launcher = tmp_path_factory.mktemp("launcher") / PROCESSES["plugin"]
    launcher.write_text(f"#!{environment}/bin/python\n{(library / '__main__.py').read_text('utf-8')}", "utf-8")
    launcher.chmod(0o700)
    return {
        "PULUMI_RUNTIME_VIRTUALENV": str(environment),
        "PYTHONPATH": str(library),
        "PATH": os.pathsep.join((str(launcher.parent), os.environ["PATH"])),
    }


def test_the_locks_hold_what_they_are_for() -> None:
    """The SDK is the oldest one here, and protobuf the next major version there."""
    oldest, plain = ((ROOT / f"requirements-{name}.lock").read_text("utf-8") for name in ("oldest", "plain"))
    assert "\npulumi==3.160.0 " in oldest
    assert re.search(r"^protobuf==6\.", plain, re.MULTILINE)


def test_a_gate_opens_fails_cleanly_and_continues(engine: Engine, packages: Mapping[str, str]) -> None:
    """A failure shows no traceback and keeps its report, and the next `up` is an update, on either host."""
    good = engine.vm(engine.unique("old"))
    bad = engine.vm(engine.unique("old"), outcome="CustomizationFailed", reason="the disk is full")

    def program(*vms: str) -> Callable[[], None]:
        def gates() -> None:
            for host in HOSTS:
                CustomizationGate(host, vms=vms, host=host)

        return gates

    stack = engine.stack(program(good, bad), environment=packages)
    failed = stack.up(continue_on_error=True)
    assert not failed.succeeded
    assert failed.errors.count("customization failed on 1 of 2 VMs") >= len(HOSTS), failed.errors
    assert "Traceback" not in failed.errors
    for host in HOSTS:
        statuses = sorted(stack.resource(host)["outputs"]["statuses"].values())
        assert statuses == ["CustomizationFailed", "CustomizationSucceeded"]
    fixed = stack.up(program(good))
    assert fixed.succeeded, fixed.output
    assert fixed.changes == {host: ["update"] for host in HOSTS}


def test_many_gates_wait_at_once_and_one_interrupt_ends_them(engine: Engine, packages: Mapping[str, str]) -> None:
    """A host serves more than the four calls of Pulumi's own, and one Ctrl-C ends every gate."""
    moids = [engine.vm(engine.unique("old"), outcome="never-ends") for _ in range(12)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid], host=HOSTS[number % len(HOSTS)])

    others = engine.lab.stats()["collectors"]
    stack = engine.stack(program, environment=packages)
    running = Running(stack)
    until(lambda: engine.lab.stats()["collectors"] == others + len(HOSTS))
    until(lambda: is_quiet(engine))
    cli = running.cli()
    assert cli is not None
    for host in HOSTS:
        (process,) = processes(host, cli.children(recursive=True))
        assert words_of(process)[0].startswith(packages["PULUMI_RUNTIME_VIRTUALENV"])
    cli.send_signal(signal.SIGINT)
    took = until(lambda: not cli.is_running() or cli.status() == psutil.STATUS_ZOMBIE)
    result = running.wait()
    assert not result.succeeded
    assert took < ENDED
    # A gate that had not begun to wait would know nothing of its VM.
    assert of_gates(result).count("CustomizationStarted: the customization started and has not ended") == len(moids)
    assert stack.pending_operations == []
