"""The arguments of GuestScript and GuestFile: described once, and read once. Opens no connection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.config_lookup import OWN_NAMESPACE, Config
from pulumi_customization_gate.core.errors import ConfigurationError, InvalidReferenceError
from pulumi_customization_gate.lifecycle.arguments import NAMESPACE, TRIGGERS
from pulumi_customization_gate.lifecycle.description import (
    Argument,
    Boolean,
    Choice,
    Duration,
    Effect,
    ListOf,
    MapOf,
    Text,
    Type,
    WholeNumber,
    Wrong,
    seconds_or_none,
)
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS, is_there
from pulumi_customization_gate.lifecycle.inputs import BadInput, is_list, reject
from pulumi_customization_gate.platforms import VSPHERE
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.program import OUTPUT_LIMIT, OUTPUT_MAXIMUM, Script, argument_problems
from pulumi_customization_gate.vsphere.references import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_TIMEOUT = 600.0
"""Seconds for all work in the guest where neither `timeout` nor `custom_timeouts` is given."""
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
        return str


_ARGUMENTS = 'a list of strings, for example ["--port", "8080"]'
_EXIT_CODES = "a list of whole numbers, for example [0, 3010]"

_VM = Argument(
    "vm",
    _VmReference(),
    "the VM: a reference, usually `gate.after(vm.moid)`",
    Effect.REPLACES,
    is_required=True,
    default_text="required",
)
_SHARED: Sequence[Argument] = (
    Argument(
        "username",
        _credential('a user name, for example "Administrator"'),
        "the user who works in the guest",
        default_text="`customization:guestUser`, else GUEST_USER",
    ),
    Argument(
        "password",
        _credential("a password"),
        "the password of that user",
        default_text="`customization:guestPassword`, else GUEST_PASSWORD",
        is_hidden=True,
    ),
    Argument(
        "timeout",
        Duration("10m", least=1),
        "the time for all work in the guest, in seconds or as a duration",
        default_text="`custom_timeouts`, else 600",
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


@dataclass(frozen=True)
class GuestScriptArguments:
    """The arguments of a guest script, checked and with their defaults."""

    vm: str
    config_namespace: str
    script: Script
    on_update: Script | None
    on_delete: Script | None
    timeout: float
    expected_exit_codes: frozenset[int]

    @classmethod
    def of(cls, inputs: Mapping[str, Any], custom_timeout: float = 0) -> GuestScriptArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Args:
            inputs: The inputs as the engine gives them.
            custom_timeout: The resource's `custom_timeouts` in seconds, which count where `timeout` is not given.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that a preview did not know.
        """
        reject(script_problems(inputs), inputs)

        def script(name: str) -> Script:
            return Script(
                text=inputs[name],
                interpreter=inputs.get("interpreter") or "",
                arguments=tuple(inputs.get("arguments") or ()),
                environment=dict(inputs.get("environment") or {}),
                working_directory=inputs.get("working_directory") or "",
                output_limit=int(OUTPUT_LIMIT if inputs.get("output_limit") is None else inputs["output_limit"]),
                stdin="" if name == "on_delete" else inputs.get("stdin") or "",
            )

        return cls(
            vm=inputs["vm"],
            config_namespace=namespace_of(inputs),
            script=script("script"),
            on_update=script("on_update") if inputs.get("on_update") else None,
            on_delete=script("on_delete") if inputs.get("on_delete") else None,
            timeout=timeout_of(inputs, custom_timeout),
            expected_exit_codes=expected_exit_codes(inputs),
        )


