"""The soak in small: a good run is clean, and what is wrong is told."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from lab.soak import composition, monitor
from lab.soak.__main__ import figures
from lab.soak.lives import GOOD, failed
from lab.soak.monitor import Monitor, growth, is_flat
from lab.soak.soak import Progress, Soak, prepared
from pulumi_customization_gate.core.model import CustomizationStatus, VmOutcome
from pulumi_customization_gate.core.watch import Update
from pulumi_customization_gate.vsphere import event_feed, session
from tests.lab.vcenter_fixture import PATIENCE, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINES = 30
SECONDS = 6.0


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a soak has to wait for at a fraction of its length."""
    monkeypatch.setattr(event_feed, "LONGEST_POLL", 1.0)
    monkeypatch.setattr(session, "CALL_TIMEOUT", 2.0)
    monkeypatch.setattr(composition, "_PATIENCE", 4.0)
    monkeypatch.setattr(monitor, "EVERY", 0.2)


@contextlib.contextmanager
def soak(folder: Path, machines: int = MACHINES, seed: int = 1) -> Iterator[Soak]:
    with prepared(program(), folder, machines=machines, seconds=SECONDS, seed=seed) as ready:
        yield ready


def test_a_small_soak_tells_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    """Of thirty random lives in foul weather those alone are wrong whose verdict was falsified; nothing is left."""
    seen: list[Progress] = []
    with soak(tmp_path) as small:
        falsified = [life for wave in small.waves for life in wave.ordinary if life.verdict == GOOD][:3]
        for life in falsified:
            life.verdict = failed("CustomizationSysprepFailed")
        result = small.run(seen.append)

    planted = [line for line in result.wrong if "CustomizationSysprepFailed is right" in line]
    assert list(result.wrong) == planted
    assert {line.split(": ")[1].split(" (")[0] for line in planted} == {life.name for life in falsified}
    assert (result.machines, result.stats["collectors"]) == (MACHINES, 0)
    assert result.tally.verdicts > MACHINES
    assert sum(result.weather.values()) >= 3
    assert figures(result).row_count > len(result.weather)


def test_lives_are_the_same_for_a_seed(tmp_path: Path) -> None:
    """A seed decides every life, and another seed makes others."""

    def lives(seed: int) -> list[tuple[str, str, list[float]]]:
        with soak(tmp_path / f"{len(list(tmp_path.iterdir()))}", seed=seed) as small:
            return [(life.name, life.story, [at for at, _ in life.steps]) for w in small.waves for life in w.lives]

    assert lives(1) == lives(1)
    assert lives(1) != lives(2)


def test_what_is_left_behind_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session, a collector, a thread and a connection that somebody forgot are found at the end."""
    monkeypatch.setattr(monitor, "GRACE", 0.5)
    ended = threading.Event()
    forgotten = threading.Thread(target=ended.wait, args=(PATIENCE,), name="customization-gate-forgotten")
    with soak(tmp_path, machines=12) as small:
        watching = Monitor(small.lab, small.weather, small.waits, int(small.lab.server.rpartition(":")[2]))
        before = watching.left()
        with small.lab.connected() as service:
            service.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
            forgotten.start()
            found = watching.left()
            ended.set()
        forgotten.join()

    assert before == []
    assert found == [
        "1 sessions are left on the server",
        "threads are left: customization-gate-forgotten",
        "1 connections are left",
    ]


def test_a_machine_that_is_called_good_too_early_is_told(tmp_path: Path) -> None:
    """To call a machine good is wrong before its customization ended, and ended once more when asked again."""
    with soak(tmp_path, machines=12) as small:
        wait = small.waits[0]
        life = next(iter(wait.lives.values()))

        def hear() -> int:
            good = VmOutcome(life.name, life.moid, life.name, CustomizationStatus.CUSTOMIZATION_SUCCEEDED, good=True)
            wait._hear(Update((good,), (good,), 1.0, {}), small.tally, small.weather)
            return len(small.tally.wrong)

        wrong = [hear()]
        life.mark("succeeded")
        wrong.append(hear())
        life.mark("asked")
        wait.began = life.marks[-1].at + 1
        wrong.append(hear())
        life.mark("succeeded")
        wrong.append(hear())

    assert wrong == [1, 1, 2, 2]
    assert small.tally.wrong[0] == f"wave 0, all: {life.name} ({life.story}) was called good before its end"


def test_memory_that_grows_is_told() -> None:
    """Memory is compared between the time after the warm-up and the end, whatever the warm-up took."""
    warming_up = [(float(at), float(at)) for at in range(30)]
    flat = growth([*warming_up, *((float(at), 80 + at % 3) for at in range(30, 100))])
    growing = growth([*warming_up, *((float(at), 50.0 + at) for at in range(30, 100))])

    assert (flat, growing) == ((81, 81), (94.5, 142.0))
    assert flat is not None
    assert growing is not None
    assert [is_flat(*flat), is_flat(*growing)] == [True, False]
    assert growth([]) is None
