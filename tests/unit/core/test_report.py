"""The sentences people read: whole texts, as they stand on a terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.advice import Advice
from pulumi_customization_gate.core.errors import (
    AuthenticationError,
    CustomizationFailedError,
    CustomizationTimeoutError,
    GateError,
    ServerError,
    WaitCancelledError,
)
from pulumi_customization_gate.core.model import Failure, GateReport, VmOutcome
from pulumi_customization_gate.core.progress import Update
from pulumi_customization_gate.core.report import (
    error_for,
    failure_text,
    label,
    outcome_line,
    progress_line,
    status_line,
)
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence
from pulumi_customization_gate.core.status import FailureKind as K
from pulumi_customization_gate.core.text import LONGEST_QUOTE, clock_time, duration, sanitize
from tests.unit.core.timeline import at

PHRASES = {advice: f"{advice.value}: {{vms}}." for advice in Advice} | {Advice.RESUME: "Wait again."}
STATUS = CustomizationStatus


def ready(number: int, seconds: float) -> VmOutcome:
    name = f"web-{number}"
    return VmOutcome(
        name,
        f"vm-{85 + number}",
        name,
        STATUS.CUSTOMIZATION_SUCCEEDED,
        ready=True,
        evidence=Evidence.EVENT,
        customization_seconds=seconds,
    )


def bad(
    number: int,
    status: CustomizationStatus,
    failure: Failure,
    completed: int | None = None,
    evidence: Evidence | None = None,
) -> VmOutcome:
    return VmOutcome(
        key=f"web-{number}",
        id=f"vm-{85 + number}",
        name=f"web-{number}",
        status=status,
        ready=False,
        completed_at=None if completed is None else at(completed),
        evidence=evidence,
        failure=replace(failure, advice=failure.advice or ADVICE.get(failure.kind)),
    )


ADVICE = {
    K.NO_CUSTOMIZATION: Advice.REQUEST_CUSTOMIZATION,
    K.NOT_FOUND: Advice.CORRECT_REFERENCE,
    K.NO_PERMISSION: Advice.GRANT_PERMISSION,
    K.VM_REMOVED: Advice.RESTORE_OR_DROP,
    K.START_TIMEOUT: Advice.FIND_START_FAULT,
    K.TIMEOUT: Advice.WAIT_LONGER,
    K.NOT_READY: Advice.WAIT_LONGER,
}

SYSPREP_FAILED = bad(
    2,
    STATUS.CUSTOMIZATION_FAILED,
    Failure(
        K.CUSTOMIZATION_FAILED,
        "CustomizationSysprepFailed",
        message="An error occurred while customizing VM web-2.",
        log_location=r"C:\Windows\Temp\vmware-imc",
        advice=Advice.REPLACE,
    ),
    completed=271,
)

TEXTS = [
    pytest.param(
        GateReport((ready(0, 220), ready(1, 238.4), SYSPREP_FAILED), 252),
        r"""customization failed on 1 of 3 VMs after 4 min 12 s
  web-2 (vm-87)  CustomizationSysprepFailed at 12:04:31Z: An error occurred while customizing VM web-2.; guest log: C:\Windows\Temp\vmware-imc
  web-0 (vm-85)  CustomizationSucceeded in 3 min 40 s
  web-1 (vm-86)  CustomizationSucceeded in 3 min 58 s
replace: web-2.""",  # noqa: E501 -- a line of the report
        id="one failed",
    ),
    pytest.param(
        GateReport(
            (
                bad(
                    0,
                    STATUS.CUSTOMIZATION_FAILED,
                    Failure(
                        K.CUSTOMIZATION_FAILED,
                        "CustomizationFailed",
                        "customizationDisabled",
                        "It is off in there.",
                        advice=Advice.REPLACE,
                    ),
                    completed=9,
                ),
                bad(
                    1,
                    STATUS.CUSTOMIZATION_FAILED,
                    Failure(
                        K.CUSTOMIZATION_FAILED,
                        "TOOLSDEPLOYPKG_FAILED",
                        message="No deployPkg.",
                        advice=Advice.REPLACE,
                    ),
                    evidence=Evidence.STATE,
                ),
            ),
            61,
        ),
        """customization failed on 2 of 2 VMs after 1 min 1 s
  web-0 (vm-85)  CustomizationFailed at 12:00:09Z: It is off in there.; reason: customizationDisabled
  web-1 (vm-86)  CustomizationFailed (TOOLSDEPLOYPKG_FAILED): No deployPkg.
