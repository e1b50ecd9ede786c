"""Adds the end of the guests' customization logs to the report of a wait that failed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle import guest_arguments
from pulumi_customization_gate.vsphere.guest.logs import GuestLog, read_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.core.model import GateReport, VmOutcome
    from pulumi_customization_gate.vsphere.settings import VsphereSettings


def with_guest_logs(
    report: GateReport,
    settings: VsphereSettings,
    config: Config,
    inputs: Mapping[str, Any],
    cancelled: Callable[[], bool] = lambda: False,
) -> GateReport:
    """Returns the report, with the guest's log beside each failure of a customization.

    Without guest credentials, with `guest_logs=False`, and where the user cancelled the wait, it stays as it is.

    Args:
        report: The report.
        settings: Which vCenter, and as whom.
        config: The stack's config, which may have guest credentials.
        inputs: The gate's inputs.
        cancelled: Whether the user has cancelled the work.
    """
    failed = [outcome.id for outcome in report.outcomes if _has_a_log(outcome)]
    if not failed or report.cancelled or report.fatal_error or inputs.get("guest_logs") is False:
        return report
    try:
        credentials = guest_arguments.credentials(
            {"config_namespace": inputs.get("config_namespace")}, config, os.environ
        )
    except ConfigurationError:
        return report
    logs = read_logs(settings, credentials, failed, cancelled)
    return replace(report, outcomes=tuple(_with_log(outcome, logs.get(outcome.id, ())) for outcome in report.outcomes))


def _has_a_log(outcome: VmOutcome) -> bool:
    return not outcome.ready and outcome.failure is not None and not outcome.failure.kind.is_absence


def _with_log(outcome: VmOutcome, logs: Sequence[GuestLog]) -> VmOutcome:
    if outcome.failure is None or not logs:
        return outcome
    lines: list[str] = []
    for log in logs:
        lines += [f"guest log {log.path}, last {len(log.lines)} lines:", *(f"| {line}" for line in log.lines)]
    return replace(outcome, failure=replace(outcome.failure, log=tuple(lines)))
