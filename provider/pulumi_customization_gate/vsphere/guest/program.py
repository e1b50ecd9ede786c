"""What is put into a guest to run a script once, and what comes back: text and bytes, no I/O.

A script does not go on a command line, which vCenter and the guest log. Beside it is a wrapper, which claims the run,
sets the script's environment, starts it, and writes its exit code and the ends of its output to one file, `outcome`:
vCenter forgets an ended process after minutes, and it never knew the output.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OUTCOME = "outcome"
"""The file that the wrapper writes, whole or not at all."""
PROGRESS = "progress"
"""The file with the length of the output so far, and its end."""
CLAIM = "claim"
"""The file by which the wrapper claims the run: it is written once, and names the process that holds the run."""
RUN, STOP, SETTLE = "run", "stop", "settle"
"""The words that the wrapper is called with."""
CANNOT_CLAIM, CANNOT_FINISH = 73, 74
"""The wrapper's exit codes where it cannot write to its directory: nothing ran; the script ran. sysexits.h has them."""
OUTPUT_LIMIT = 64 * 1024
"""The default of the bytes that are kept of each of a script's two outputs."""
OUTPUT_MAXIMUM = 1024 * 1024
"""The most bytes that are kept of each, because a stack's state has to carry them."""


@dataclass(frozen=True)
class Script:
    """What runs in a guest."""

    text: str = field(repr=False)
    interpreter: str = ""
    """"bash", "powershell", "cmd", or a path; empty for bash on Linux and powershell on Windows."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    working_directory: str = ""
    """Empty for what VMware Tools choose: on Linux the user's home."""
    output_limit: int = OUTPUT_LIMIT
    """Bytes of each output that are kept, the last ones."""
    stdin: str = field(default="", repr=False)
    shows_output: bool = False
    """Whether the end of the output can be read while the script runs."""


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
        ConfigurationError: If that guest has no such interpreter, or the interpreter cannot take an argument.
    """
    for number, reason in argument_problems(script.interpreter, script.arguments):
        raise ConfigurationError(f"arguments[{number}]: expected {reason}")
    return _windows(script) if windows else _posix(script)


def argument_problems(interpreter: str, arguments: Sequence[object]) -> Iterator[tuple[int, str]]:
    """Yields which argument an interpreter cannot take, and what it takes, without the value: it may be a secret."""
    if not _is_called(interpreter, "cmd"):
        return
    for number, argument in enumerate(arguments):
        found = next((name for character, name in _CMD_CANNOT_TAKE.items() if character in str(argument)), "")
        if found:
            yield number, f"a string without {found}, which cmd interprets; pass such a value in environment"


_CMD_CANNOT_TAKE = {
    '"': 'a double quote (")',
    "%": "a percent sign (%)",
    "\n": "a line feed",
    "\r": "a carriage return",
}
"""What cmd interprets within quotes too, or ends a command at."""
_CMD_PLAIN = re.compile(r"[A-Za-z0-9_./:\\-]+")
"""An argument that means the same to cmd without quotes."""


def _is_called(interpreter: str, *names: str) -> bool:
    """Whether an interpreter is one of these programs, by its name or by a path to it."""
    base = re.split(r"[\\/]", interpreter)[-1].lower()
    return base.removesuffix(".exe") in names


def _is_powershell(interpreter: str) -> bool:
    return _is_called(interpreter, "powershell", "pwsh")


def _wrapper(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _posix(script: Script) -> Program:
    """Prepares for `sh`, in which the wrapper is written; a script that was saved on Windows loses its CRs."""
    if _is_called(script.interpreter, "cmd"):
        raise ConfigurationError('interpreter: expected "bash" or a path, because the guest is not Windows; got "cmd"')
    files = {}
    if _is_powershell(script.interpreter):
        interpreter = "pwsh" if script.interpreter == "powershell" else script.interpreter
        name, options = "launch.ps1", ["-NoProfile", "-NonInteractive", "-File"]
        files[name] = _launcher(script.arguments)
        files["script.ps1"] = script.text.encode("utf-8-sig")
        arguments: Sequence[str] = ()
    else:
        interpreter, name, options, arguments = script.interpreter or "bash", "script", [], script.arguments
        files[name] = _with_newlines(script.text, "\n").encode()
    # The words come first: a variable of the script may have the name of one of the wrapper's own.
    words = ["$session", '"$found"', shlex.join(options), f'"$here/{name}"', shlex.join(arguments)]
    lines = [f"set -- {' '.join(filter(None, words))}"]
    lines += [f"export {key}={shlex.quote(value)}" for key, value in script.environment.items()]
    if script.working_directory:
        lines.append(f"cd -- {shlex.quote(script.working_directory)} || exit 1")
    head = [
        f"limit={script.output_limit}",
        f"interpreter={shlex.quote(interpreter)}",
        f"stdin={'stdin' if script.stdin else '/dev/null'}",
        f"progress={'1' if script.shows_output else ''}",
        "script() {",
        *lines,
        'exec "$@"',
        "}",
    ]
    return Program(
        files={
            **files,
            **({"stdin": script.stdin.encode()} if script.stdin else {}),
            "program.sh": ("\n".join(head) + "\n" + _wrapper("program.sh")).encode(),
        },
        path="/bin/sh",
        options="",
        separator="/",
        wrapper="program.sh",
    )


_POWERSHELL = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File"
_PARAMETER = re.compile(r"-[A-Za-z_]\w*")


def _windows(script: Script) -> Program:
    """Prepares for Windows PowerShell, in which the wrapper is written; it reads UTF-8 only with a byte order mark."""
    interpreter = script.interpreter or "powershell"
    files = {}
    if _is_powershell(interpreter):
        name = "launch.ps1"
        files[name] = _launcher(script.arguments)
        files["script.ps1"] = script.text.encode("utf-8-sig")
        shell = "powershell.exe" if interpreter == "powershell" else interpreter
        before, after = f'{_POWERSHELL} "', '"'
    elif _is_called(interpreter, "cmd"):
        name = "script.cmd"
        # Without the code page, cmd reads the file in that of the system's language.
        files[name] = _with_newlines("@chcp 65001 >nul\n" + script.text, "\r\n").encode()
        shell = "cmd.exe" if interpreter == "cmd" else interpreter
        arguments = "".join(" " + (a if _CMD_PLAIN.fullmatch(a) else f'"{a}"') for a in script.arguments)
        before, after = '/d /s /c ""', f'"{arguments}"'
    else:
        name = "script"
        files[name] = script.text.encode()
        shell = "bash.exe" if interpreter == "bash" else interpreter
        before, after = '"', f'" {subprocess.list2cmdline(script.arguments)}'
    variables = "; ".join(f"{_quoted(key)} = {_quoted(value)}" for key, value in script.environment.items())
    lines = [
        f"$limit = {script.output_limit}",
        f"$progress = ${str(script.shows_output).lower()}",
        f"$variables = @{{ {variables} }}",
        f"$script = Join-Path (Split-Path -Parent $MyInvocation.MyCommand.Path) {_quoted(name)}",
        f"$program = @{{ FilePath = {_quoted(shell)}; ArgumentList = {_quoted(before)} + $script + {_quoted(after)} }}",
    ]
    if script.working_directory:
        lines.append(f"$program.WorkingDirectory = {_quoted(script.working_directory)}")
    head = "\r\n".join(lines) + "\r\n"
    return Program(
        files={
            **files,
            **({"stdin": script.stdin.encode()} if script.stdin else {}),
            "program.ps1": (head + _wrapper("program.ps1")).encode("utf-8-sig"),
        },
        path="C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        options=_POWERSHELL,
        separator="\\",
        wrapper="program.ps1",
    )


def _launcher(arguments: Sequence[str]) -> bytes:
    """Returns a PowerShell script that calls the user's, and fails where its last native command failed.

    By itself PowerShell would end with 0. The arguments are here, not on a command line, so that nothing interprets
    them; what looks like the name of a parameter is one, as on a command line.
    """
    words = "".join(f" {argument if _PARAMETER.fullmatch(argument) else _quoted(argument)}" for argument in arguments)
    call = f"& (Join-Path (Split-Path -Parent $MyInvocation.MyCommand.Path) 'script.ps1'){words}"
    return (f"{call}\r\nif ($LASTEXITCODE) {{ exit $LASTEXITCODE }}\r\n").encode("utf-8-sig")


def _quoted(text: str) -> str:
    """Quotes for PowerShell, which takes five characters for a single quote."""
    for quote in "'\u2018\u2019\u201a\u201b":
        text = text.replace(quote, quote * 2)
    return f"'{text}'"


def _with_newlines(text: str, newline: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", newline)
