"""The dynamic provider behind CustomizationGate. Its path is stored in every stack that has a gate: it is frozen."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)

from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core import report as words
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import CustomizationStatus, VmOutcome
from pulumi_customization_gate.core.results import result_of, time_of
from pulumi_customization_gate.core.watch import HEARTBEAT, Update, watch
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.arguments import DEFAULTS, NAMESPACES, GateArguments, gate_problems
from pulumi_customization_gate.resources.configured import ConfiguredProvider
from pulumi_customization_gate.resources.input_problems import reasons, without_secrets
from pulumi_customization_gate.resources.settings import cloud_director_settings, vsphere_settings
from pulumi_customization_gate.vsphere.checks import checks_of
from pulumi_customization_gate.vsphere.readiness import Conditions, GuestReadiness
from pulumi_customization_gate.vsphere.source import VsphereSource

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
        known = {result["moid"]: result for result in stored.values()}
        good = {moid: result for moid, result in known.items() if _is_good(result, _effective(_news, "expect"))}
        if _effective(_olds, "triggers") != _effective(_news, "triggers") or not _implies(_olds, _news):
            customized = frozenset(moid for moid, result in good.items() if result["status"] == _SUCCEEDED)
            return UpdateResult(self._judge(_id, _news, {}, customized))
        return UpdateResult(self._judge(_id, _news, good, opened_at=str(_olds.get("opened_at") or "")))

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
        kept: Results,
        remembered: frozenset[str] = frozenset(),
        opened_at: str = "",
    ) -> Inputs:
        """Waits and returns all outputs.

        Args:
            gate_id: The gate's id.
            inputs: The gate's inputs.
            kept: Stored results, by ID, of machines that are not judged again.
            remembered: IDs of machines that were found customized, which counts where the server has forgotten.
            opened_at: When the gate opened before, for the case that nothing has to be judged.

        Raises:
            PartialFailureError: If the gate stays closed; it holds all outputs.
        """
        settings = self._settings(inputs)
        arguments = GateArguments.of(inputs, str(getattr(settings, "url", "")))
        references = arguments.references
        if all(text in kept for text in references.values()):
            known = [(key, kept[text]) for key, text in references.items()]
            opened_at = opened_at or max((result["ready_at"] or "" for _, result in known), default="")
            return {**inputs, **_outputs(known, arguments, waited=0.0, opened_at=opened_at)}
        call = host.Call(inputs)
        for feature in host.missing():
            call.log(f"this Pulumi SDK does not allow {feature}; the gate works without", warning=True)
        kind = CloudDirectorSource if arguments.platform == "cloud_director" else VsphereSource
        source = kind(settings, references, kept=frozenset(kept), remembered=remembered)
        readiness = _readiness(settings, arguments)
        report = watch(
            source,
            arguments.rules,
            readiness=readiness,
            listener=_Progress(call),
            cancelled=host.cancelled,
            heartbeat=TERMINAL_HEARTBEAT if host.has_terminal() else HEARTBEAT,
        )
        skipped = [(key, kept[moid]) for key, moid in source.skipped.items()]
        results = skipped + [(outcome.key, _shown_result(outcome, inputs)) for outcome in report.outcomes]
        is_closed = not report.ready and (arguments.on_failure == "fail" or report.cancelled or report.trouble)
        opened_at = "" if is_closed else time_of(report.ended_at) or opened_at
        outputs = {**inputs, **_outputs(results, arguments, waited=report.waited, opened_at=opened_at)}
        if is_closed:
            raise PartialFailureError(str(words.error_for(report, len(skipped))), gate_id, outputs)
        return outputs


_OUTPUTS = ("ready", "statuses", "results", "waited", "opened_at")


class _Progress:
    """Writes the wait's progress on the gate's own row, and a lasting line for each machine at its end."""

    def __init__(self, call: host.Call) -> None:
        self._call = call

    def __call__(self, update: Update) -> None:
        for note in update.notes:
            self._call.log(words.plain(note), warning=True)
        for outcome in update.changed:
            if outcome.good or outcome.status.is_terminal:
                self._call.log(f"{words.label(outcome)}  {words.status_line(outcome)}")
        if update.changed or host.has_terminal():
            self._call.log(words.progress_line(update), lasting=False)


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


def _is_good(result: Mapping[str, Any], expect: str) -> bool:
    is_customized = result.get("status") == _SUCCEEDED or (result.get("status") == _NOT_CUSTOMIZED and expect == "auto")
    return is_customized and not result.get("failure")


def _outputs(
    results: Sequence[tuple[str, Mapping[str, Any]]], arguments: GateArguments, *, waited: float, opened_at: str
) -> Inputs:
    """Returns the outputs by the user's keys; for a list by name, or by ID where two machines share a name."""
    names = Counter(result["name"] for _, result in results)

    def key_of(key: str, result: Mapping[str, Any]) -> str:
        if arguments.is_map:
            return key
        return str(result["name"] if names[result["name"]] == 1 else result["moid"])

    by_key = {key_of(key, result): dict(result) for key, result in results}
    return {
        "ready": all(_is_good(result, arguments.rules.expect) for result in by_key.values()),
        "statuses": {key: result["status"] for key, result in by_key.items()},
        "results": by_key,
        "waited": round(waited, 3),
        "opened_at": opened_at,
    }


_NOTHING_KNOWN = dict.fromkeys(
    (
        "evidence",
        "powered_on_at",
        "started_at",
        "completed_at",
        "ready_at",
        "seconds",
        "failure",
    )
)
"""What a result says where nothing is known."""
