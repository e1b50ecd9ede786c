"""The dynamic provider behind CustomizationGate. Its path is stored in every stack that has a gate: it is frozen."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)

from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import CustomizationStatus, VmOutcome
from pulumi_customization_gate.core.progress import HEARTBEAT
from pulumi_customization_gate.core.report import error_for, label, progress_line, status_line
from pulumi_customization_gate.core.results import by_key, result_of, time_of
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.arguments import DEFAULTS, NAMESPACES, GateArguments, gate_problems
from pulumi_customization_gate.resources.configured import ConfiguredProvider
from pulumi_customization_gate.resources.input_problems import reasons, without_secrets
from pulumi_customization_gate.resources.phrases import PHRASES
from pulumi_customization_gate.resources.settings import cloud_director_settings, vsphere_settings
from pulumi_customization_gate.vsphere.checks import checks_of
from pulumi_customization_gate.vsphere.readiness import Conditions, GuestReadiness
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from pulumi_customization_gate.core.progress import Update

Inputs = dict[str, Any]
Results = Mapping[str, Mapping[str, Any]]

TERMINAL_HEARTBEAT = 5.0
"""Seconds after which a terminal's row is renewed where nothing changes."""

_REPLACING = ("platform", "config_namespace")
_TIMES = frozenset({"timeout", "start_timeout", "settle"})
_JUDGED = ("vms", "expect", "ready_when", "checks", "on_failure", "triggers")
_SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED.value
_NOT_CUSTOMIZED = CustomizationStatus.NOT_CUSTOMIZED.value


