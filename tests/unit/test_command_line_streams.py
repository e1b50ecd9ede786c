"""The program's standard streams, and its start where a library is missing."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate import command_line
from pulumi_customization_gate.command_line.output_streams import write_errors_reported
from pulumi_customization_gate.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


def errors_of(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Has standard error be a text in memory; between the phases of a test pytest puts its own there."""
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    return errors


@contextlib.contextmanager
def output_to(file: io.FileIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has standard output be a file for the length of a block."""
    stream = io.TextIOWrapper(file, encoding="ascii", write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
    stream.detach()
    file.close()


def _write() -> None:
    with write_errors_reported():
        sys.stdout.write("a\n")
        sys.stdout.flush()


def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a letter that the terminal cannot show does not end the program."""
    errors_of(monkeypatch)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader:
        with output_to(io.FileIO(writing, "wb"), monkeypatch), write_errors_reported():
            sys.stdout.write("web-\u00fc\n")
        assert reader.read() == b"web-\\xfc\n"


def test_a_reader_that_left_ends_the_program_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `customization-gate ... | head -1`: the status is that of SIGPIPE, and nothing is written."""
    errors = errors_of(monkeypatch)
    reading, writing = os.pipe()
    os.close(reading)
    with output_to(io.FileIO(writing, "wb"), monkeypatch), pytest.raises(SystemExit) as ended:
        _write()
    assert (ended.value.code, errors.getvalue()) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write error has a sentence and a status, not a traceback."""
    errors = errors_of(monkeypatch)
    with output_to(io.FileIO("/dev/full", "wb"), monkeypatch), pytest.raises(SystemExit) as ended:
        _write()
    assert ended.value.code == 2
    assert errors.getvalue() == "customization-gate: cannot write to standard output: No space left on device\n"


def test_the_module_runs_as_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m pulumi_customization_gate.command_line` is the script."""
    errors_of(monkeypatch)
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "argv", ["customization-gate", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("pulumi_customization_gate.command_line", run_name="__main__", alter_sys=False)
    assert (ended.value.code, output.getvalue()) == (0, f"customization-gate {__version__}\n")


@pytest.mark.parametrize(("missing", "is_ours"), [("typer", True), ("numbers_of_others", False)])
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, *, missing: str, is_ours: bool) -> None:
    """A library of the extra `cli` has a sentence; any other is a bug, and stays one."""
    errors = errors_of(monkeypatch)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.endswith("command_line.application"):
            raise ModuleNotFoundError(name=missing)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit if is_ours else ModuleNotFoundError):
        command_line.main()
    assert (f"the library {missing} is not installed" in errors.getvalue()) == is_ours
