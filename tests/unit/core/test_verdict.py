"""The verdict of one VM, a scenario per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from pulumi_customization_gate.core.gathering import gather
from pulumi_customization_gate.core.model import HistoryRead, Observation, PreviouslyCustomized, Snapshot
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, PowerState
from pulumi_customization_gate.core.verdict import TABLE, judge
from tests.unit.core.timeline import (
    ALL_READ,
    VM,
    at,
    failed,
    gone,
    migrated,
    powered_off,
    powered_on,
    read,
    removed,
    resuming,
    started,
    starting,
    succeeded,
    suspended,
    unreadable,
)

NOT_ON = CustomizationStatus.VM_NOT_STARTED
WAITING = CustomizationStatus.CUSTOMIZATION_NOT_STARTED
RUNNING = CustomizationStatus.CUSTOMIZATION_STARTED
SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED
FAILED = CustomizationStatus.CUSTOMIZATION_FAILED
UNTOUCHED = CustomizationStatus.NOT_CUSTOMIZED
REMOVED = CustomizationStatus.VM_REMOVED

REMEMBER = PreviouslyCustomized(VM)
EVENT, EARLIER, STATE = Evidence.EVENT, Evidence.EARLIER_EVENT, Evidence.STATE
INVENTORY = Evidence.INVENTORY

Scenario = tuple[Sequence[Observation], CustomizationStatus, Evidence | None]


def row(
    what_happens: str,
    observations: Sequence[Observation],
    status: CustomizationStatus,
    evidence: Evidence | None = None,
) -> object:
    return pytest.param(observations, status, evidence, id=what_happens)


FIRST_POWER_ON = [
    row("nothing is known", [], NOT_ON),
    row("the state may not be read", [read(0, on=None, tools=False)], NOT_ON),
    row("off, specification waits", [read(0, "PENDING", on=False, pending=True, tools=False)], NOT_ON),
    row("off, nothing waits", [read(0, "IDLE", on=False, tools=False)], NOT_ON),
    row("powers on", [starting(10)], WAITING),
    row("powers on, the earlier state is off", [read(5, on=False, pending=True), starting(10)], WAITING),
    row("on, Tools have yet to take it up", [starting(10), read(20, "PENDING", tools=False)], WAITING),
    row("starts", [starting(10), started(20)], RUNNING),
    row("starts, the event was lost", [starting(10), read(20, "RUNNING")], RUNNING),
    row("succeeds", [starting(10), started(20), succeeded(30)], SUCCEEDED, EVENT),
    row("succeeds, the start was lost", [starting(10), succeeded(30)], SUCCEEDED, EVENT),
    row("succeeds, the power-on was purged", [succeeded(30)], SUCCEEDED, EVENT),
    row("succeeds, the state lags until another look", [starting(10), succeeded(30), read(31, "RUNNING")], RUNNING),
    row(
        "succeeds, and the state, too, at another look",
        [starting(10), succeeded(30), read(31, "RUNNING"), read(33, "SUCCEEDED")],
        SUCCEEDED,
        EVENT,
    ),
    row("succeeds at the moment of a read", [starting(10), read(30, "RUNNING"), succeeded(30)], SUCCEEDED, EVENT),
    row("fails", [starting(10), started(20), failed(30)], FAILED, EVENT),
    row("fails, the start was lost", [starting(10), failed(30)], FAILED, EVENT),
    row("is moved to another host", [starting(10), started(20), migrated(25)], RUNNING),
    row("is moved after success", [starting(10), succeeded(20), migrated(25)], SUCCEEDED, EVENT),
    row("is switched off in the middle", [starting(10), started(20), powered_off(25)], NOT_ON),
    row("is off in the middle, event lost", [starting(10), started(20), read(25, "RUNNING", on=False)], NOT_ON),
    row("is switched off after success", [starting(10), succeeded(20), powered_off(30)], SUCCEEDED, EVENT),
]

RESTARTS = [
    row("HA restart before success", [starting(10), started(20), powered_off(25), starting(30)], WAITING),
    row("HA restart before success, it starts over", [starting(10), started(20), starting(30), started(40)], RUNNING),
    row(
        "HA restart before success, it ends", [starting(10), started(20), starting(30), succeeded(40)], SUCCEEDED, EVENT
    ),
    row("HA restart before failure", [starting(10), started(20), starting(30), failed(40)], FAILED, EVENT),
    row("HA restart after success", [starting(10), succeeded(20), powered_off(25), starting(30)], WAITING),
    row(
        "HA restart after success, state confirms",
        [starting(10), succeeded(20), starting(30), read(40, "SUCCEEDED")],
        SUCCEEDED,
        EARLIER,
    ),
    row(
        "HA restart after failure, state confirms",
        [starting(10), failed(20), starting(30), read(40, "FAILED")],
        FAILED,
        EARLIER,
    ),
    row(
        "HA restart after success, state only",
        [read(0, "RUNNING"), starting(30), read(40, "SUCCEEDED")],
        SUCCEEDED,
        STATE,
    ),
    row(
        "HA restart, old success, seen pending before, guest reports nothing for a while",
        [starting(1), succeeded(2), read(5, "PENDING"), starting(10), read(12, tools=False)],
        WAITING,
    ),
]

SECOND_TIME = [
    row("second fails", [starting(1), succeeded(2), starting(10), started(20), failed(30)], FAILED, EVENT),
    row("second fails without a power-on between", [starting(1), succeeded(2), started(3), failed(4)], FAILED, EVENT),
    row("second succeeds", [starting(1), failed(2), starting(10), started(20), succeeded(30)], SUCCEEDED, EVENT),
    row("second runs", [starting(1), succeeded(2), starting(10), started(20)], RUNNING),
    row(
        "second failed, then HA restart",
        [starting(1), succeeded(2), starting(3), failed(4), starting(5), read(6, "FAILED")],
        FAILED,
        EARLIER,
    ),
    row(
        "second waits, VM off",
        [starting(1), succeeded(2), powered_off(3), read(5, on=False, pending=True)],
        NOT_ON,
    ),
    row(
        "second waits, power-off lost", [starting(1), succeeded(2), read(5, "PENDING", on=False, pending=True)], NOT_ON
    ),
    row("second waits after a failure", [starting(1), failed(2), read(5, on=False, pending=True)], NOT_ON),
    row(
        "stale success, specification waits, on",
        [starting(1), succeeded(2), starting(10), read(11, "PENDING", pending=True)],
        WAITING,
    ),
    row(
        "stale success, power-on used the specification, state reports it",
        [starting(1), succeeded(2), read(5, "PENDING", on=False, pending=True), starting(10), read(20, "PENDING")],
        WAITING,
    ),
    row(
        "stale success, power-on used the specification, vCenter reports no state",
        [starting(1), succeeded(2), read(5, on=False, pending=True), starting(10), read(20)],
        WAITING,
    ),
    row(
        "stale success, power-on used the specification, state is still the first one's",
        [starting(1), succeeded(2), read(5, "SUCCEEDED", on=False, pending=True), starting(10), read(20, "SUCCEEDED")],
        WAITING,
    ),
    row(
        "stale success and the first one was seen to run",
        [
            starting(1),
            read(2, "RUNNING"),
            succeeded(3),
            read(5, "SUCCEEDED", on=False, pending=True),
            starting(10),
            read(20, "SUCCEEDED"),
        ],
        WAITING,
    ),
    row(
        "stale failure, power-on used the specification, vCenter reports no state",
        [starting(1), failed(2), read(5, on=False, pending=True), starting(10), read(20)],
        WAITING,
    ),
    row(
        "second was cut short by an HA restart, vCenter reports no state",
        [starting(1), succeeded(2), starting(10), started(20), powered_off(25), starting(30), read(40)],
        WAITING,
    ),
    row(
        "second was cut short by an HA restart, state idle",
        [starting(1), succeeded(2), starting(10), started(20), starting(30), read(40, "IDLE")],
        WAITING,
    ),
    row(
        "second went on over an HA restart, only the state reports its end",
        [starting(1), failed(2), starting(10), started(20), starting(30), read(40, "SUCCEEDED")],
        SUCCEEDED,
        STATE,
    ),
    row(
        "second was cut short by an HA restart and ends",
        [starting(1), succeeded(2), starting(10), started(20), starting(30), started(40), failed(50)],
        FAILED,
        EVENT,
    ),
]

STATE_ONLY = [
    row("state pending", [read(0, "PENDING")], WAITING),
    row("state pending, off", [read(0, "PENDING", on=False)], NOT_ON),
    row("state running", [read(0, "RUNNING")], RUNNING),
    row("state succeeded", [read(0, "SUCCEEDED")], SUCCEEDED, STATE),
    row("state succeeded, another waits", [read(0, "SUCCEEDED", pending=True)], WAITING),
    row("state failed", [read(0, "FAILED", message="no")], FAILED, STATE),
    row("state seen to change to succeeded", [read(0, "PENDING"), read(5, "SUCCEEDED")], SUCCEEDED, STATE),
    row("state seen to change to failed", [read(0, "RUNNING"), read(5, "FAILED")], FAILED, STATE),
    row("state seen to leave idle", [starting(1), read(2, "IDLE"), started(3), read(5, "SUCCEEDED")], SUCCEEDED, STATE),
    row(
        "started and succeeded by state",
        [starting(1), read(2, "PENDING"), started(3), read(5, "SUCCEEDED")],
        SUCCEEDED,
        STATE,
    ),
    row("started, an old succeeded state unseen to change", [starting(1), started(3), read(5, "SUCCEEDED")], RUNNING),
    row("state of before the end is stale", [starting(1), read(2, "FAILED"), succeeded(3)], SUCCEEDED, EVENT),
    row("all events purged", [read(0, "SUCCEEDED", tools=False)], SUCCEEDED, STATE),
    row("unknown word", [read(0, "TOOLSDEPLOYPKG_NEW")], WAITING),
    row("Cloud Director pending", [read(0, "GC_PENDING")], WAITING),
    row("Cloud Director reboots", [read(0, "REBOOT_PENDING")], RUNNING),
    row("Cloud Director after the reboot", [read(0, "POST_GC_PENDING")], RUNNING),
    row("Cloud Director complete", [read(0, "GC_PENDING"), read(9, "GC_COMPLETE")], SUCCEEDED, STATE),
    row("Cloud Director failed", [read(0, "GC_PENDING"), read(9, "GC_FAILED")], FAILED, STATE),
    row("Cloud Director, not enabled", [read(0, "GC_DISABLED")], UNTOUCHED, Evidence.NO_TRACE),
    row(
        "Cloud Director, not enabled and without Tools",
        [read(0, "GC_DISABLED", tools=False)],
        UNTOUCHED,
        Evidence.NO_TRACE,
    ),
]

NO_TRACE = [
    row("idle with Tools", [starting(1), read(5, "IDLE"), ALL_READ], UNTOUCHED, Evidence.NO_TRACE),
    row("idle with Tools, earlier events were not read", [starting(1), read(5, "IDLE")], WAITING),
    row("idle, customized 25 h ago", [succeeded(2), read(90_000, "IDLE"), ALL_READ], SUCCEEDED, EVENT),
    row(
        "idle, failed two hours ago and restarted",
        [starting(1), failed(2), starting(7000), read(7200, "IDLE"), ALL_READ],
        FAILED,
        EARLIER,
    ),
    row("idle before Tools ran", [starting(1), read(5, "IDLE", tools=False)], WAITING),
    row("idle and a specification waits", [read(5, "IDLE", pending=True)], WAITING),
    row("idle and it started", [starting(1), started(2), read(5, "IDLE")], RUNNING),
    row("idle and it was seen to wait", [read(0, on=False, pending=True), starting(1), read(5, "IDLE")], WAITING),
    row("idle was read before the last power-on", [read(5, "IDLE"), powered_off(6), starting(7)], WAITING),
    row(
        "idle, an older success in reach", [starting(1), succeeded(2), starting(3), read(5, "IDLE")], SUCCEEDED, EARLIER
    ),
    row("vCenter older than 7.0.2, on, Tools run", [starting(1), read(5)], WAITING),
    row("vCenter older than 7.0.2 succeeds", [starting(1), read(5), started(6), succeeded(7)], SUCCEEDED, EVENT),
    row(
        "vCenter older than 7.0.2, HA restart after success",
        [starting(1), succeeded(2), starting(3), read(5)],
        WAITING,
    ),
]

PREVIOUSLY = [
    row("an earlier wait's success, events purged", [REMEMBER, read(5, "IDLE")], SUCCEEDED, Evidence.STORED),
    row("an earlier wait's success, VM off", [REMEMBER, read(5, on=False)], SUCCEEDED, Evidence.STORED),
    row("an earlier wait's success, another waits", [REMEMBER, read(5, pending=True)], WAITING),
    row("an earlier wait's success, another runs", [REMEMBER, starting(1), started(2)], RUNNING),
    row("an earlier wait's success, another failed", [REMEMBER, starting(1), failed(2)], FAILED, EVENT),
    row("an earlier wait's success, another was cut short", [REMEMBER, started(2), starting(3), read(5)], WAITING),
    row("an earlier wait's success, removed", [REMEMBER, gone(5), gone(8)], REMOVED, Evidence.INVENTORY),
]

REMOVALS = [
    row("removed", [starting(1), started(2), removed(3)], REMOVED, Evidence.INVENTORY),
    row("removed after success", [starting(1), succeeded(2), removed(3)], REMOVED, Evidence.INVENTORY),
    row("not found", [gone(0), gone(2)], REMOVED, Evidence.INVENTORY),
    row("not found once", [gone(0)], NOT_ON),
    row("not found twice at once", [gone(0), gone(1)], NOT_ON),
    row("not found, nothing to look at again", [replace(gone(0), needs_second_look=False)], REMOVED, INVENTORY),
    row("found gone by two reads", [read(0, "RUNNING"), gone(5), gone(8)], REMOVED, Evidence.INVENTORY),
    row("found gone by one read", [read(0, "RUNNING"), gone(5)], RUNNING),
    row("found gone and there again", [read(0, "RUNNING"), gone(5), gone(8), read(9, "RUNNING")], RUNNING),
    row("gone, there, gone once more", [gone(5), gone(8), read(9, "RUNNING"), gone(11)], RUNNING),
    row("found gone, then an event of it", [read(0), gone(5), gone(8), starting(9)], WAITING),
    row("unreadable, readable again, succeeds", [unreadable(0), read(1, "RUNNING"), succeeded(2)], SUCCEEDED, EVENT),
    row("unreadable for good is not removed", [read(0, "RUNNING"), unreadable(5), unreadable(9)], RUNNING),
]

CLOCKS = [
    row(
        "server's clock steps back over a power-off",
        [starting(100, key=1), started(110, key=2), powered_off(50, key=3)],
        NOT_ON,
    ),
    row(
        "server's clock steps back over the second end",
        [starting(1), succeeded(100, key=2), starting(20, key=3), succeeded(30, key=4)],
        SUCCEEDED,
        EVENT,
    ),
    row(
        "server's clock steps back, the later failure counts",
        [starting(1), succeeded(100, key=2), starting(20, key=3), failed(30, key=4), read(40, "FAILED")],
        FAILED,
        EVENT,
    ),
    row("a power-on and a power-off in one instant", [starting(5, key=1), powered_off(5, key=2), read(4)], NOT_ON),
    row("a power-off and a power-on in one instant", [powered_off(5, key=1), starting(5, key=2)], WAITING),
]

NEWER_WORDS = [
    row(
        "started again after success",
        [starting(1), started(2), succeeded(3), started(4), read(5, "RUNNING")],
        RUNNING,
    ),
    row("started again after success, no state reported", [starting(1), succeeded(3), started(4), read(5)], RUNNING),
    row("started again after failure", [starting(1), failed(3), started(4)], RUNNING),
    row("started again, then it ends", [starting(1), succeeded(3), started(4), failed(5)], FAILED, EVENT),
    row(
        "started again, its end is reported by the state only",
        [starting(1), succeeded(3), started(4), read(5, "RUNNING"), read(9, "FAILED")],
        FAILED,
        STATE,
    ),
    row(
        "old success, power-off, then on and running: the power-on was lost",
        [starting(1), succeeded(2), powered_off(3), read(9, "RUNNING")],
        RUNNING,
    ),
    row(
        "old success, power-off, then on and no state reported: the power-on was lost",
        [starting(1), succeeded(2), powered_off(3), read(9)],
        WAITING,
    ),
    row(
        "old success, power-off, then on and idle: the power-on was lost",
        [starting(1), succeeded(2), powered_off(3), read(9, "IDLE")],
        SUCCEEDED,
        EARLIER,
    ),
    row(
        "old success, seen off, then on: power-off and power-on were lost",
        [starting(1), succeeded(2), read(5, on=False), read(9)],
        WAITING,
    ),
    row("old success, the boot time is newer", [starting(1), succeeded(2), read(999, booted=900)], WAITING),
    row(
        "a failure, and one dated hours before its own power-on, which the boot time agrees with",
        [
            failed(1),
            powered_off(2),
            starting(900),
            replace(failed(901), at=at(-25_200)),
            read(999, "FAILED", booted=900),
        ],
        FAILED,
        EVENT,
    ),
    row(
        "a boot time that the host's clock puts after the success",
        [succeeded(2), read(30, booted=29)],
        SUCCEEDED,
        EVENT,
    ),
    row(
        "old success, pending since, no power-on seen",
        [starting(1), succeeded(2), read(9, "PENDING")],
        WAITING,
    ),
    row(
        "old success, another power-on is reported when it is complete",
        [starting(1), powered_on(2), succeeded(3), powered_on(9)],
        WAITING,
    ),
    row(
        "one power-on is reported twice",
        [starting(1), started(2), powered_on(3), succeeded(9)],
        SUCCEEDED,
        EVENT,
    ),
    row(
        "failed, restarted, customized again: a fresh state waits, newer events are on their way",
        [
            starting(1),
            failed(2),
            starting(3),
            starting(5),
            succeeded(6),
            powered_off(7),
            read(10, "PENDING", pending=False),
        ],
        WAITING,
    ),
    row(
        "the end was lost and the state reports it, too soon after the start to be certain",
        [starting(1), started(5), read(35, "SUCCEEDED")],
        RUNNING,
    ),
    row(
        "the end was lost and the state reports it, long after the start",
        [starting(1), started(5), read(36, "SUCCEEDED")],
        SUCCEEDED,
        STATE,
    ),
    row(
        "the end of the second was lost and the state reports it, long after its start",
        [starting(1), succeeded(2), powered_off(3), starting(4), started(5), read(36, "FAILED")],
        FAILED,
        STATE,
    ),
    row(
        "the end was lost, the state reports it, and a specification is pending",
        [starting(1), started(5), read(36, "SUCCEEDED", pending=True)],
        RUNNING,
    ),
    row(
        "the state reports a failure just after a success",
        [starting(1), succeeded(5), read(9, "FAILED")],
        WAITING,
    ),
    row(
        "the state still reports a failure long after a success",
        [starting(1), succeeded(5), read(36, "FAILED")],
        FAILED,
        STATE,
    ),
    row(
        "all events of the second, which failed, were lost",
        [starting(1), succeeded(2), starting(10), read(40, "FAILED")],
        FAILED,
        STATE,
    ),
    row("a failure counts whatever the state is", [starting(1), failed(5), read(36, "SUCCEEDED")], FAILED, EVENT),
    row(
        "the clock was set back before the end, and the state agrees with it",
        [
            starting(1),
            read(2, "PENDING"),
            replace(failed(9), at=at(-9000)),
            replace(read(20, "FAILED"), at=at(-8990)),
        ],
        FAILED,
        EVENT,
    ),
]

WRAP = 2**31

KEYS_WRAP = [
    row(
        "second runs behind the wrap",
        [
            starting(1, key=WRAP - 21),
            succeeded(2, key=WRAP - 16),
            powered_off(3, key=WRAP - 10),
            starting(4, key=5 - WRAP),
            started(5, key=6 - WRAP),
            read(6, "RUNNING"),
        ],
        RUNNING,
    ),
    row(
        "succeeds behind the wrap",
        [starting(1, key=WRAP - 1), started(2, key=-WRAP), succeeded(3, key=1 - WRAP)],
        SUCCEEDED,
        EVENT,
    ),
    row(
        "fails behind zero",
        [starting(1, key=-1), succeeded(2, key=0), started(3, key=1), failed(4, key=2)],
        FAILED,
        EVENT,
    ),
]

IN_ANOTHER_ORDER = [
    row(
        "a success stamped in the future was read before the state that waits",
        [starting(1), replace(succeeded(2), at=at(25_200)), powered_off(3), read(5, "PENDING", on=False, pending=True)],
        NOT_ON,
    ),
    row(
        "a success stamped in the future, then powered on again",
        [
            starting(1),
            replace(succeeded(2), at=at(25_200)),
            powered_off(3),
            read(5, "PENDING", on=False, pending=True),
            starting(6),
            read(7, "PENDING"),
        ],
        WAITING,
    ),
    row(
        "the clock was set back: the newest state is the one that was asked for last",
        [read(5, "RUNNING"), replace(read(7, "SUCCEEDED"), at=at(-9000))],
        SUCCEEDED,
        STATE,
    ),
    row(
        "before 7.0.2 the clock was set back while a specification was pending",
        [
            replace(read(0, on=False, pending=True), at=at(25_200)),
            starting(30),
            started(60),
            succeeded(90),
            read(95),
        ],
        SUCCEEDED,
        EVENT,
    ),
    row(
        "before 7.0.2 the clock was set back before the customization that was pending failed",
        [
            powered_off(-30, key=1),
            replace(read(0, on=False, pending=True), at=at(25_200)),
            starting(30),
            failed(90),
            read(95),
        ],
        FAILED,
        EVENT,
    ),
    row(
        "a late event of before the clock was set back, of a VM that is suspended",
        [starting(1), replace(started(2), at=at(25_202), read_at=9), read(8, "RUNNING", power=PowerState.SUSPENDED)],
        NOT_ON,
    ),
    row(
        "an event that is read a second time is no newer",
        [
            starting(1),
            replace(succeeded(2), at=at(900)),
            read(5, "PENDING"),
            replace(succeeded(2), at=at(900), read_at=9),
        ],
        WAITING,
    ),
]

POWER = [
    row("suspended during customization", [starting(1), started(2), suspended(3)], NOT_ON),
    row("resumed during customization", [starting(1), started(2), suspended(3), resuming(4)], RUNNING),
    row(
        "resumed after success is no power-on", [starting(1), succeeded(2), suspended(3), resuming(4)], SUCCEEDED, EVENT
    ),
]

SCENARIOS = [
    *NEWER_WORDS,
    *KEYS_WRAP,
    *IN_ANOTHER_ORDER,
    *POWER,
    *FIRST_POWER_ON,
    *RESTARTS,
    *SECOND_TIME,
    *STATE_ONLY,
    *NO_TRACE,
    *PREVIOUSLY,
    *REMOVALS,
    *CLOCKS,
]


@pytest.mark.parametrize(("observations", "status", "evidence"), SCENARIOS)
def test_verdict(observations: Sequence[Observation], status: CustomizationStatus, evidence: Evidence | None) -> None:
    """What was observed of a VM has one status, and one source that decided."""
    judgement = judge(observations)

    assert (status, evidence) == (judgement.status, judgement.evidence)


@pytest.mark.parametrize("since", [[], [starting(10, key=4)], [starting(10, key=4), read(20)], [read(20)]])
@pytest.mark.parametrize("is_settled", [False, True])
def test_an_end_dated_in_the_future_does_not_outweigh_a_request(since: Sequence[Observation], is_settled: bool) -> None:
    """Before 7.0.2 no state shows that the request is newer, and the first read of the history follows that of the VM.

    Neither the power-on, also where its event was lost, nor the time since make the old success count.
    """
    future = replace(succeeded(-50, key=2), at=at(25_200), read_at=1)
    history: list[Observation] = [
        replace(starting(-60, key=1), at=at(25_190), read_at=1),
        future,
        powered_off(-10, key=3),
        ALL_READ,
    ]
    waiting = read(0, on=False, pending=True)

    judgement = judge([waiting, *history, *since], power_on_is_settled=is_settled)
    assert judgement.status is (WAITING if since else NOT_ON)


def test_every_row_of_the_table_decides_a_scenario() -> None:
    """No row of the table is dead, and none goes untested."""
    reasons = {judge(param.values[0]).because for param in SCENARIOS}  # type: ignore[attr-defined]

    assert {rule.because for rule in TABLE} == reasons


@pytest.mark.parametrize("hours", [-1, 1], ids=["an hour behind", "an hour ahead"])
@pytest.mark.parametrize(("observations", "status", "evidence"), SCENARIOS)
def test_only_differences_of_the_server_clock_count(
    observations: Sequence[Observation], status: CustomizationStatus, evidence: Evidence | None, hours: int
) -> None:
    """No verdict compares the server's clock with another: the whole time line moved is the same verdict."""
    ahead = timedelta(hours=hours)
    moved = [
        o if isinstance(o, PreviouslyCustomized | HistoryRead) else replace(o, at=o.at + ahead) for o in observations
    ]
    moved = [replace(o, booted_at=o.booted_at + ahead) if isinstance(o, Snapshot) and o.booted_at else o for o in moved]
    judgement = judge(moved)

    assert (status, evidence) == (judgement.status, judgement.evidence)


