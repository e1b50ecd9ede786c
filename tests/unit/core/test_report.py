"""The sentences people read: whole texts, as they stand on a terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.errors import (
    AuthenticationError,
    CustomizationFailedError,
    CustomizationTimeoutError,
    GateError,
    ServerError,
    WaitCancelledError,
)
from pulumi_customization_gate.core.model import CustomizationStatus, Evidence, Failure, GateReport, VmOutcome
from pulumi_customization_gate.core.report import (
    LONGEST_QUOTE,
    STOPPED_EARLY,
    clock_time,
    duration,
    error_for,
    failure_text,
    label,
    outcome_line,
    plain,
    progress_line,
    status_line,
)
from pulumi_customization_gate.core.watch import Update
from tests.unit.core.timeline import at

STATUS = CustomizationStatus


def good(number: int, seconds: float) -> VmOutcome:
    name = f"web-{number}"
    return VmOutcome(
        name,
        f"vm-{85 + number}",
        name,
        STATUS.CUSTOMIZATION_SUCCEEDED,
        good=True,
        evidence=Evidence.EVENT,
        seconds=seconds,
    )


def bad(number: int, status: CustomizationStatus, failure: Failure, completed: int | None = None) -> VmOutcome:
    return VmOutcome(
        key=f"web-{number}",
        id=f"vm-{85 + number}",
        name=f"web-{number}",
        status=status,
        good=False,
        completed_at=None if completed is None else at(completed),
        failure=failure,
    )


SYSPREP_FAILED = bad(
    2,
    STATUS.CUSTOMIZATION_FAILED,
    Failure(
        "CustomizationSysprepFailed",
        message="An error occurred while customizing VM web-2.",
        log_location=r"C:\Windows\Temp\vmware-imc",
    ),
    completed=271,
)

TEXTS = [
    pytest.param(
        GateReport((good(0, 220), good(1, 238.4), SYSPREP_FAILED), 252),
        r"""customization failed on 1 of 3 virtual machines after 4 min 12 s
  web-2 (vm-87)  CustomizationSysprepFailed at 12:04:31Z: An error occurred while customizing VM web-2.; log in the guest: C:\Windows\Temp\vmware-imc
  web-0 (vm-85)  CustomizationSucceeded in 3 min 40 s
  web-1 (vm-86)  CustomizationSucceeded in 3 min 58 s
The specification was used up by the attempt: fix it and replace web-2, then run `pulumi up` again.""",  # noqa: E501 -- a line of the report
        id="one failed",
    ),
    pytest.param(
        GateReport(
            (
                bad(
                    0,
                    STATUS.CUSTOMIZATION_FAILED,
                    Failure("CustomizationFailed", "customizationDisabled", "It is off in there.", hint="Turn it on."),
                    completed=9,
                ),
                bad(1, STATUS.CUSTOMIZATION_FAILED, Failure("TOOLSDEPLOYPKG_FAILED", message="No deployPkg.")),
            ),
            61,
        ),
        """customization failed on 2 of 2 virtual machines after 1 min 1 s
  web-0 (vm-85)  CustomizationFailed at 12:00:09Z: It is off in there.; reason: customizationDisabled; Turn it on.
  web-1 (vm-86)  CustomizationFailed (TOOLSDEPLOYPKG_FAILED): No deployPkg.
The specification was used up by the attempt: fix it and replace web-0 and web-1, then run `pulumi up` again.""",
        id="all failed, one by its state",
    ),
    pytest.param(
        GateReport(
            (
                bad(
                    0,
                    STATUS.CUSTOMIZATION_NOT_STARTED,
                    Failure("StartTimeout", message="nothing began", diagnosis=("likely cause: no Tools", "power: on")),
                ),
                bad(1, STATUS.CUSTOMIZATION_STARTED, Failure("Timeout", message="it has not ended")),
                bad(2, STATUS.CUSTOMIZATION_SUCCEEDED, Failure("NotReady", message="no answer"), completed=20),
            ),
            1800,
            timed_out=True,
        ),
        """customization did not finish on 3 of 3 virtual machines after 30 min
  web-0 (vm-85)  StartTimeout in CustomizationNotStarted: nothing began
    likely cause: no Tools
    power: on
  web-1 (vm-86)  Timeout in CustomizationStarted: it has not ended
  web-2 (vm-87)  NotReady in CustomizationSucceeded at 12:00:20Z: no answer
Find out why nothing starts on web-0; `pulumi up` again resumes the wait, `start_timeout` is its patience.
web-1 and web-2 may still get there: `pulumi up` again resumes the wait, `timeout` makes it longer.""",
        id="the time was up",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure("NotFound", message="vc knows no '/dc/vm/web-0'")),
                bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(STOPPED_EARLY, message="it has not ended")),
            ),
            0.32,
        ),
        """1 of 2 virtual machines not found after 0.3 s
  web-0 (vm-85)  NotFound: vc knows no '/dc/vm/web-0'
  web-1 (vm-86)  CustomizationStarted: it has not ended
