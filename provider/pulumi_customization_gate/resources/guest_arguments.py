"""Every rule about the inputs of guest scripts and guest files; opens no connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_customization_gate.core.durations import seconds_of
from pulumi_customization_gate.core.errors import ConfigurationError, InvalidReferenceError
from pulumi_customization_gate.resources.arguments import SHORTEST_TIMEOUT
from pulumi_customization_gate.resources.input_problems import (
    BadInput,
    IsUnknown,
    is_left_out,
    is_list,
    is_whole,
    reject,
    shown,
)
from pulumi_customization_gate.resources.settings import OWN_NAMESPACE, VSPHERE_NAMESPACE, Config
from pulumi_customization_gate.vsphere.guest.operations import GuestCredentials
from pulumi_customization_gate.vsphere.guest.program import OUTPUT_LIMIT, OUTPUT_MAXIMUM, Script, argument_problems
from pulumi_customization_gate.vsphere.inventory import parse_reference

TIMEOUT = 600.0
"""The default of `timeout` in seconds."""
PERMISSIONS = "0600"
"""The default of a file's mode."""
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_ABSOLUTE = re.compile(r"/.*[^/]|[A-Za-z]:[\\/].*[^\\/]|\\\\.*[^\\]", re.DOTALL)
_HIGHEST_EXIT_CODE = 2**32 - 1

