"""What is put into a guest to run a script, and what is read of its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome, text_end
from pulumi_customization_gate.vsphere.guest.program import Script, program_for

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def _wrapper(script: Script, *, windows: bool) -> str:
    program = program_for(script, windows=windows)
    return program.files[program.wrapper].decode("utf-8-sig")


def test_a_windows_guest_gets_powershell_without_secrets_on_its_command_line() -> None:
    """The command names the wrapper alone; the script has a byte order mark, without which 5.1 reads no UTF-8."""
    script = Script("Write-Output 'Grüße'", environment={"TOKEN": "it's\u2019secret", "EMPTY": ""})
    program = program_for(script, windows=True)

    command = program.command("C:\\Users\\Some User\\AppData\\gate-1", "run")

    assert command == (
        '-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "C:\\Users\\Some User\\AppData\\gate-1\\program.ps1" '
        "run"
    )
    assert program.files["script.ps1"] == b"\xef\xbb\xbfWrite-Output 'Gr\xc3\xbc\xc3\x9fe'"
    wrapper = program.files["program.ps1"].decode("utf-8-sig")
    assert "$variables = @{ 'TOKEN' = 'it''s\u2019\u2019secret'; 'EMPTY' = '' }" in wrapper
    assert wrapper.startswith("$limit = 65536\r\n")


@pytest.mark.parametrize("windows", [True, False])
def test_powershell_gets_arguments_that_nothing_interprets(windows: bool) -> None:
    """They are in a launcher, not on a command line; the last native command's failure is the script's."""
    arguments = ["-Name", "it's $env:PATH", "a b", "-port:1", ""]
    program = program_for(Script("x", interpreter="powershell", arguments=arguments), windows=windows)
    launcher = program.files["launch.ps1"].decode("utf-8-sig")
    assert "'script.ps1') -Name 'it''s $env:PATH' 'a b' '-port:1' ''\r\n" in launcher
    assert launcher.endswith("if ($LASTEXITCODE) { exit $LASTEXITCODE }\r\n")
    assert "a b" not in program.files[program.wrapper].decode("utf-8-sig")


def test_a_windows_guest_runs_batch_files() -> None:
    """Cmd gets its own line ends and reads UTF-8; within quotes it interprets none of these characters."""
    arguments = ["x", "web-0&calc.exe", "a^b", "1,2"]
    program = program_for(Script("echo %1\necho ü", interpreter="cmd", arguments=arguments), windows=True)
    assert program.files["script.cmd"] == "@chcp 65001 >nul\r\necho %1\r\necho ü".encode()
    wrapper = program.files["program.ps1"].decode("utf-8-sig")
    assert """ArgumentList = '/d /s /c ""' + $script + '" x "web-0&calc.exe" "a^b" "1,2""' }""" in wrapper


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        pytest.param("%PATH%", r"a percent sign \(%\)", id="a variable"),
        pytest.param('say "hi"', r'a double quote \("\)', id="a quote"),
        pytest.param("a\nb", "a line feed", id="two lines"),
    ],
)
@pytest.mark.parametrize("interpreter", ["cmd", "C:\\Windows\\System32\\cmd.exe"])
def test_what_cmd_would_interpret_is_refused(interpreter: str, argument: str, named: str) -> None:
    """The message names the argument's place and the character, and shows no value."""
    with pytest.raises(ConfigurationError, match=rf"arguments\[1\]: expected a string without {named}") as caught:
        program_for(Script("echo", interpreter=interpreter, arguments=["fine", argument]), windows=True)
    assert argument not in str(caught.value)


