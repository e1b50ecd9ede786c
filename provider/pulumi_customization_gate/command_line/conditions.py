"""What must hold after a customization has succeeded: the options `--ready-when`, `--settle` and `--check`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from pulumi_customization_gate.core.durations import seconds_of
from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.command_line.connection import Access
    from pulumi_customization_gate.core.source import Readiness
    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials

_CHECK = "--check"
_ALL_VMS = "one condition for all VMs of the command"


def seconds(value: str | float | None) -> float | None:
    """Returns a time that was given as a number of seconds or as a duration.

    Raises:
        typer.BadParameter: If it is neither, or not positive.
    """
    if value is None:
        return None
    text = str(value).strip()
    try:
        given = seconds_of(text if text[-1:].isalpha() else float(text))
    except ValueError:
        given = math.nan
    if not (math.isfinite(given) and given > 0):
        raise typer.BadParameter(f'expected a positive number of seconds or a duration such as "30m", got {text!r}')
    return given


def checks_of(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the checks of the options, as a gate takes them.

    Args:
        texts: JSON as in a program, or the kind, and after a colon the value of its first option: `tcp_port:22`.

    Raises:
        typer.BadParameter: If one is not a check.
    """
    if not texts:
        return []
    from pulumi_customization_gate.lifecycle.arguments import ARGUMENTS  # noqa: PLC0415 -- `--help` does not need it

    checks = [_check(text) for text in texts]
    for problem in ARGUMENTS["checks"].problems({"checks": checks}):
        in_check = problem.place.partition("]")[2].removeprefix(".")
        difference = problem.difference(is_hidden=False)
        raise typer.BadParameter(f"{in_check}: {difference}" if in_check else difference, param_hint=_CHECK)
    for check, text in zip(checks, texts, strict=True):
        if "vms" in check or any(isinstance(value, Mapping) for value in check.values()):
            raise typer.BadParameter(f"expected {_ALL_VMS}, got {text}", param_hint=_CHECK)
    return checks


def readiness(
    access: Access, *, guest_operations: bool, settle: float, checks: Sequence[Mapping[str, Any]]
) -> Readiness | None:
    """Returns what says whether the guests are ready, None where being customized is enough.

    Raises:
        typer.BadParameter: If the platform does not report guests.
        ConfigurationError: If a setting is missing, or a check in the guests has no guest credentials.
    """
    if not (guest_operations or checks):
        return None
    make = access.platform.readiness
    if make is None:
        raise typer.BadParameter("Cloud Director does not report guests", param_hint="--check, --ready-when")
    from pulumi_customization_gate.lifecycle.checks import IN_GUEST  # noqa: PLC0415 -- `--help` does not need it

    credentials = guest_credentials() if any(check["kind"] in IN_GUEST for check in checks) else None
    return make(
        access.settings, guest_operations=guest_operations, settle=settle, checks=checks, guest_credentials=credentials
    )


def guest_credentials() -> GuestCredentials:
    """Returns who works in the guests, by the environment.

    Raises:
        ConfigurationError: If the environment has no guest credentials.
    """
    from pulumi_customization_gate.lifecycle.guest_arguments import (  # noqa: PLC0415 -- `--help` needs no client library
        credentials,
    )

    try:
        return credentials({}, lambda _: None, os.environ, has_inputs=False)
    except ConfigurationError:
        raise ConfigurationError("no guest credentials: set GUEST_USER and GUEST_PASSWORD") from None


def _check(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            given: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as error:
            raise typer.BadParameter(f"not readable JSON: {error.msg}: {text}", param_hint=_CHECK) from None
        return given
    from pulumi_customization_gate.lifecycle.checks import KINDS  # noqa: PLC0415 -- `--help` does not need it
    from pulumi_customization_gate.lifecycle.value_types import WholeChoice, WholeNumber  # noqa: PLC0415 -- the same

    kind, colon, value = text.partition(":")
    check: dict[str, Any] = {"kind": kind}
    record = next((record for record in KINDS if record.kind == kind), None)
    if colon and record is not None:
        first = record.fields[0]
        if first.name == "vms":
            raise typer.BadParameter(f"expected {kind!r} without a value, got {text!r}", param_hint=_CHECK)
        is_number = isinstance(first.type, WholeNumber | WholeChoice) and value.isdecimal()
        check[first.name] = int(value) if is_number else value
    return check
