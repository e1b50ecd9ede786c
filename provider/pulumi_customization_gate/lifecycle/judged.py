"""What an earlier wait of a gate has stored, and whether its VMs are still the ones that the gate is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.lifecycle.arguments import examine, platform_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_customization_gate.core.model import Target
    from pulumi_customization_gate.lifecycle.engine import Engine

_NOTHING_KNOWN = dict.fromkeys(
    (
        "instance_uuid",
        "evidence",
        "powered_on_at",
        "started_at",
        "completed_at",
        "ready_at",
        "customization_seconds",
        "failure",
        "accepted",
    )
)
"""What a result says where nothing is known."""


def stored_results(outputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the results of an earlier wait; the engine leaves out what is None, and a program may ask for it."""
    return {key: {**_NOTHING_KNOWN, **result} for key, result in (outputs.get("results") or {}).items()}


def identities(olds: Mapping[str, Any]) -> dict[str, Identity]:
    """Returns what was known of the identities of the VMs that were judged, by their identifiers."""
    server = (olds.get("server") or {}).get("id") or ""
    return {r["moid"]: Identity(server, r["instance_uuid"] or "") for r in stored_results(olds).values()}


def is_elsewhere(olds: Mapping[str, Any], settings: Any) -> bool:
    """Whether the settings name another server than the one on which the VMs were judged, as far as both are known."""
    judged_on = (olds.get("server") or {}).get("address")
    return bool(judged_on) and settings is not None and settings.address != judged_on


def without_ids(inputs: Mapping[str, Any], settings: Any) -> list[Target[Any]]:
    """Returns what names VMs that only the server knows: another VM may be behind it by now."""
    return [target for target in examine(inputs, settings)[1] if target.reference.vm_id is None]


def are_others(engine: Engine, settings: Any, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether VMs are others than those that were judged: on another server, or behind their references.

    The server is asked only about references without identifiers. One that does not answer is a warning: a preview
    must work without it.

    Args:
        engine: The engine.
        settings: The platform's settings, None where they are not known.
        olds: The outputs of the last wait.
        news: The inputs.

    Raises:
        ConfigurationError: If a reference names two VMs by now.
    """
    if is_elsewhere(olds, settings):
        return True
    platform, (_, targets) = platform_of(news), examine(news, settings)
    asked = [target for target in targets if target.reference.vm_id is None]
    if not asked or platform is None or settings is None:
        return False
    stored = stored_results(olds)
    judged = {result["moid"]: result["instance_uuid"] or "" for result in stored.values()}
    try:
        named = platform.named_now(settings, [target.reference for target in asked], list(judged))
    except ServerError as error:
        engine.log(f"cannot check whether the references in vms still name the same VMs: {error}", warning=True)
        return False
    now = {target.reference.vm_id: "" for target in targets if target.reference.vm_id is not None}
    for target, vms in zip(asked, named, strict=True):
        now.update(vms)
        if target.key in stored and stored[target.key]["moid"] not in vms:
            return True  # Two paths may have exchanged their VMs.
    return now.keys() != judged.keys() or any(
        Identity(instance_uuid=uuid).differs(Identity(instance_uuid=judged[vm])) for vm, uuid in now.items()
    )
