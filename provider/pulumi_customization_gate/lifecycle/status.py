"""The status of VMs now, for programs: what a gate would judge, without a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.judge_now import judge_now
from pulumi_customization_gate.core.status import FailureKind
from pulumi_customization_gate.lifecycle import gate
from pulumi_customization_gate.lifecycle.arguments import ARGUMENTS, GateArguments
from pulumi_customization_gate.lifecycle.gate_outputs import outputs_of, shown_result
from pulumi_customization_gate.lifecycle.gate_settings import settings_of
from pulumi_customization_gate.lifecycle.outputs import GATE_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi_customization_gate.config_lookup import Config

STATUS_ARGUMENTS = tuple(ARGUMENTS[name] for name in ("vms", "platform", "expect"))
"""The arguments, which mean what they mean for a gate."""
STATUS_OUTPUTS = tuple(
    output for output in GATE_OUTPUTS if output.name in {"ready", "statuses", "addresses", "results", "server"}
)
"""What is returned, in the form of a gate's outputs."""


def check(config: Config, inputs: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the inputs and what is missing of the settings; opens no connection."""
    return gate.check(config, inputs)


def judge(config: Config, inputs: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Returns the outputs that a gate would have now. A customization that has not ended is not a failure.

    Args:
        config: The settings.
        inputs: The inputs, without problems.
        cancelled: Whether the user has cancelled the work.

    Raises:
        ServerError: If the server cannot be used.
        ConfigurationError: If a reference is ambiguous.
    """
    settings = settings_of(config, inputs)
    arguments = GateArguments.of(inputs, settings)
    source = arguments.platform.source(settings, arguments.targets)
    report = judge_now(source, requires_customization=arguments.rules.requires_customization, cancelled=cancelled)
    if report.fatal_error is not None:
        raise report.fatal_error
    results = []
    for outcome in report.outcomes:
        result = shown_result(outcome, inputs)
        if outcome.failure is not None and outcome.failure.kind is FailureKind.UNFINISHED:
            result["failure"] = None
        results.append((outcome.key if arguments.has_keys else None, result))
    server = {"address": settings.address, "id": source.server_id}
    outputs = outputs_of(results, arguments, wait_seconds=report.wait_seconds, opened_at="", server=server)
    return {output.name: outputs[output.name] for output in STATUS_OUTPUTS}