replace: web-0 and web-1.""",
        id="all failed, one by its state",
    ),
    pytest.param(
        GateReport(
            (
                bad(
                    0,
                    STATUS.CUSTOMIZATION_NOT_STARTED,
                    Failure(
                        K.START_TIMEOUT, message="nothing began", diagnosis=("likely cause: no Tools", "power: on")
                    ),
                ),
                bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(K.TIMEOUT, message="it has not ended")),
                bad(2, STATUS.CUSTOMIZATION_SUCCEEDED, Failure(K.NOT_READY, message="no answer"), completed=20),
            ),
            1800,
            timed_out=True,
        ),
        """customization did not finish on 3 of 3 VMs after 30 min
  web-0 (vm-85)  StartTimeout in CustomizationNotStarted: nothing began
    likely cause: no Tools
    power: on
  web-1 (vm-86)  Timeout in CustomizationStarted: it has not ended
  web-2 (vm-87)  NotReady in CustomizationSucceeded at 12:00:20Z: no answer
find what prevents the start: web-0.
wait longer: web-1 and web-2.""",
        id="the time was up",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure(K.NOT_FOUND, message="vc has no virtual machine '/dc/vm/web-0'")),
                bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(K.UNFINISHED, message="it has not ended")),
            ),
            0.32,
        ),
        """1 of 2 VMs not found after 0.3 s
  web-0 (vm-85)  NotFound: vc has no virtual machine '/dc/vm/web-0'
  web-1 (vm-86)  CustomizationStarted: it has not ended
correct the reference: web-0.""",
        id="one is not there",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure(K.NO_PERMISSION, message="ann may not read it")),
                ready(1, 5),
            ),
            0.32,
        ),
        """no permission to read 1 of 2 VMs after 0.3 s
  web-0 (vm-85)  NoPermission: ann may not read it
  web-1 (vm-86)  CustomizationSucceeded in 5 s
grant permission: web-0.""",
        id="one may not be read",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure(K.NO_PERMISSION)),
                bad(1, STATUS.VM_REMOVED, Failure(K.NOT_FOUND)),
                bad(2, STATUS.VM_REMOVED, Failure(K.VM_REMOVED)),
                bad(3, STATUS.CUSTOMIZATION_STARTED, Failure(K.TIMEOUT)),
                bad(4, STATUS.VM_REMOVED, Failure(K.NOT_FOUND)),
            ),
            9,
        ),
        """customization did not finish on 1 of 5 VMs, no permission to read 1 of 5, 2 of 5 not found, 1 of 5 removed after 9 s
  web-0 (vm-85)  NoPermission
  web-1 (vm-86)  NotFound
  web-2 (vm-87)  VmRemoved
  web-3 (vm-88)  Timeout in CustomizationStarted
  web-4 (vm-89)  NotFound
correct the reference: web-1 and web-4.
grant permission: web-0.
restore or drop: web-2.
wait longer: web-3.""",  # noqa: E501 -- a line of the report
        id="some are not there, one is late",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure(K.VM_REMOVED, message="it left the inventory at 12:00:09Z")),
                bad(1, STATUS.NOT_CUSTOMIZED, Failure(K.NO_CUSTOMIZATION, message="the state is idle")),
            ),
            12,
        ),
        """customization failed on 1 of 2 VMs, 1 of 2 removed after 12 s
  web-0 (vm-85)  VmRemoved: it left the inventory at 12:00:09Z
  web-1 (vm-86)  NoCustomization: the state is idle
restore or drop: web-0.
request a customization: web-1.""",
        id="one was removed, one has nothing to wait for",
    ),
    pytest.param(
        GateReport(
            (ready(0, 5), bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(K.UNFINISHED, message="it has not ended"))),
            7.25,
            cancelled=True,
        ),
        """the wait was cancelled with 1 of 2 VMs not ready after 7.2 s
  web-1 (vm-86)  CustomizationStarted: it has not ended
  web-0 (vm-85)  CustomizationSucceeded in 5 s
