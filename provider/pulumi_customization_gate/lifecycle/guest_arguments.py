"""The arguments of GuestScript and GuestFile, read once into what their work needs. Opens no connection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.config_lookup import OWN_NAMESPACE, PLUGIN_NAMESPACE, Config
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.guest_description import FILE, PERMISSIONS, SCRIPT
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS
from pulumi_customization_gate.lifecycle.inputs import BadInput, is_list, reject
from pulumi_customization_gate.lifecycle.value_types import seconds_or_none
from pulumi_customization_gate.platforms import VSPHERE
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.program import OUTPUT_LIMIT, Script, argument_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_TIMEOUT = 600.0
"""Seconds for all work in the guest where neither `timeout` nor `custom_timeouts` is given."""


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
    reads_environment = is_default or namespace == PLUGIN_NAMESPACE
    found, missing = [], []
    for name, key, variable in (
        ("username", "guestUser", "GUEST_USER"),
        ("password", "guestPassword", "GUEST_PASSWORD"),
    ):
        setting = f"{OWN_NAMESPACE if is_default else namespace}:{key}"
        # With two vCenters the environment could not say which one's guests it means.
        value = inputs.get(name) or config(setting) or (environment.get(variable) if reads_environment else None) or ""
        found.append(str(value))
        if not value:
            by_input = f"`{name}`, " if has_inputs else ""
            missing.append(f"{by_input}config `{setting}`" + (f" or {variable}" if reads_environment else ""))
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
