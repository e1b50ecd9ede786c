"""The measurements measure: small ones against the lab, and the forms in which figures are shown."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import edge_cases, start_up, waiting
from benchmarks.document import Table, costs, pictures, seconds, size
from benchmarks.hosts import Round, table
from benchmarks.waiters import Waiter
from benchmarks.waiting import Row
from lab.paths import ROOT
from tests.lab.vcenter_fixture import program

GATE = Waiter("gate", "gate", Path(sys.executable), "benchmarks.candidates", ("gate",))
TERRAFORM = Waiter("terraform", "Terraform", Path(sys.executable), "benchmarks.candidates", ("terraform",))
TITLES = {"gate": "gate", "terraform": "Terraform"}


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"IDLE_SECONDS": 1.0, "SPREAD": 1.0, "LEAD": 4.0}.items():
        monkeypatch.setattr(waiting, name, value)


def row(waiter: str, vms: int, *, p50: float = 0.014, early: int = 0, missed: int = 0) -> Row:
    return Row(
        waiter=waiter,
        vms=vms,
        setup=0.8,
        p50=p50,
        p99=2.5,
        idle_calls=2.0,
        idle_bytes=1700,
        calls=34,
        received=1_460_000,
        sessions=1,
        collectors=1,
        peak_mib=65.2,
        early=early,
        missed=missed,
    )


@pytest.mark.usefixtures("_quickly")
def test_the_gate_is_measured() -> None:
    """A row has the counts of the server and of the waiter: one session, one collector, every end noticed."""
    measured = waiting.measure(program(), GATE, 3)
    assert (measured.waiter, measured.vms, measured.early, measured.missed) == ("gate", 3, 0, 0)
    assert (measured.sessions, measured.collectors) == (1, 1)
    assert 0 < measured.p50 <= measured.p99 < waiting.MARGIN
    assert measured.calls > 10
    assert 20 < measured.peak_mib < 400


@pytest.mark.usefixtures("_quickly")
def test_what_a_waiter_reports_too_early_is_counted() -> None:
    """Beyond the server's 32 collectors Terraform's waiter reports success at once: these are errors, not latencies."""
    measured = waiting.measure(program(), TERRAFORM, 40)
    assert (measured.collectors, measured.early, measured.missed) == (32, 8, 0)


@pytest.mark.parametrize(
    ("case", "waiter", "answer"),
    [
        pytest.param("late subscribe", GATE, ("succeeded", "right"), id="right"),
        pytest.param("stale success", TERRAFORM, ("succeeded", "WRONG"), id="wrong"),
    ],
)
def test_an_edge_case_is_judged(
    case: str, waiter: Waiter, answer: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict of a waiter is compared with what happened to the VM."""
    monkeypatch.setattr(edge_cases, "CASES", [one for one in edge_cases.CASES if one.name == case])
    (found,) = edge_cases.run(program(), [waiter])
    assert (found.case, found.waiter, found.verdict, found.judgement) == (case, waiter.name, *answer)


def test_a_waiter_without_a_verdict_is_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter that times out has no verdict, which is not the same as a wrong one."""
    monkeypatch.setattr(edge_cases, "CASES", [one for one in edge_cases.CASES if one.name == "no specification"])
    monkeypatch.setattr(edge_cases, "TIMEOUT", 2.0)
    (found,) = edge_cases.run(program(), [TERRAFORM])
    assert (found.verdict, found.judgement) == ("timed out", "none")


def test_a_row_that_is_none_is_refused() -> None:
    """An unknown waiter ends the command with a message and status 1."""
    command = [
        sys.executable,
        "-c",
        "import sys, benchmarks.__main__ as b; b.waiters = lambda _: {}; sys.exit(b.main())",
    ]
    done = subprocess.run(
        [*command, "--only", "nobody:3"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "--only: expected" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_in_markdown() -> None:
    """Text is aligned to the left, numbers to the right, and the note is below."""
    table = Table("Costs", ("waiter", "calls"), [("gate", "2")], note="Small.")
    assert table.markdown() == "## Costs\n\n| waiter | calls |\n| --- | ---: |\n| gate | 2 |\n\nSmall."


def test_the_table_of_costs() -> None:
    """Each row names the waiter as people know it, and says what was wrong."""
    table = costs([row("terraform", 100, early=68, missed=1)], TITLES)
    (cells,) = table.rows
    shown = dict(zip(table.heads, cells, strict=True))
    assert (shown["waiter"], shown["set-up"], shown["bytes in all"]) == ("Terraform", "800 ms", "1.5 MB")
    assert shown["wrong"] == "68 reported too early, 1 missed"


def test_the_table_of_the_hosts() -> None:
    """Each host has a column with the medians and the best of its rounds, and the most logins."""
    dynamic = [Round(1.0, 4.0, 1, (0.01, 0.02, 0.3), 80 << 20), Round(2.0, 5.0, 2, (0.03, 0.03, 0.1), 82 << 20)]
    made = table({"dynamic": dynamic, "plugin": dynamic[:1]})
    assert made.heads == ("", "dynamic provider", "native provider")
    assert [cells[1:] for cells in made.rows] == [
        ("1.5 s (best 1.0 s)", "1.0 s (best 1.0 s)"),
        ("4.5 s (best 4.0 s)", "4.0 s (best 4.0 s)"),
        ("2", "1"),
        ("25 ms (best 20 ms)", "20 ms (best 20 ms)"),
        ("200 ms (best 100 ms)", "300 ms (best 300 ms)"),
        ("81 MiB", "80 MiB"),
    ]


def test_the_start_up_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import is a part of the time of the command, which has a process of its own."""
    monkeypatch.setattr(start_up, "RUNS", 1)
    measured = start_up.measure()
    assert 0 < measured.imported < measured.help < 60


def test_units() -> None:
    """A time and a size are shown in the most readable unit; a missing time is a dash."""
    assert [seconds(value) for value in (0.0142, 0.999, 1.04, math.nan)] == ["14 ms", "999 ms", "1.0 s", "-"]
    assert [size(count) for count in (0, 1700, 875_600, 13_900_000)] == ["0.0 kB", "1.7 kB", "875.6 kB", "13.9 MB"]


def test_the_pictures_are_the_same_for_the_same_figures(tmp_path: Path) -> None:
    """The SVG holds every waiter's name as text, and no date, so that it changes with the figures only."""
    rows = [row(waiter, count) for waiter in TITLES for count in (1, 100, 1000)]
    for name in ("one", "two"):
        pictures(rows, TITLES, tmp_path / f"{name}.svg", tmp_path / f"{name}-dark.svg")
    for kind in ("", "-dark"):
        one = (tmp_path / f"one{kind}.svg").read_text(encoding="utf-8")
        assert one == (tmp_path / f"two{kind}.svg").read_text(encoding="utf-8")
        assert all(f">{title}<" in one for title in TITLES.values())
        assert "dc:date" not in one
    assert (tmp_path / "one.svg").read_text() != (tmp_path / "one-dark.svg").read_text()


def test_the_picture_is_honest(tmp_path: Path) -> None:
    """Zero calls are at zero on an axis of plain numbers, and the legend says what marks wrong verdicts."""
    rows = [row("gate", 1000), replace(row("terraform", 1000, early=968), idle_calls=0.0)]
    pictures(rows, TITLES, tmp_path / "light.svg", tmp_path / "dark.svg")
    drawn = (tmp_path / "light.svg").read_text(encoding="utf-8")
    assert ">some verdicts were wrong<" in drawn
    assert all(f">{number}<" in drawn for number in ("0", "1,000"))
    assert "10^" not in drawn
    assert "mathdefault" not in drawn
