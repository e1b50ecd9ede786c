"""Which failures a gate's `accept` covers: those that were stored when their reasons were given, and no later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.acceptance import Acceptance
from pulumi_customization_gate.core.status import CustomizationStatus, FailureKind
from pulumi_customization_gate.lifecycle.judged import stored_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pulumi_customization_gate.core.model import Target

_FAILED = CustomizationStatus.CUSTOMIZATION_FAILED.value


def accepted_failures(
    olds: Mapping[str, Any], news: Mapping[str, Any], targets: Iterable[Target[Any]]
) -> dict[str, Acceptance]:
    """Returns what is accepted, by the VMs' identifiers.

    A reason that is new covers the failure that is stored: whoever gave it has read of that one. A reason that was
    there before covers what it covered then. So a failure that comes after its reason needs another reason.

    Args:
        olds: The outputs of the last wait, with its inputs.
        news: The inputs.
        targets: The VMs that the inputs name.
    """
    stored, before = stored_results(olds), olds.get("accept") or {}
    key_of = {result["moid"]: key for key, result in stored.items()}
    keys = {target.key: key_of.get(target.reference.vm_id or "") for target in targets}
    found = {}
    for key, reason in (news.get("accept") or {}).items():
        old_key = keys.get(key) or key
        result = stored.get(old_key, {})
        is_new = has_failed(result) and before.get(old_key) != reason
        if is_new or result.get("accepted"):
            found[result["moid"]] = Acceptance(key, reason, result["completed_at"], result["instance_uuid"] or "")
    return found


def has_failed(result: Mapping[str, Any]) -> bool:
    """Whether a stored result says that the customization failed, and nothing else that is wrong."""
    kind = (result.get("failure") or {}).get("kind")
    return result.get("status") == _FAILED and kind == FailureKind.CUSTOMIZATION_FAILED.value


def warnings(accept: Mapping[str, str], results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields a sentence for each VM with an accepted failure, and for each reason that covers no failure of its VM."""
    for key, result in results.items():
        at = result.get("completed_at")
        if result.get("accepted"):
            yield f"{key}: the customization failed{f' at {at}' if at else ''}, accepted: {result['accepted']}"
        elif key in accept and has_failed(result):
            yield (
                f"{key}: accept does not cover this failure, which was not known when the reason was given; "
                "give another reason to accept it"
            )
