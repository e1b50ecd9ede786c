"""What is put into a guest to run a script once, and what comes back: text and bytes, no I/O.

A script does not go on a command line, which vCenter and the guest log. Beside it lies a wrapper, which sets its
environment, starts it at most once, and leaves its exit code and the ends of its output in one file, `outcome`:
vCenter forgets an ended process after minutes, and it never knew the output.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTCOME = "outcome"
"""The file that the wrapper leaves, whole or not at all."""
OUTPUT_LIMIT = 64 * 1024
"""The default of the bytes that are kept of each of a script's two outputs."""


@dataclass(frozen=True)
class Script:
    """What shall run in a guest."""

    text: str = field(repr=False)
    interpreter: str = ""
    """"bash", "powershell", "cmd", or a path; nothing means bash on Linux and powershell on Windows."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_directory: str = ""
    """Nothing means what VMware Tools choose: on Linux the user's home."""
    output_limit: int = OUTPUT_LIMIT
    """Bytes of each output that are kept, the last ones."""


@dataclass(frozen=True)
class Outcome:
    """How a script ended."""

    exit_code: int
    stdout: str
    stderr: str
    stdout_truncated: bool
    stderr_truncated: bool

    @classmethod
    def parse(cls, content: bytes) -> Outcome:
        """Reads what the wrapper left: a line of five numbers, then the ends of both outputs.

        Raises:
            ValueError: If this is not such a file.
        """
        header, _, body = content.partition(b"\n")
        code, out_total, out_kept, err_total, err_kept = map(int, header.split())
        if len(body) != out_kept + err_kept:
            raise ValueError(f"{len(body)} bytes of output instead of {out_kept + err_kept}")
        return cls(
            exit_code=code,
            stdout=_text(body[:out_kept], is_end=out_kept < out_total),
            stderr=_text(body[out_kept:], is_end=err_kept < err_total),
            stdout_truncated=out_kept < out_total,
            stderr_truncated=err_kept < err_total,
        )


def _text(output: bytes, *, is_end: bool) -> str:
    """Reads UTF-8; a character that the cut has split is left out, what is no UTF-8 is replaced."""
    if is_end:
        start = next((i for i, byte in enumerate(output[:4]) if byte & 0xC0 != 0x80), 0)  # noqa: PLR2004 -- UTF-8
        output = output[start:]
    return output.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Program:
    """The files for one script, and how the guest is asked to run and to stop them."""

    files: Mapping[str, bytes] = field(repr=False)
    """What goes into a directory of their own, by name."""
    path: str
    """The program that runs the wrapper."""
    options: str
    separator: str
    """What stands between the names of a path."""
    wrapper: str

    def command(self, directory: str, *words: str) -> str:
        """Returns the arguments of `path`, without anything that is secret."""
        wrapper = self.join(directory, self.wrapper)
        if self.separator == "/":
            return " ".join(shlex.quote(word) for word in (wrapper, *words))
        return f"{self.options} {subprocess.list2cmdline([wrapper, *words])}"

    def join(self, directory: str, name: str) -> str:
        """Returns the path of a name in a directory of the guest."""
        return f"{directory.rstrip(self.separator)}{self.separator}{name}"


def program_for(script: Script, *, windows: bool) -> Program:
    """Returns what runs a script in a guest.

    Raises:
        ConfigurationError: If that guest has no such interpreter.
    """
    return _windows(script) if windows else _posix(script)


def _wrapper(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _posix(script: Script) -> Program:
    """Prepares for `sh`, in which the wrapper is written; a script that was saved on Windows loses its CRs."""
    if script.interpreter == "cmd":
        raise ConfigurationError('interpreter: it is "cmd", and the guest is no Windows; wanted is "bash" or a path')
    is_powershell = script.interpreter == "powershell"
    name = "script.ps1" if is_powershell else "script"
    words = ["pwsh", "-NoProfile", "-NonInteractive", "-File"] if is_powershell else [script.interpreter or "bash"]
    arguments = "".join(f" {shlex.quote(argument)}" for argument in script.arguments)
    # The words come first: a variable of the script may have the name of one of the wrapper's own.
    lines = [f'set -- $session {shlex.join(words)} "$here/{name}"{arguments}']
    lines += [f"export {key}={shlex.quote(value)}" for key, value in script.environment.items()]
    if script.working_directory:
        lines.append(f"cd -- {shlex.quote(script.working_directory)} || exit 1")
    head = [f"limit={script.output_limit}", "script() {", *lines, 'exec "$@"', "}"]
    return Program(
        files={
            name: _with_newlines(script.text, "\n").encode(),
            "program.sh": ("\n".join(head) + "\n" + _wrapper("program.sh")).encode(),
        },
        path="/bin/sh",
        options="",
        separator="/",
        wrapper="program.sh",
    )


_POWERSHELL = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File"


def _windows(script: Script) -> Program:
    """Prepares for Windows PowerShell, in which the wrapper is written; it reads UTF-8 only with a byte order mark."""
    interpreter = script.interpreter or "powershell"
    arguments = [*script.arguments]
    if interpreter == "powershell":
        name, content, shell = "script.ps1", script.text.encode("utf-8-sig"), "powershell.exe"
        words = f'{_POWERSHELL} "{{0}}" {subprocess.list2cmdline(arguments)}'
    elif interpreter == "cmd":
        # Without the code page, cmd reads the file in that of the machine's country.
        text = "@chcp 65001 >nul\n" + script.text
        name, content, shell = "script.cmd", _with_newlines(text, "\r\n").encode(), "cmd.exe"
        words = f'/d /s /c ""{{0}}" {subprocess.list2cmdline(arguments)}"'
    else:
        name, content, shell = "script", script.text.encode(), "bash.exe" if interpreter == "bash" else interpreter
        words = f'"{{0}}" {subprocess.list2cmdline(arguments)}'
    before, _, after = words.partition("{0}")
    lines = [f"$limit = {script.output_limit}"]
    lines += [f"$env:{key} = {_quoted(value)}" for key, value in script.environment.items()]
    lines += [
        f"$script = (Split-Path -Parent $MyInvocation.MyCommand.Path) + '\\{name}'",
        f"$program = @{{ FilePath = {_quoted(shell)}; ArgumentList = {_quoted(before)} + $script + {_quoted(after)} }}",
    ]
    if script.working_directory:
        lines.append(f"$program.WorkingDirectory = {_quoted(script.working_directory)}")
    head = "\r\n".join(lines) + "\r\n"
    return Program(
        files={name: content, "program.ps1": (head + _wrapper("program.ps1")).encode("utf-8-sig")},
        path="C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        options=_POWERSHELL,
        separator="\\",
        wrapper="program.ps1",
    )


def _quoted(text: str) -> str:
    """Quotes for PowerShell, which takes five characters for a single quote."""
    for quote in "'\u2018\u2019\u201a\u201b":
        text = text.replace(quote, quote * 2)
    return f"'{text}'"


def _with_newlines(text: str, newline: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", newline)
