"""What a gate would meet on a server, for programs: whether it can work, before anything is cloned."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.findings import Check, State
from pulumi_customization_gate.lifecycle.arguments import ARGUMENTS, namespace_of, platform_of
from pulumi_customization_gate.lifecycle.collection_types import ListOf
from pulumi_customization_gate.lifecycle.description import Argument
from pulumi_customization_gate.lifecycle.gate_settings import settings_of
from pulumi_customization_gate.lifecycle.inputs import BadInput, reasons
from pulumi_customization_gate.lifecycle.outputs import Fields, ListTo, Output
from pulumi_customization_gate.lifecycle.value_types import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pulumi_customization_gate.config_lookup import Config

_VMS = 'a list of references, names or patterns of VMs, for example ["web-*"]'
PREFLIGHT_ARGUMENTS = (
    Argument("vms", ListOf(Text(_VMS), _VMS), "IDs, UUIDs, names, paths or patterns of VMs", default_text="none"),
    ARGUMENTS["platform"],
    Argument(
        "folder",
        Text('the inventory path of a folder, for example "/Datacenter/vm/web"'),
        "the folder into which VMs will be cloned; vSphere only",
        default_text="none",
    ),
    Argument(
        "template",
        Text('the name, path or ID of a template, for example "ubuntu-24.04"'),
        "the template, or the VM, that will be cloned; vSphere only",
        default_text="none",
    ),
)
"""The arguments."""
_FINDING = Fields(
    "Finding",
    "The result of one check.",
    (
        Output("check", Check, "what was checked"),
        Output("state", State, "the result"),
        Output("subject", str, "the server, VM, host or folder"),
        Output("message", str, "what was found"),
        Output("remedy", str, "what to do; empty if there is nothing to do"),
    ),
)
PREFLIGHT_OUTPUTS = (
    Output("ok", bool, "whether a gate can work: no check has failed"),
    Output("findings", ListTo(_FINDING), "the results of the checks, in their order"),
)
"""What is returned."""


def check(config: Config, inputs: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the inputs and what is missing of the settings; opens no connection."""
    try:
        settings_of(config, inputs)
    except ConfigurationError as error:
        return [str(error)]
    return reasons(_problems(inputs), inputs)


def _problems(inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    for argument in PREFLIGHT_ARGUMENTS:
        yield from argument.problems(inputs)
    platform = platform_of(inputs)
    for name in ("folder", "template"):
        if platform is not None and not platform.reports_guests and inputs.get(name) is not None:
            yield BadInput(name, "nothing on Cloud Director", inputs[name])


def look(config: Config, inputs: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Returns what was found.

    Args:
        config: The settings.
        inputs: The inputs, without problems.
        cancelled: Whether the user has cancelled the work.
    """
    platform = platform_of(inputs)
    assert platform is not None
    more = {name: inputs[name] for name in ("folder", "template") if inputs.get(name)}
    if platform.reports_guests:
        from pulumi_customization_gate.lifecycle.guest_arguments import (  # noqa: PLC0415 -- it needs a client library
            credentials,
        )

        with contextlib.suppress(ConfigurationError):  # Without them less is looked at.
            namespace = {"config_namespace": namespace_of(inputs)}
            more["guest_credentials"] = credentials(namespace, config, os.environ, has_inputs=False)
    findings = []
    for finding in platform.preflight(settings_of(config, inputs), inputs.get("vms") or (), **more):
        findings.append(
            {
                "check": finding.check.value,
                "state": finding.state.value,
                "subject": finding.subject,
                "message": finding.message,
                "remedy": finding.remedy,
            }
        )
        if cancelled():
            break
    return {"ok": all(finding["state"] != State.FAILED.value for finding in findings), "findings": findings}
