"""The lifecycle of CustomizationGate: it waits in `create` and `update`.

Elsewhere it opens a connection only in `diff`, and only for references that the server alone can turn into VMs.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence
from pulumi_customization_gate.lifecycle.acceptance import accepted_failures
from pulumi_customization_gate.lifecycle.arguments import (
    GATE,
    examine,
    value_of,
)
from pulumi_customization_gate.lifecycle.description import Effect
from pulumi_customization_gate.lifecycle.engine import (
    UNKNOWN,
    Created,
    Difference,
    Engine,
)
from pulumi_customization_gate.lifecycle.gate_outputs import is_ready
from pulumi_customization_gate.lifecycle.gate_settings import guest_credentials_of, settings_of
from pulumi_customization_gate.lifecycle.gate_wait import judge
from pulumi_customization_gate.lifecycle.inputs import reasons, without_secrets
from pulumi_customization_gate.lifecycle.judged import are_others, is_elsewhere, stored_results, without_ids
from pulumi_customization_gate.lifecycle.outputs import GATE_INPUTS, GATE_OUTPUTS, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_customization_gate.config_lookup import Config

Inputs = dict[str, Any]

OUTPUTS = names(GATE_OUTPUTS)
PROPERTIES = (*GATE, *GATE_INPUTS, *GATE_OUTPUTS)
"""A description of each property, by which its name is spelled."""

_SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED.value


def check(config: Config, news: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the inputs and what is missing of the settings; opens no connection."""
    settings, missing = None, ""
    try:
        settings = settings_of(config, news)
        guest_credentials_of(config, news)
    except ConfigurationError as error:
        missing = str(error)
    problems, _ = examine(news, settings)
    if any(problem.argument in {"platform", "config_namespace"} for problem in problems):
        missing = ""  # What is missing for a server that cannot exist is not a mistake of its own.
    return [*filter(None, [missing]), *reasons(problems, news)]


def diff(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Difference:
    """Returns what new inputs change, and whether the gate's VMs are still those that were judged.

    Another platform or namespace of settings replaces the gate; any other change is an update, also another address
    of the server, and another VM behind a path or a UUID. The order of a list is not a change.
    """
    changed = _changed(olds, news)
    replaces = [name for name, effect in changed.items() if effect is Effect.REPLACES]
    if changed or _is_closed(olds):
        return Difference(changes=True, replaces=replaces)
    try:
        settings = settings_of(config, news)
    except ConfigurationError:
        return Difference(changes=False)  # `check` has reported it.
    return Difference(changes=are_others(engine, settings, olds, news))


def create(engine: Engine, config: Config, inputs: Inputs) -> Created:
    """Waits for all VMs.

    Raises:
        PartialFailureError: If the gate stays closed; it holds all outputs.
    """
    gate_id = secrets.token_hex(8)
    return Created(gate_id, judge(engine, config, gate_id, inputs, {}, {}))


def update(engine: Engine, config: Config, gate_id: str, olds: Mapping[str, Any], news: Inputs) -> Inputs:
    """Waits for the VMs that are new or were not ready, and returns all outputs.

    A VM that was ready is judged again if it is another VM now, or on another server. All VMs are judged if `triggers`
    changed, or if the conditions of readiness became stricter.

    Raises:
        PartialFailureError: If the gate stays closed; it holds all outputs.
    """
    settings = settings_of(config, news)
    if not _judges(olds, news, settings):
        return {**news, **_stored_outputs(olds)}
    effects = set(_changed(olds, news).values())
    stored = stored_results(olds)
    is_required = value_of(news, "expect") == "required"
    accepted = accepted_failures(olds, news, examine(news, settings)[1])
    # What is accepted for the first time is judged: it may have failed again, or be off.
    reasons_kept = {vm: without_secrets(acceptance.reason, news) for vm, acceptance in accepted.items()}
    carried = [
        {**result, "accepted": result["accepted"] and reasons_kept.get(result["moid"])} for result in stored.values()
    ]
    # The server has no record of these: that an earlier wait found them customized stays the only evidence.
    known = frozenset(result["moid"] for result in stored.values() if result["evidence"] == Evidence.STORED.value)
    ready = {result["moid"]: result for result in carried if is_ready(result, requires_customization=is_required)}
    if Effect.JUDGES_ALL in effects or not _implies(olds, news):
        customized = frozenset(moid for moid, result in ready.items() if result["status"] == _SUCCEEDED)
        return judge(engine, config, gate_id, news, olds, {}, customized | known)
    return judge(engine, config, gate_id, news, olds, ready, known - ready.keys())


def preview(config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Inputs:
    """Returns the outputs of an update as far as they are known before it: all of them where no VM will be judged."""
    if _judges(olds, news, settings_of(config, news)):
        return {**news, **dict.fromkeys(OUTPUTS, UNKNOWN)}
    return {**news, **_stored_outputs(olds)}


def read(outputs: Mapping[str, Any]) -> Inputs:
    """Returns what is stored: an opened gate stays open, a refresh does not judge again."""
    return {**outputs, "results": stored_results(outputs)}


def delete(_engine: Engine, _config: Config, _gate_id: str, _outputs: Mapping[str, Any]) -> None:
    """Does nothing: a gate leaves nothing on the server."""


def _judges(olds: Mapping[str, Any], news: Mapping[str, Any], settings: Any) -> bool:
    """Whether an update judges VMs, or looks whether they are still the same."""
    stores_only = set(_changed(olds, news).values()) <= {Effect.STORES}
    is_certain = not is_elsewhere(olds, settings) and not without_ids(news, settings)
    return not (stores_only and is_certain) or _is_closed(olds)


def _stored_outputs(olds: Mapping[str, Any]) -> Inputs:
    return {**{name: olds.get(name) for name in OUTPUTS}, "results": stored_results(olds)}


def _changed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Effect]:
    """Returns the arguments that have changed, and what that does."""
    return {
        argument.name: argument.effect
        for argument in GATE
        if value_of(olds, argument.name) != value_of(news, argument.name)
    }


def _is_closed(outputs: Mapping[str, Any]) -> bool:
    """Whether the gate is closed: with on_failure="report" that is left by a wait that was cut short."""
    is_reporting = value_of(outputs, "on_failure") == "report"
    return outputs.get("ready") is not True and not (is_reporting and outputs.get("opened_at"))


def _implies(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether a VM that was ready by the old inputs is so by the new ones."""
    old, new = (value_of(inputs, "ready_when") == "guest_operations" for inputs in (olds, news))
    known = olds.get("checks") or ()
    return old >= new and all(check in known for check in news.get("checks") or ())
