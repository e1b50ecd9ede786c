"""The gate in the dynamic host of other packages than those of the other engine tests, on the real engine.

They are the oldest that the library supports, and those that pip chooses for the library without its extras: without
pulumi-policy that is protobuf 6. What the host lends the gate beyond a plain provider is looked for here too.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from lab.environment import make_from
from lab.paths import ROOT, Home
from pulumi_customization_gate import CustomizationGate
from tests.stack.background import Running, is_quiet, of_gates, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stack.engine import Engine

ENDED = 15.0
"""The seconds within which gates that wait for half an hour react to Ctrl-C; the newest SDK reports it sooner."""


@pytest.fixture(scope="session", params=["requirements-oldest.lock", "requirements-plain.lock"])
def packages(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The variables that make the engine start its dynamic host on the packages of a lock file."""
    library = str(ROOT / "provider")
    return {"PULUMI_RUNTIME_VIRTUALENV": str(make_from(request.param, Home())), "PYTHONPATH": library}


def test_the_locks_hold_what_they_are_for() -> None:
    """The SDK is the oldest one here, and protobuf the next major version there."""
    oldest, plain = ((ROOT / f"requirements-{name}.lock").read_text("utf-8") for name in ("oldest", "plain"))
    assert "\npulumi==3.160.0 " in oldest
    assert re.search(r"^protobuf==6\.", plain, re.MULTILINE)


def test_a_gate_opens_fails_cleanly_and_continues(engine: Engine, packages: Mapping[str, str]) -> None:
    """A failure shows no traceback and keeps its report, and the next `up` is an update."""
    good = engine.vm(engine.unique("old"))
    bad = engine.vm(engine.unique("old"), outcome="CustomizationFailed", reason="the disk is full")

    def both() -> None:
        CustomizationGate("gate", vms=[good, bad])

    def one() -> None:
        CustomizationGate("gate", vms=[good])

    stack = engine.stack(both, environment=packages)
    failed = stack.up()
    assert not failed.succeeded
    assert "customization failed on 1 of 2 VMs" in failed.errors
    assert "Traceback" not in failed.errors
    statuses = sorted(stack.resource("gate")["outputs"]["statuses"].values())
    assert statuses == ["CustomizationFailed", "CustomizationSucceeded"]
    mended = stack.up(one)
    assert mended.succeeded, mended.output
    assert mended.changes["gate"] == ["update"]


def test_many_gates_wait_at_once_and_one_interrupt_ends_them(engine: Engine, packages: Mapping[str, str]) -> None:
    """The host's pool grows beyond four, and one Ctrl-C ends every gate."""
    moids = [engine.vm(engine.unique("old"), outcome="never-ends") for _ in range(12)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid])

    engine.lab.reset_stats()
    stack = engine.stack(program, environment=packages)
    running = Running(stack)
    until(lambda: engine.lab.stats()["calls"].get("WaitForUpdatesEx", 0) >= 1)
    until(lambda: is_quiet(engine))
    cli = running.cli()
    assert cli is not None
    hosts = [words for child in cli.children(recursive=True) if "pulumi.dynamic" in (words := child.cmdline())]
    assert [words[0].startswith(packages["PULUMI_RUNTIME_VIRTUALENV"]) for words in hosts] == [True]
    cli.send_signal(signal.SIGINT)
    took = until(lambda: not cli.is_running() or cli.status() == psutil.STATUS_ZOMBIE)
    result = running.wait()
    assert not result.succeeded
    assert took < ENDED
    # A gate that had not begun to wait would know nothing of its VM.
    assert of_gates(result).count("CustomizationStarted: the customization started and has not ended") == len(moids)
    assert stack.pending_operations == []
