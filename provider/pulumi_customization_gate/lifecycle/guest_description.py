"""The arguments of GuestScript and GuestFile, described once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import InvalidReferenceError
from pulumi_customization_gate.lifecycle.arguments import NAMESPACE, TRIGGERS
from pulumi_customization_gate.lifecycle.collection_types import ListOf, MapOf
from pulumi_customization_gate.lifecycle.description import Argument, Effect
from pulumi_customization_gate.lifecycle.guest_sources import is_there
from pulumi_customization_gate.lifecycle.value_types import Boolean, Choice, Duration, Text, Type, WholeNumber, Wrong
from pulumi_customization_gate.platforms import VSPHERE
from pulumi_customization_gate.vsphere.guest.program import OUTPUT_LIMIT, OUTPUT_MAXIMUM
from pulumi_customization_gate.vsphere.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERMISSIONS = "0600"
"""The default of a file's mode."""
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ABSOLUTE = re.compile(r"/.*[^/]|[A-Za-z]:[\\/].*[^\\/]|\\\\.*[^\\]", re.DOTALL)
_OWNER = re.compile(r"[A-Za-z0-9_][\w.@\\-]*\$?(:[A-Za-z0-9_][\w.@\\-]*\$?)?", re.ASCII)
_LOWEST_EXIT_CODE, _HIGHEST_EXIT_CODE = -(2**31), 2**32 - 1


@dataclass(frozen=True)
class _VmReference(Type):
    """A reference of one VM of a vCenter."""

    expected: str = "a VM's reference, for example gate.after(web.moid)"

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if not isinstance(value, str):
            yield Wrong(self.expected, value)
            return
        try:
            parse_reference(value)
        except InvalidReferenceError as error:
            yield Wrong(error.expected, value)

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return str


def _text(example: str) -> Text:
    expected = f"a string that is not empty and has no NUL, for example {example}"
    return Text(expected, _fault_unless(lambda text: bool(text.strip()) and "\0" not in text))


def _credential(what: str) -> Text:
    expected = f"{what}, or nothing, and then it is read from config"
    return Text(expected, _fault_unless(lambda text: bool(text) and "\0" not in text))


def _fault_unless(is_good: Callable[[str], bool]) -> Callable[[str], str | None]:
    return lambda text: None if is_good(text) else ""


def _is_clean(text: str) -> bool:
    return "\0" not in text


@dataclass(frozen=True)
class _Source(Type):
    """A local file or directory, or what an archive is resolved to: see guest_sources."""

    expected: str = "the path of a local file or directory that exists, or a pulumi.Archive of such"

    def _judge(self, value: Any) -> Iterator[Wrong]:
        if isinstance(value, str):
            if not is_there(value):
                yield Wrong(self.expected, value)
        elif not isinstance(value, Mapping):
            yield Wrong(self.expected, value)
        else:
            for place, path in value.items():
                if not isinstance(path, str) or not is_there(
                    path, Path.exists if place.endswith("/") else Path.is_file
                ):
                    yield Wrong(self.expected, path, f"[{place!r}]")

    @property
    def annotation(self) -> Any:
        """The Python type of a plain value."""
        return str | Mapping[str, str]


_ARGUMENTS = 'a list of strings, for example ["--port", "8080"]'
_EXIT_CODES = "a list of whole numbers, for example [0, 3010]"

_VM = Argument(
    "vm",
    _VmReference(),
    "the VM: a reference, usually one that waits for a gate",
    Effect.REPLACES,
    is_required=True,
    default_text="required",
)
_SHARED: Sequence[Argument] = (
    Argument(
        "username",
        _credential('a user name, for example "Administrator"'),
        "the user who works in the guest",
        default_text="`guestUser` of config, else GUEST_USER",
    ),
    Argument(
        "password",
        _credential("a password"),
        "the password of that user",
        default_text="`guestPassword` of config, else GUEST_PASSWORD",
        is_hidden=True,
    ),
    Argument(
        "timeout",
        Duration("10m", least=1),
        "the time for all work in the guest, in seconds or as a duration",
        default_text="the resource's custom timeout, else 600",
    ),
)
_CONFIG_NAMESPACE = Argument(
    "config_namespace",
    NAMESPACE,
    "the namespace of stack config that holds vCenter and credentials",
    Effect.REPLACES,
    default=VSPHERE.default_namespace,
)