@pytest.mark.parametrize(
    ("observations", "untraced"),
    [
        pytest.param([starting(1), read(5), ALL_READ], True, id="no state reported, Tools run"),
        pytest.param([starting(1), read(5, "IDLE"), ALL_READ], True, id="idle"),
        pytest.param([starting(1), read(5)], False, id="earlier events were not read"),
        pytest.param([starting(1), failed(2), starting(3), read(5), ALL_READ], False, id="an earlier one failed"),
        pytest.param([starting(1), read(5, tools=False)], False, id="Tools never ran"),
        pytest.param([starting(1), read(5, pending=True)], False, id="a specification waits"),
        pytest.param([starting(1), read(5, "PENDING")], False, id="state pending"),
        pytest.param([read(0, on=False, pending=True), starting(1), read(5)], False, id="seen to wait before power-on"),
        pytest.param([starting(1), started(2), starting(3), read(5)], False, id="cut short by an HA restart"),
        pytest.param([read(0), powered_off(1), starting(2)], False, id="Tools ran before the power-on only"),
        pytest.param([starting(1), started(2), read(5)], False, id="started"),
        pytest.param([read(5, on=False)], False, id="off"),
        pytest.param([], False, id="nothing known"),
    ],
)
def test_untraced(observations: Sequence[Observation], untraced: bool) -> None:
    """A VM is untraced if it runs, its Tools run, and no observation indicates a customization."""
    assert untraced == judge(observations).is_untraced


