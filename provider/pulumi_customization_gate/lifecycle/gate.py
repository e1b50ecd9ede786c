"""The lifecycle of CustomizationGate: it waits in `create` and `update`.

Elsewhere it opens a connection only in `diff`, and only for references that the server alone can turn into VMs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.addresses import first_usable
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.progress import HEARTBEAT
from pulumi_customization_gate.core.report import error_for, label, progress_line, status_line
from pulumi_customization_gate.core.results import by_key, result_of, time_of
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.lifecycle.acceptance import accepted_failures, has_failed, warnings
from pulumi_customization_gate.lifecycle.arguments import (
    GATE,
    GateArguments,
    examine,
    namespace_of,
    platform_of,
    value_of,
)
from pulumi_customization_gate.lifecycle.checks import IN_GUEST
from pulumi_customization_gate.lifecycle.description import Effect
from pulumi_customization_gate.lifecycle.engine import (
    UNKNOWN,
    Created,
    Difference,
    Engine,
    PartialFailureError,
    is_unknown,
)
from pulumi_customization_gate.lifecycle.inputs import VM_URNS, is_list, reasons, without_secrets
from pulumi_customization_gate.lifecycle.judged import are_others, identities, is_elsewhere, stored_results, without_ids
from pulumi_customization_gate.lifecycle.outputs import GATE_INPUTS, GATE_OUTPUTS, names
from pulumi_customization_gate.lifecycle.phrases import phrases_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.core.model import VmOutcome
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.core.source import Readiness

Inputs = dict[str, Any]

OUTPUTS = names(GATE_OUTPUTS)
PROPERTIES = (*GATE, *GATE_INPUTS, *GATE_OUTPUTS)
"""A description of each property, by which its name is spelled."""

TERMINAL_HEARTBEAT = 5.0
"""Seconds after which a terminal's row is renewed where nothing changes."""
_SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED.value
_NOT_CUSTOMIZED = CustomizationStatus.NOT_CUSTOMIZED.value


