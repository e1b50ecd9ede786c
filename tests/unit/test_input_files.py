"""What the command line reads and writes: any file, any JSON and any output ends in a picture or in one sentence."""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from pulumi_customization_gate.command_line.application import application
from pulumi_customization_gate.command_line.input_files import words_of
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.timeline import Chart, chart, show, waits

GATE = "pulumi-python:dynamic/customization:CustomizationGate"
RESULT = {
    "status": "CustomizationSucceeded",
    "powered_on_at": "2026-11-20T12:00:00Z",
    "started_at": "2026-11-20T12:00:30Z",
    "completed_at": "2026-11-20T12:01:30.5+00:00",
    "ready_at": None,
    "failure": None,
}
EXPORT: dict[str, Any] = {
    "version": 3,
    "deployment": {
        "resources": [
            {"type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:lab::app::pulumi:pulumi:Stack::lab", "outputs": {}},
            {
                "type": GATE,
                "urn": f"urn:pulumi:lab::app::{GATE}::web",
                "outputs": {"results": {"web-0": RESULT, "web-1": RESULT}, "opened_at": "2026-11-20T12:02:00Z"},
            },
        ]
    },
}


def timeline(document: bytes, *arguments: str) -> Any:
    return CliRunner().invoke(application, ["timeline", *arguments], input=document)


def export(old: str = "", new: str = "") -> bytes:
    """Returns the export as a file, with one of its texts replaced."""
    text = json.dumps(EXPORT)
    assert old in text
    return text.replace(old, new).encode()


# ---- JSON


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(b"", "not readable JSON: Expecting value: line 1, column 1", id="empty"),
        pytest.param(
            export()[:-9], "not readable JSON: Unterminated string starting at: line 1, column 759", id="cut-off"
        ),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep-arrays-without-end"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "nested too deeply", id="deep-arrays"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply", id="deep-objects"),
        pytest.param(b'{"a":' * 900 + b"1" + b"}" * 900, "no results of a gate", id="objects-as-deep-as-json-reads"),
        pytest.param(export('"2026-11-20T12:00:00Z"', "9" * 5000), "powered_on_at: expected", id="digits-as-time"),
        pytest.param(export('"CustomizationSucceeded"', "9" * 5000), "status: expected", id="digits-as-status"),
        pytest.param(b"9" * 5000, "no results of a gate", id="digits"),
        pytest.param(export("3", "NaN"), "NaN is not a JSON value", id="not-a-number"),
        pytest.param(export("3", "-Infinity"), "-Infinity is not a JSON value", id="infinity"),
        pytest.param(export("2026-11-20T12:00:00Z", "\\ud83d"), "powered_on_at: expected", id="surrogate-as-time"),
        pytest.param(export("web-0", "\xff").decode().encode("latin-1"), "is not UTF-8 text", id="latin-1"),
        pytest.param(b"\xff\xfe\x00", "is not UTF-16 text: truncated data", id="half-a-character"),
        pytest.param(b"\x00" * 100, "not readable JSON", id="zeros"),
        pytest.param(b'{"deployment": {"resources": {}}}', "expected an array, got an object", id="resources-object"),
        pytest.param(b'{"deployment": {"resources": 1e999}}', "expected an array, got a number", id="resources-number"),
        pytest.param(b'{"deployment": {"resources": [null]}}', "expected an object, got null", id="resource-null"),
        pytest.param(export("12:02:00", "11:02:00"), "opened_at: expected a time after", id="opened-before-its-VMs"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(document: bytes, sentence: str) -> None:
    """It says what is wrong with the file, on one line, and the exit status is that of a usage error."""
    ended = timeline(document)

    assert (ended.exit_code, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"\xef\xbb\xbf" + export(), id="utf-8-with-a-byte-order-mark"),
        pytest.param(export().decode().encode("utf-16"), id="utf-16-as-powershell-writes-it"),
        pytest.param(export('"version": 3', f'"version": {"9" * 5000}'), id="a-number-that-is-not-drawn"),
        pytest.param(export("lab::app", "\\ud83d"), id="a-surrogate-in-the-name-of-a-stack"),
        pytest.param(export("web-0", "9" * 5000), id="a-name-of-digits"),
        pytest.param(export("web-0", "\\ud83d\\u0000\\uffff\\u202e"), id="a-name-that-nobody-can-read"),
    ],
)
def test_what_is_odd_and_complete_is_drawn(document: bytes) -> None:
    """What is not drawn does not matter, and no name breaks the picture."""
    assert timeline(document).exit_code == 0
    assert ElementTree.fromstring(timeline(document, "--svg", "-", "--title", "a\udcffb\x07").stdout_bytes)


