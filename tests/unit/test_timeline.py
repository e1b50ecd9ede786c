"""The picture of what happened: what is read, where the bars lie, and what is drawn."""

from __future__ import annotations

import io
import itertools
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.lifecycle.spelling import camel
from pulumi_customization_gate.timeline import Align, Theme, VmTimes, Wait, chart, show, svg, waits
from pulumi_customization_gate.timeline.chart import End, Phase, Span, scale
from pulumi_customization_gate.timeline.layout import COLOURS

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def vm(name: str = "web-0", *times: float | None, status: str = "CustomizationSucceeded", failure: str = "") -> VmTimes:
    """Returns a VM by power-on, start, end and readiness in seconds after noon."""
    known = [None if time is None else at(time) for time in times]
    powered_on, started, completed, ready = (known + [None] * 4)[:4]
    return VmTimes(name, status, powered_on, started, completed, ready, failure)


def result(*times: float | None, status: str = "CustomizationSucceeded", failure: str = "") -> dict[str, Any]:
    names = ("powered_on_at", "started_at", "completed_at", "ready_at")
    texts = [None if time is None else at(time).isoformat().replace("+00:00", "Z") for time in times]
    reported = {"event": failure, "reason": "", "message": "", "log_location": ""} if failure else None
    return {"status": status, **dict.fromkeys(names), **dict(zip(names, texts, strict=False)), "failure": reported}


def many(count: int) -> list[Wait]:
    """Returns one gate of so many VMs, every tenth of which failed."""
    vms = [
        vm(f"web-{n}", n % 40, n % 40 + 20, 200 + n % 60, status="CustomizationFailed", failure="CustomizationFailed")
        if n % 10 == 7
        else vm(f"web-{n}", n % 40, n % 40 + 20, 150 + n % 90, 160 + n % 90)
        for n in range(count)
    ]
    return [Wait("web", tuple(vms), None, at(300))]


# ---- what is read


RESULTS = {"web-0": result(0, 30, 90, 100), "web-1": result(5, 40, 120, 130)}
NATIVE = {key: {camel(name): value for name, value in known.items()} for key, known in RESULTS.items()}
"""The same, of the native provider."""


@pytest.mark.parametrize(
    ("document", "name"),
    [
        pytest.param(RESULTS, "", id="the-output-results"),
        pytest.param({"ready": True, "vms": RESULTS}, "vms", id="all-stack-outputs"),
        pytest.param({"results": RESULTS, "ready": True, "wait_seconds": 3.0}, "", id="a-report-of-the-command-line"),
        pytest.param({"east": {"results": RESULTS, "ready": True}}, "east", id="a-gate-as-an-output"),
        pytest.param(
            {
                "version": 3,
                "deployment": {
                    "resources": [
                        {"type": "pulumi:pulumi:Stack", "urn": "urn::s", "outputs": {"vms": RESULTS}},
                        {
                            "type": "pulumi-python:dynamic/customization:CustomizationGate",
                            "urn": "urn:pulumi:lab::app::pulumi-python:dynamic/customization:CustomizationGate::web",
                            "outputs": {"results": RESULTS, "statuses": {}},
                        },
                        {
                            "type": "pulumi-python:dynamic/customization:CustomizationGate",
                            "urn": "urn:pulumi:lab::app::pulumi-python:dynamic/customization:CustomizationGate::old",
                            "delete": True,
                            "outputs": {"results": RESULTS},
                        },
                    ]
                },
            },
            "web",
            id="an-export-without-what-is-to-be-deleted",
        ),
        pytest.param(
            {
                "deployment": {
                    "resources": [
                        {
                            "type": "customization-gate:index:CustomizationGate",
                            "urn": "urn:pulumi:lab::app::customization-gate:index:CustomizationGate::web",
                            "outputs": {"results": NATIVE, "openedAt": at(130).isoformat()},
                        }
                    ]
                }
            },
            "web",
            id="an-export-of-the-native-provider",
        ),
    ],
)
def test_results_are_found_wherever_a_gate_leaves_them(document: object, name: str) -> None:
    """Stack outputs, exports and reports hold the same results at different places."""
    expected = [
        Wait(
            name,
            (vm("web-0", 0, 30, 90, 100), vm("web-1", 5, 40, 120, 130)),
            opened=at(130),
            ended=at(130),
        )
    ]

    assert expected == waits(document)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="nothing"),
        pytest.param([1, 2], id="a-list"),
        pytest.param("text", id="a-text"),
        pytest.param({"ready": True, "vms": {"web-0": "vm-87"}}, id="outputs-of-something-else"),
        pytest.param({"version": 3, "deployment": {"resources": []}}, id="an-empty-export"),
        pytest.param({"results": {"web-0": "vm-87"}}, id="other-results"),
    ],
)
def test_a_document_without_results_says_what_to_give(document: object) -> None:
    """The error names the output and the command that lead to results."""
    with pytest.raises(ConfigurationError, match=r"gate\.results.*pulumi stack export"):
        waits(document)