def check(config: Config, news: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the inputs and what is missing of the settings; opens no connection."""
    settings, missing = None, ""
    try:
        settings = settings_of(config, news)
        _guest_credentials(config, news)
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
    return Created(gate_id, _judge(engine, config, gate_id, inputs, {}, {}))


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
    ready = {result["moid"]: result for result in carried if _is_ready(result, requires_customization=is_required)}
    if Effect.JUDGES_ALL in effects or not _implies(olds, news):
        customized = frozenset(moid for moid, result in ready.items() if result["status"] == _SUCCEEDED)
        return _judge(engine, config, gate_id, news, olds, {}, customized)
    return _judge(engine, config, gate_id, news, olds, ready)


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


def settings_of(config: Config, inputs: Mapping[str, Any]) -> Any:
    """Returns the platform's settings, None where platform or namespace are not known or cannot be."""
    platform, namespace = platform_of(inputs), namespace_of(inputs)
    if platform is None or is_unknown(namespace):
        return None
    return platform.read_settings(config, os.environ, str(namespace))


def _judge(  # noqa: PLR0917 -- what an operation is given, in the order of every operation
    engine: Engine,
    config: Config,
    gate_id: str,
    inputs: Inputs,
    olds: Mapping[str, Any],
    already_ready: Mapping[str, Mapping[str, Any]],
    previously_customized: frozenset[str] = frozenset(),
) -> Inputs:
    """Waits and returns all outputs.

    Args:
        engine: The engine.
        config: The stack's config.
        gate_id: The gate's ID.
        inputs: The gate's inputs.
        olds: The outputs of the last wait, empty where there is none.
        already_ready: Stored results, by ID, of VMs that are not judged again.
        previously_customized: IDs of VMs that were found customized, which counts where the server has no record.

    Raises:
        PartialFailureError: If the gate stays closed; it holds all outputs.
    """
    settings = settings_of(config, inputs)
    arguments = GateArguments.of(inputs, settings, engine.custom_timeout)
    opened_at, server = str(olds.get("opened_at") or ""), olds.get("server")
    is_here = not is_elsewhere(olds, settings)
    if is_here and all(target.reference.vm_id in already_ready for target in arguments.targets):
        known = [(target.key, already_ready[target.reference.vm_id]) for target in arguments.targets]
        opened_at = opened_at or max((result["ready_at"] or "" for _, result in known), default="")
        outputs = outputs_of(known, arguments, wait_seconds=0.0, opened_at=opened_at, server=server)
        _warn(engine, inputs, outputs)
        return {**inputs, **outputs}
    # On another server an identifier names another VM.
    accepted = accepted_failures(olds, inputs, arguments.targets) if is_here else {}
    rules = replace(arguments.rules, accepted=accepted)
    source = arguments.platform.source(
        settings,
        arguments.targets,
        already_ready=frozenset(already_ready),
        previously_customized=previously_customized,
        judged_as=identities(olds),
    )
    report = wait(
        source,
        rules,
        readiness=_readiness(settings, arguments, _guest_credentials(config, inputs)),
        listener=_Progress(engine),
        cancelled=engine.cancelled,
        heartbeat=TERMINAL_HEARTBEAT if engine.has_terminal else HEARTBEAT,
    )
    if arguments.platform.reports_guests and not report.ready:
        # Only a failure needs it, and the client library that it needs.
        from pulumi_customization_gate.lifecycle.guest_logs import with_guest_logs  # noqa: PLC0415 -- see above

        report = with_guest_logs(report, settings, config, inputs, engine.cancelled)
    skipped = [
        (
            key,
            {**already_ready[vm], "instance_uuid": source.instance_uuids.get(vm) or already_ready[vm]["instance_uuid"]},
        )
        for key, vm in source.already_ready
    ]
    judged = [
        (outcome.key if arguments.has_keys else None, shown_result(outcome, inputs)) for outcome in report.outcomes
    ]
    is_closed = not report.ready and (arguments.on_failure == "fail" or report.cancelled or report.fatal_error)
    opened_at = "" if is_closed else time_of(report.ended_at) or opened_at
    server = {"address": settings.address, "id": source.server_id}
    results = outputs_of(
        [*skipped, *judged], arguments, wait_seconds=report.wait_seconds, opened_at=opened_at, server=server
    )
    _warn(engine, inputs, results)
    outputs = {**inputs, **results}
    if is_closed:
        phrases = phrases_for(report, _urns(inputs, arguments), inputs)
        raise PartialFailureError(str(error_for(report, phrases, len(skipped))), gate_id, outputs)
    if arguments.platform.reports_guests:
        from pulumi_customization_gate.vsphere.guest.refused_logins import gate_opened  # noqa: PLC0415 -- as above

        for outcome in report.outcomes:
            gate_opened(source.server_id, outcome.id)
    return outputs


def _urns(inputs: Inputs, arguments: GateArguments) -> dict[str, str]:
    """Returns the URNs that the program knows of its VMs, by identifier."""
    vms, urns = inputs["vms"], inputs.get(VM_URNS)
    given = {} if not urns else urns if isinstance(urns, Mapping) else dict(enumerate(urns))
    found = {arguments.platform.parse_reference(vms[key], None).vm_id: urn for key, urn in given.items() if urn}
    return {vm: urn for vm, urn in found.items() if vm is not None}


def _warn(engine: Engine, inputs: Inputs, outputs: Inputs) -> None:
    """Says on the gate's row which failures are accepted, and which are not covered."""
    for sentence in warnings(inputs.get("accept") or {}, outputs["results"]):
        engine.log(sanitize(sentence), warning=True)


class _Progress:
    """Writes the wait's progress on the gate's own row, and a lasting line for each VM at its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, update: Update) -> None:
        for note in update.notes:
            self._engine.log(sanitize(note), warning=True)
        for outcome in update.changed:
            is_absent = outcome.failure is not None
            if outcome.ready or outcome.status.is_terminal or is_absent:
                self._engine.log(f"{label(outcome)}  {status_line(outcome)}")
        if update.changed or self._engine.has_terminal:
            self._engine.log(progress_line(update), lasting=False)


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


def _guest_credentials(config: Config, inputs: Mapping[str, Any]) -> Any:
    """Returns who makes the checks that are made in the guests, None where there is no such check.

    Raises:
        ConfigurationError: If something is missing.
    """
    checks, namespace = inputs.get("checks"), inputs.get("config_namespace")
    kinds = [check.get("kind") for check in checks or () if isinstance(check, Mapping)] if is_list(checks) else []
    if is_unknown(namespace) or not any(kind in IN_GUEST for kind in kinds if isinstance(kind, str)):
        return None
    # Only such a check needs it, and the client library that it needs.
    from pulumi_customization_gate.lifecycle.guest_arguments import credentials  # noqa: PLC0415 -- see above

    return credentials({"config_namespace": namespace}, config, os.environ, has_inputs=False)


def _readiness(settings: Any, arguments: GateArguments, guest_credentials: Any) -> Readiness | None:
    """Returns what says whether the guests are ready, or None where being customized is enough."""
    needs_operations = arguments.ready_when == "guest_operations"
    make = arguments.platform.readiness
    if make is None or not (needs_operations or arguments.checks):
        return None
    return make(
        settings,
        guest_operations=needs_operations,
        settle=arguments.settle,
        checks=arguments.checks,
        guest_credentials=guest_credentials,
    )


def shown_result(outcome: VmOutcome, inputs: Inputs) -> dict[str, Any]:
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


def _is_ready(result: Mapping[str, Any], *, requires_customization: bool) -> bool:
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
) -> Inputs:
    """Returns the outputs by the user's keys; for a list by name, or by ID where two VMs share a name."""
    keyed = by_key(results)
    required = arguments.rules.requires_customization
    return {
        "ready": all(_is_ready(result, requires_customization=required) for result in keyed.values()),
        "statuses": {key: result["status"] for key, result in keyed.items()},
        "addresses": {
            key: address for key, result in keyed.items() if (address := first_usable(result.get("ip_addresses") or ()))
        },
        "results": keyed,
        "wait_seconds": round(wait_seconds, 3),
        "opened_at": opened_at,
        "server": server,
    }
