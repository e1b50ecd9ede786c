"""Every rule about the inputs of guest scripts and guest files; opens no connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.resources.settings import OWN_NAMESPACE, VSPHERE_NAMESPACE, Config
from pulumi_customization_gate.vsphere.guest.operations import GuestCredentials
from pulumi_customization_gate.vsphere.guest.program import OUTPUT_LIMIT, Script
from pulumi_customization_gate.vsphere.inventory import parse_reference

if TYPE_CHECKING:
    from pulumi_customization_gate.resources.arguments import Problem

TIMEOUT = 600.0
"""The default of `timeout` in seconds."""
PERMISSIONS = "0600"
"""The default of a file's mode."""
LARGEST_OUTPUT = 1024 * 1024
"""Bytes of each output that a stack's state is asked to carry at most."""
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ABSOLUTE = re.compile(r"/.*[^/]|[A-Za-z]:[\\/].*[^\\/]|\\\\.*[^\\]", re.DOTALL)
_HIGHEST_EXIT_CODE = 2**32 - 1

_CREDENTIALS = (("username", "guestUser", "GUEST_USER"), ("password", "guestPassword", "GUEST_PASSWORD"))

IsUnknown = Callable[[object], bool]


@dataclass(frozen=True)
class GuestScriptArguments:
    """The arguments of a guest script, checked and with their defaults."""

    vm: str
    config_namespace: str
    script: Script
    on_delete: Script | None
    timeout: float
    expected_exit_codes: frozenset[int]

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> GuestScriptArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that preview did not know.
        """
        _refuse(script_problems(inputs, lambda _: False))

        def script(text: str) -> Script:
            return Script(
                text=text,
                interpreter=inputs.get("interpreter") or "",
                arguments=tuple(inputs.get("arguments") or ()),
                environment=dict(inputs.get("environment") or {}),
                working_directory=inputs.get("working_directory") or "",
                output_limit=int(OUTPUT_LIMIT if inputs.get("output_limit") is None else inputs["output_limit"]),
            )

        return cls(
            vm=inputs["vm"],
            config_namespace=namespace_of(inputs),
            script=script(inputs["script"]),
            on_delete=script(inputs["on_delete"]) if inputs.get("on_delete") else None,
            timeout=float(inputs.get("timeout") or TIMEOUT),
            expected_exit_codes=expected_exit_codes(inputs),
        )


@dataclass(frozen=True)
class GuestFileArguments:
    """The arguments of a guest file, checked and with their defaults."""

    path: str
    content: bytes | Path
    """What the file holds, or the local file that does."""
    permissions: int
    timeout: float

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> GuestFileArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that preview did not know.
        """
        _refuse(file_problems(inputs, lambda _: False))
        content = inputs.get("content")
        return cls(
            path=inputs["path"],
            content=Path(inputs["source"]) if content is None else content.encode(),
            permissions=int(cls.permissions_of(inputs), 8),
            timeout=cls.timeout_of(inputs),
        )

    @staticmethod
    def permissions_of(inputs: Mapping[str, Any]) -> str:
        """Returns the mode, in octal digits."""
        return str(inputs.get("permissions") or PERMISSIONS)

    @staticmethod
    def timeout_of(inputs: Mapping[str, Any]) -> float:
        """Returns the seconds for all of it."""
        return float(inputs.get("timeout") or TIMEOUT)


def expected_exit_codes(inputs: Mapping[str, Any]) -> frozenset[int]:
    """Returns the exit codes that are fine."""
    return frozenset(map(int, inputs.get("expected_exit_codes") or (0,)))


def namespace_of(inputs: Mapping[str, Any]) -> str:
    """Returns the config namespace of the vCenter."""
    return str(inputs.get("config_namespace") or VSPHERE_NAMESPACE)


def credentials(inputs: Mapping[str, Any], config: Config, environment: Mapping[str, str]) -> GuestCredentials:
    """Returns who works in the guest: by the inputs, else by config, else by the environment.

    Raises:
        ConfigurationError: If something is missing, naming the input, the config key and the environment variable.
    """
    namespace = namespace_of(inputs)
    is_default = namespace == VSPHERE_NAMESPACE
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
            missing.append(f"`{name}`, config `{setting}`" + (f" or {variable}" if is_default else ""))
    if missing:
        raise ConfigurationError(f"nobody is named to work in the guest: give {'; and '.join(missing)}")
    return GuestCredentials(*found)


