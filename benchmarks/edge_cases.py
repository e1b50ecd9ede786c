"""Edge cases in which a wait can report the wrong verdict: all waiters watch the same VM of one vCenter."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVim.task import WaitForTask
from pyVmomi import vim

from benchmarks.progress import FAILED, NO_VERDICT, NOT_CUSTOMIZED, SUCCEEDED
from benchmarks.vms import list_vms
from lab import vcenter_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.waiters import Waiter
    from lab.vcenter_client import Lab

TIMEOUT = 75.0
"""Seconds after which a waiter times out."""
_AT_ONCE = 3
_NAME = "vm-0"
_CUSTOMIZED = ("-customize", "-start-delay", "500ms")
_LONG_AGO = ("-history", "customized", "-history-age")


def _nothing(_lab: Lab) -> None:
    """Does nothing."""


@dataclass(frozen=True)
class EdgeCase:
    """One edge case."""

    name: str
    story: str
    """What happened to the VM, and when the wait starts."""
    truth: str
    """The right verdict."""
    options: tuple[str, ...]
    """The lab's flags."""
    before: Callable[[Lab], None] = _nothing
    """What happens before the waits."""
    during: Callable[[Lab], None] = _nothing
    """What happens during the waits."""


@dataclass(frozen=True)
class Answer:
    """What a waiter reported in a case."""

    case: str
    waiter: str
    verdict: str
    detail: str
    seconds: float
    """Seconds since the start of the wait."""
    judgement: str
    """right, WRONG, or none: it reported that it does not know."""


def _customize_again(lab: Lab) -> None:
    """Customizes the VM again; this time the customization fails."""
    lab.plan(_NAME, outcome="CustomizationFailed", duration="30s")
    with lab.connected() as service:
        (vm,) = list_vms(service.content)
        lab.power(_NAME, "off")
        custom = vim.vm.customization
        adapter = custom.IPSettings(ip=custom.DhcpIpGenerator())
        specification = custom.Specification(
            identity=custom.LinuxPrep(hostName=custom.FixedName(name="web-1"), domain="example.com"),
            globalIPSettings=custom.GlobalIPSettings(),
            nicSettingMap=[custom.AdapterMapping(adapter=adapter)],
        )
        WaitForTask(vm.CustomizeVM_Task(specification))
    lab.power(_NAME, "on")


def _fail_by_a_subclass(lab: Lab) -> None:
    lab.plan(_NAME, outcome="CustomizationNetworkSetupFailed", duration="30s")
    lab.power(_NAME, "on")


def _restart_after_success(lab: Lab) -> None:
    lab.plan(_NAME, duration="500ms")
    lab.power(_NAME, "on")
    with lab.connected() as service:
        (vm,) = list_vms(service.content)
        while not str(vm.guest.customizationInfo.customizationStatus).endswith("SUCCEEDED"):
            time.sleep(0.1)
    lab.power(_NAME, "ha_restart")


def _power_on(lab: Lab) -> None:
    lab.power(_NAME, "on")


def _end_all_sessions(lab: Lab) -> None:
    time.sleep(5)
    lab.terminate_sessions(cancel_waits=True)


def _never_end_by_itself(lab: Lab) -> None:
    lab.plan(_NAME, duration="45s")
    lab.power(_NAME, "on")


CASES = (
    EdgeCase(
        "stale success",
        "Customization succeeded an hour ago; another one is running when the wait starts, and fails.",
        FAILED,
        (*_LONG_AGO, "1h"),
        _customize_again,
    ),
    EdgeCase(
        "late subscribe",
        "The customization succeeded 20 minutes before the wait starts.",
        SUCCEEDED,
        (*_LONG_AGO, "20m"),
    ),
    EdgeCase(
        "events purged",
        "The customization succeeded two hours before the wait starts; its events have been purged.",
        SUCCEEDED,
        (*_LONG_AGO, "2h"),
        lambda lab: lab.purge_events(),
    ),
    EdgeCase(
        "failure subclass",
        "The customization fails during the wait with CustomizationNetworkSetupFailed.",
        FAILED,
        _CUSTOMIZED,
        _fail_by_a_subclass,
    ),
    EdgeCase(
        "HA restart",
        "The customization succeeded; HA has restarted the VM on another host before the wait starts.",
        SUCCEEDED,
        _CUSTOMIZED,
        _restart_after_success,
    ),
    EdgeCase(
        "session loss",
        "All sessions are terminated during the wait; the customization succeeds later.",
        SUCCEEDED,
        _CUSTOMIZED,
        _never_end_by_itself,
        _end_all_sessions,
    ),
    EdgeCase(
        "no specification",
        "No customization was requested; the VM has booted and VMware Tools is running.",
        NOT_CUSTOMIZED,
        ("-start-delay", "500ms"),
        _power_on,
    ),
)


def run(program: Path, waiters: Iterable[Waiter]) -> list[Answer]:
    """Returns what every waiter reports in every case.

    Raises:
        LabError: A waiter or a lab broke.
    """
    waiting = list(waiters)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [
            answer for answers in pool.map(lambda case: _answers(program, waiting, case), CASES) for answer in answers
        ]


def _answers(program: Path, waiters: Iterable[Waiter], case: EdgeCase) -> list[Answer]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        lab = vcenter_client.start(program, home, ("-vms", "2", *case.options))
        started = []
        try:
            case.before(lab)
            started = [waiter.start(lab, home / "ready.json", TIMEOUT) for waiter in waiters]
            for waiting in started:
                waiting.until_set_up()
            case.during(lab)
            return [_answer(case, waiting.waiter.name, waiting.result()) for waiting in started]
        finally:
            for waiting in started:
                waiting.end()
            vcenter_client.stop(program, home)


def _answer(case: EdgeCase, waiter: str, result: dict[str, Any]) -> Answer:
    (entry,) = result["verdicts"].values()
    verdict = entry["verdict"]
    judgement = "right" if verdict == case.truth else "none" if verdict in NO_VERDICT else "WRONG"
    return Answer(case.name, waiter, verdict, entry["detail"], entry["seconds"], judgement)