_CREDENTIALS = (("username", "guestUser", "GUEST_USER"), ("password", "guestPassword", "GUEST_PASSWORD"))


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
    def of(cls, inputs: Mapping[str, Any]) -> GuestScriptArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that preview did not know.
        """
        reject(script_problems(inputs, lambda _: False), inputs)

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
            timeout=timeout_of(inputs),
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
        reject(file_problems(inputs, lambda _: False), inputs)
        content = inputs.get("content")
        return cls(
            path=inputs["path"],
            content=Path(inputs["source"]) if content is None else content.encode(),
            permissions=int(cls.permissions_of(inputs), 8),
            timeout=timeout_of(inputs),
        )

    @staticmethod
    def permissions_of(inputs: Mapping[str, Any]) -> str:
        """Returns the mode, in octal digits."""
        return str(inputs.get("permissions") or PERMISSIONS)


def timeout_of(inputs: Mapping[str, Any]) -> float:
    """Returns the seconds for all of it."""
    return seconds_of(inputs.get("timeout") or TIMEOUT)


def expected_exit_codes(inputs: Mapping[str, Any]) -> frozenset[int]:
    """Returns the exit codes that are fine, without a sign: Windows means -1 and 4294967295 as one."""
    return frozenset(int(code) % 2**32 for code in inputs.get("expected_exit_codes") or (0,))


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
        raise ConfigurationError(f"no guest credentials configured: set {'; and '.join(missing)}")
    return GuestCredentials(*found)


def script_problems(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[BadInput]:
    """Yields what is wrong with the inputs of a guest script; what preview does not know yet is not wrong."""
    yield from _common(inputs, is_unknown)
    yield from _text("script", inputs.get("script"), is_unknown, example='"systemctl restart nginx"')
    for name, example in (
        ("interpreter", '"bash", "powershell", "cmd" or "/usr/bin/python3"'),
        ("working_directory", '"/srv"'),
        ("on_update", '"systemctl reload nginx"'),
        ("on_delete", '"systemctl stop nginx"'),
    ):
        if inputs.get(name) is not None:
            yield from _text(name, inputs[name], is_unknown, example=example)
    yield from _items(
        "arguments", inputs.get("arguments"), is_unknown, _is_clean, 'a list of strings, for example ["--port", "8080"]'
    )
    if is_list(inputs.get("arguments")) and isinstance(inputs.get("interpreter"), str):
        for number, expected in argument_problems(inputs["interpreter"], inputs["arguments"]):
            yield BadInput("arguments", expected, place=f"[{number}]")
    yield from _environment(inputs.get("environment"), is_unknown)
    stdin = inputs.get("stdin")
    if not is_left_out(stdin, is_unknown) and not isinstance(stdin, str):
        yield BadInput("stdin", "the text that the script reads", stdin)
    adds = inputs.get("add_previous_output")
    if not is_left_out(adds, is_unknown) and not isinstance(adds, bool):
        yield BadInput("add_previous_output", "true or false", adds)
    codes, wanted = inputs.get("expected_exit_codes"), "a list of whole numbers, for example [0, 3010]"
    yield from _items("expected_exit_codes", codes, is_unknown, _is_code, wanted)
    if is_list(codes) and not codes:
        yield BadInput("expected_exit_codes", wanted, codes)
    limit = inputs.get("output_limit")
    if not is_left_out(limit, is_unknown) and not is_whole(limit, 0, OUTPUT_MAXIMUM):
        yield BadInput("output_limit", f"a number of bytes, 0 to {OUTPUT_MAXIMUM}, for example {OUTPUT_LIMIT}", limit)


def file_problems(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[BadInput]:
    """Yields what is wrong with the inputs of a guest file; what preview does not know yet is not wrong."""
    yield from _common(inputs, is_unknown)
    path = inputs.get("path")
    if not is_unknown(path) and not (isinstance(path, str) and _is_clean(path) and _ABSOLUTE.fullmatch(path)):
        yield BadInput("path", "an absolute path in the guest, for example /etc/motd or C:\\motd.txt", path)
    content, source = inputs.get("content"), inputs.get("source")
    if content is None and source is None:
        yield BadInput("content", "the file's text, or a local file as source", None)
    if not is_left_out(content, is_unknown) and not isinstance(content, str):
        yield BadInput("content", "the file's text", content)
    if not is_left_out(source, is_unknown) and not (isinstance(source, str) and _is_file(source)):
        yield BadInput("source", "the path of a local file that exists", source)
    permissions = inputs.get("permissions")
    is_mode = isinstance(permissions, str) and re.fullmatch("0?[0-7]{3}", permissions)
    if not is_left_out(permissions, is_unknown) and not is_mode:
        yield BadInput("permissions", f'three octal digits, for example "{PERMISSIONS}"', permissions)


def _environment(environment: object, is_unknown: IsUnknown) -> Iterator[BadInput]:
    """Judges the variables; no message shows a value, also not one that is part of a name, as in "TOKEN=..."."""
    if is_left_out(environment, is_unknown):
        return
    if not isinstance(environment, Mapping):
        yield BadInput("environment", 'a map of strings by name, for example {"PORT": "8080"}', environment)
        return
    for name, value in environment.items():
        place = f"[{shown(str(name).partition('=')[0])}]"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield BadInput("environment", 'a name of letters, digits and _, for example "PORT"', place=place)
        elif not is_unknown(value) and not _is_clean(value):
            yield BadInput("environment", 'a string without NUL, for example "8080"', value, place)


def _common(inputs: Mapping[str, Any], is_unknown: IsUnknown) -> Iterator[BadInput]:
    """Yields what is wrong with the inputs that scripts and files have in common."""
    vm = inputs.get("vm")
    if not is_unknown(vm) and not isinstance(vm, str):
        yield BadInput("vm", "a VM's reference, for example gate.after(web.moid)", vm)
    elif isinstance(vm, str) and not is_unknown(vm):
        try:
            parse_reference(vm)
        except InvalidReferenceError as error:
            yield BadInput("vm", error.expected, vm)
    for name, example in (("username", 'a user name, for example "Administrator"'), ("password", "a password")):
        value = inputs.get(name)
        if not is_left_out(value, is_unknown) and not (_is_clean(value) and value):
            yield BadInput(name, f"{example}, or nothing, and then it is read from config", value)
    yield from _timeout(inputs.get("timeout"), is_unknown)
    namespace = inputs.get("config_namespace")
    is_name = isinstance(namespace, str) and _is_clean(namespace) and namespace and ":" not in namespace
    if not is_left_out(namespace, is_unknown) and not is_name:
        yield BadInput("config_namespace", 'a namespace of stack config without a colon, for example "east"', namespace)
    triggers = inputs.get("triggers")
    if not is_left_out(triggers, is_unknown) and not isinstance(triggers, Mapping) and not is_list(triggers):
        yield BadInput("triggers", 'a list or a map of anything, for example {"image": "2026-11"}', triggers)


def _timeout(value: object, is_unknown: IsUnknown) -> Iterator[BadInput]:
    if is_left_out(value, is_unknown):
        return
    expected = f'{SHORTEST_TIMEOUT:g} or more seconds, or a duration, for example {TIMEOUT:g} or "15m"'
    try:
        if seconds_of(value) < SHORTEST_TIMEOUT:
            yield BadInput("timeout", expected, value)
    except ValueError:
        yield BadInput("timeout", expected, value)


def _text(name: str, value: object, is_unknown: IsUnknown, *, example: str) -> Iterator[BadInput]:
    if is_unknown(value) or (_is_clean(value) and isinstance(value, str) and value.strip()):
        return
    yield BadInput(name, f"a string that is not empty and has no NUL, for example {example}", value)


def _items(
    name: str, value: object, is_unknown: IsUnknown, is_good: Callable[[object], bool], expected: str
) -> Iterator[BadInput]:
    """Yields each wrong item of a list by its place."""
    if is_left_out(value, is_unknown):
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        yield BadInput(name, expected, value)
        return
    for number, item in enumerate(value):
        if not is_unknown(item) and not is_good(item):
            yield BadInput(name, expected, item, f"[{number}]")


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False  # too long for a path, in a folder that may not be read, or with a NUL


def _is_clean(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_code(value: Any) -> bool:
    return is_whole(value, -(2**31), _HIGHEST_EXIT_CODE)
