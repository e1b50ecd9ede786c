"""The waiting loop, against a source that follows a script and a clock that only the source moves."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.core import background, source_calls
from pulumi_customization_gate.core.advice import Advice
from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL
from pulumi_customization_gate.core.confirmation import (
    CONFIRM_PAUSE,
    CONFIRM_TIMEOUT,
    CUT_SHORT,
    FAILURE_CONFIRM_TIMEOUT,
    FINAL_READ_TIMEOUT,
    UNCONFIRMED,
)
from pulumi_customization_gate.core.errors import AuthenticationError, ConfigurationError, ServerError
from pulumi_customization_gate.core.judge_now import judge_now
from pulumi_customization_gate.core.model import (
    Event,
    Failure,
    GateReport,
    HistoryRead,
    Observation,
    PreviouslyCustomized,
    VmOutcome,
    VmRef,
)
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.progress import HEARTBEAT, Update
from pulumi_customization_gate.core.report import progress_line
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind
from pulumi_customization_gate.core.wait import wait
from tests.unit.core.timeline import (
    ALL_READ,
    VM,
    at,
    failed,
    gone,
    powered_off,
    read,
    removed,
    resuming,
    started,
    starting,
    succeeded,
    suspended,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

WEB_0, WEB_1, WEB_2 = (VmRef(f"web-{i}", f"vm-{85 + i}", f"web-{i}") for i in range(3))
ALONE = (WEB_2,)

assert WEB_2.id == VM


@pytest.fixture(autouse=True)
def _frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits for a call that hangs checks its fake clock without a pause."""
    monkeypatch.setattr(background, "CANCEL_CHECK_INTERVAL", 0.01)


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.began = self.now = now

    def __call__(self) -> float:
        return self.now

    @property
    def elapsed(self) -> float:
        return self.now - self.began


class ScriptedSource:
    """Reports each observation once the wait is as old as the observation's second, or as `delay` adds to it.

    Args:
        vms: The VMs of the wait.
        observations: What `poll` reports; observations of negative seconds are reported at once.
        found_by_refresh: What only `refresh` finds, because its event was lost.
        silent_until: The second before which nothing is reported, but then all that happened.
        raised: Second and error of polls that fail.
        refresh_takes: Seconds that a refresh takes; None for a server that hangs.
        refresh_raises: What a refresh raises.
    """

    def __init__(
        self,
        vms: Sequence[VmRef],
        observations: Sequence[Observation] = (),
        *,
        found_by_refresh: Sequence[Observation] = (),
        silent_until: float = 0.0,
        raised: tuple[float, ServerError] | None = None,
        refresh_takes: float | None = 0.0,
        refresh_raises: ServerError | None = None,
        noted: dict[float, str] | None = None,
    ) -> None:
        self.clock = Clock()
        self.vms = vms
        self.unreported = sorted(
            ((max(silent_until, self._second(o)), o) for o in observations), key=lambda due: due[0]
        )
        self.found_by_refresh = found_by_refresh
        self.raised, self.refresh_takes, self.refresh_raises = raised, refresh_takes, refresh_raises
        self.noted = dict(noted or {})
        self.polls: list[float] = []
        self.refreshes: list[float] = []
        self.found: list[Observation] = []
        self.closed = 0

    @staticmethod
    def _second(observation: Observation) -> float:
        return (
            0.0
            if isinstance(observation, PreviouslyCustomized | HistoryRead)
            else (observation.read_at if isinstance(observation, Event) else observation.asked_at)
        )

    def start(self) -> Sequence[VmRef]:
        return self.vms

    def poll(self, timeout: float) -> Sequence[Observation]:
        assert timeout >= 0
        self.polls.append(timeout)
        until = self.clock.elapsed + timeout
        if self.raised and self.raised[0] <= until:
            raise self.raised[1]
        if self.unreported and self.unreported[0][0] <= until:
            until = max(self.unreported[0][0], self.clock.elapsed)
        self.clock.now = self.clock.began + until
        due = [observation for second, observation in self.unreported if second <= until]
        self.unreported = self.unreported[len(due) :]
        found, self.found = self.found, []
        return [*found, *due]

    def refresh(self, timeout: float) -> bool:
        self.refreshes.append(self.clock.elapsed)
        if self.refresh_raises:
            raise self.refresh_raises
        if self.refresh_takes is None:
            self.clock.now += timeout
            return False
        self.clock.now += self.refresh_takes
        self.found += [o for o in self.found_by_refresh if self._second(o) <= self.clock.elapsed]
        return True

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:
        assert timeout > 0
        return [f"likely cause: {vm.name} sleeps"]

    def notes(self) -> Sequence[str]:
        due = [second for second in self.noted if second <= self.clock.elapsed]
        return [self.noted.pop(second) for second in due]

    def close(self) -> None:
        self.closed += 1

    def wait(
        self,
        rules: WaitRules = WaitRules(),  # noqa: B008 -- frozen
        *,
        listener: Callable[[Update], None] = lambda _: None,
        cancelled_at: float | None = None,
        heartbeat: float = HEARTBEAT,
    ) -> GateReport:
        return wait(
            self,
            rules,
            listener=listener,
            cancelled=lambda: cancelled_at is not None and self.clock.elapsed >= cancelled_at,
            clock=self.clock,
            heartbeat=heartbeat,
        )


def reported_by(report: GateReport) -> dict[str, tuple[str, bool, str]]:
    """Returns status, readiness and failure of each VM."""
    return {o.key: (o.status.value, o.ready, o.failure.name if o.failure else "") for o in report.outcomes}


def only(report: GateReport) -> VmOutcome:
    (outcome,) = report.outcomes
    return outcome


def row(what_happens: str, source: ScriptedSource, rules: WaitRules, waited: float, *reported: object) -> object:
    return pytest.param(source, rules, waited, reported, id=what_happens)


REQUIRED = WaitRules(timeout=100, start_timeout=20)
OPTIONAL = WaitRules(timeout=100, start_timeout=20, requires_customization=False)
REFUSED_LOGIN = ServerError("vc.example.com refused the user name or password.")