def script_problems(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[Problem]:
    """Yields what is wrong with the inputs of a guest script; what preview does not know yet is not wrong."""
    yield from _common(inputs, is_unknown)
    yield from _text("script", inputs.get("script"), is_unknown, example='"systemctl restart nginx"')
    for name, example in (
        ("interpreter", '"bash", "powershell", "cmd" or "/usr/bin/python3"'),
        ("working_directory", '"/srv"'),
        ("on_delete", '"systemctl stop nginx"'),
    ):
        if inputs.get(name) is not None:
            yield from _text(name, inputs[name], is_unknown, example=example)
    arguments = inputs.get("arguments")
    if not _is_left_out(arguments, is_unknown) and not _is_list(arguments, lambda a: is_unknown(a) or _is_clean(a)):
        yield "arguments", f'it is {arguments!r}; wanted is a list of strings, for example ["--port", "8080"]'
    yield from _environment(inputs.get("environment"), is_unknown)
    codes = inputs.get("expected_exit_codes")
    if not _is_left_out(codes, is_unknown) and not (codes and _is_list(codes, lambda c: is_unknown(c) or _is_code(c))):
        yield "expected_exit_codes", f"it is {codes!r}; wanted is a list of whole numbers, for example [0, 3010]"
    limit: Any = inputs.get("output_limit")
    if not _is_left_out(limit, is_unknown) and not (_is_whole(limit) and 0 <= limit <= LARGEST_OUTPUT):
        yield "output_limit", f"it is {limit!r}; wanted are bytes, 0 to {LARGEST_OUTPUT}, for example {OUTPUT_LIMIT}"


def file_problems(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[Problem]:
    """Yields what is wrong with the inputs of a guest file; what preview does not know yet is not wrong."""
    yield from _common(inputs, is_unknown)
    path = inputs.get("path")
    if not is_unknown(path) and not (isinstance(path, str) and _is_clean(path) and _ABSOLUTE.fullmatch(path)):
        yield "path", f"it is {path!r}; wanted is a path from the guest's root, for example /etc/motd or C:\\\\motd.txt"
    content, source = inputs.get("content"), inputs.get("source")
    if content is None and source is None:
        yield "content", "it is missing, and so is source; wanted is what the file holds, or a local file"
    if not _is_left_out(content, is_unknown) and not isinstance(content, str):
        yield "content", "it is no string; wanted is what the file holds"
    if not _is_left_out(source, is_unknown) and not (isinstance(source, str) and Path(source).is_file()):
        yield "source", f"there is no file {source!r} here; wanted is a local file"
    permissions = inputs.get("permissions")
    is_mode = isinstance(permissions, str) and re.fullmatch("0?[0-7]{3}", permissions)
    if not _is_left_out(permissions, is_unknown) and not is_mode:
        yield "permissions", f'it is {permissions!r}; wanted are three octal digits, for example "{PERMISSIONS}"'


def _environment(environment: object, is_unknown: IsUnknown) -> Iterator[Problem]:
    """Judges the variables; their values are secrets and stand in no message."""
    if _is_left_out(environment, is_unknown):
        return
    if not isinstance(environment, Mapping):
        yield "environment", 'it is no map; wanted are strings by name, for example {"PORT": "8080"}'
        return
    for name, value in environment.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield "environment", f'{name!r} is no name of a variable; wanted are letters, digits and _, such as "PORT"'
        elif not is_unknown(value) and not _is_clean(value):
            yield (
                "environment",
                f'the value of {name} is no string without NUL; wanted is such as {{"PORT": "8080"}}',
            )


def _common(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[Problem]:
    """Yields what is wrong with the inputs that scripts and files have in common."""
    vm = inputs.get("vm")
    if not is_unknown(vm) and not isinstance(vm, str):
        yield "vm", f"it is {vm!r}; wanted is a machine's reference, for example gate.after(web.moid)"
    elif not is_unknown(vm):
        try:
            parse_reference(str(vm))
        except ConfigurationError as error:
            yield "vm", str(error)
    for name, example in (("username", '"Administrator"'), ("password", "a string from config")):
        value = inputs.get(name)
        if not _is_left_out(value, is_unknown) and not (_is_clean(value) and value):
            yield name, f"it is no string with something in it; wanted is {example}, or nothing: then config counts"
    timeout: Any = inputs.get("timeout")
    if not _is_left_out(timeout, is_unknown) and not (_is_number(timeout) and 0 < timeout < float("inf")):
        yield "timeout", f"it is {timeout!r}; wanted is a number of seconds above 0, for example {TIMEOUT:g}"
    namespace = inputs.get("config_namespace")
    if not _is_left_out(namespace, is_unknown) and not (_is_clean(namespace) and namespace and ":" not in namespace):
        yield "config_namespace", f'it is {namespace!r}; wanted is a namespace of stack config, for example "east"'
    triggers = inputs.get("triggers")
    if not _is_left_out(triggers, is_unknown) and not isinstance(triggers, Mapping):
        yield "triggers", f'it is {triggers!r}; wanted is a map of anything, for example {{"image": "2026-11"}}'


def _text(name: str, value: object, is_unknown: IsUnknown, *, example: str) -> Iterator[Problem]:
    if is_unknown(value) or (_is_clean(value) and isinstance(value, str) and value.strip()):
        return
    # The value stays unsaid: a script may hold what nobody else should read.
    yield name, f"it is no string with something in it and without NUL; wanted is for example {example}"


def _refuse(problems: Iterator[Problem]) -> None:
    said = "\n".join(f"{name}: {reason}" for name, reason in problems)
    if said:
        raise ConfigurationError(said)


def _is_left_out(value: object, is_unknown: IsUnknown) -> bool:
    return value is None or is_unknown(value)


def _is_clean(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_list(value: object, is_good: Callable[[object], bool]) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(is_good, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _is_code(value: Any) -> bool:
    return _is_whole(value) and -(2**31) <= value <= _HIGHEST_EXIT_CODE