GATE_TYPE = "pulumi-python:dynamic/customization:CustomizationGate"
GATE_URN = f"urn:pulumi:lab::app::{GATE_TYPE}::web"
WANTED_TIME = "expected an ISO 8601 time such as 2026-11-20T12:00:00Z, got"


def export(**outputs: Any) -> dict[str, Any]:
    """Returns the export of a stack with one gate, `web`."""
    gate = {"type": GATE_TYPE, "urn": GATE_URN, "outputs": outputs}
    return {"version": 3, "deployment": {"resources": [gate]}}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(
            {"web-0": {**result(0), "completed_at": "yesterday"}},
            f"web-0.completed_at: {WANTED_TIME} 'yesterday'",
            id="a-time-in-words",
        ),
        pytest.param({"web-0": {**result(0), "ready_at": 5}}, f"web-0.ready_at: {WANTED_TIME} a number", id="a-number"),
        pytest.param(
            export(results=RESULTS, opened_at=["now"]), f"web.opened_at: {WANTED_TIME} an array", id="an-array-as-time"
        ),
        pytest.param(
            {"web-0": {**result(0), "started_at": "0001-01-01T00:00:00+23:59"}},
            f"web-0.started_at: {WANTED_TIME} '0001-01-01T00:00:00+23:59'",
            id="a-time-before-the-first-year",
        ),
        pytest.param(
            {"web-0": {**result(0), "started_at": "\ud800"}}, f"web-0.started_at: {WANTED_TIME} ''", id="a-surrogate"
        ),
        pytest.param(
            {"web-0": {**result(0), "status": None}}, "web-0.status: expected a string, got null", id="no-status"
        ),
        pytest.param(
            {"web-0": {**result(0), "failure": {"event": True}}},
            "web-0.failure.event: expected a string, got a boolean",
            id="an-event-that-is-a-boolean",
        ),
        pytest.param(
            {"deployment": {"resources": {"web": {}}}},
            "deployment.resources: expected an array, got an object",
            id="resources-are-an-object",
        ),
        pytest.param(
            {"deployment": {"resources": 7}}, "deployment.resources: expected an array, got a number", id="a-number-too"
        ),
        pytest.param(
            {"deployment": {"resources": [{}, None]}},
            "deployment.resources[1]: expected an object, got null",
            id="a-resource-is-null",
        ),
        pytest.param(
            export(results=RESULTS, opened_at="2026-11-20T11:00:00Z"),
            "web.opened_at: expected a time after the first power-on of its VMs, 2026-11-20T12:00:00+00:00, "
            "got 2026-11-20T11:00:00+00:00",
            id="a-gate-that-opened-before-its-VMs",
        ),
    ],
)
def test_a_broken_document_is_described_by_what_is_broken_in_it(document: object, sentence: str) -> None:
    """The sentence names the place, what belongs there, and what is there."""
    with pytest.raises(ConfigurationError, match=f"^{re.escape(sentence)}$"):
        waits(document)


def test_a_gate_may_open_within_the_second_of_its_vms_by_a_clock_of_whole_seconds() -> None:
    """Cloud Director's clock has no fractions: what opened the gate seems to come after it."""
    ready = {**result(), "ready_at": at(0.9).isoformat()}

    drawn = chart(waits(export(results={"web-0": ready}, opened_at=at(0).isoformat())))

    assert (drawn.origin, drawn.opened) == (NOON, (0.0,))


