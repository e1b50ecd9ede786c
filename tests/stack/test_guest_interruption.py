"""Guest work on the real engine that is interrupted, or whose resource is replaced: done once, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from lab import workspace
from pulumi_customization_gate import GuestFile, GuestScript
from tests.stack.background import Running, until
from tests.stack.hosts import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Engine

LOGIN: dict[str, Any] = {"guestUser": "deploy", "guestPassword": "only-for-this-guest"}
CONFIG: dict[str, str | None] = {"customization:guestUser": "deploy"}
ENVIRONMENT = {"GUEST_PASSWORD": "only-for-this-guest"}


@pytest.fixture(autouse=True)
def no_fault_is_left(engine: Engine) -> Iterator[None]:
    yield
    engine.lab.clear_faults()


@pytest.mark.parametrize(
    ("method", "host"),
    [
        ("MakeDirectoryInGuest", "dynamic"),
        ("Upload", "plugin"),
        ("StartProgramInGuest", "plugin"),
        ("ListProcessesInGuest", "dynamic"),
        ("Download", "plugin"),
    ],
)
def test_all_is_killed_after_a_call(engine: Engine, tmp_path: Path, method: str, host: Host) -> None:
    """CLI and plugins die by SIGKILL once a call has had its effect, which is as if before the next call.

    The next `up` follows the run or takes its outcome.
    """
    moid, log = engine.vm(engine.unique("web"), **LOGIN), tmp_path / "log"

    def program() -> None:
        work = GuestScript("work", moid, f"echo run >>{log}; wc -l <{log}", host=host)
        pulumi.export("runs", work.stdout.apply(str.strip))
        pulumi.export("work", [work.status, work.attempt, work.exit_code])

    engine.lab.add_fault("hang", method=method, count=1, after=True)
    stack = engine.stack(program, config=workspace.for_both_hosts(CONFIG), environment=ENVIRONMENT)
    running = Running(stack)
    until(lambda: engine.lab.hits() == [1])
    cli = running.cli()
    assert cli is not None
    victims = [cli, *cli.children(recursive=True)]
    assert processes(host, victims)
    for victim in victims:
        victim.kill()
    assert not running.wait().succeeded
    engine.lab.clear_faults()
    stack.unlock()

    again = stack.up()

    assert again.succeeded, again.output
    assert (stack.outputs["runs"], log.read_text(encoding="utf-8")) == ("1", "run\n")
    assert stack.outputs["work"] == ["exited", 1, 0]
    assert stack.up().changes == {}


def test_another_spelling_destroys_nothing(engine: Engine) -> None:
    """The VM's ID, then its inventory path; a path, then the same one with a slash more: the file stays."""
    name = engine.unique("web")
    moid = engine.vm(name, **LOGIN)

    def program(vm: str, path: str) -> Callable[[], None]:
        def write() -> None:
            GuestFile("file", vm, path, content="one")

        return write

    stack = engine.stack(program(moid, "/srv/note"), config=CONFIG, environment=ENVIRONMENT)
    made = stack.up()
    assert made.succeeded, made.output
    respelled = stack.up(program(f"/DC0/vm/{name}", "/srv//note"))
    assert respelled.succeeded, respelled.output
    assert respelled.changes == {"file": ["update"]}

    def look() -> None:
        found = GuestScript("look", moid, 'cat "$HOME/../../srv/note"')
        pulumi.export("found", found.stdout)

    seen = engine.stack(look, config=CONFIG, environment=ENVIRONMENT)
    assert seen.up().succeeded
    assert seen.outputs["found"] == "one"


def test_on_delete_of_the_old_runs_before_the_new_script(engine: Engine, tmp_path: Path) -> None:
    """A script that moves to another VM is deleted first."""
    log = tmp_path / "log"
    moids = [engine.vm(engine.unique("web"), **LOGIN) for _ in range(2)]

    def program(moid: str) -> Callable[[], None]:
        def work() -> None:
            GuestScript("work", moid, f"echo script >>{log}", on_delete=f"echo deleted >>{log}")

        return work

    stack = engine.stack(program(moids[0]), config=CONFIG, environment=ENVIRONMENT)
    assert stack.up().succeeded
    moved = stack.up(program(moids[1]))
    assert moved.succeeded, moved.output
    assert log.read_text(encoding="utf-8").split() == ["script", "deleted", "script"]


def test_a_replacement_on_demand_runs_the_script_again(engine: Engine, tmp_path: Path) -> None:
    """`--replace` deletes the resource with what its run has left in the guest, so the new one runs."""
    moid, log = engine.vm(engine.unique("web"), **LOGIN), tmp_path / "log"

    def program() -> None:
        GuestScript("work", moid, f"echo run >>{log}")

    stack = engine.stack(program, config=CONFIG, environment=ENVIRONMENT)
    assert stack.up().succeeded
    arguments: dict[str, Any] = {"replace": [stack.resource("work")["urn"]]}
    replaced = stack.up(**arguments)
    assert replaced.succeeded, replaced.output
    assert log.read_text(encoding="utf-8") == "run\nrun\n"