@pytest.mark.parametrize(
    ("interpreter", "windows", "shown"),
    [
        pytest.param("", False, "interpreter=bash", id="bash on Linux"),
        pytest.param("powershell", False, '"$found" -NoProfile -NonInteractive -File "$here/launch.ps1"', id="pwsh"),
        pytest.param("/opt/my tools/py", False, "interpreter='/opt/my tools/py'", id="a path on Linux"),
        pytest.param("/opt/ps/pwsh", False, '-File "$here/launch.ps1"', id="a path to pwsh on Linux"),
        pytest.param("", True, "FilePath = 'powershell.exe'", id="powershell on Windows"),
        pytest.param("bash", True, "FilePath = 'bash.exe'", id="bash on Windows"),
        pytest.param("C:\\py\\python.exe", True, "FilePath = 'C:\\py\\python.exe'", id="a path on Windows"),
        pytest.param("C:\\ps\\pwsh.exe", True, "'launch.ps1'", id="a path to pwsh on Windows"),
    ],
)
def test_interpreters(interpreter: str, windows: bool, shown: str) -> None:
    """Each system has its default, its own names, and any path."""
    assert shown in _wrapper(Script("x", interpreter=interpreter), windows=windows)


def test_cmd_is_refused_on_linux() -> None:
    """What the guest cannot have is said before anything is put into it."""
    with pytest.raises(ConfigurationError, match="the guest is not Windows"):
        program_for(Script("x", interpreter="cmd"), windows=False)


def _outcome(code: int | None, stdout: str = "", stderr: str = "", *, cut: str = "", ending: str = "exited") -> Outcome:
    return Outcome(Ending(ending), code, stdout, stderr, "out" in cut, "err" in cut, 10, 12)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"0 0 0 0 0 10 12\n", _outcome(0), id="no output"),
        pytest.param(b"1 3 3 9 2 10 12\nabcde", _outcome(1, "abc", "de", cut="err"), id="stderr cut"),
        pytest.param(b"0 9 3 0 0 10 12\n\xbc\xc3\xa4", _outcome(0, "ä", cut="out"), id="cut within a character"),
        pytest.param(b"0 1 1 0 0 10 12\n\xc3", _outcome(0, "\ufffd"), id="not UTF-8"),
        pytest.param(b"  3   1 1  0 0 10 12\r\nx", _outcome(3, "x"), id="padded"),
        pytest.param(b"4294967295 0 0 0 0 10 12\n", _outcome(4294967295), id="an exit code of Windows"),
        pytest.param(b"none 1 1 0 0 10 12\nx", _outcome(None, "x", ending="none"), id="killed"),
        pytest.param(b"never 0 0 0 0 10 12\n", _outcome(None, ending="never"), id="never started"),
        pytest.param(b"0 4 4 0 0 10 12\n\xff\xff\xffa", _outcome(0, "\ufffda", cut="out"), id="longer as UTF-8"),
    ],
)
def test_an_outcome_is_read(content: bytes, expected: Outcome) -> None:
    """A line of numbers, then the ends of both outputs; as text each has at most as many bytes as the limit."""
    assert Outcome.parse(content, 4) == expected


@pytest.mark.parametrize(
    "content", [b"", b"0 1 1 0 0 1 1\n", b"0 0 0\n", b"x 0 0 0 0 1 1\n", b"0 1 1 0 0 1 1\nab", b"0 0 0 0 0\n"]
)
def test_what_is_not_an_outcome_is_an_error(content: bytes) -> None:
    """A file that was cut is not taken for an outcome."""
    with pytest.raises(ValueError, match=r".+"):
        Outcome.parse(content, 4)


@given(output=st.binary(max_size=60), limit=st.integers(0, 20), cut=st.booleans())
def test_no_output_has_more_bytes_than_the_limit(output: bytes, limit: int, cut: bool) -> None:
    """The text that is stored has at most `limit` bytes, however many of the bytes are not UTF-8."""
    text, is_cut = text_end(output, limit, is_end=cut)
    assert len(text.encode()) <= limit
    assert is_cut or text == output.decode("utf-8", errors="replace")


def test_nothing_of_a_script_is_shown() -> None:
    """A representation holds neither text nor variables."""
    script = Script("s3cret-text", environment={"A": "s3cret-value"})
    assert "s3cret" not in repr(script) + repr(program_for(script, windows=False))