def test_times_of_other_zones_are_drawn_in_utc() -> None:
    """The axis says UTC."""
    [wait] = waits({"web-0": {**result(0), "completed_at": "2026-11-20T14:01:30+02:00"}})

    assert wait.vms[0].completed == at(90)
    assert str(wait.vms[0].completed) == "2026-11-20 12:01:30+00:00"


def test_vms_are_in_natural_order() -> None:
    """web-2 comes before web-10, and a name may hold more digits than int() reads."""
    [wait] = waits({f"web-{n}": result(0) for n in ("9" * 5000, "²", "10", "2", "1")})

    assert [vm.name[:6] for vm in wait.vms] == ["web-1", "web-2", "web-10", "web-99", "web-²"]


def test_a_gate_with_a_failed_vm_did_not_open() -> None:
    """When the gate opened is not guessed where it cannot have opened."""
    failed = result(0, 30, 90, status="CustomizationFailed", failure="CustomizationSysprepFailed")

    [wait] = waits({"web-0": result(0, 30, 90, 100), "web-1": failed})

    assert wait.opened is None


def test_the_time_that_the_gate_itself_reports_wins() -> None:
    """A gate that opened by `report` opened although a VM failed."""
    failed = result(0, 30, 90, status="CustomizationFailed", failure="CustomizationFailed")
    document = {"results": {"web-0": failed}, "opened_at": at(200).isoformat()}

    assert at(200) == waits(document)[0].opened


def test_names_lose_what_a_terminal_would_obey() -> None:
    """The name of a VM comes from a server, and may hold anything."""
    [wait] = waits({"web\x1b[2J-0\n": result(0)})

    assert wait.vms[0].name == "web-0"


# ---- where the bars lie


def test_a_bar_has_a_part_for_each_phase() -> None:
    """Power-on, start, end, readiness and the gate's opening bound the parts."""
    gate = Wait("web", (vm("web-0", 0, 30, 90, 100),), opened=at(130), ended=at(130))

    [row] = chart([gate]).rows

    assert row.spans == (
        Span(Phase.BOOTING, 0, 30),
        Span(Phase.CUSTOMIZING, 30, 90),
        Span(Phase.SETTLING, 90, 100),
        Span(Phase.HELD, 100, 130),
    )
    assert (row.end, row.at, row.seconds, row.note) == (End.GOOD, 90, 90, "")


@pytest.mark.parametrize(
    ("it", "end", "marked", "spans", "note"),
    [
        pytest.param(
            vm("a", 0, 30, 90, status="CustomizationFailed", failure="CustomizationSysprepFailed"),
            End.FAILED,
            90,
            [Phase.BOOTING, Phase.CUSTOMIZING],
            "CustomizationSysprepFailed",
            id="failed",
        ),
        pytest.param(
            vm("a", 0, 30, status="CustomizationStarted", failure="Timeout"),
            End.UNFINISHED,
            300,
            [Phase.BOOTING, Phase.CUSTOMIZING],
            "CustomizationStarted",
            id="still-customizing-when-the-wait-ended",
        ),
        pytest.param(
            vm("a", 0, status="CustomizationNotStarted", failure="StartTimeout"),
            End.UNFINISHED,
            300,
            [Phase.BOOTING],
            "CustomizationNotStarted",
            id="never-started",
        ),
        pytest.param(vm("a", 0, None, 90), End.GOOD, 90, [Phase.CUSTOMIZING], "", id="its-start-is-forgotten"),
        pytest.param(vm("a", 100, None, 90), End.GOOD, 90, [], "", id="powered-on-again-after-its-success"),
        pytest.param(vm("a", 0, 95, 90), End.GOOD, 90, [Phase.CUSTOMIZING], "", id="started-again-later"),
        pytest.param(vm("a", status="VmRemoved", failure="NotFound"), End.FAILED, None, [], "NotFound", id="not-there"),
        pytest.param(
            vm("a"), End.GOOD, None, [], "CustomizationSucceeded, no time is known", id="judged-by-state-alone"
        ),
        pytest.param(
            vm("a", 0, status="NotCustomized"), End.GOOD, 300, [Phase.BOOTING], "", id="nothing-was-asked-of-it"
        ),
        pytest.param(
            vm("a", 0, status="NotCustomized", failure="NoCustomization"),
            End.FAILED,
            300,
            [Phase.BOOTING],
            "NoCustomization",
            id="nothing-was-asked-of-it-but-should-have-been",
        ),
    ],
)
def test_how_a_bar_ends(it: VmTimes, end: End, marked: float | None, spans: list[Phase], note: str) -> None:
    """What is not known is left out, what did not end runs to the end of the wait."""
    other = vm("b", 0, 30, 90, 100)

    row = chart([Wait("web", (it, other), None, at(300))], Align.clock).rows[0]

    assert end is row.end
    assert (marked, spans, note) == (row.at, [span.phase for span in row.spans], row.note)
    assert all(0 <= span.begin < span.end <= 300 for span in row.spans)