Wait again.""",
        id="the user cancelled",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.CUSTOMIZATION_SUCCEEDED, Failure(K.UNFINISHED, message="the wait ended")),
                bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(K.UNFINISHED, message="it has not ended")),
            ),
            7.25,
            cancelled=True,
        ),
        """the wait was cancelled with 2 of 2 VMs not ready, 1 of them customized, after 7.2 s
  web-1 (vm-86)  CustomizationStarted: it has not ended
  web-0 (vm-85)  CustomizationSucceeded: the wait ended
Wait again.""",
        id="the user cancelled, and one was customized",
    ),
    pytest.param(
        GateReport(
            (bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(K.UNFINISHED, message="it has not ended")),),
            3900,
            fatal_error=AuthenticationError("vc.example.com refused the user name or password."),
        ),
        """vc.example.com refused the user name or password. 1 of 1 VM was not ready after 1 h 5 min
  web-0 (vm-85)  CustomizationStarted: it has not ended
Wait again.""",
        id="the server could not be used any more",
    ),
    pytest.param(
        GateReport((bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(K.UNFINISHED)),), 10),
        """customization did not finish on 1 of 1 VM after 10 s
  web-0 (vm-85)  CustomizationStarted""",
        id="no reason reported",
    ),
]


@pytest.mark.parametrize(("report", "text"), TEXTS)
def test_failure_text(report: GateReport, text: str) -> None:
    """A failure has what happened, a line per VM with the failed ones first, and what to do."""
    assert text == failure_text(report, PHRASES)


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        pytest.param(
            GateReport((SYSPREP_FAILED, ready(0, 5)), 3),
            "customization failed on 1 of 4 VMs after 3 s; 2 were already ready",
            id="failed",
        ),
        pytest.param(
            GateReport((SYSPREP_FAILED,), 3, cancelled=True),
            "the wait was cancelled with 1 of 3 VMs not ready after 3 s; 2 were already ready",
            id="cancelled",
        ),
        pytest.param(
            GateReport((SYSPREP_FAILED,), 3, fatal_error=ServerError("vc is gone.")),
            "vc is gone. 1 of 3 VMs was not ready after 3 s; 2 were already ready",
            id="the server is lost",
        ),
    ],
)
def test_vms_of_an_earlier_run_count(report: GateReport, headline: str) -> None:
    """The first sentence is about all VMs of the gate, those that were not judged again included."""
    assert headline == failure_text(report, PHRASES, 2).splitlines()[0]


def test_a_failure_text_is_made_of_harmless_lines() -> None:
    """What a guest or server reports stays on its line in a report, and is text."""
    evil = "\x1b[2J\n::error::boo\r\n\x9b31mred\u202e##vso[task.setvariable]x\x00"
    failure = Failure(K.CUSTOMIZATION_FAILED, evil, evil, evil, evil, (evil,), Advice.REPLACE)
    outcome = replace(SYSPREP_FAILED, key=evil, name=evil + "2", id=evil + "3", failure=failure)
    lines = failure_text(GateReport((outcome,), 1), PHRASES).split("\n")

    assert len(lines) == 4
    assert [line for line in lines if not line.isprintable() or "##vso" in line or line.lstrip().startswith("::")] == []


ENDED_WAITS = [
    pytest.param(GateReport((SYSPREP_FAILED, ready(0, 1)), 1), CustomizationFailedError, id="failed"),
    pytest.param(
        GateReport((bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(K.TIMEOUT)),), 1, timed_out=True),
        CustomizationTimeoutError,
        id="timed out",
    ),
    pytest.param(
        GateReport((SYSPREP_FAILED, bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(K.TIMEOUT))), 1, timed_out=True),
        CustomizationFailedError,
        id="one failed, one timed out",
    ),
    pytest.param(
        GateReport((bad(0, STATUS.VM_REMOVED, Failure(K.NOT_FOUND)),), 1), CustomizationFailedError, id="not found"
    ),
    pytest.param(GateReport((SYSPREP_FAILED,), 1, cancelled=True), WaitCancelledError, id="cancelled"),
]


@pytest.mark.parametrize(("report", "kind"), ENDED_WAITS)
def test_error_for(report: GateReport, kind: type[GateError]) -> None:
    """A report that is not good amounts to one kind of error, which has the whole text and the report."""
    error = error_for(report, PHRASES)

    assert (kind, failure_text(report, PHRASES), report) == (type(error), str(error), error.report)


HARMLESS = [
    pytest.param("two\n lines\tand\u2028more", "two lines and more", id="one line"),
    pytest.param("\x1b[31mred\x1b[0m", "red", id="ESC colours"),
    pytest.param("\x1b[2J\x1b[1;1Htop", "top", id="ESC clears the screen"),
    pytest.param("\x9b31mred", "red", id="C1 control sequence"),
    pytest.param("a\x85b\x8fc", "a bc", id="C1 controls"),
    pytest.param("\x1b]0;title\x07text", "text", id="ESC sets the title"),
    pytest.param("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link", id="ESC links"),
    pytest.param("\x1b]0;never ends", "0;never ends", id="ESC string without an end hides nothing"),
    pytest.param("\x1b(Btext\x1b", "text", id="ESC of other kinds"),
    pytest.param("a\x07b\x00c\x08d\x7f", "abcd", id="bells and backspaces"),
    pytest.param("a\rb", "a b", id="carriage return overwrites nothing"),
    pytest.param("admin\u202egpj.exe\u2066x", "admingpj.exex", id="bidi"),
    pytest.param("zero\u200bwidth\ufeff", "zerowidth", id="invisible"),
    pytest.param("lone \ud800 surrogate", "lone surrogate", id="surrogate"),
    pytest.param("##vso[task.complete]", "# #vso[task.complete]", id="CI command of Azure Pipelines"),
    pytest.param("x ##[add-mask]y", "x # #[add-mask]y", id="CI command of the older kind"),
    pytest.param("#\u200b#teamcity[x]", "# #teamcity[x]", id="CI command in disguise"),
    pytest.param(" \x1b[m::error file=x::y", ": :error file=x::y", id="CI command of GitHub"),
    pytest.param("std::string ## heading", "std::string ## heading", id="no command"),
    pytest.param("Grüße, 世界 e\u0301", "Grüße, 世界 e\u0301", id="other languages stay"),
    pytest.param("", "", id="nothing"),
]


@pytest.mark.parametrize(("reported", "shown"), HARMLESS)
def test_sanitize(reported: str, shown: str) -> None:
    """A foreign text is shown as one line of characters that do nothing."""
    assert shown == sanitize(reported)


@given(st.text() | st.text("\x1b[]0;m\x07\\#:v\x9b\u202e \n"), st.integers(1, 60))
def test_sanitized_text_is_always_harmless(reported: str, longest: int) -> None:
    """No text gets a control or format character, a line break or more than its length on a terminal."""
    shown = sanitize(reported, longest)

    assert len(shown) <= longest
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert shown == shown.strip()


@pytest.mark.parametrize("padding", ["x", " ", "\x00", "\x1b[31m"], ids=["text", "blanks", "controls", "sequences"])
def test_a_huge_message_is_cut(padding: str) -> None:
    """A message of megabytes costs no time, and shows that something is missing."""
    shown = sanitize("begin" + padding * 5_000_000)

    assert (shown[:5], shown[-1]) == ("begin", "…")
    assert len(shown) <= LONGEST_QUOTE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.25, "0.2 s"),
        (9.99, "9.9 s"),
        (10.6, "10 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (252, "4 min 12 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (90000, "25 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """A length of time is in the units that people use, never longer than it was."""
    assert text == duration(seconds)


def test_clock_time_is_utc() -> None:
    """A time of day has the mark of UTC."""
    assert clock_time(at(271)) == "12:04:31Z"


@pytest.mark.parametrize(
    ("key", "id_", "name", "text"),
    [
        pytest.param("web-0", "vm-85", "web-0", "web-0 (vm-85)", id="key is the name"),
        pytest.param("front", "vm-85", "web-0", "front (web-0, vm-85)", id="key is the user's own"),
        pytest.param("vm-85", "vm-85", "web-0", "vm-85 (web-0)", id="key is the identifier"),
        pytest.param("/dc/vm/web-0", "/dc/vm/web-0", "/dc/vm/web-0", "/dc/vm/web-0", id="not found"),
    ],
)
def test_label(key: str, id_: str, name: str, text: str) -> None:
    """A VM is called by the user's key, then by what else identifies it, and by nothing twice."""
    assert text == label(VmOutcome(key, id_, name, STATUS.VM_NOT_STARTED, ready=False))


