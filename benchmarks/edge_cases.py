"""What the waiters say where it is easy to be wrong: every waiter on the same machine of the same lab, at once."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVim.task import WaitForTask
from pyVmomi import vim

from benchmarks.machines import machines
from benchmarks.progress import FAILED, NO_VERDICT, NOT_CUSTOMIZED, SUCCEEDED
from lab import vcenter_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.waiters import Waiter
    from lab.vcenter_client import Lab

PATIENCE = 75.0
"""Seconds after which a waiter gives up here."""
_AT_ONCE = 3
_NAME = "vm-0"
_CUSTOMIZED = ("-customize", "-start-delay", "500ms")
_LONG_AGO = ("-history", "customized", "-history-age")


def _nothing(_lab: Lab) -> None:
    """Leaves the lab as it is."""


@dataclass(frozen=True)
class Trap:
    """A situation in which a wait can go wrong."""

    name: str
    story: str
    """What happened to the machine, and when the wait begins."""
    truth: str
    """What a waiter has to say."""
    options: tuple[str, ...]
    """The lab's flags."""
    before: Callable[[Lab], None] = _nothing
    """What happens before anybody waits."""
    during: Callable[[Lab], None] = _nothing
    """What happens while all wait."""


@dataclass(frozen=True)
class Answer:
    """What a waiter said in a trap."""

    trap: str
    waiter: str
    verdict: str
    words: str
    seconds: float
    """From the beginning of the wait."""
    judgement: str
    """right, WRONG, or none: it found nothing out, and said so."""


def _customize_again(lab: Lab) -> None:
    """Gives the machine another specification, and this time the customization fails."""
    lab.plan(_NAME, outcome="CustomizationFailed", duration="30s")
    with lab.connected() as service:
        (vm,) = machines(service.content)
        lab.power(_NAME, "off")
        custom = vim.vm.customization
        card = custom.IPSettings(ip=custom.DhcpIpGenerator())
        specification = custom.Specification(
            identity=custom.LinuxPrep(hostName=custom.FixedName(name="web-1"), domain="example.com"),
            globalIPSettings=custom.GlobalIPSettings(),
            nicSettingMap=[custom.AdapterMapping(adapter=card)],
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
        (vm,) = machines(service.content)
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


TRAPS = (
    Trap(
        "stale success",
        "Customized well an hour ago; a new specification is under way when the wait begins, and fails.",
        FAILED,
        (*_LONG_AGO, "1h"),
        _customize_again,
    ),
    Trap(
        "late subscribe",
        "The customization succeeded 20 minutes before the wait begins.",
        SUCCEEDED,
        (*_LONG_AGO, "20m"),
    ),
    Trap(
        "events purged",
        "The customization succeeded two hours before the wait begins, and the events of that time are gone.",
        SUCCEEDED,
        (*_LONG_AGO, "2h"),
        lambda lab: lab.purge_events(),
    ),
    Trap(
        "failure subclass",
        "The customization fails in mid-wait, with CustomizationNetworkSetupFailed.",
        FAILED,
        _CUSTOMIZED,
        _fail_by_a_subclass,
    ),
    Trap(
        "HA restart",
        "The customization succeeded; the cluster has restarted the machine on another host before the wait begins.",
        SUCCEEDED,
        _CUSTOMIZED,
        _restart_after_success,
    ),
    Trap(
        "session loss",
        "All sessions are ended in mid-wait; the customization succeeds later.",
        SUCCEEDED,
        _CUSTOMIZED,
        _never_end_by_itself,
        _end_all_sessions,
    ),
    Trap(
        "no specification",
        "Nobody asked for a customization; the machine has booted and its VMware Tools run.",
        NOT_CUSTOMIZED,
        ("-start-delay", "500ms"),
        _power_on,
    ),
)


def spring(program: Path, waiters: Iterable[Waiter]) -> list[Answer]:
    """Returns what every waiter says in every trap.

    Raises:
        LabError: A waiter or a lab broke.
    """
    waiting = list(waiters)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [
            answer for answers in pool.map(lambda trap: _answers(program, waiting, trap), TRAPS) for answer in answers
        ]


def _answers(program: Path, waiters: Iterable[Waiter], trap: Trap) -> list[Answer]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        lab = vcenter_client.start(program, home, ("-vms", "2", *trap.options))
        started = []
        try:
            trap.before(lab)
            started = [waiter.start(lab, home / "ready.json", PATIENCE) for waiter in waiters]
            for waiting in started:
                waiting.until_set_up()
            trap.during(lab)
            return [_answer(trap, waiting.waiter.name, waiting.result()) for waiting in started]
        finally:
            for waiting in started:
                waiting.end()
            vcenter_client.stop(program, home)


def _answer(trap: Trap, waiter: str, result: dict[str, Any]) -> Answer:
    (word,) = result["said"].values()
    verdict = word["verdict"]
    judgement = "right" if verdict == trap.truth else "none" if verdict in NO_VERDICT else "WRONG"
    return Answer(trap.name, waiter, verdict, word["words"], word["seconds"], judgement)