Correct the reference of web-0 in `vms`, then run `pulumi up` again.""",
        id="one is not there",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure("NoPermission", message="ann may not read it")),
                good(1, 5),
            ),
            0.32,
        ),
        """no permission to read 1 of 2 virtual machines after 0.3 s
  web-0 (vm-85)  NoPermission: ann may not read it
  web-1 (vm-86)  CustomizationSucceeded in 5 s
Grant this user the role Read-only on web-0, then run `pulumi up` again.""",
        id="one may not be read",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure("NoPermission")),
                bad(1, STATUS.VM_REMOVED, Failure("NotFound")),
                bad(2, STATUS.VM_REMOVED, Failure("VmRemoved")),
                bad(3, STATUS.CUSTOMIZATION_STARTED, Failure("Timeout")),
                bad(4, STATUS.VM_REMOVED, Failure("NotFound")),
            ),
            9,
        ),
        """customization did not finish on 1 of 5 virtual machines, no permission to read 1 of 5, 2 of 5 not found, 1 of 5 removed after 9 s
  web-0 (vm-85)  NoPermission
  web-1 (vm-86)  NotFound
  web-2 (vm-87)  VmRemoved
  web-3 (vm-88)  Timeout in CustomizationStarted
  web-4 (vm-89)  NotFound
Correct the reference of web-1 and web-4 in `vms`, then run `pulumi up` again.
Grant this user the role Read-only on web-0, then run `pulumi up` again.
Create web-2 again or take it out of `vms`, then run `pulumi up` again.
web-3 may still get there: `pulumi up` again resumes the wait, `timeout` makes it longer.""",  # noqa: E501 -- a line of the report
        id="some are not there, one is late",
    ),
    pytest.param(
        GateReport(
            (
                bad(0, STATUS.VM_REMOVED, Failure("VmRemoved", message="it left the inventory at 12:00:09Z")),
                bad(1, STATUS.NOT_CUSTOMIZED, Failure("NoCustomization", message="the state is idle")),
            ),
            12,
        ),
        """customization failed on 1 of 2 virtual machines, 1 of 2 removed after 12 s
  web-0 (vm-85)  VmRemoved: it left the inventory at 12:00:09Z
  web-1 (vm-86)  NoCustomization: the state is idle
Create web-0 again or take it out of `vms`, then run `pulumi up` again.
Give web-1 a customization specification and replace it, or set expect="auto" where none is wanted.""",
        id="one was removed, one has nothing to wait for",
    ),
    pytest.param(
        GateReport(
            (good(0, 5), bad(1, STATUS.CUSTOMIZATION_STARTED, Failure(STOPPED_EARLY, message="it has not ended"))),
            7.25,
            cancelled=True,
        ),
        """the wait was cancelled with 1 of 2 virtual machines not ready after 7.2 s
  web-1 (vm-86)  CustomizationStarted: it has not ended
  web-0 (vm-85)  CustomizationSucceeded in 5 s
The machines go on by themselves: run `pulumi up` again to resume the wait.""",
        id="the user cancelled",
    ),
    pytest.param(
        GateReport(
            (bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(STOPPED_EARLY, message="it has not ended")),),
            3900,
            trouble=AuthenticationError("vc.example.com refused the user name or password."),
        ),
        """vc.example.com refused the user name or password. 1 of 1 virtual machines were not ready after 1 h 5 min
  web-0 (vm-85)  CustomizationStarted: it has not ended
