"""What is put into a guest to run a script, and what is read of its end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.vsphere.guest.program import Outcome, Script, program_for

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def _run(folder: Path, script: Script, *words: str) -> Outcome:
    program = program_for(script, windows=False)
    for name, content in program.files.items():
        (folder / name).write_bytes(content)
    command = f"{program.path} {program.command(str(folder), *words)}"
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=20)
    return Outcome.parse((folder / "outcome").read_bytes())


@settings(deadline=None)  # Each example starts a shell, which a busy machine may take its time over.
@given(argument=TEXTS, value=TEXTS)
def test_arguments_and_variables_arrive_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, argument: str, value: str
) -> None:
    """No character of an argument or a variable means anything to the shells on the way."""
    script = Script('printf "%s\\001%s" "$1" "$session"', arguments=[argument], environment={"session": value})
    outcome = _run(tmp_path_factory.mktemp("it's a guest"), script, "run", "1")
    assert outcome.stdout.encode() == f"{argument}\1{value}".encode()


def test_an_attempt_runs_once(tmp_path: Path) -> None:
    """The second delivery of the same request finds the run claimed."""
    script = Script(f"echo run >>{tmp_path}/log")
    _run(tmp_path, script, "run", "1")
    _run(tmp_path, script, "run", "1")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "run\n"


def test_a_windows_guest_gets_powershell_without_secrets_on_its_command_line() -> None:
    """The command names the wrapper alone; the script has a byte order mark, without which 5.1 reads no UTF-8."""
    script = Script("Write-Output 'Grüße'", arguments=["a b", 'say "hi"'], environment={"TOKEN": "it's\u2019secret"})
    program = program_for(script, windows=True)

    command = program.command("C:\\Users\\Some User\\AppData\\gate-1", "run", "2")

    assert command == (
        '-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "C:\\Users\\Some User\\AppData\\gate-1\\program.ps1" '
        "run 2"
    )
    assert program.files["script.ps1"] == b"\xef\xbb\xbfWrite-Output 'Gr\xc3\xbc\xc3\x9fe'"
    wrapper = program.files["program.ps1"].decode("utf-8-sig")
    assert "$env:TOKEN = 'it''s\u2019\u2019secret'" in wrapper
    assert """ + $script + '" "a b" "say \\"hi\\""'""" in wrapper
    assert wrapper.startswith("$limit = 65536\r\n")


def test_a_windows_guest_runs_batch_files() -> None:
    """Cmd gets its own line ends and reads UTF-8."""
    program = program_for(Script("echo %1\necho ü", interpreter="cmd", arguments=["x"]), windows=True)
    assert program.files["script.cmd"] == "@chcp 65001 >nul\r\necho %1\r\necho ü".encode()
    assert "ArgumentList = '/d /s /c \"\"' + $script" in program.files["program.ps1"].decode("utf-8-sig")


@pytest.mark.parametrize(
    ("interpreter", "windows", "shown"),
    [
        pytest.param("", False, 'set -- $session bash "$here/script"', id="bash on Linux"),
        pytest.param("powershell", False, '-NonInteractive -File "$here/script.ps1"', id="powershell on Linux"),
        pytest.param("/opt/my tools/py", False, "$session '/opt/my tools/py' \"$here/script\"", id="a path on Linux"),
        pytest.param("", True, "FilePath = 'powershell.exe'", id="powershell on Windows"),
        pytest.param("bash", True, "FilePath = 'bash.exe'", id="bash on Windows"),
        pytest.param("C:\\py\\python.exe", True, "FilePath = 'C:\\py\\python.exe'", id="a path on Windows"),
    ],
)
def test_interpreters(interpreter: str, windows: bool, shown: str) -> None:
    """Each system has its default, its own names, and any path."""
    program = program_for(Script("x", interpreter=interpreter), windows=windows)
    assert shown in program.files[program.wrapper].decode("utf-8-sig")


def test_cmd_is_refused_on_linux() -> None:
    """What the guest cannot have is said before anything is put into it."""
    with pytest.raises(ConfigurationError, match="the guest is no Windows"):
        program_for(Script("x", interpreter="cmd"), windows=False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"0 0 0 0 0\n", Outcome(0, "", "", False, False), id="nothing said"),  # noqa: FBT003 -- short
        pytest.param(b"1 3 3 9 2\nabcde", Outcome(1, "abc", "de", False, True), id="errors cut"),  # noqa: FBT003 -- short
        pytest.param(b"0 9 3 0 0\n\xbc\xc3\xa4", Outcome(0, "ä", "", True, False), id="within ä"),  # noqa: FBT003 -- short
        pytest.param(b"0 1 1 0 0\n\xc3", Outcome(0, "\ufffd", "", False, False), id="no UTF-8"),  # noqa: FBT003 -- short
        pytest.param(b"  3   1 1  0 0\r\nx", Outcome(3, "x", "", False, False), id="padded"),  # noqa: FBT003 -- short
    ],
)
def test_an_outcome_is_read(content: bytes, expected: Outcome) -> None:
    """A line of numbers, then the ends of both outputs."""
    assert Outcome.parse(content) == expected


@pytest.mark.parametrize("content", [b"", b"0 1 1 0 0\n", b"0 0 0\n", b"x 0 0 0 0\n", b"0 1 1 0 0\nab"])
def test_what_is_no_outcome_is_refused(content: bytes) -> None:
    """A file that was cut is not taken for an end."""
    with pytest.raises(ValueError, match=r".+"):
        Outcome.parse(content)


def test_nothing_of_a_script_is_shown() -> None:
    """A representation holds neither text nor variables."""
    script = Script("s3cret-text", environment={"A": "s3cret-value"})
    assert "s3cret" not in repr(script) + repr(program_for(script, windows=False))
