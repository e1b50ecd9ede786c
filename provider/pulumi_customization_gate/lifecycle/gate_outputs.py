"""The outputs of a gate, made from the results of its VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.addresses import first_usable
from pulumi_customization_gate.core.results import by_key, result_of
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.lifecycle.acceptance import has_failed
from pulumi_customization_gate.lifecycle.inputs import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi_customization_gate.core.model import VmOutcome
    from pulumi_customization_gate.lifecycle.arguments import GateArguments

_SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED.value
_NOT_CUSTOMIZED = CustomizationStatus.NOT_CUSTOMIZED.value


def shown_result(outcome: VmOutcome, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an outcome as it is stored; a failure may quote a secret that a check was given."""
    result = result_of(outcome)
    result["accepted"] = result["accepted"] and without_secrets(result["accepted"], inputs)
    if result["failure"]:
        result["failure"] = {
            name: [without_secrets(line, inputs) for line in value]
            if isinstance(value, list)
            else without_secrets(value, inputs)
            for name, value in result["failure"].items()
        }
    return result


def is_ready(result: Mapping[str, Any], *, requires_customization: bool) -> bool:
    """Whether a stored result is that of a VM that is ready.

    Args:
        result: The result, as it is stored.
        requires_customization: Whether a VM without a customization is a failure.
    """
    status = result.get("status")
    is_customized = status == _SUCCEEDED or (status == _NOT_CUSTOMIZED and not requires_customization)
    return (is_customized and not result.get("failure")) or (bool(result.get("accepted")) and has_failed(result))


def outputs_of(
    results: Sequence[tuple[str | None, Mapping[str, Any]]],
    arguments: GateArguments,
    *,
    wait_seconds: float,
    opened_at: str,
    server: object,
) -> dict[str, Any]:
    """Returns the outputs by the user's keys; for a list by name, or by ID where two VMs share a name."""
    keyed = by_key(results)
    required = arguments.rules.requires_customization
    return {
        "ready": all(is_ready(result, requires_customization=required) for result in keyed.values()),
        "statuses": {key: result["status"] for key, result in keyed.items()},
        "addresses": {
            key: address for key, result in keyed.items() if (address := first_usable(result.get("ip_addresses") or ()))
        },
        "results": keyed,
        "wait_seconds": round(wait_seconds, 3),
        "opened_at": opened_at,
        "server": server,
    }