SCRIPT: Sequence[Argument] = (
    _VM,
    Argument(
        "script",
        _text('"systemctl restart nginx"'),
        "the script's text",
        Effect.ACTS_AGAIN,
        is_required=True,
        default_text="required",
        is_hidden=True,
    ),
    Argument(
        "interpreter",
        _text('"bash", "powershell", "cmd" or "/usr/bin/python3"'),
        "what runs the script",
        Effect.ACTS_AGAIN,
        default_text="`bash`, on Windows `powershell`",
    ),
    Argument(
        "arguments",
        ListOf(Text(_ARGUMENTS, _fault_unless(_is_clean)), _ARGUMENTS),
        "the script's arguments",
        Effect.ACTS_AGAIN,
        default_text="none",
        is_hidden=True,
    ),
    Argument(
        "environment",
        MapOf(
            Text('a string without NUL, for example "8080"', _fault_unless(_is_clean)),
            'a map of strings by name, for example {"PORT": "8080"}',
            Text(
                'a name of letters, digits and _, for example "PORT"',
                _fault_unless(lambda name: _NAME.fullmatch(name) is not None),
            ),
            lambda name: name.partition("=")[0],
        ),
        "environment variables",
        Effect.ACTS_AGAIN,
        default_text="none",
        is_hidden=True,
    ),
    Argument(
        "stdin",
        Text("the text that the script reads", lambda _: None),
        "what the script reads from its standard input",
        Effect.ACTS_AGAIN,
        default_text="nothing",
        is_hidden=True,
    ),
    Argument(
        "working_directory",
        _text('"/srv"'),
        "the directory in which it runs",
        Effect.ACTS_AGAIN,
        default_text="the user's own",
    ),
    Argument(
        "triggers",
        TRIGGERS,
        "a map or a list of anything; a change runs the script again",
        Effect.ACTS_AGAIN,
        default_text="none",
        is_hidden=True,
    ),
    *_SHARED,
    Argument(
        "on_update",
        _text('"systemctl reload nginx"'),
        "a script that runs instead of `script` where a change runs the script again",
        default_text="none",
        is_hidden=True,
    ),
    Argument(
        "on_delete",
        _text('"systemctl stop nginx"'),
        "a script that runs when the resource is deleted",
        default_text="none",
        is_hidden=True,
    ),
    Argument(
        "add_previous_output",
        Boolean(),
        "whether the environment has STDOUT and STDERR, the outputs of the last run",
        default=False,
    ),
    Argument(
        "log",
        Choice(("last", "all")),
        'while the script runs: "last" shows the last line of its output on a terminal, "all" logs every line',
        default="last",
    ),
    Argument(
        "expected_exit_codes",
        ListOf(WholeNumber(_EXIT_CODES, _LOWEST_EXIT_CODE, _HIGHEST_EXIT_CODE), _EXIT_CODES, may_be_empty=False),
        "the exit codes that are a success",
        default=[0],
    ),
    Argument(
        "output_limit",
        WholeNumber(f"a number of bytes, 0 to {OUTPUT_MAXIMUM}, for example {OUTPUT_LIMIT}", 0, OUTPUT_MAXIMUM),
        "the bytes of stdout, and of stderr, that are kept",
        default=OUTPUT_LIMIT,
    ),
    _CONFIG_NAMESPACE,
)
"""Every argument of GuestScript."""

FILE: Sequence[Argument] = (
    _VM,
    Argument(
        "path",
        Text(
            "an absolute path in the guest, for example /etc/motd or C:\\motd.txt",
            _fault_unless(lambda path: _is_clean(path) and _ABSOLUTE.fullmatch(path) is not None),
        ),
        "where the file is in the guest",
        Effect.REPLACES,
        is_required=True,
        default_text="required",
    ),
    Argument(
        "content",
        Text("the file's text", lambda _: None),
        "the file's text",
        Effect.ACTS_AGAIN,
        default_text="`source`",
        is_hidden=True,
    ),
    Argument(
        "source",
        _Source(),
        "a local file, or a directory or an archive that becomes a directory",
        default_text="`content`",
    ),
    Argument(
        "permissions",
        Text(
            f'three octal digits, for example "{PERMISSIONS}"',
            _fault_unless(lambda text: re.fullmatch("0?[0-7]{3}", text) is not None),
        ),
        "the file's mode; Windows takes none",
        Effect.ACTS_AGAIN,
        default=PERMISSIONS,
    ),
    Argument(
        "owner",
        Text(
            'a user, or user and group, for example "www-data" or "1000:1000"',
            _fault_unless(lambda text: _OWNER.fullmatch(text) is not None),
        ),
        "the file's owner; Windows takes none",
        Effect.ACTS_AGAIN,
        default_text="`username`",
    ),
    *_SHARED,
    _CONFIG_NAMESPACE,
)
"""Every argument of GuestFile."""
