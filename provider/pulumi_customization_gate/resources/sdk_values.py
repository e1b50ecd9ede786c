"""What passes between the SDK's dynamic providers and a lifecycle, in the form of the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi.dynamic import CheckFailure, DiffResult
from pulumi.output import Unknown
from pulumi.runtime import rpc

from pulumi_customization_gate.lifecycle.engine import UNKNOWN, Difference
from pulumi_customization_gate.lifecycle.inputs import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def is_unknown(value: object) -> bool:
    """Whether an input will only be known when the resources it comes from are there."""
    return isinstance(value, Unknown) or value == rpc.UNKNOWN


def with_unknowns_marked(value: Any) -> Any:
    """Returns inputs as a lifecycle takes them: UNKNOWN in the place of each unknown value."""
    if is_unknown(value):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: with_unknowns_marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_unknowns_marked(item) for item in value]
    return value


def failures(reasons: Iterable[str], inputs: Mapping[str, Any]) -> list[CheckFailure]:
    """Returns what `check` fails with. None names a property: the engine would print its value, secret or not."""
    return [CheckFailure("", without_secrets(reason, inputs)) for reason in reasons]


def diff_result(difference: Difference) -> DiffResult:
    """Returns a lifecycle's difference in the SDK's form."""
    return DiffResult(
        changes=difference.changes,
        replaces=list(difference.replaces),
        delete_before_replace=difference.delete_before_replace,
    )
