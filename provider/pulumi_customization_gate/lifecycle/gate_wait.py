"""One wait of a gate: the VMs that are judged, the lines on the gate's row, and the outputs or the failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.progress import HEARTBEAT
from pulumi_customization_gate.core.report import error_for, label, progress_line, status_line
from pulumi_customization_gate.core.results import time_of
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.lifecycle.acceptance import accepted_failures, warnings
from pulumi_customization_gate.lifecycle.arguments import GateArguments
from pulumi_customization_gate.lifecycle.engine import Engine, PartialFailureError
from pulumi_customization_gate.lifecycle.gate_outputs import outputs_of, shown_result
from pulumi_customization_gate.lifecycle.gate_settings import guest_credentials_of, settings_of
from pulumi_customization_gate.lifecycle.inputs import VM_URNS
from pulumi_customization_gate.lifecycle.judged import identities, is_elsewhere
from pulumi_customization_gate.lifecycle.phrases import phrases_for

if TYPE_CHECKING:
    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.core.source import Readiness

Inputs = dict[str, Any]

TERMINAL_HEARTBEAT = 5.0
"""Seconds after which a terminal's row is renewed where nothing changes."""


def judge(  # noqa: PLR0917 -- what an operation is given, in the order of every operation
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
        readiness=_readiness(settings, arguments, guest_credentials_of(config, inputs)),
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
    """Reports on the gate's row which failures are accepted, and which are not covered."""
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