def test_vms_of_other_days_are_compared_from_their_power_on() -> None:
    """A VM that was replaced days later would make the bars too short to see."""
    day = 86400.0
    gate = Wait("web", (vm("a", 0, 30, 90), vm("b", 3 * day, 3 * day + 40, 3 * day + 100)), at(3 * day + 100))

    drawn = chart([gate])

    assert drawn.origin is None
    assert (drawn.length, drawn.opened) == (100, ())
    assert [(row.spans[0].begin, row.spans[0].end) for row in drawn.rows] == [(0, 30), (0, 40)]
    assert chart([gate], Align.clock).origin == NOON


def test_a_gate_that_was_opened_long_afterwards_leaves_the_bars_their_length() -> None:
    """A wait over VMs that were customized an hour ago opens an hour later."""
    gate = Wait("web", (vm("a", 0, 30, 90, 90),), opened=at(3600))

    drawn = chart([gate])

    assert (drawn.origin, drawn.length) == (None, 90)
    assert chart([gate], Align.clock).length == 3600


def test_vms_of_one_run_share_the_clock() -> None:
    """Who waited for whom shows only on one scale."""
    gate = Wait("web", (vm("a", 0, 30, 90), vm("b", 60, 90, 150)), at(150))

    drawn = chart([gate])

    assert drawn.origin == NOON
    assert [row.spans[0].begin for row in drawn.rows] == [0, 60]
    assert drawn.opened == (150.0,)


def test_gates_are_distinguished_by_headings() -> None:
    """One gate needs none."""
    east, west = (Wait(name, (vm("a", 0, 30, 90),), at(90)) for name in ("east", "west"))

    assert [row.label for row in chart([east]).rows] == ["a"]
    assert [row.label for row in chart([east, west]).rows] == ["east", "a", "west", "a"]
    assert len(chart([east, west]).vms) == 2


@given(st.floats(0, 1e8), st.floats(10, 200))
def test_an_axis_has_round_marks_whose_labels_do_not_touch(length: float, letters: float) -> None:
    """Marks begin at 0 and keep within the length; from the start of a label there is room for it before the next."""
    marks = scale(length, letters)

    assert marks[0] == 0
    assert marks[-1] <= length + 0.05
    for mark, after in itertools.pairwise(marks):
        room = (after - mark) / length * letters
        assert room > max(len(duration(mark)), len(duration(after))) + 1, (mark, after)


@pytest.mark.parametrize("length", [9, 59, 61, 125, 600, 3599, 7300, 90000, 1e6])
def test_an_axis_is_not_empty(length: float) -> None:
    """An axis as wide as a picture has five marks or more, whatever its length."""
    assert len(scale(length, 110)) >= 5


# ---- the work behind the gate


def script(urn: str = GATE_URN, **outputs: Any) -> dict[str, Any]:
    """Returns a script that waited for the gate."""
    kind = GATE_TYPE.replace("CustomizationGate", "GuestScript")
    return {"type": kind, "urn": f"urn:pulumi:lab::app::{kind}::setup", "dependencies": [urn], "outputs": outputs}


def with_scripts(*scripts: dict[str, Any]) -> dict[str, Any]:
    document = export(results=RESULTS, opened_at=at(130).isoformat())
    document["deployment"]["resources"] += scripts
    return document


