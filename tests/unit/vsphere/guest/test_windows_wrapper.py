"""The wrapper that runs a script in a Windows guest: read by PowerShell's grammar, and run where there is a pwsh."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome
from pulumi_customization_gate.vsphere.guest.program import RUN, SETTLE, STOP, Script, program_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tree_sitter import Node

PWSH = shutil.which("pwsh")
SECONDS = 60.0
"""Seconds that a call of the wrapper may take: PowerShell starts slowly."""

runs_powershell = pytest.mark.skipif(PWSH is None, reason="pwsh is not on PATH, so the Windows wrapper is only parsed")

SCRIPTS = [
    pytest.param({}, id="powershell"),
    pytest.param({"arguments": ["-Name", "it's", 'say "hi"', "$env:PATH", ""]}, id="arguments"),
    pytest.param({"environment": {"A": "it's\u2019 $x", "EMPTY": ""}, "stdin": "line"}, id="environment and input"),
    pytest.param({"interpreter": "cmd", "arguments": ["a&b", "c d"]}, id="cmd"),
    pytest.param({"interpreter": "C:\\py\\python.exe", "working_directory": "C:\\it's"}, id="a path"),
]


def _errors(node: Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point.row + 1}: {(node.text or b'')[:80]!r}"
    for child in node.children:
        yield from _errors(child)


def _parsed(content: bytes) -> list[str]:
    parser = Parser(Language(tree_sitter_powershell.language()))
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
    return list(_errors(parser.parse(text.encode()).root_node))


def test_the_grammar_finds_an_error() -> None:
    """The check can fail."""
    assert _parsed(b"if ($x { 'a' }") != []


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_generated_is_powershell(script: dict[str, Any]) -> None:
    """Every generated file that PowerShell reads has no error by its grammar."""
    program = program_for(Script("Write-Output 'x'", **script), windows=True)
    read = {name: content for name, content in program.files.items() if name.endswith(".ps1")}
    assert {name: _parsed(content) for name, content in read.items()} == {name: [] for name in read}


class Directory:
    """The directory of one attempt on this computer, whose wrapper is the one for Windows."""

    def __init__(self, path: Path, text: str, **script: Any) -> None:
        self.path = path
        # This system's PowerShell runs the script, too: the one that a Windows guest has is not here.
        made = Script(text, **{"interpreter": PWSH or "pwsh", **script})
        for name, content in program_for(made, windows=True).files.items():
            (path / name).write_bytes(content)
        self._limit = made.output_limit

    def call(self, word: str) -> int:
        """Calls the wrapper, and returns its exit code."""
        command = [str(PWSH), "-NoProfile", "-NonInteractive", "-File", str(self.path / "program.ps1"), word]
        return subprocess.run(command, check=False, timeout=SECONDS, capture_output=True).returncode

    def outcome(self) -> Outcome:
        return Outcome.parse((self.path / "outcome").read_bytes(), self._limit)

    def run(self) -> Outcome:
        assert self.call(RUN) == 0
        return self.outcome()


@runs_powershell
def test_output_errors_and_exit_code_come_back(tmp_path: Path) -> None:
    """A script gets its arguments, variables and input as they are, and gives both outputs and its exit code."""
    text = (
        "param($Name, $Other)\n"
        '[Console]::Out.Write("$Name|$Other|$env:TOKEN|" + [Console]::In.ReadToEnd())\n'
        "[Console]::Error.Write('oops')\nexit 7"
    )
    arguments = ["-Name", "it's $HOME", 'say "hi"']
    outcome = Directory(tmp_path, text, arguments=arguments, environment={"TOKEN": "ü"}, stdin="input").run()
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (7, 'it\'s $HOME|say "hi"|ü|input', "oops")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claim", "outcome"]


@runs_powershell
@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("'fine'", 0, id="no native command"),
        pytest.param("& pwsh -NoProfile -Command 'exit 5'", 5, id="the last native command failed"),
        pytest.param("& pwsh -NoProfile -Command 'exit 5'\nexit 0", 0, id="opted out"),
        pytest.param("throw 'no'", 1, id="an error that nobody catches"),
        pytest.param("exit 3", 3, id="exit"),
    ],
)
def test_exit_codes(tmp_path: Path, text: str, code: int) -> None:
    """A script whose last native command failed is a failure, unless it ends with `exit 0`."""
    assert Directory(tmp_path, text).run().exit_code == code


@runs_powershell
def test_the_scripts_own_path_takes_nothing_from_the_wrapper(tmp_path: Path) -> None:
    """`PATH` in the environment is the script's own."""
    outcome = Directory(tmp_path, "[Console]::Out.Write($env:PATH)", interpreter="pwsh", environment={"PATH": "/x"})
    assert outcome.run().stdout == "/x"


@runs_powershell
def test_a_run_is_claimed_once(tmp_path: Path) -> None:
    """The second delivery of the same request finds the run claimed."""
    directory = Directory(tmp_path, f"Add-Content '{tmp_path}/log' run\nStart-Sleep 1")
    threads = [threading.Thread(target=directory.call, args=(RUN,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    directory.call(RUN)
    assert (tmp_path / "log").read_text().split() == ["run"]


@runs_powershell
def test_stop_ends_the_script_and_settle_writes_what_is_known(tmp_path: Path) -> None:
    """A script that hangs is ended; before its start, `stop` keeps it from starting."""
    hanging, never = tmp_path / "hanging", tmp_path / "never"
    hanging.mkdir()
    never.mkdir()
    directory = Directory(hanging, "[Console]::Out.Write('working')\nStart-Sleep 120")
    thread = threading.Thread(target=directory.call, args=(RUN,))
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not (hanging / "process").exists() or (hanging / "stdout").read_bytes() != b"working":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    directory.call(SETTLE)
    assert not (hanging / "outcome").exists()
    directory.call(STOP)
    thread.join()
    assert directory.outcome().stdout == "working"
    assert directory.outcome().exit_code != 0

    other = Directory(never, f"Add-Content '{tmp_path}/log' run")
    other.call(STOP)
    other.call(RUN)
    assert other.outcome().ending is Ending.NEVER
    assert not (tmp_path / "log").exists()


@runs_powershell
def test_a_run_that_was_killed_gets_an_outcome(tmp_path: Path) -> None:
    """For a run without processes and without an exit code, the follower gets that fact."""
    directory = Directory(tmp_path, "'x'")
    (tmp_path / "claim").write_text("999999 132000000000000000")
    directory.call(SETTLE)
    assert directory.outcome().ending is Ending.NONE