@pytest.mark.parametrize(
    ("observation", "overdue"),
    [
        pytest.param(read(5, "GC_PENDING", tools=False), False, id="Tools have yet to run"),
        pytest.param(read(5, "GC_PENDING"), True, id="Tools run"),
        pytest.param(read(5, "GC_PENDING", on=False, tools=False), True, id="off"),
        pytest.param(read(5, "GC_PENDING", on=None, tools=False), False, id="power unknown"),
        pytest.param(read(5, "PENDING", tools=False), True, id="vSphere distinguishes pending from running"),
        pytest.param(read(5, "TOOLSDEPLOYPKG_NEW"), False, id="a state that is not documented may mean anything"),
        pytest.param(read(5), True, id="no state reported"),
    ],
)
def test_start_can_be_overdue(observation: Observation, overdue: bool) -> None:
    """A state that may mean "running" is overdue only where VMware Tools could have begun, an unknown one never."""
    assert overdue == judge([observation]).start_can_be_overdue


def test_times_are_the_server_events() -> None:
    """Power-on, start, end and length come from the events of the last power-on."""
    judgement = judge([starting(1), succeeded(2), starting(10), started(20), succeeded(250)])

    assert (at(10), at(20), at(250), 240.0) == (
        judgement.powered_on_at,
        judgement.started_at,
        judgement.completed_at,
        judgement.customization_seconds,
    )