def test_outcome_lines() -> None:
    """A failed outcome has its reason, another one its length where that is known."""
    unknown = replace(ready(0, 1), customization_seconds=None)
    forgiven = replace(SYSPREP_FAILED, ready=True)
    lines = [outcome_line(outcome) for outcome in (ready(0, 220), unknown, forgiven)]

    assert lines == ["CustomizationSucceeded in 3 min 40 s", "CustomizationSucceeded", "CustomizationFailed"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param(K.NOT_FOUND, "not found", id="not there"),
        pytest.param(K.NO_PERMISSION, "no permission", id="not to be read"),
        pytest.param(K.VM_REMOVED, "VmRemoved", id="removed"),
    ],
)
def test_place_of_a_missing_vm_in_the_report(kind: K, words: str) -> None:
    """Only a VM that left during the wait is called removed."""
    assert words == status_line(bad(0, STATUS.VM_REMOVED, Failure(kind, message="ann may not read it")))


def going_on(number: int, status: CustomizationStatus) -> VmOutcome:
    return VmOutcome(f"web-{number}", f"vm-{85 + number}", f"web-{number}", status, ready=False)


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        pytest.param([ready(0, 1), ready(1, 1)], "2 of 2 customized", id="all are"),
        pytest.param(
            [ready(0, 1), ready(1, 1), going_on(2, STATUS.CUSTOMIZATION_STARTED)],
            "2 of 3 customized, 1 running for 3 min 10 s: web-2",
            id="one runs",
        ),
        pytest.param(
            [
                going_on(0, STATUS.VM_NOT_STARTED),
                going_on(1, STATUS.CUSTOMIZATION_NOT_STARTED),
                going_on(2, STATUS.CUSTOMIZATION_SUCCEEDED),
            ],
            "0 of 3 customized, 1 not powered on for 0 s, 1 not started for 0 s, 1 not ready for 3 min 10 s: "
            "web-0, web-1, web-2",
            id="three are named",
        ),
        pytest.param(
            [
                *(going_on(i, STATUS.CUSTOMIZATION_STARTED) for i in range(3)),
                going_on(3, STATUS.CUSTOMIZATION_FAILED),
                going_on(4, STATUS.NOT_CUSTOMIZED),
                going_on(5, STATUS.VM_REMOVED),
            ],
            "0 of 6 customized, 3 running for 3 min 10 s, 1 failed, 1 without customization, 1 removed",
            id="more are counted",
        ),
        pytest.param(
            [bad(0, STATUS.VM_REMOVED, Failure(K.NOT_FOUND)), bad(1, STATUS.VM_REMOVED, Failure(K.NO_PERMISSION))],
            "0 of 2 customized, 1 not found, 1 no permission: web-0, web-1",
            id="some are not there",
        ),
        pytest.param(
            [bad(number, STATUS.VM_REMOVED, Failure(K.NO_PERMISSION)) for number in range(5)],
            "0 of 5 customized, 5 no permission",
            id="many may not be read",
        ),
    ],
)
def test_progress_line(outcomes: list[VmOutcome], text: str) -> None:
    """Counts come before names, because a terminal cuts the line; only a few VMs are named."""
    assert text == progress_line(Update(tuple(outcomes), (), 200, {"vm-87": 190.5}))


def test_every_status_has_a_word_for_the_progress() -> None:
    """No status is without a word on the terminal's row."""
    lines = {progress_line(Update((going_on(0, status),), (), 0, {})) for status in CustomizationStatus}

    assert len(CustomizationStatus) == len(lines)
