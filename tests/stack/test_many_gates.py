"""Many gates in one stack: on the real engine, which by itself serves four dynamic resources at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulumi_customization_gate import CustomizationGate
from tests.stack.background import Running, is_quiet, until
from tests.stack.hosts import on_both_hosts

if TYPE_CHECKING:
    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Engine

MANY = 64
MORE_THAN_AT_ONCE = 24
"""More gates than the engine runs at a time by itself on a small computer, and than a plain dynamic host serves."""


@on_both_hosts
def test_sixty_four_gates_wait_at_once_on_one_session_and_one_collector(engine: Engine, host: Host) -> None:
    """All gates wait side by side, log in once, share one collector, and give both back."""
    moids = [engine.vm(engine.unique("many"), outcome="never-ends") for _ in range(MANY)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid], host=host)

    stack = engine.stack(program)
    engine.lab.reset_stats()
    # Where another test killed an engine, its collector stays until the server gives its session up.
    others = engine.lab.stats()["collectors"]
    running = Running(stack)
    until(lambda: engine.lab.stats()["calls"].get("WaitForUpdatesEx", 0) >= 1)
    until(lambda: is_quiet(engine))
    assert engine.lab.stats()["collectors"] == others + 1
    assert engine.lab.stats()["logins"]["ok"] == 1
    for moid in moids:
        engine.lab.end(moid)
    began = time.monotonic()
    result = running.wait()
    assert result.succeeded, result.output
    assert time.monotonic() - began < 30
    until(lambda: engine.lab.stats()["collectors"] == others)


@on_both_hosts
def test_gates_at_the_default_parallelism_share_one_login(engine: Engine, host: Host) -> None:
    """Gates that follow one another share one session; none is left once `up` has ended."""
    moids = [engine.vm(engine.unique("following")) for _ in range(MORE_THAN_AT_ONCE)]

    def program() -> None:
        for number, moid in enumerate(moids):
            CustomizationGate(f"gate-{number}", vms=[moid], host=host)

    stack = engine.stack(program)
    engine.lab.reset_stats()
    before = engine.lab.stats()
    result = stack.up()
    after = engine.lab.stats()
    assert result.succeeded, result.output
    assert after["logins"]["ok"] == 1
    assert (after["sessions"], after["collectors"]) == (before["sessions"], before["collectors"])


@on_both_hosts
def test_gates_with_a_wrong_password_try_it_once(engine: Engine, host: Host) -> None:
    """A refused password is sent once in the whole process, however many gates hold it."""
    moid = engine.vm(engine.unique("refused"), outcome="never-ends")

    def program() -> None:
        for number in range(MORE_THAN_AT_ONCE):
            CustomizationGate(f"gate-{number}", vms=[moid], host=host)

    engine.lab.reset_stats()
    wrong = dict.fromkeys(("vsphere:password", "customization-gate:password"), "not-the-password-0815")
    stack = engine.stack(program, config=wrong)
    result = stack.up(parallel=100)
    assert not result.succeeded
    assert "refused the user name or password" in result.errors
    assert engine.lab.stats()["logins"]["failed"] == 1
    assert "not-the-password-0815" not in result.output