def test_an_earlier_end_has_no_length() -> None:
    """An end before the last power-on has a time, and no length: it is not the last power-on's."""
    judgement = judge([starting(1), succeeded(2), starting(10), read(11, "SUCCEEDED")])

    assert (at(2), None) == (judgement.completed_at, judgement.customization_seconds)


def test_power_on_without_events_is_the_boot_time() -> None:
    """Where there is no power-on event, the VM's boot time counts."""
    assert at(3) == judge([replace(read(5, "SUCCEEDED"), booted_at=at(3))]).powered_on_at


@pytest.mark.parametrize(
    ("second", "power", "needs_look"),
    [(8, PowerState.OFF, True), (9, PowerState.OFF, True), (10, PowerState.ON, False)],
)
def test_a_state_just_after_a_power_off_may_be_late(second: int, power: PowerState, needs_look: bool) -> None:
    """A look within two seconds of a power-off that finds the VM on opens no gate; another look follows."""
    facts = judge([starting(1), succeeded(3), powered_off(7), read(second, "SUCCEEDED")]).facts

    assert (facts.power, facts.needs_look) == (power, needs_look)


def test_facts_of_another_life_are_kept_apart() -> None:
    """What came before the last power-on is no fact of the life after it."""
    facts = gather([starting(1), started(2), powered_off(3), starting(4)])

    assert (starting(4), started(2), None, None) == (facts.anchor, facts.interrupted, facts.started, facts.end)