class CustomizationGateProvider(ConfiguredProvider):
    """Judges inputs in `check`, waits in `create` and `update`, and touches no server anywhere else."""

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Refuses bad inputs and missing settings before anything is created; opens no connection."""
        server, missing = "", ""
        try:
            server = str(getattr(self._settings(news), "url", ""))
        except ConfigurationError as error:
            missing = str(error)
        problems = list(gate_problems(news, host.is_unknown, server))
        if any(problem.argument in _REPLACING for problem in problems):
            missing = ""  # what is missing of an impossible server is not a mistake of its own
        return CheckResult(news, host.failures([*filter(None, [missing]), *reasons(problems, news)], news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another server only; any other change is an update, the order of the machines is none."""
        replaces = [name for name in _REPLACING if _effective(olds, name) != _effective(news, name)]
        changed = any(_effective(olds, name) != _effective(news, name) for name in (*_JUDGED, *sorted(_TIMES)))
        return DiffResult(changes=bool(replaces) or changed or _has_failed(olds), replaces=replaces)

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Waits for all machines."""
        gate_id = secrets.token_hex(8)
        return CreateResult(gate_id, self._judge(gate_id, props, {}))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Waits for the machines that are new or whose stored outcome is not good.

        It waits for all if `triggers` changed, or if what makes a machine ready has become more: then nobody knows
        whether those that were good are ready in this sense.
        """
        stored = _stored(_olds)
        if _only_times_changed(_olds, _news):
            return UpdateResult({**_news, **{name: _olds.get(name) for name in _OUTPUTS}, "results": stored})
        is_required = _effective(_news, "expect") == "required"
        known = {result["moid"]: result for result in stored.values()}
        ready = {
            moid: result for moid, result in known.items() if _is_ready(result, requires_customization=is_required)
        }
        if _effective(_olds, "triggers") != _effective(_news, "triggers") or not _implies(_olds, _news):
            customized = frozenset(moid for moid, result in ready.items() if result["status"] == _SUCCEEDED)
            return UpdateResult(self._judge(_id, _news, {}, customized))
        return UpdateResult(self._judge(_id, _news, ready, opened_at=str(_olds.get("opened_at") or "")))

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: an opened gate stays open, a refresh does not judge again."""
        return ReadResult(id_, {**props, "results": _stored(props)})

    def delete(self, _id: str, _props: Inputs) -> None:
        """Forgets the gate: there is nothing of it on the server."""

    def _settings(self, inputs: Inputs) -> Any:
        platform = inputs.get("platform")
        namespace = inputs.get("config_namespace")
        if host.is_unknown(platform) or host.is_unknown(namespace):
            return None
        make = cloud_director_settings if platform == "cloud_director" else vsphere_settings
        default = NAMESPACES.get(str(platform), NAMESPACES["vsphere"])
        return make(self._config, os.environ, namespace or default)

    def _judge(
        self,
        gate_id: str,
        inputs: Inputs,
        already_ready: Results,
        previously_customized: frozenset[str] = frozenset(),
        opened_at: str = "",
    ) -> Inputs:
        """Waits and returns all outputs.

        Args:
            gate_id: The gate's id.
            inputs: The gate's inputs.
            already_ready: Stored results, by ID, of VMs that are not judged again.
            previously_customized: IDs of VMs that were found customized, which counts where the server has no record.
            opened_at: When the gate opened before, for the case that nothing has to be judged.

        Raises:
            PartialFailureError: If the gate stays closed; it holds all outputs.
        """
        settings = self._settings(inputs)
        arguments = GateArguments.of(inputs, str(getattr(settings, "url", "")))
        if all(target.reference.vm_id in already_ready for target in arguments.targets):
            known = [(target.key, already_ready[target.reference.vm_id]) for target in arguments.targets]
            opened_at = opened_at or max((result["ready_at"] or "" for _, result in known), default="")
            return {**inputs, **_outputs(known, arguments, wait_seconds=0.0, opened_at=opened_at)}
        call = host.Call(inputs)
        for feature in host.missing():
            call.log(f"this Pulumi SDK does not allow {feature}; the gate works without", warning=True)
        kind = CloudDirectorSource if arguments.platform == "cloud_director" else VsphereSource
        source = kind(
            settings,
            arguments.targets,
            already_ready=frozenset(already_ready),
            previously_customized=previously_customized,
        )
        readiness = _readiness(settings, arguments)
        report = wait(
            source,
            arguments.rules,
            readiness=readiness,
            listener=_Progress(call),
            cancelled=host.cancelled,
            heartbeat=TERMINAL_HEARTBEAT if host.has_terminal() else HEARTBEAT,
        )
        skipped = [(key, already_ready[vm]) for key, vm in source.already_ready]
        judged = [
            (outcome.key if arguments.has_keys else None, _shown_result(outcome, inputs)) for outcome in report.outcomes
        ]
        results = [*skipped, *judged]
        is_closed = not report.ready and (arguments.on_failure == "fail" or report.cancelled or report.fatal_error)
        opened_at = "" if is_closed else time_of(report.ended_at) or opened_at
        outputs = {**inputs, **_outputs(results, arguments, wait_seconds=report.wait_seconds, opened_at=opened_at)}
        if is_closed:
            raise PartialFailureError(str(error_for(report, PHRASES, len(skipped))), gate_id, outputs)
        return outputs


_OUTPUTS = ("ready", "statuses", "results", "wait_seconds", "opened_at")


class _Progress:
    """Writes the wait's progress on the gate's own row, and a lasting line for each machine at its end."""

    def __init__(self, call: host.Call) -> None:
        self._call = call

    def __call__(self, update: Update) -> None:
        for note in update.notes:
            self._call.log(sanitize(note), warning=True)
        for outcome in update.changed:
            if outcome.ready or outcome.status.is_terminal:
                self._call.log(f"{label(outcome)}  {status_line(outcome)}")
        if update.changed or host.has_terminal():
            self._call.log(progress_line(update), lasting=False)


def _effective(inputs: Inputs, name: str) -> Any:
    """Returns an input as it counts: with its default, and the machines of a list in no order."""
    value = inputs.get(name)
    if value is None and name == "config_namespace":
        return NAMESPACES.get(str(inputs.get("platform") or DEFAULTS["platform"]))
    if value is None and name == "start_timeout":
        return None
    if value is None:
        return DEFAULTS.get(name)
    if name == "vms" and isinstance(value, list):
        return sorted(value, key=str) if not any(host.is_unknown(vm) for vm in value) else value
    return value


def _has_failed(outputs: Inputs) -> bool:
    """Whether the gate is closed: with on_failure="report" that is left by a wait that was cut short."""
    is_reporting = _effective(outputs, "on_failure") == "report"
    return outputs.get("ready") is not True and not (is_reporting and outputs.get("opened_at"))


def _only_times_changed(olds: Inputs, news: Inputs) -> bool:
    same = all(_effective(olds, name) == _effective(news, name) for name in _JUDGED)
    return same and not _has_failed(olds)


def _implies(olds: Inputs, news: Inputs) -> bool:
    """Whether a machine that was ready by the old inputs is so by the new ones."""
    operations = [_effective(inputs, "ready_when") == "guest_operations" for inputs in (olds, news)]
    known = olds.get("checks") or ()
    return operations[0] >= operations[1] and all(check in known for check in news.get("checks") or ())


def _readiness(settings: Any, arguments: GateArguments) -> GuestReadiness | None:
    """Returns what tells whether the guests are ready, or None where being customized is enough."""
    conditions = Conditions(arguments.ready_when == "guest_operations", arguments.settle, checks_of(arguments.checks))
    return GuestReadiness(settings, conditions) if conditions.guest_operations or conditions.checks else None


def _shown_result(outcome: VmOutcome, inputs: Inputs) -> dict[str, Any]:
    """Returns an outcome as it is stored; a failure may quote a secret that a check was given."""
    result = result_of(outcome)
    if result["failure"]:
        result["failure"] = {
            name: without_secrets(value, inputs) if isinstance(value, str) else value
            for name, value in result["failure"].items()
        }
    return result


def _stored(outputs: Inputs) -> dict[str, dict[str, Any]]:
    """Returns the results of an earlier wait; the engine leaves out what is None, and a program may ask for it."""
    return {key: {**_NOTHING_KNOWN, **result} for key, result in (outputs.get("results") or {}).items()}


def _is_ready(result: Mapping[str, Any], *, requires_customization: bool) -> bool:
    status = result.get("status")
    is_customized = status == _SUCCEEDED or (status == _NOT_CUSTOMIZED and not requires_customization)
    return is_customized and not result.get("failure")


def _outputs(
    results: Sequence[tuple[str | None, Mapping[str, Any]]],
    arguments: GateArguments,
    *,
    wait_seconds: float,
    opened_at: str,
) -> Inputs:
    """Returns the outputs by the user's keys; for a list by name, or by ID where two machines share a name."""
    keyed = by_key(results)
    return {
        "ready": all(
            _is_ready(result, requires_customization=arguments.rules.requires_customization)
            for result in keyed.values()
        ),
        "statuses": {key: result["status"] for key, result in keyed.items()},
        "results": keyed,
        "wait_seconds": round(wait_seconds, 3),
        "opened_at": opened_at,
    }


_NOTHING_KNOWN = dict.fromkeys(
    (
        "evidence",
        "powered_on_at",
        "started_at",
        "completed_at",
        "ready_at",
        "customization_seconds",
        "failure",
    )
)
"""What a result says where nothing is known."""