@pytest.mark.skipif(sys.platform == "win32", reason="a file without end is Unix")
@pytest.mark.parametrize("name", ["sparse", "/dev/zero"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    """A disk image, or a device, named by mistake does not fill the memory."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)

    ended = timeline(b"", str(tmp_path / name))

    assert ended.exit_code == 2
    assert "is too large: expected at most 100 MiB" in ended.stderr


DIGITS = "<digits>"
"""Becomes a number that int() refuses to read and json to write, where the document becomes a file."""


def values() -> st.SearchStrategy[Any]:
    """Returns JSON of any shape in the words of an export."""
    texts = [GATE, DIGITS, "2026-11-20T12:00:00Z", "9999-12-31T23:59:59-23:59", "CustomizationFailed", "\ud800"]
    names = ["deployment", "resources", "outputs", "results", "type", "delete", "opened_at", *RESULT]
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(), max_size=8)
        | st.sampled_from(texts),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(names) | st.text(st.characters(), max_size=4), inner, max_size=4)
        ),
        max_leaves=12,
    )


@st.composite
def broken_exports(draw: st.DrawFn) -> Any:
    """Returns an export in which values at any depth are replaced by others or renamed."""
    document: Any = copy.deepcopy(EXPORT)
    for _ in range(draw(st.integers(1, 3))):
        place, key = document, draw(st.sampled_from(sorted(document)))
        while isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 7)):
            place = place[key]
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place, dict) and draw(st.booleans()):
            place[draw(st.text(st.characters(), max_size=4))] = place.pop(key)
        else:
            place[key] = draw(values())
    return document


def drawn_or_refused(document: object) -> Chart | str:
    try:
        return chart(waits(document))
    except ConfigurationError as error:
        return str(error)


@given(values() | broken_exports())
def test_any_json_is_drawn_or_refused_in_one_line(document: Any) -> None:
    """Whatever the shape, the reader knows what it is or says what is wrong with it; nothing else is ever raised."""
    drawn = drawn_or_refused(document)

    if isinstance(drawn, str):
        assert drawn.isprintable()
        return
    stream = io.StringIO()
    show(drawn, Console(file=stream, width=100))
    assert stream.getvalue().encode()
    assert all(0 <= moment <= drawn.length for moment in drawn.opened)


@given(broken_exports())
def test_any_export_becomes_a_picture_or_a_sentence_of_the_command(document: Any) -> None:
    """The picture can be read where the exit status is 0; where it is 2 there is one sentence and no picture."""
    text = json.dumps(document).replace(json.dumps(DIGITS), "9" * 5000)

    ended = timeline(text.encode(), "--svg", "-")

    if ended.exit_code == 0:
        assert ElementTree.fromstring(ended.stdout_bytes).tag.endswith("svg")
    else:
        assert (ended.exit_code, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)


# ---- names of VMs, and standard streams


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        pytest.param("\ufeffweb-0\r\nweb-1\r\n".encode(), "web-0, web-1", id="utf-8-with-a-byte-order-mark"),
        pytest.param("web-0\r\nwéb-1\r\n".encode("utf-16"), "web-0, wéb-1", id="utf-16"),
    ],
)
def test_a_list_of_vms_is_read_as_an_editor_or_a_shell_wrote_it(
    monkeypatch: pytest.MonkeyPatch, listed: bytes, names: str
) -> None:
    """A byte order mark is not part of the first name."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))

    assert names == ", ".join(words_of(["-"]))


def test_a_list_of_vms_that_is_not_text_is_one_sentence() -> None:
    """A binary file in a pipe is a mistake of usage; nothing is asked of a server."""
    ended = CliRunner().invoke(application, ["wait", "-"], input=b"web-0\n\x89PNG")

    assert (ended.exit_code, ended.stderr) == (
        2,
        "customization-gate: standard input is not UTF-8 text: invalid start byte at byte 6\n",
    )


def program(arguments: list[str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in a process of its own, which is given a document that it can draw."""
    code = "from pulumi_customization_gate.command_line import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **streams.pop("env", {})}
    streams = {"input": export("web-0", "wéb-0"), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, timeout=60, check=False, **streams)


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a full device is Linux")
@pytest.mark.parametrize("arguments", [["timeline"], ["timeline", "--svg", "-"], ["--help"], ["--version"]], ids=str)
def test_a_full_standard_output_is_one_sentence(arguments: list[str]) -> None:
    """What could not be written is not taken for written."""
    with FULL.open("wb") as full:
        ended = program(arguments, stdout=full)

    expected = b"customization-gate: cannot write to standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, expected)


@pytest.mark.skipif(not FULL.exists(), reason="a full device is Linux")
def test_a_full_standard_error_leaves_the_exit_status() -> None:
    """With both streams closed there is no place for a message."""
    with FULL.open("wb") as full:
        ended = program(["timeline", "nowhere.json"], stderr=full)

    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe without a reader is Unix")
@pytest.mark.parametrize("arguments", [["timeline"], ["timeline", "--svg", "-"], ["--help"]], ids=str)
def test_a_closed_pipe_ends_the_program_withoutwords_of(arguments: list[str]) -> None:
    """`customization-gate ... | head -1` has read what it wanted; the exit status is that of SIGPIPE, as elsewhere."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = program(arguments, stdout=closed)

    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a closed standard stream is Unix")
@pytest.mark.parametrize("arguments", [["timeline"], ["timeline", "-"], ["wait", "-"]], ids=str)
def test_a_closed_standard_input_is_one_sentence(arguments: list[str]) -> None:
    """A service manager may start a program without it."""
    ended = program(arguments, input=None, preexec_fn=lambda: os.close(0))

    assert (ended.returncode, ended.stderr) == (2, b"customization-gate: standard input is closed\n")


def test_a_name_that_the_output_cannot_encode_is_written_as_an_escape() -> None:
    """Under the encoding ASCII every other name can still be read."""
    ended = program(["timeline"], env={"PYTHONIOENCODING": "ascii"})

    assert ended.returncode == 0
    assert b"w\\xe9b-0" in ended.stdout