def test_the_scripts_of_an_export_are_one_row_behind_the_gate() -> None:
    """The row has a bar where any of them ran; a script of another gate or without a run is left out."""
    ran = [script(started_at=at(131).isoformat(), seconds=20.0), script(started_at=at(140).isoformat(), seconds=15)]
    other = [script("urn::other", started_at=at(1).isoformat(), seconds=9), script(started_at=None, seconds=None)]

    drawn = chart(waits(with_scripts(*ran, *other)))

    row = drawn.rows[-1]
    assert (row.label, row.spans, row.note) == ("work", (Span(Phase.WORK, 131, 155),), "2 scripts")
    assert (drawn.length, drawn.opened, len(drawn.vms)) == (155, (130.0,), 2)
    assert "work" in texts(svg(drawn))
    assert "work behind the gate" in texts(svg(drawn))


def test_work_that_ran_much_later_does_not_shorten_the_bars() -> None:
    """A script that was edited days later is drawn only by the clock."""
    late = waits(with_scripts(script(started_at=at(1e6).isoformat(), seconds=5)))

    assert [row.label for row in chart(late).rows] == ["web-0", "web-1"]
    assert chart(late).opened == (130.0,)
    assert chart(late, Align.clock).length == 1e6 + 5


@pytest.mark.parametrize("seconds", ["5", [], float("nan"), float("inf"), 1e300])
def test_a_script_without_a_length_is_an_error(seconds: Any) -> None:
    """The sentence names the output."""
    with pytest.raises(ConfigurationError, match=r"^setup\.seconds: expected"):
        waits(with_scripts(script(started_at=at(131).isoformat(), seconds=seconds)))


# ---- the picture