@dataclass(frozen=True)
class GuestFileArguments:
    """The arguments of a guest file, checked and with their defaults."""

    path: str
    content: bytes | Path | None
    """What the file holds, or the local file that does; None for a directory."""
    permissions: int
    owner: str
    """A user, or user and group with a colon between them; empty for the user who works in the guest."""
    timeout: float

    @classmethod
    def of(cls, inputs: Mapping[str, Any], custom_timeout: float = 0) -> GuestFileArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Args:
            inputs: The inputs as the engine gives them.
            custom_timeout: The resource's `custom_timeouts` in seconds, which count where `timeout` is not given.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that a preview did not know.
        """
        reject(file_problems(inputs), inputs)
        content = None
        if inputs.get("files") is None:
            text = inputs.get("content")
            content = Path(inputs["source"]) if text is None else text.encode()
        return cls(
            path=inputs["path"],
            content=content,
            permissions=int(permissions_of(inputs), 8),
            owner=str(inputs.get("owner") or ""),
            timeout=timeout_of(inputs, custom_timeout),
        )


def permissions_of(inputs: Mapping[str, Any]) -> str:
    """Returns a file's mode, in octal digits."""
    return str(inputs.get("permissions") or PERMISSIONS)


def timeout_of(inputs: Mapping[str, Any], custom_timeout: float = 0) -> float:
    """Returns the seconds for all work in the guest."""
    return seconds_or_none(inputs.get("timeout")) or custom_timeout or DEFAULT_TIMEOUT


def expected_exit_codes(inputs: Mapping[str, Any]) -> frozenset[int]:
    """Returns the exit codes that are a success, without a sign: Windows means -1 and 4294967295 as one."""
    return frozenset(int(code) % 2**32 for code in inputs.get("expected_exit_codes") or (0,))


def namespace_of(inputs: Mapping[str, Any]) -> str:
    """Returns the config namespace of the vCenter."""
    return str(inputs.get("config_namespace") or VSPHERE.default_namespace)


def credentials(
    inputs: Mapping[str, Any], config: Config, environment: Mapping[str, str], *, has_inputs: bool = True
) -> GuestCredentials:
    """Returns who works in the guest: by the inputs, else by config, else by the environment.

    Args:
        inputs: The resource's inputs.
        config: The stack's config.
        environment: The variables of the environment.
        has_inputs: Whether the resource takes `username` and `password`.

    Raises:
        ConfigurationError: If something is missing, naming the input, the config key and the environment variable.
    """
    namespace = namespace_of(inputs)
    is_default = namespace == VSPHERE.default_namespace
    found, missing = [], []
    for name, key, variable in (
        ("username", "guestUser", "GUEST_USER"),
        ("password", "guestPassword", "GUEST_PASSWORD"),
    ):
        setting = f"{OWN_NAMESPACE if is_default else namespace}:{key}"
        # With two vCenters the environment could not say which one's guests it means.
        value = inputs.get(name) or config(setting) or (environment.get(variable) if is_default else None) or ""
        found.append(str(value))
        if not value:
            by_input = f"`{name}`, " if has_inputs else ""
            missing.append(f"{by_input}config `{setting}`" + (f" or {variable}" if is_default else ""))
    if missing:
        raise ConfigurationError(f"no guest credentials configured: set {'; and '.join(missing)}")
    return GuestCredentials(*found)


def script_problems(inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    """Yields what is wrong with the inputs of a guest script."""
    for argument in SCRIPT:
        yield from argument.problems(inputs)
    interpreter, arguments = inputs.get("interpreter"), inputs.get("arguments")
    if isinstance(arguments, Sequence) and is_list(arguments) and isinstance(interpreter, str):
        for number, expected in argument_problems(interpreter, arguments):
            yield BadInput("arguments", expected, place=f"[{number}]")


def file_problems(inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    """Yields what is wrong with the inputs of a guest file."""
    for argument in FILE:
        yield from argument.problems(inputs)
    path, owner = inputs.get("path"), inputs.get("owner")
    if owner is not None and not is_unknown(owner) and isinstance(path, str) and re.match(r"[A-Za-z]:|\\", path):
        yield BadInput("owner", "no owner for a path on Windows, where a file belongs to the user who writes it", owner)
    if all(inputs.get(name) is None for name in ("content", "source", TEXTS)):
        yield BadInput("content", "the file's text, or a local file as source", None)