The machines go on by themselves: run `pulumi up` again to resume the wait.""",
        id="the server could not be used any more",
    ),
    pytest.param(
        GateReport((bad(0, STATUS.CUSTOMIZATION_STARTED, Failure(STOPPED_EARLY)),), 10),
        """customization did not finish on 1 of 1 virtual machines after 10 s
  web-0 (vm-85)  CustomizationStarted""",
        id="nobody says why it stopped",
    ),
]


@pytest.mark.parametrize(("report", "text"), TEXTS)
def test_failure_text(report: GateReport, text: str) -> None:
    """A failure says what happened, tells a line per machine with the bad ones first, and what to do."""
    assert text == failure_text(report)


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        pytest.param(
            GateReport((SYSPREP_FAILED, good(0, 5)), 3),
            "customization failed on 1 of 4 virtual machines after 3 s; 2 were found good by an earlier run",
            id="failed",
        ),
        pytest.param(
            GateReport((SYSPREP_FAILED,), 3, cancelled=True),
            "the wait was cancelled with 1 of 3 virtual machines not ready after 3 s; "
            "2 were found good by an earlier run",
            id="cancelled",
        ),
        pytest.param(
            GateReport((SYSPREP_FAILED,), 3, trouble=ServerError("vc is gone.")),
            "vc is gone. 1 of 3 virtual machines were not ready after 3 s; 2 were found good by an earlier run",
            id="the server is lost",
        ),
    ],
)
def test_machines_of_an_earlier_run_count(report: GateReport, headline: str) -> None:
    """The first sentence is about all machines of the gate, those that were not judged again included."""
    assert headline == failure_text(report, 2).splitlines()[0]


def test_a_failure_text_is_made_of_harmless_lines() -> None:
    """Whatever a guest or server says anywhere in a report, it stays on its line and is text."""
    evil = "\x1b[2J\n::error::boo\r\n\x9b31mred\u202e##vso[task.setvariable]x\x00"
    failure = Failure(evil, evil, evil, evil, evil, (evil,))
    outcome = replace(SYSPREP_FAILED, key=evil, name=evil + "2", id=evil + "3", failure=failure)
    lines = failure_text(GateReport((outcome,), 1)).split("\n")

    assert len(lines) == 4
    assert [line for line in lines if not line.isprintable() or "##vso" in line or line.lstrip().startswith("::")] == []


ENDINGS = [
    pytest.param(GateReport((SYSPREP_FAILED, good(0, 1)), 1), CustomizationFailedError, id="failed"),
    pytest.param(
        GateReport((bad(0, STATUS.CUSTOMIZATION_STARTED, Failure("Timeout")),), 1, timed_out=True),
        CustomizationTimeoutError,
        id="timed out",
    ),
    pytest.param(
        GateReport((SYSPREP_FAILED, bad(0, STATUS.CUSTOMIZATION_STARTED, Failure("Timeout"))), 1, timed_out=True),
        CustomizationFailedError,
        id="one failed, one timed out",
    ),
    pytest.param(
        GateReport((bad(0, STATUS.VM_REMOVED, Failure("NotFound")),), 1), CustomizationFailedError, id="not found"
    ),
    pytest.param(GateReport((SYSPREP_FAILED,), 1, cancelled=True), WaitCancelledError, id="cancelled"),
]


@pytest.mark.parametrize(("report", "kind"), ENDINGS)
def test_error_for(report: GateReport, kind: type[GateError]) -> None:
    """A report that is not good amounts to one kind of error, which has the whole text and the report."""
    error = error_for(report)

    assert (kind, failure_text(report), report) == (type(error), str(error), error.report)


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


@pytest.mark.parametrize(("said", "shown"), HARMLESS)
def test_plain(said: str, shown: str) -> None:
    """A foreign text is shown as one line of characters that do nothing."""
    assert shown == plain(said)


@given(st.text() | st.text("\x1b[]0;m\x07\\#:v\x9b\u202e \n"), st.integers(1, 60))
def test_plain_is_always_harmless(said: str, longest: int) -> None:
    """No text gets a control or format character, a line break or more than its length on a terminal."""
    shown = plain(said, longest)

    assert len(shown) <= longest
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert shown == shown.strip()


@pytest.mark.parametrize("padding", ["x", " ", "\x00", "\x1b[31m"], ids=["text", "blanks", "controls", "sequences"])
def test_a_huge_message_is_cut(padding: str) -> None:
    """A message of megabytes costs no time, and shows that something is missing."""
    shown = plain("begin" + padding * 5_000_000)

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
    """A length of time is told as people do, never longer than it was."""
    assert text == duration(seconds)


def test_clock_time_is_utc() -> None:
    """A time of day says that it is UTC."""
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
    """A machine is called by the user's key, then by what else identifies it, and by nothing twice."""
    assert text == label(VmOutcome(key, id_, name, STATUS.VM_NOT_STARTED, good=False))


def test_outcome_lines() -> None:
    """An outcome that failed tells why, one that did not tells how long it took where that is known."""
    unknown = replace(good(0, 1), seconds=None)
    forgiven = replace(SYSPREP_FAILED, good=True)
    lines = [outcome_line(outcome) for outcome in (good(0, 220), unknown, forgiven)]

    assert lines == ["CustomizationSucceeded in 3 min 40 s", "CustomizationSucceeded", "CustomizationFailed"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        pytest.param("NotFound", "not found", id="not there"),
        pytest.param("NoPermission", "no permission", id="not to be read"),
        pytest.param("VmRemoved", "VmRemoved", id="removed"),
    ],
)
def test_where_a_missing_machine_stands(event: str, words: str) -> None:
    """Only a machine that was seen to leave is called removed; the others are told of in plain words."""
    assert words == status_line(bad(0, STATUS.VM_REMOVED, Failure(event, message="ann may not read it")))


def going_on(number: int, status: CustomizationStatus) -> VmOutcome:
    return VmOutcome(f"web-{number}", f"vm-{85 + number}", f"web-{number}", status, good=False)


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        pytest.param([good(0, 1), good(1, 1)], "2 of 2 customized", id="all are"),
        pytest.param(
            [good(0, 1), good(1, 1), going_on(2, STATUS.CUSTOMIZATION_STARTED)],
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
            [bad(0, STATUS.VM_REMOVED, Failure("NotFound")), bad(1, STATUS.VM_REMOVED, Failure("NoPermission"))],
            "0 of 2 customized, 1 not found, 1 no permission: web-0, web-1",
            id="some are not there",
        ),
        pytest.param(
            [bad(number, STATUS.VM_REMOVED, Failure("NoPermission")) for number in range(5)],
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