def texts(picture: bytes) -> list[str]:
    return [
        "".join(node.itertext()) for node in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize(("count", "theme"), [(1, Theme.dark), (3, Theme.light), (41, Theme.dark), (300, Theme.light)])
def test_every_vm_and_every_failure_can_be_read(count: int, theme: Theme) -> None:
    """Names and failures are text of a legible size, and a picture of many is no tower that a screen would shrink."""
    picture = svg(chart(many(count)), theme)

    found = texts(picture)
    assert {f"web-{n}" for n in range(count)} <= set(found)
    assert len([n for n in range(count) if n % 10 == 7]) == len(
        [t for t in found if t in ("Failed", "CustomizationFailed")]
    )
    sizes = [float(size) for size in re.findall(rb"font(?:-size)?: (?:bold |700 )?([0-9.]+)px", picture)]
    assert min(sizes) >= 6, "points; a browser shows 8 pixels"
    root = ElementTree.fromstring(picture)
    width, height = (float(root.get(name, "").removesuffix("pt")) for name in ("width", "height"))
    assert width / height > 0.7
    assert count < 100 or width / height < 2.5


def test_a_picture_says_when_the_gate_opened() -> None:
    """A line with its time shows when the gate opened for all VMs."""
    gate = Wait("web", (vm("a", 0, 30, 90, 100), vm("b", 0, 30, 200, 220)), at(220))

    assert "gate open at 3 min 40 s" in texts(svg(chart([gate])))


def test_times_of_gates_that_open_together_do_not_overlap() -> None:
    """Each gate has a line; a time that would be drawn over the one before it is left out."""
    gates = [Wait(str(n), (vm("a", 0, 30, 90),), at(opened)) for n, opened in enumerate((91, 92, 200))]

    found = texts(svg(chart(gates)))

    assert [text for text in found if text.startswith("gate open")] == [
        "gate open at 1 min 31 s",
        "gate open at 3 min 20 s",
    ]


@pytest.mark.parametrize("title", ["", "a \ufffe<b>\x07"])
def test_a_picture_is_one_image_with_a_title_for_a_screen_reader(title: str) -> None:
    """The title of the document says what the picture says at its top."""
    root = ElementTree.fromstring(svg(chart(many(3)), title=title))

    assert root.get("role") == "img"
    top, below = ("a <b>", "3 virtual machines: ") if title else ("Guest customization of 3 virtual machines", "")
    spoken = root.findtext("{http://www.w3.org/2000/svg}title", "")
    assert spoken.startswith(f"{top}: {below}3 succeeded; times from")


def test_the_same_results_give_the_same_bytes() -> None:
    """A picture under version control changes only with what it shows."""
    assert svg(chart(many(5))) == svg(chart(many(5)))


@pytest.mark.parametrize("name", ["$x^{$", "<b>&", "\\frac", "größe-東京", "]]>", "web-²³"])
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    """No name is taken for a formula or for markup."""
    gate = Wait("web", (vm(name, 0, 30, 90),), at(90))

    assert name in texts(svg(chart([gate]), title=name))


def test_nothing_known_still_gives_a_picture() -> None:
    """VMs that were never found have no time at all."""
    picture = svg(chart([Wait("web", (vm("a", status="VmRemoved", failure="NotFound"),))]))

    assert "NotFound" in texts(picture)


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", Theme)
def test_colours_stand_out_from_the_background(theme: Theme) -> None:
    """Texts have the contrast that WCAG asks of texts, 4.5, and bars and marks that of graphics, 3."""
    colours = COLOURS[theme]

    assert contrast(colours.ink, colours.paper) > 7
    for end in (End.FAILED, End.UNFINISHED):
        assert contrast(colours.ends[end], colours.paper) >= 4.5, end
    for colour in (*colours.phases.values(), colours.ends[End.GOOD]):
        assert contrast(colour, colours.paper) >= 3, colour


# ---- the terminal


def printed(gates: list[Wait], width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(chart(gates), Console(file=stream, width=width), "title")
    stream.seek(0)
    return stream.read()


def test_a_terminal_shows_the_bars_in_characters() -> None:
    """The parts of a bar, its end and the gate's opening lie where their times are."""
    gate = Wait("web", (vm("a", 0, 10, 30, 40), vm("b", 10, 20, 50)), opened=at(50))

    lines = printed([gate], width=4 + 1 + 4 + 51).splitlines()

    assert lines[0] == "title"
    assert lines[1] == "a  ░░░░░░░░░░████████████████████●▒▒▒▒▒▒▒▒▒──────────│  30 s"
    assert lines[2] == "b            ░░░░░░░░░░██████████████████████████████●  40 s"
    assert lines[3] == "   0 s       10 s      20 s      30 s      40 s      50 s"


def test_a_terminal_without_unicode_gets_plain_letters() -> None:
    """What cannot be encoded is never written."""
    text = printed(many(12), encoding="ascii")

    assert text.isascii()
    assert {".", "#", "=", "o", "x"} <= set(text)


@given(st.integers(1, 60), st.integers(30, 200))
def test_rows_keep_within_the_width(count: int, width: int) -> None:
    """However many VMs and however narrow the terminal, a row does not wrap."""
    rows = printed(many(count), width).splitlines()[1 : count + 1]

    assert max(map(len, rows)) <= width


def test_results_that_went_through_json_are_drawn_alike() -> None:
    """The command line reads what it wrote itself."""
    assert chart(waits(json.loads(json.dumps(RESULTS)))) == chart(waits(RESULTS))


# ---- the picture of the README


@pytest.mark.parametrize(("theme", "name"), [(Theme.light, "timeline.svg"), (Theme.dark, "timeline-dark.svg")])
def test_the_picture_of_the_readme_is_drawn_from_its_run(theme: Theme, name: str) -> None:
    """docs/timeline.json is the export of that run; its texts and the title are those of a picture drawn now."""
    docs = Path(__file__).parents[2] / "docs"
    run = chart(waits(json.loads((docs / "timeline.json").read_text("utf-8"))))
    kept, drawn = (docs / name).read_bytes(), svg(run, theme)

    assert texts(kept) == texts(drawn)
    title = "{http://www.w3.org/2000/svg}title"
    assert ElementTree.fromstring(kept).findtext(title) == ElementTree.fromstring(drawn).findtext(title)
    assert COLOURS[theme].paper.encode() in kept
    assert len({row.at for row in run.vms}) == len(run.vms), "staggered"
    (work,) = run.rows[-1].spans
    assert run.opened[0] < work.begin < run.opened[0] + 3