ONE_VM = [
    row(
        "succeeds",
        ScriptedSource(ALONE, [starting(1), started(10), succeeded(30)]),
        REQUIRED,
        30,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "had succeeded before the wait",
        ScriptedSource(ALONE, [starting(-90), succeeded(-60), read(-1, "SUCCEEDED")]),
        REQUIRED,
        0,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "fails",
        ScriptedSource(ALONE, [starting(1), started(10), failed(30)]),
        REQUIRED,
        30,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
    row(
        "fails by state only",
        ScriptedSource(ALONE, [read(0, "RUNNING"), read(9, "FAILED", message="no")]),
        REQUIRED,
        9,
        ("CustomizationFailed", False, "TOOLSDEPLOYPKG_FAILED"),
    ),
    row(
        "second customization fails",
        ScriptedSource(
            ALONE, [starting(-9), succeeded(-5), read(0, on=False, pending=True), starting(2), started(8), failed(30)]
        ),
        REQUIRED,
        30,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
    row(
        "stale success while a specification waits, then success",
        ScriptedSource(
            ALONE, [starting(-9), succeeded(-5), read(0, on=False, pending=True), starting(2), read(5), succeeded(15)]
        ),
        REQUIRED,
        15,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "HA restart before success",
        ScriptedSource(ALONE, [starting(1), started(10), powered_off(12), starting(25), started(30), succeeded(40)]),
        REQUIRED,
        40,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no event and no state until the deadline",
        ScriptedSource(ALONE, [starting(1), started(10)]),
        REQUIRED,
        100,
        ("CustomizationStarted", False, "Timeout"),
    ),
    row(
        "the success was lost, the final read finds it",
        ScriptedSource(ALONE, [starting(1), started(10)], found_by_refresh=[succeeded(50)]),
        REQUIRED,
        100,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "the server hangs at the deadline",
        ScriptedSource(ALONE, [starting(1), started(10)], refresh_takes=None),
        REQUIRED,
        100 + FINAL_READ_TIMEOUT,
        ("CustomizationStarted", False, "Timeout"),
    ),
    row(
        "the server hangs and both deadlines are one",
        ScriptedSource(ALONE, [read(0, "PENDING")], refresh_takes=None),
        WaitRules(timeout=20, start_timeout=20),
        20 + FINAL_READ_TIMEOUT,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "none was requested",
        ScriptedSource(ALONE, [starting(-5), ALL_READ, read(0, "IDLE", tools=False), read(7, "IDLE")]),
        REQUIRED,
        7,
        ("NotCustomized", False, "NoCustomization"),
    ),
    row(
        "none was requested, and none is required",
        ScriptedSource(ALONE, [starting(-5), ALL_READ, read(0, "IDLE", tools=False), read(7, "IDLE")]),
        OPTIONAL,
        7,
        ("NotCustomized", True, ""),
    ),
    row(
        "none required, one waits and fails",
        ScriptedSource(ALONE, [read(0, "PENDING", on=False, pending=True), starting(2), failed(9)]),
        OPTIONAL,
        9,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
    row(
        "none required, vCenter older than 7.0.2",
        ScriptedSource(ALONE, [starting(-5), read(0), ALL_READ]),
        OPTIONAL,
        20,
        ("NotCustomized", True, ""),
    ),
    row(
        "none required, vCenter older than 7.0.2, one was asked for",
        ScriptedSource(ALONE, [read(0, on=False, pending=True), starting(5), read(9)]),
        OPTIONAL,
        25,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "none required, vCenter older than 7.0.2, Tools never run",
        ScriptedSource(ALONE, [starting(-5), read(0, tools=False)]),
        OPTIONAL,
        20,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "required, vCenter older than 7.0.2",
        ScriptedSource(ALONE, [starting(-5), read(0)]),
        REQUIRED,
        20,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "never powered on",
        ScriptedSource(ALONE, [read(0, "PENDING", on=False, pending=True)]),
        REQUIRED,
        20,
        ("VmNotStarted", False, "StartTimeout"),
    ),
    row(
        "removed during the wait, and then not found by the final read",
        ScriptedSource(ALONE, [starting(1), started(5), removed(8)], found_by_refresh=[gone(8)]),
        REQUIRED,
        8,
        ("VmRemoved", False, "VmRemoved"),
    ),
    row(
        "removed during the wait, its event was lost",
        ScriptedSource(ALONE, [read(0, "PENDING"), gone(8)], found_by_refresh=[gone(10)]),
        REQUIRED,
        10,
        ("VmRemoved", False, "VmRemoved"),
    ),
    row(
        "never there",
        ScriptedSource(ALONE, [gone(0)], found_by_refresh=[gone(2)]),
        REQUIRED,
        2,
        ("VmRemoved", False, "NotFound"),
    ),
    row(
        "not found by the first read, there a second later, succeeds",
        ScriptedSource(ALONE, [gone(0), read(1, "RUNNING"), succeeded(30)]),
        REQUIRED,
        30,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "may not be read at first, and may be a second later, succeeds",
        ScriptedSource(ALONE, [unreadable(0), read(1, "RUNNING"), succeeded(30)]),
        REQUIRED,
        30,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "may not be read at all",
        ScriptedSource(ALONE, [unreadable(0)], found_by_refresh=[unreadable(2)]),
        REQUIRED,
        2,
        ("VmNotStarted", False, "NoPermission"),
    ),
    row(
        "the confirming read is refused, the one after that is not",
        ScriptedSource(
            ALONE,
            [starting(15), succeeded(30)],
            found_by_refresh=[unreadable(31), read(32, "SUCCEEDED")],
            refresh_takes=1.0,
        ),
        REQUIRED,
        35,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "the state is late: it still runs at the confirming read, and has ended at the next",
        ScriptedSource(
            ALONE,
            [starting(15), succeeded(30)],
            found_by_refresh=[read(31, "RUNNING"), read(32, "SUCCEEDED")],
            refresh_takes=1.0,
        ),
        REQUIRED,
        35,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "customized again without an event: the state stays RUNNING, and fails",
        ScriptedSource(
            ALONE,
            [starting(15), succeeded(30), read(60, "FAILED")],
            found_by_refresh=[read(31, "RUNNING")],
            refresh_takes=1.0,
        ),
        REQUIRED,
        61,
        ("CustomizationFailed", False, "TOOLSDEPLOYPKG_FAILED"),
    ),
    row(
        "customized and powered off",
        ScriptedSource(
            ALONE,
            [starting(15), succeeded(30), read(32, "SUCCEEDED", on=False)],
            found_by_refresh=[powered_off(30, key=31)],
        ),
        REQUIRED,
        100,
        ("CustomizationSucceeded", False, "PoweredOff"),
    ),
    row(
        "customized, powered off at the confirming read, and on again",
        ScriptedSource(
            ALONE,
            [starting(15), succeeded(30), starting(50), read(51, "SUCCEEDED")],
            found_by_refresh=[read(30.5, "SUCCEEDED", on=False)],
            refresh_takes=1.0,
        ),
        REQUIRED,
        52,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "customized, suspended and resumed",
        ScriptedSource(ALONE, [starting(1), suspended(20), succeeded(30, key=19), resuming(45)]),
        REQUIRED,
        45,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no state reported, restarted just before the wait: it counts once VMware Tools have run for a while",
        ScriptedSource(ALONE, [starting(-90), succeeded(-60), starting(-1), read(0, tools=False), read(6)]),
        REQUIRED,
        16,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no state reported, restarted just before the wait: it counts once the power-on is older than the time-out",
        ScriptedSource(ALONE, [starting(-90), succeeded(-60), starting(-5), read(0, tools=False)]),
        REQUIRED,
        15,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no state reported, restarted long before the wait",
        ScriptedSource(ALONE, [starting(-90), succeeded(-60), starting(-30), read(0, tools=False)]),
        REQUIRED,
        0,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no state reported, restarted just before the wait for another customization, which fails",
        ScriptedSource(
            ALONE, [starting(-90), succeeded(-60), starting(-5), read(0, tools=False), started(9), failed(50)]
        ),
        REQUIRED,
        50,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
    row(
        "no state reported, an earlier failure, restarted just before the wait for another customization",
        ScriptedSource(
            ALONE, [starting(-90), failed(-60), starting(-5), read(0, tools=False), started(9), succeeded(50)]
        ),
        REQUIRED,
        50,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "no state reported, an earlier failure, none required",
        ScriptedSource(ALONE, [starting(-90), failed(-60), starting(-5), read(0), ALL_READ]),
        OPTIONAL,
        10,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
    row(
        "a success stamped in the future, then another customization",
        ScriptedSource(
            ALONE,
            [
                starting(-9),
                read(0, "RUNNING"),
                dataclasses.replace(succeeded(1), at=at(25_200)),
            ],
            found_by_refresh=[read(1.5, "PENDING", on=False, pending=True)],
            refresh_takes=0.5,
        ),
        REQUIRED,
        22,
        ("VmNotStarted", False, "StartTimeout"),
    ),
    row(
        "an earlier wait's success is remembered",
        ScriptedSource(ALONE, [read(0, "IDLE"), PreviouslyCustomized(VM)]),
        REQUIRED,
        0,
        ("CustomizationSucceeded", True, ""),
    ),
    row(
        "restarted for a second customization at the end, found by the final read",
        ScriptedSource(
            ALONE,
            [starting(1), started(5), succeeded(40), failed(60)],
            found_by_refresh=[starting(40, key=41), started(40, key=42)],
        ),
        REQUIRED,
        60,
        ("CustomizationFailed", False, "CustomizationSysprepFailed"),
    ),
]

START_TIMEOUTS = [
    row(
        "counts from the start of the wait for a VM that was on",
        ScriptedSource(ALONE, [starting(-500), read(0, "PENDING")]),
        REQUIRED,
        20,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "counts from the last power-on",
        ScriptedSource(ALONE, [starting(5), read(6, "PENDING"), powered_off(9), starting(15)]),
        REQUIRED,
        35,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "counts from the power-on although it is reported late",
        ScriptedSource(ALONE, [starting(5), read(15, "PENDING")], silent_until=15),
        REQUIRED,
        25,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "counts from a power-on that only the final read finds",
        ScriptedSource(ALONE, [read(0, "PENDING", on=False)], found_by_refresh=[starting(5), read(20, "PENDING")]),
        REQUIRED,
        25,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "counts from a power-on that only the state reports",
        ScriptedSource(ALONE, [read(0, "PENDING", on=False), read(12, "PENDING")]),
        REQUIRED,
        32,
        ("CustomizationNotStarted", False, "StartTimeout"),
    ),
    row(
        "counts again from a power-off during the wait, because the cluster has to restart the VM",
        ScriptedSource(ALONE, [starting(1), started(10), powered_off(19)]),
        REQUIRED,
        39,
        ("VmNotStarted", False, "StartTimeout"),
    ),
    row(
        "does not count while Cloud Director's pending may mean running",
        ScriptedSource(ALONE, [read(0, "GC_PENDING", tools=False)]),
        REQUIRED,
        100,
        ("CustomizationNotStarted", False, "Timeout"),
    ),
    row(
        "is over when the final read finds the start",
        ScriptedSource(ALONE, [starting(1), succeeded(60)], found_by_refresh=[started(15)]),
        REQUIRED,
        60,
        ("CustomizationSucceeded", True, ""),
    ),
]


@pytest.mark.parametrize(("source", "rules", "waited", "reported"), [*ONE_VM, *START_TIMEOUTS])
def test_wait_for_one(
    source: ScriptedSource, rules: WaitRules, waited: float, reported: tuple[tuple[str, bool, str]]
) -> None:
    """A wait ends when its VM is settled or at its deadline, and the report says which."""
    report = source.wait(rules)

    assert ({"web-2": reported[0]}, waited, 1) == (reported_by(report), round(report.wait_seconds, 6), source.closed)


SLOW = [starting(0, WEB_0.id), started(5, WEB_0.id), succeeded(70, WEB_0.id)]

MANY = [
    row(
        "all succeed, in the order of the request",
        ScriptedSource((WEB_1, WEB_0), [succeeded(9, WEB_0.id), succeeded(7, WEB_1.id)]),
        REQUIRED,
        9,
        {"web-1": ("CustomizationSucceeded", True, ""), "web-0": ("CustomizationSucceeded", True, "")},
    ),
    row(
        "one fails and the other is still waited for",
        ScriptedSource((WEB_0, WEB_1), [*SLOW, failed(3, WEB_1.id)]),
        REQUIRED,
        70,
        {
            "web-0": ("CustomizationSucceeded", True, ""),
            "web-1": ("CustomizationFailed", False, "CustomizationSysprepFailed"),
        },
    ),
    row(
        "a start after its start_timeout makes good while another is waited for",
        ScriptedSource(
            (WEB_0, WEB_1), [*SLOW, read(0, "PENDING", vm=WEB_1.id), started(50, WEB_1.id), succeeded(60, WEB_1.id)]
        ),
        REQUIRED,
        70,
        {"web-0": ("CustomizationSucceeded", True, ""), "web-1": ("CustomizationSucceeded", True, "")},
    ),
    row(
        "a start after its start_timeout is waited for to its end",
        ScriptedSource(
            (WEB_0, WEB_1), [*SLOW, read(0, "PENDING", vm=WEB_1.id), started(50, WEB_1.id), succeeded(90, WEB_1.id)]
        ),
        REQUIRED,
        90,
        {"web-0": ("CustomizationSucceeded", True, ""), "web-1": ("CustomizationSucceeded", True, "")},
    ),
    row(
        "each has a start_timeout of its own",
        ScriptedSource((WEB_0, WEB_1), [starting(3, WEB_0.id), starting(15, WEB_1.id)]),
        REQUIRED,
        35,
        {
            "web-0": ("CustomizationNotStarted", False, "StartTimeout"),
            "web-1": ("CustomizationNotStarted", False, "StartTimeout"),
        },
    ),
    row(
        "one is not found: the wait stops at once and keeps what it knows of the others",
        ScriptedSource(
            (WEB_0, WEB_1, WEB_2),
            [gone(-3, WEB_0.id), gone(0, WEB_0.id), succeeded(-5, WEB_1.id), read(0, "RUNNING", vm=WEB_2.id)],
        ),
        REQUIRED,
        0,
        {
            "web-0": ("VmRemoved", False, "NotFound"),
            "web-1": ("CustomizationSucceeded", True, ""),
            "web-2": ("CustomizationStarted", False, "Unfinished"),
        },
    ),
    row(
        "one is not found and a second read does not find the other",
        ScriptedSource(
            (WEB_0, WEB_1),
            [dataclasses.replace(gone(0, WEB_0.id), needs_second_look=False), gone(0, WEB_1.id)],
            found_by_refresh=[gone(2, WEB_1.id)],
        ),
        REQUIRED,
        2,
        {"web-0": ("VmRemoved", False, "NotFound"), "web-1": ("VmRemoved", False, "NotFound")},
    ),
    row(
        "one is not found and a second read finds the other",
        ScriptedSource(
            (WEB_0, WEB_1),
            [dataclasses.replace(gone(0, WEB_0.id), needs_second_look=False), gone(0, WEB_1.id)],
            found_by_refresh=[read(2, "RUNNING", vm=WEB_1.id)],
        ),
        REQUIRED,
        2,
        {"web-0": ("VmRemoved", False, "NotFound"), "web-1": ("CustomizationStarted", False, "Unfinished")},
    ),
    row(
        "one is not found and the wait goes on for the other",
        ScriptedSource((WEB_0, WEB_1), [*SLOW, gone(0, WEB_1.id), gone(3, WEB_1.id)]),
        WaitRules(timeout=100, start_timeout=20, stop_on_missing=False),
        70,
        {"web-0": ("CustomizationSucceeded", True, ""), "web-1": ("VmRemoved", False, "NotFound")},
    ),
    row(
        "one is removed during the wait and the other is still waited for",
        ScriptedSource((WEB_0, WEB_1), [*SLOW, starting(1, WEB_1.id), removed(8, WEB_1.id)]),
        REQUIRED,
        70,
        {"web-0": ("CustomizationSucceeded", True, ""), "web-1": ("VmRemoved", False, "VmRemoved")},
    ),
    row(
        "one may not be read and the other succeeds",
        ScriptedSource((WEB_0, WEB_1), SLOW),
        REQUIRED,
        70,
        {"web-0": ("CustomizationSucceeded", True, ""), "web-1": ("VmNotStarted", False, "StartTimeout")},
    ),
    row(
        "VMs that are not in the wait are reported",
        ScriptedSource((WEB_0,), [*SLOW, removed(8, "vm-1"), failed(9, "vm-2")]),
        REQUIRED,
        70,
        {"web-0": ("CustomizationSucceeded", True, "")},
    ),
    row(
        "one was customized, then read as idle before its restart, while another is waited for",
        ScriptedSource(
            (WEB_0, WEB_1),
            [*SLOW, read(0, "IDLE", vm=WEB_1.id), powered_off(60, WEB_1.id), starting(65, WEB_1.id)],
            found_by_refresh=[read(70, "PENDING", vm=WEB_1.id)],
        ),
        OPTIONAL,
        85,
        {
            "web-0": ("CustomizationSucceeded", True, ""),
            "web-1": ("CustomizationNotStarted", False, "StartTimeout"),
        },
    ),
    row("there is none", ScriptedSource(()), REQUIRED, 0, {}),
]


@pytest.mark.parametrize(("source", "rules", "waited", "reported"), MANY)
def test_wait_for_many(
    source: ScriptedSource, rules: WaitRules, waited: float, reported: tuple[dict[str, tuple[str, bool, str]]]
) -> None:
    """A wait ends when each of its VMs is settled, and keeps every verdict."""
    report = source.wait(rules)

    assert (reported[0], waited) == (reported_by(report), round(report.wait_seconds, 6))
    assert list(reported[0]) == [outcome.key for outcome in report.outcomes]


def test_outcome_of_a_success() -> None:
    """An outcome has the server's times of the last power-on, and what the guest last reported."""
    source = ScriptedSource(
        ALONE, [starting(1), started(10), succeeded(30)], found_by_refresh=[read(30, "SUCCEEDED", name="renamed")]
    )

    assert VmOutcome(
        key="web-2",
        id=VM,
        name="renamed",
        status=CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        ready=True,
        evidence=Evidence.EVENT,
        powered_on_at=at(1),
        started_at=at(10),
        completed_at=at(30),
        ready_at=at(30),
        customization_seconds=29.0,
    ) == only(source.wait())


FAILURES = [
    pytest.param(
        [failed(9, reason="customizationDisabled", message="no", log_location="/var/log/vmware-imc")],
        Failure(
            FailureKind.CUSTOMIZATION_FAILED,
            "CustomizationSysprepFailed",
            "customizationDisabled",
            "no",
            "/var/log/vmware-imc",
            advice=Advice.REPLACE,
        ),
        id="the event's own words",
    ),
    pytest.param(
        [starting(1), failed(9, message="no"), starting(15)],
        Failure(FailureKind.CUSTOMIZATION_FAILED, "CustomizationSysprepFailed", message="no", advice=Advice.REPLACE),
        id="those of an earlier event",
    ),
    pytest.param(
        [starting(1)],
        Failure(
            FailureKind.START_TIMEOUT,
            message="customization did not start within 20 s of power-on or the start of the wait; "
            "the VM is powered on and there is no sign of a customization yet",
            diagnosis=("likely cause: web-2 sleeps",),
            advice=Advice.FIND_START_FAULT,
        ),
        id="never started",
    ),
    pytest.param(
        [started(1)],
        Failure(
            FailureKind.TIMEOUT,
            message="the customization started and has not ended",
            diagnosis=("likely cause: web-2 sleeps",),
            advice=Advice.WAIT_LONGER,
        ),
        id="never ended",
    ),
    pytest.param(
        [read(0, "IDLE"), ALL_READ],
        Failure(
            FailureKind.NO_CUSTOMIZATION,
            message="the VM and its VMware Tools are running, no specification is pending and the state is idle",
            diagnosis=("likely cause: web-2 sleeps",),
            advice=Advice.REQUEST_CUSTOMIZATION,
        ),
        id="none requested",
    ),
    pytest.param(
        [starting(1), removed(9)],
        Failure(FailureKind.VM_REMOVED, message="it left the inventory at 12:00:09Z", advice=Advice.RESTORE_OR_DROP),
        id="removed",
    ),
    pytest.param(
        [read(0, "RUNNING"), gone(9), gone(12)],
        Failure(FailureKind.VM_REMOVED, message="it left the inventory", advice=Advice.RESTORE_OR_DROP),
        id="removed, its event was lost",
    ),
    pytest.param(
        [gone(-3), gone(0)],
        Failure(
            FailureKind.NOT_FOUND,
            message="vc.example.com has no virtual machine vm-87",
            advice=Advice.CORRECT_REFERENCE,
        ),
        id="never there",
    ),
]


@pytest.mark.parametrize(("observations", "failure"), FAILURES)
def test_failure(observations: Sequence[Observation], failure: Failure) -> None:
    """The failure of a VM has the server's own text where there is one."""
    assert failure == only(ScriptedSource(ALONE, observations).wait(REQUIRED)).failure


def test_why_a_vm_is_missing_is_reported_at_once() -> None:
    """A listener gets the reason together with the status, because the VM's row shows it."""
    updates: list[Update] = []
    ScriptedSource(ALONE, [unreadable(-3), unreadable(0)]).wait(REQUIRED, listener=updates.append)
    assert [o.failure.name for update in updates for o in update.changed if o.failure] == ["NoPermission"]


def test_cancellation_is_noticed_within_one_poll() -> None:
    """A cancelled wait ends with what it knows, without another read, as soon as the poll in flight is over.

    A VM that was customized is not ready then: no read has confirmed it, so the next wait judges it again.
    """
    source = ScriptedSource((WEB_0, WEB_1), [*SLOW, succeeded(3, WEB_1.id)])
    report = source.wait(cancelled_at=10.1)

    assert reported_by(report) == {
        "web-0": ("CustomizationStarted", False, "Unfinished"),
        "web-1": ("CustomizationSucceeded", False, "Unfinished"),
    }
    assert [outcome.failure and outcome.failure.message for outcome in report.outcomes] == [
        "the customization started and has not ended",
        CUT_SHORT,
    ]
    assert (report.cancelled, report.timed_out, source.refreshes, source.closed) == (True, False, [], 1)
    assert report.wait_seconds <= 10.1 + CANCEL_CHECK_INTERVAL


def test_a_cancelled_wait_opens_no_gate() -> None:
    """A cancellation that comes before the read that confirms the end keeps the gate closed, to be judged again."""
    report = ScriptedSource(ALONE, [succeeded(0)]).wait(cancelled_at=0)

    assert reported_by(report) == {"web-2": ("CustomizationSucceeded", False, "Unfinished")}
    assert (report.ready, report.cancelled) == (False, True)
    (outcome,) = report.outcomes
    assert outcome.failure is not None
    assert outcome.failure.message == CUT_SHORT == "the wait ended before the server confirmed the end"


def test_a_server_that_is_lost_leaves_no_vm_ready() -> None:
    """What happened to a customized VM before the error is unknown; a VM that failed keeps its reason."""
    happens = [succeeded(3, WEB_0.id), failed(4, WEB_1.id), started(5)]
    report = ScriptedSource((WEB_0, WEB_1, WEB_2), happens, raised=(50, REFUSED_LOGIN)).wait(REQUIRED)

    assert reported_by(report) == {
        "web-0": ("CustomizationSucceeded", False, "Unfinished"),
        "web-1": ("CustomizationFailed", False, "CustomizationSysprepFailed"),
        "web-2": ("CustomizationStarted", False, "Unfinished"),
    }


@pytest.mark.parametrize("second", [0, 50], ids=["at once", "during the wait"])
def test_a_server_that_cannot_help_ends_the_wait_with_its_report(second: float) -> None:
    """A poll that cannot succeed again keeps what is known of every VM."""
    refused = AuthenticationError("refused")
    report = ScriptedSource(ALONE, [starting(1), started(10)], raised=(second, refused)).wait(REQUIRED)
    status = "CustomizationStarted" if second else "VmNotStarted"

    assert ({"web-2": (status, False, "Unfinished")}, refused, False) == (
        reported_by(report),
        report.fatal_error,
        report.timed_out,
    )
    assert report.wait_seconds <= second


@pytest.mark.parametrize(
    ("observations", "ready"), [([succeeded(9)], True), ([started(9)], False)], ids=["settled", "at the deadline"]
)
def test_a_failed_last_read_costs_no_report(observations: Sequence[Observation], ready: bool) -> None:
    """A server that refuses the final read leaves the verdicts as they are, and one note of each kind."""
    report = ScriptedSource(ALONE, observations, refresh_raises=REFUSED_LOGIN).wait(REQUIRED)
    notes = [str(REFUSED_LOGIN), UNCONFIRMED] if ready else [str(REFUSED_LOGIN)]

    assert (ready, not ready, notes) == (report.ready, report.timed_out, [*report.notes])


@pytest.mark.parametrize(
    ("found_by_refresh", "reported"),
    [
        pytest.param([read(20, "SUCCEEDED")], ("CustomizationSucceeded", True, ""), id="confirmed"),
        pytest.param([read(20, on=False)], ("CustomizationSucceeded", False, "PoweredOff"), id="powered off"),
        pytest.param(
            [read(20, "PENDING", on=False, pending=True)], ("VmNotStarted", False, "StartTimeout"), id="another waits"
        ),
    ],
)
def test_a_gate_opens_once_the_server_confirms_the_end(
    found_by_refresh: Sequence[Observation], reported: tuple[str, bool, str]
) -> None:
    """While the server does not answer the read that confirms an end, the gate stays closed: events may be lost."""

    class Unreachable(ScriptedSource):
        def refresh(self, timeout: float) -> bool:
            self.refresh_takes = None if self.clock.elapsed < 30 else 0.0
            return super().refresh(timeout)

    updates: list[Update] = []
    source = Unreachable(ALONE, [starting(1), started(5), succeeded(9)], found_by_refresh=found_by_refresh)
    report = source.wait(REQUIRED, listener=updates.append)

    assert reported_by(report) == {"web-2": reported}
    assert report.wait_seconds >= 30
    assert UNCONFIRMED not in report.notes


def test_a_failure_by_state_gets_its_reason_from_the_read_that_confirms_it() -> None:
    """A server that does not answer at the moment of a failure is asked again: the event has the reason."""

    class Unreachable(ScriptedSource):
        def refresh(self, timeout: float) -> bool:
            self.refresh_takes = None if self.clock.elapsed < 30 else 0.0
            return super().refresh(timeout)

    observations: list[Observation] = [starting(1), read(2, "RUNNING"), read(9, "FAILED")]
    report = Unreachable(ALONE, observations, found_by_refresh=[failed(8, reason="no product key")]).wait(REQUIRED)

    assert reported_by(report) == {"web-2": ("CustomizationFailed", False, "CustomizationSysprepFailed")}
    assert report.wait_seconds >= 30


def test_a_failure_counts_although_the_server_is_gone() -> None:
    """A failure that no read confirms ends the wait two minutes later, not at the deadline."""
    observations: list[Observation] = [starting(1), started(2), failed(3, reason="no product key")]
    rules = dataclasses.replace(REQUIRED, timeout=3600.0)
    report = ScriptedSource(ALONE, observations, refresh_takes=None).wait(rules)

    assert reported_by(report) == {"web-2": ("CustomizationFailed", False, "CustomizationSysprepFailed")}
    latest = 3 + FAILURE_CONFIRM_TIMEOUT + CONFIRM_TIMEOUT + CONFIRM_PAUSE
    assert FAILURE_CONFIRM_TIMEOUT <= report.wait_seconds <= latest
    assert UNCONFIRMED in report.notes


def test_a_read_that_confirms_the_end_may_be_slow() -> None:
    """Before the deadline a slow answer is waited for: the names that the customization gave come with it."""
    named = dataclasses.replace(read(20, "SUCCEEDED"), host_name="web-2.example.com")
    source = ScriptedSource(
        ALONE, [starting(1), started(5), succeeded(9)], found_by_refresh=[named], refresh_takes=12.0
    )
    report = source.wait(REQUIRED)

    assert (report.ready, only(report).host_name) == (True, "web-2.example.com")


def test_the_last_end_is_reported_before_the_read_that_confirms_it() -> None:
    """The read takes seconds with thousands of VMs: the listener does not wait for it."""
    source = ScriptedSource(ALONE, [starting(1), started(5), succeeded(9)], refresh_takes=12.0)
    ready_at: list[float] = []

    def listen(update: Update) -> None:
        ready_at.extend(source.clock.elapsed for outcome in update.changed if outcome.ready)

    assert source.wait(REQUIRED, listener=listen).ready
    assert ready_at == [9.0]


def test_a_read_ends_with_the_deadline() -> None:
    """A server that hangs in the read that confirms an end makes the wait no longer than it may be."""
    source = ScriptedSource(ALONE, [starting(1), started(5), succeeded(97)], refresh_takes=None)
    report = source.wait(REQUIRED)

    assert (report.ready, report.timed_out, report.wait_seconds) == (True, False, REQUIRED.timeout)


def test_start_timeout_is_as_little_late_as_the_other_deadline() -> None:
    """A start that never comes is not waited for longer because the server hangs in the read that confirms it."""
    report = ScriptedSource(ALONE, [starting(1)], refresh_takes=None).wait(REQUIRED)

    assert reported_by(report) == {"web-2": ("CustomizationNotStarted", False, "StartTimeout")}
    assert report.wait_seconds == pytest.approx(1 + REQUIRED.start_timeout + FINAL_READ_TIMEOUT)


def test_a_cancellation_ends_a_read() -> None:
    """Who cancels while the server is slow to confirm the end does not wait for its answer."""
    looked, released = threading.Event(), threading.Event()

    class Slow(ScriptedSource):
        def refresh(self, timeout: float) -> bool:
            del timeout
            looked.set()
            released.wait(60)
            return True

    source = Slow(ALONE, [starting(1), started(5), succeeded(9)])
    report = wait(source, REQUIRED, cancelled=looked.is_set, clock=source.clock)
    released.set()

    assert (report.ready, report.cancelled) == (False, True)


def test_what_a_slow_start_waits_for_is_reported_once() -> None:
    """The listener hears of it while the source starts, before anything is known of the VMs."""
    updates: list[Update] = []
    is_noted = threading.Event()

    class Slow(ScriptedSource):
        is_started = False

        def start(self) -> Sequence[VmRef]:
            self.is_started = is_noted.wait(timeout=10)
            return super().start()

        def notes(self) -> Sequence[str]:
            return [] if self.is_started else ["the login takes long"]

    def listen(update: Update) -> None:
        updates.append(update)
        is_noted.set()

    assert Slow(ALONE, [starting(1), started(5), succeeded(9)]).wait(REQUIRED, listener=listen).ready
    reported = [(update.outcomes, update.notes) for update in updates if update.notes]
    assert reported == [((), ("the login takes long; waiting for it until the time-out of 1 min 40 s",))]
    assert progress_line(updates[0]) == "waiting for the server for 0 s"


class SlowlyStarting(ScriptedSource):
    """Reports during its start what it waits for, and starts once that was seen."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        super().__init__(ALONE, observations)
        self.is_read = threading.Event()

    def start(self) -> Sequence[VmRef]:
        assert self.is_read.wait(10)
        return super().start()

    def notes(self) -> Sequence[str]:
        self.is_read.set()
        return ["the login takes long"]


@pytest.mark.parametrize(
    ("observations", "ready", "reads"),
    [
        pytest.param([starting(-9), started(-5), succeeded(-1)], True, 1, id="an end, with the read of its details"),
        pytest.param([starting(-9), started(-5)], False, 0, id="a customization that runs"),
    ],
)
def test_a_status_is_one_judgement_however_slow_the_log_in_is(
    observations: Sequence[Observation], ready: bool, reads: int
) -> None:
    """Nothing is waited for after the start; an end is read once more, because that brings address and host name."""
    source = SlowlyStarting(observations)
    report = judge_now(source, requires_customization=True)

    assert (report.ready, report.cancelled, len(source.refreshes)) == (ready, not ready, reads)
    assert source.polls.count(0) == len(source.polls)


def test_an_error_at_the_start_is_passed_on() -> None:
    """Where the wait cannot even start there is no report, and the source is closed."""

    class Unstartable(ScriptedSource):
        def start(self) -> Sequence[VmRef]:
            raise ConfigurationError("web-2 is ambiguous")

    source = Unstartable(ALONE)
    with pytest.raises(ConfigurationError, match=r"^web-2 is ambiguous$"):
        source.wait()

    assert source.closed == 1


@pytest.mark.parametrize(
    ("refresh_takes", "applied"),
    [
        pytest.param(0.0, "CLOSE_TIMEOUT", id="answers the confirming read"),
        pytest.param(None, "CLOSE_TIMEOUT_UNRESPONSIVE", id="hangs already"),
    ],
)
def test_a_source_that_hangs_while_it_closes_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, refresh_takes: float | None, applied: str
) -> None:
    """Giving things back to a server that does not answer does not hold up the report, least where it hung before."""
    released = threading.Event()

    class Stuck(ScriptedSource):
        def close(self) -> None:
            released.wait(60)
            super().close()

    for name in ("CLOSE_TIMEOUT", "CLOSE_TIMEOUT_UNRESPONSIVE"):
        monkeypatch.setattr(source_calls, name, 0.02 if name == applied else 60)
    source = Stuck(ALONE, [succeeded(1)], refresh_takes=refresh_takes)
    report = source.wait()
    closed_before = source.closed
    released.set()

    assert (report.ready, closed_before) == (True, 0)


def test_time_outs_for_a_hung_server_keep_the_documented_limits() -> None:
    """A cancelled wait is over within two seconds and a deadline late by less than one, whatever the server does."""
    assert CANCEL_CHECK_INTERVAL + source_calls.CLOSE_TIMEOUT < 2
    assert FINAL_READ_TIMEOUT + source_calls.CLOSE_TIMEOUT_UNRESPONSIVE < 1


def test_listener_gets_changes_and_a_heartbeat() -> None:
    """A listener gets each change when it is reported, and every half a minute when nothing changes."""
    updates: list[Update] = []
    ScriptedSource(ALONE, [starting(1), started(10), succeeded(95)]).wait(listener=updates.append)

    assert [(u.wait_seconds, [o.status.value for o in u.changed], u.lasting[VM]) for u in updates] == [
        (0, ["VmNotStarted"], 0),
        (1, ["CustomizationNotStarted"], 0),
        (10, ["CustomizationStarted"], 0),
        (40, [], 30),
        (70, [], 60),
        (95, ["CustomizationSucceeded"], 0),
    ]


def test_a_status_lasts_since_the_server_dates_it() -> None:
    """A customization that began before the wait is as old as the server reports, not as old as the wait."""
    updates: list[Update] = []
    ScriptedSource(ALONE, [starting(-30), started(-12), read(0), succeeded(40)]).wait(listener=updates.append)

    assert [(u.wait_seconds, u.outcomes[0].status.value, u.lasting[VM]) for u in updates] == [
        (0, "CustomizationStarted", 12),
        (30, "CustomizationStarted", 42),
        (40, "CustomizationSucceeded", 0),
    ]


def test_the_heartbeat_of_a_terminal_is_faster() -> None:
    """Whoever shows a wait on a terminal can ask for more updates."""
    updates: list[Update] = []
    ScriptedSource(ALONE, [started(1), succeeded(12)]).wait(listener=updates.append, heartbeat=5)

    assert [update.wait_seconds for update in updates] == [0, 1, 6, 11, 12]


def test_heartbeat_is_never_late() -> None:
    """Between two updates lie no more than the heartbeat and one poll."""
    updates: list[Update] = []
    ScriptedSource(ALONE, [started(1)]).wait(WaitRules(timeout=200), listener=updates.append)
    gaps = [later.wait_seconds - earlier.wait_seconds for earlier, later in itertools.pairwise(updates)]

    assert max(gaps) <= HEARTBEAT + CANCEL_CHECK_INTERVAL


def test_notes_are_reported_at_once_and_kept() -> None:
    """A note of the source reaches the listener at once, and the report."""
    updates: list[Update] = []
    source = ScriptedSource(ALONE, [succeeded(9)], noted={0: "503", 4: "watching again"})
    report = source.wait(listener=updates.append)

    assert [(u.wait_seconds, u.notes) for u in updates if u.notes] == [(0, ("503",)), (4, ("watching again",))]
    assert report.notes == ("503", "watching again")


class Unready:
    """Is ready from a second of the clock on."""

    def __init__(self, clock: Clock, second: float) -> None:
        self.clock, self.second, self.closed = clock, second, 0
        self.final: set[str] = set()
        self.dead: tuple[float, ServerError] | None = None
        self.confirmed: list[float] = []
        self.on_confirm: Callable[[Unready], Collection[str]] | None = None

    def unmet(self, vm: VmRef) -> str:
        return "" if self.clock.elapsed >= self.second else f"guest operations of {vm.name} do not answer"

    def forget(self, vm: VmRef) -> None:
        pass

    def ready_at(self, vm: VmRef) -> datetime | None:
        return None if self.unmet(vm) else at(self.second)

    def is_final(self, vm: VmRef) -> bool:
        return vm.id in self.final

    def addresses(self, vm: VmRef) -> tuple[str, ...]:  # noqa: ARG002 -- as the real one
        return ()

    def check(self) -> None:
        if self.dead is not None and self.clock.elapsed > self.dead[0]:
            raise self.dead[1]

    def confirm(self, timeout: float) -> frozenset[str]:
        self.confirmed.append(timeout)
        return frozenset(self.on_confirm(self) if self.on_confirm else ())

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("second", "reported", "waited"),
    [
        pytest.param(40, ("CustomizationSucceeded", True, ""), 40, id="ready after a while"),
        pytest.param(400, ("CustomizationSucceeded", False, "NotReady"), 100, id="never ready"),
    ],
)
def test_readiness(second: float, reported: tuple[str, bool, str], waited: float) -> None:
    """A customized VM is ready once its conditions hold, too."""
    source = ScriptedSource(ALONE, [succeeded(9)])
    readiness = Unready(source.clock, second)
    report = wait(source, REQUIRED, readiness=readiness, clock=source.clock)

    assert ({"web-2": reported}, 1, 1) == (reported_by(report), readiness.closed, source.closed)
    assert waited <= report.wait_seconds <= waited + CANCEL_CHECK_INTERVAL
    assert report.outcomes[0].ready_at == (at(second) if reported[1] else None)


def test_readiness_is_confirmed_before_the_gate_opens() -> None:
    """A VM that was ready at minute 2 and is not so at the end keeps the gate closed until it is ready again."""
    source = ScriptedSource((WEB_1, WEB_2), [succeeded(1, vm="vm-86"), started(5), succeeded(40)])
    readiness = Unready(source.clock, 2)

    def lose_one(lost: Unready) -> Collection[str]:
        if len(lost.confirmed) > 1:
            return ()
        lost.second = source.clock.elapsed + 20
        return ("vm-86",)

    readiness.on_confirm = lose_one
    updates: list[Update] = []
    report = wait(source, REQUIRED, readiness=readiness, clock=source.clock, listener=updates.append)

    assert report.ready
    assert 60 <= report.wait_seconds <= 60 + CANCEL_CHECK_INTERVAL
    assert (len(readiness.confirmed), max(readiness.confirmed)) == (2, CONFIRM_TIMEOUT)
    assert [o.ready for update in updates for o in update.changed if o.id == "vm-86"][-3:] == [True, False, True]


class Settling(Unready):
    """Finds a VM ready some seconds after it was first asked about it, or since it forgot it."""

    def __init__(self, clock: Clock, settle: float) -> None:
        super().__init__(clock, settle)
        self.asked: dict[str, float] = {}
        self.forgotten: list[tuple[float, str]] = []

    def unmet(self, vm: VmRef) -> str:
        since = self.asked.setdefault(vm.id, self.clock.elapsed)
        return "" if self.clock.elapsed >= since + self.second else "guest operations are not ready for long enough"

    def forget(self, vm: VmRef) -> None:
        del self.asked[vm.id]
        self.forgotten.append((self.clock.elapsed, vm.key))

    def ready_at(self, vm: VmRef) -> datetime | None:
        return None if self.unmet(vm) else at(self.asked[vm.id] + self.second)


FIRST_RUN = [starting(-9, WEB_1.id), succeeded(0, WEB_1.id)]
AGAIN = [
    powered_off(50, WEB_1.id),
    read(51, "PENDING", vm=WEB_1.id, on=False, pending=True),
    starting(52, WEB_1.id),
    started(53, WEB_1.id),
    succeeded(60, WEB_1.id),
]


@pytest.mark.parametrize(
    ("happens", "since"),
    [
        pytest.param(AGAIN, 60, id="customized again"),
        pytest.param([dataclasses.replace(o, read_at=60) for o in AGAIN if isinstance(o, Event)], 60, id="in one poll"),
        pytest.param([started(53, WEB_1.id), succeeded(60, WEB_1.id)], 60, id="customized again while it runs"),
        pytest.param(
            [powered_off(50, WEB_1.id), starting(60, WEB_1.id), read(61, "IDLE", vm=WEB_1.id)], 61, id="restarted"
        ),
        pytest.param([suspended(50, WEB_1.id), resuming(60, WEB_1.id)], 60, id="suspended and resumed"),
        pytest.param([read(60, "SUCCEEDED", vm=WEB_1.id)], 0, id="read again"),
        pytest.param([unreadable(50, WEB_1.id), read(60, "SUCCEEDED", vm=WEB_1.id)], 0, id="unreadable for a moment"),
    ],
)
@pytest.mark.parametrize("settle", [pytest.param(30, id="had settled"), pytest.param(55, id="had not settled")])
def test_readiness_begins_anew_with_a_customization_or_a_power_on(
    happens: Sequence[Observation], since: float, settle: float
) -> None:
    """What was found about the guest before its next customization, or power-on, opens no gate."""
    source = ScriptedSource((WEB_1, WEB_2), [*FIRST_RUN, *happens, started(5), succeeded(61)])
    readiness = Settling(source.clock, settle)
    report = wait(source, WaitRules(timeout=200), readiness=readiness, clock=source.clock)

    assert report.outcomes[0].ready_at == at(since + settle)
    assert [key for _, key in readiness.forgotten] == ([WEB_1.key] if since else [])


def test_an_end_whose_event_was_lost_is_not_another_customization() -> None:
    """The read that confirms an end which the state reported finds its event: the guest need not settle again."""
    source = ScriptedSource(
        ALONE, [starting(1), read(5, "RUNNING"), read(20, "SUCCEEDED")], found_by_refresh=[succeeded(19)]
    )
    report = wait(source, REQUIRED, readiness=Settling(source.clock, 30), clock=source.clock)

    assert (only(report).evidence, only(report).completed_at, only(report).ready_at) == (Evidence.EVENT, at(19), at(50))


def test_the_confirmation_ends_with_the_deadline() -> None:
    """The last confirmation gets no more time than there is, and its result counts."""
    source = ScriptedSource(ALONE, [started(5), succeeded(98)])
    readiness = Unready(source.clock, 99)

    def lose(lost: Unready) -> Collection[str]:
        lost.second = 400
        return (WEB_2.id,)

    readiness.on_confirm = lose
    report = wait(source, REQUIRED, readiness=readiness, clock=source.clock)

    assert reported_by(report) == {"web-2": ("CustomizationSucceeded", False, "NotReady")}
    assert report.wait_seconds <= 101
    assert max(readiness.confirmed) <= 1


def test_guests_that_are_not_read_any_more_end_the_wait_at_once() -> None:
    """A reader that died is an error of the gate; no VM is reported as not ready, because that is unknown."""
    source = ScriptedSource(ALONE, [succeeded(9)])
    readiness = Unready(source.clock, 400)
    readiness.dead = (9, ServerError("the guests are not read any more"))
    report = wait(source, REQUIRED, readiness=readiness, clock=source.clock)

    assert str(report.fatal_error) == "the guests are not read any more"
    assert reported_by(report) == {"web-2": ("CustomizationSucceeded", False, "Unfinished")}
    assert report.wait_seconds < 10


def test_what_cannot_change_any_more_is_not_waited_for() -> None:
    """A guest that refuses the password is not ready at the deadline either; longer waiting is not advised."""
    source = ScriptedSource((WEB_1, WEB_2), [succeeded(9), succeeded(20, vm="vm-86")])
    readiness = Unready(source.clock, 400)
    readiness.final = {WEB_1.id, WEB_2.id}
    report = wait(source, REQUIRED, readiness=readiness, clock=source.clock)

    assert report.wait_seconds == 20
    assert {(o.failure.name, o.failure.advice) for o in report.outcomes if o.failure} == {("NotReady", None)}


def test_readiness_of_a_failed_vm_is_not_checked() -> None:
    """A failure settles a VM whatever its guest would answer."""
    source = ScriptedSource(ALONE, [failed(9)])

    assert wait(source, REQUIRED, readiness=Unready(source.clock, 400), clock=source.clock).wait_seconds == 9


def test_polls_are_short_and_end_with_the_deadline() -> None:
    """No poll lasts longer than a cancellation may wait, and the last one ends at the deadline."""
    source = ScriptedSource(ALONE, [started(1)])
    report = source.wait(WaitRules(timeout=10.2))

    assert (round(report.wait_seconds, 6), report.timed_out) == (10.2, True)
    assert max(source.polls) <= CANCEL_CHECK_INTERVAL


def test_the_report_rests_on_the_newest_state() -> None:
    """A report says at which of the server's instants it was true."""
    source = ScriptedSource(ALONE, [read(0, "PENDING"), succeeded(9)], found_by_refresh=[read(9, "SUCCEEDED")])

    assert at(9) == source.wait().ended_at


class HungSource(ScriptedSource):
    """A source whose server never answers the start; its clock advances each time the wait reads it."""

    def __init__(self) -> None:
        super().__init__(ALONE)
        self.released = threading.Event()

    def start(self) -> Sequence[VmRef]:
        self.released.wait(30)
        return self.vms


def test_a_start_that_never_answers_ends_with_the_time_out() -> None:
    """A server that never answers costs the time-out and no more, and the error says what was not done."""
    source = HungSource()

    def clock() -> float:
        source.clock.now += 1
        return source.clock.now

    with pytest.raises(ServerError) as caught:
        wait(source, WaitRules(timeout=3), clock=clock)
    source.released.set()
    assert str(caught.value) == (
        "the server did not respond within 3 s, so no VM was judged: check that it can be reached, or wait longer"
    )


def test_a_start_that_never_answers_can_be_cancelled() -> None:
    """Ctrl-C ends a wait that still tries to start."""
    source = HungSource()
    with pytest.raises(ServerError) as caught:
        wait(source, WaitRules(), cancelled=lambda: True, clock=source.clock)
    source.released.set()
    assert str(caught.value) == "the wait was cancelled before the server responded; no VM was judged"


def test_start_timeout_holds_between_two_readings_of_the_clock() -> None:
    """A start_timeout that is no multiple of the loop's longest pause is not rounded up to one."""
    source = ScriptedSource(ALONE, [starting(-1), read(-1, "PENDING")])
    report = source.wait(WaitRules(timeout=100, start_timeout=20 + 0.3 * CANCEL_CHECK_INTERVAL))

    assert report.wait_seconds == pytest.approx(20 + 0.3 * CANCEL_CHECK_INTERVAL)
    assert reported_by(report) == {"web-2": ("CustomizationNotStarted", False, "StartTimeout")}
