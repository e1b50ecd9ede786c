"""The soak in small: a correct run is clean, and everything that is wrong is reported."""

from __future__ import annotations

import contextlib
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from lab.soak import monitor
from lab.soak.monitor import growth, is_flat
from lab.soak.scenarios import VmRun, verdict
from lab.soak.soak import Soak, prepared
from pulumi_customization_gate.core import gathering
from pulumi_customization_gate.core.model import VmOutcome
from pulumi_customization_gate.core.progress import Update
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.vsphere import event_feed, reconciliation, session
from tests.lab.vcenter_fixture import TEST_TIMEOUT, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VMS = 30
SECONDS = 6.0


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a soak waits for takes a fraction of its length."""
    monkeypatch.setattr(event_feed, "LONGEST_POLL", 1.0)
    monkeypatch.setattr(session, "CALL_TIMEOUT", 2.0)
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 1.0)
    monkeypatch.setattr(gathering, "END_LAG", timedelta(seconds=1))
    monkeypatch.setattr(monitor, "INTERVAL", 0.2)


@contextlib.contextmanager
def small_soak(folder: Path, vms: int = VMS, seed: int = 1) -> Iterator[Soak]:
    with prepared(program(), folder, vms=vms, seconds=SECONDS, seed=seed) as ready:
        yield ready


def scenarios(soak: Soak) -> list[VmRun]:
    return [vm for group in soak.groups for vm in group.vms]


def test_a_small_soak_reports_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    """Of thirty random scenarios with faults only those are wrong whose verdict was falsified; nothing is left open."""
    seen: list[str] = []
    with small_soak(tmp_path) as small:
        # A scenario that reports its end again would report the falsified one.
        falsified = [vm for vm in scenarios(small) if vm.scenario.name == "success"][:3]
        for vm in falsified:
            vm.verdict = verdict(["CustomizationSysprepFailed"])
        figures = small.run(seen.append)
        stats = small.lab.stats()

    wrong = small.wrong
    planted = [line for line in wrong if "expected CustomizationFailed CustomizationSysprepFailed" in line]
    assert wrong == planted
    assert {line.split(": ")[1].split(" (")[0] for line in planted} == {vm.name for vm in falsified}
    assert (stats["sessions"], stats["collectors"]) == (0, 0)
    assert small.verdicts > VMS
    assert small.faults.windows
    assert figures["faults"].split()[0] == f"{len(small.faults.windows)}"
    assert figures["wrong"] == f"{len(wrong)}"
    assert re.match(r"\d:\d\d of 0\.1 min: \d+ verdicts, \d+ wrong, \d+ faults", seen[-1])


def test_scenarios_are_the_same_for_a_seed(tmp_path: Path) -> None:
    """A seed decides every scenario, and another seed makes others."""

    def steps(seed: int) -> list[tuple[str, str, list[tuple[float, str]]]]:
        with small_soak(tmp_path / f"{len(list(tmp_path.iterdir()))}", seed=seed) as small:
            return [(vm.name, vm.scenario.name, vm.steps) for vm in scenarios(small)]

    assert steps(1) == steps(1)
    assert steps(1) != steps(2)


def test_what_is_left_open_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session, a collector, a thread and a connection that were not closed are found at the end."""
    monkeypatch.setattr(monitor, "GRACE", 0.5)
    ended = threading.Event()
    forgotten = threading.Thread(target=ended.wait, args=(TEST_TIMEOUT,), name="customization-gate-forgotten")
    with small_soak(tmp_path, vms=12) as small:
        watching = monitor.Monitor(small.lab, int(small.lab.server.rpartition(":")[2]))
        before = watching.left()
        with small.lab.connected() as service:
            service.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
            forgotten.start()
            found = watching.left()
            ended.set()
        forgotten.join()

    assert before == []
    assert found == [
        "left open: 1 sessions on the server",
        "left open: 1 event collectors on the server",
        "left open: the threads customization-gate-forgotten",
        "left open: 1 connections",
    ]


def test_a_vm_that_is_reported_as_ready_too_early_is_found(tmp_path: Path) -> None:
    """A VM is not ready before its customization has ended, and has ended once more where another was requested."""
    with small_soak(tmp_path, vms=12) as small:
        wait = small.waits[0]
        vm = next(iter(wait.vms.values()))

        def listen() -> int:
            good = VmOutcome(vm.name, vm.moid, vm.name, CustomizationStatus.CUSTOMIZATION_SUCCEEDED, ready=True)
            wait.listen(Update((good,), (good,), 1.0, {}))
            return len(wait.wrong)

        wrong = [listen()]
        vm.mark("succeeded")
        wrong.append(listen())
        vm.mark("requested")
        wait.began = vm.milestones[-1][1] + 1
        wrong.append(listen())
        vm.mark("succeeded")
        wrong.append(listen())

    assert wrong == [1, 1, 2, 2]
    assert small.wrong[0] == f"group 0, all: {vm.label} was reported as ready before its end"


def test_memory_that_grows_is_found() -> None:
    """Memory is compared between the time after the warm-up and the end, whatever the warm-up took."""
    warming_up = [float(at) for at in range(30)]
    flat = growth([*warming_up, *(80 + at % 3 for at in range(30, 100))])
    growing = growth([*warming_up, *(50.0 + at for at in range(30, 100))])

    assert (flat, growing) == ((81, 81), (94.5, 142.0))
    assert flat is not None
    assert growing is not None
    assert [is_flat(*flat), is_flat(*growing)] == [True, False]
    assert growth([]) is None
