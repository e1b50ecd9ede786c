"""The sentences of a report. Text from a guest or a server is sanitized.

The program that shows the report gives a phrase for each `Advice`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.advice import Advice, advice_of
from pulumi_customization_gate.core.errors import (
    CustomizationFailedError,
    CustomizationTimeoutError,
    WaitCancelledError,
)
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind
from pulumi_customization_gate.core.text import clock_time, duration, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulumi_customization_gate.core.model import Failure, GateReport, VmOutcome
    from pulumi_customization_gate.core.progress import Update

Phrases = Mapping[Advice, str]
"""A sentence for each advice; `{vms}` becomes the keys of the VMs that it is about."""

NAMES_ON_A_ROW = 3
"""How many VMs a terminal's row has room for by name."""

_ABSENT = {FailureKind.NOT_FOUND: "not found", FailureKind.NO_PERMISSION: "no permission"}
"""Why a VM is missing. Its status, VmRemoved, would report a removal that was not observed."""


def outcome_line(outcome: VmOutcome) -> str:
    """Returns what happened to one VM, on one line, without the VM's name."""
    if outcome.failure is not None and not outcome.ready:
        return _failure_line(outcome, outcome.failure)
    return status_line(outcome)


def status_line(outcome: VmOutcome) -> str:
    """Returns the status of one VM, in few words and without the VM's name."""
    seconds = outcome.customization_seconds
    line = status_words(outcome) + (f" in {duration(seconds)}" if seconds is not None else "")
    return f"{line}, accepted: {sanitize(outcome.accepted)}" if outcome.accepted else line


def status_words(outcome: VmOutcome) -> str:
    """Returns the status of a VM, or where it is not there, in plain words why."""
    if outcome.failure is not None and outcome.failure.kind in _ABSENT:
        return _ABSENT[outcome.failure.kind]
    return outcome.status.value


def _failure_line(outcome: VmOutcome, failure: Failure) -> str:
    at = f" at {clock_time(outcome.completed_at)}" if outcome.completed_at else ""
    parts = [sanitize(failure.message)]
    if failure.reason and sanitize(failure.reason) not in parts[0]:
        parts.append(f"reason: {sanitize(failure.reason)}")
    if failure.log_location:
        parts.append(f"guest log: {sanitize(failure.log_location)}")
    details = "; ".join(part for part in parts if part)
    return f"{_what_happened(outcome, failure)}{at}" + (f": {details}" if details else "")


def _what_happened(outcome: VmOutcome, failure: Failure) -> str:
    """Returns the event's own name where there is one, else the kind of failure, beside the status that it met."""
    if failure.kind is FailureKind.UNFINISHED:
        return outcome.status.value
    if failure.kind.is_lack_of_time:
        return f"{failure.kind.value} in {outcome.status.value}"
    event = sanitize(failure.event, 80)
    is_state = event and outcome.evidence is Evidence.STATE
    return f"{failure.kind.value} ({event})" if is_state else event or f"{failure.kind.value}"


def label(outcome: VmOutcome) -> str:
    """Returns how a VM is named in a report: the user's key, the name where it differs, the identifier."""
    names = [sanitize(outcome.key, 80)]
    if outcome.name and outcome.name != outcome.key:
        names.append(sanitize(outcome.name, 80))
    if outcome.id not in names:
        names.append(sanitize(outcome.id, 80))
    return f"{names[0]} ({', '.join(names[1:])})" if names[1:] else names[0]


def _indented(outcomes: Iterable[VmOutcome]) -> Iterable[str]:
    for outcome in outcomes:
        yield f"  {label(outcome)}  {outcome_line(outcome)}"
        if outcome.failure is not None:
            yield from (f"    {sanitize(line)}" for line in (*outcome.failure.diagnosis, *outcome.failure.log))


def failure_text(report: GateReport, phrases: Phrases, already_ready: int = 0) -> str:
    """Returns the error's text: one sentence of what happened, a line per VM, what to do.

    Args:
        report: The report of the wait.
        phrases: What to do, in the words of the program that shows the text.
        already_ready: How many VMs it is not about, because an earlier run found them ready.
    """
    lines = _indented(sorted(report.outcomes, key=lambda outcome: (outcome.ready, _is_unconfirmed(outcome))))
    return "\n".join([headline(report, already_ready), *lines, *advice_lines(report, phrases)])


def headline(report: GateReport, already_ready: int = 0) -> str:
    """Returns one sentence of what happened; see `failure_text`."""
    bad = [outcome for outcome in report.outcomes if not outcome.ready]
    text = f"{_what_failed(report, bad, len(report.outcomes) + already_ready)} after {duration(report.wait_seconds)}"
    if already_ready:
        text += f"; {already_ready} {'were' if already_ready > 1 else 'was'} already ready"
    return text


def advice_lines(report: GateReport, phrases: Phrases) -> Iterable[str]:
    """Yields a sentence of what to do for each kind of failure that is there."""
    for advice, keys in advice_of(report):
        names = [sanitize(key, 80) for key in keys]
        yield phrases[advice].format(vms=" and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])))


def _what_failed(report: GateReport, bad: list[VmOutcome], whole: int) -> str:
    unconfirmed = sum(map(_is_unconfirmed, bad))
    customized = f", {unconfirmed} of them customized," if unconfirmed else ""
    if report.cancelled:
        return f"the wait was cancelled with {len(bad)} of {_vms(whole)} not ready{customized}"
    if report.fatal_error is not None:
        were = "was" if len(bad) == 1 else "were"
        return f"{report.fatal_error} {len(bad)} of {_vms(whole)} {were} not ready{customized}"
    kinds = [o.failure.kind for o in bad if o.failure is not None and o.failure.kind is not FailureKind.UNFINISHED]
    failed = any(not kind.is_lack_of_time and not kind.is_absence for kind in kinds)
    customization = f"customization {'failed' if failed else 'did not finish'} on {{}}"
    counts = Counter(_ABSENCES.get(kind, customization) for kind in kinds) or {customization: len(bad)}
    (sentence, count), *others = sorted(counts.items(), key=lambda item: item[0] != customization)
    parts = [sentence.format(f"{count} of {_vms(whole)}")]
    return ", ".join([*parts, *(other.format(f"{count} of {whole}") for other, count in others)])


def _is_unconfirmed(outcome: VmOutcome) -> bool:
    """Whether a VM is customized, and the wait ended before it was known whether it is ready."""
    is_unfinished = outcome.failure is not None and outcome.failure.kind is FailureKind.UNFINISHED
    return is_unfinished and outcome.status is CustomizationStatus.CUSTOMIZATION_SUCCEEDED


def _vms(count: int) -> str:
    return "1 VM" if count == 1 else f"{count} VMs"


_ABSENCES = {
    FailureKind.NOT_FOUND: "{} not found",
    FailureKind.NO_PERMISSION: "no permission to read {}",
    FailureKind.VM_REMOVED: "{} removed",
}
"""What a headline says about VMs that are not there: nothing is known of their customization."""


def progress_line(update: Update) -> str:
    """Returns the progress of the whole wait, on one line: `2 of 3 customized, 1 running for 3 min 10 s: web-2`.

    Counts come before names, because a terminal cuts the line at its width. A count's time is that of the VM that has
    had the status longest.
    """
    if not update.outcomes:
        return f"waiting for the server for {duration(update.wait_seconds)}"
    open_ = [outcome for outcome in update.outcomes if not outcome.ready]
    by_word: dict[str, list[VmOutcome]] = {}
    for outcome in open_:
        by_word.setdefault(_progress_word(outcome), []).append(outcome)
    parts = [f"{len(update.outcomes) - len(open_)} of {len(update.outcomes)} customized"]
    for word, outcomes in by_word.items():
        longest = duration(max(update.lasting.get(outcome.id, 0) for outcome in outcomes))
        parts.append(f"{len(outcomes)} {word}" + (f" for {longest}" if outcomes[0].status in _UNDER_WAY else ""))
    names = [sanitize(outcome.key, 40) for outcomes in by_word.values() for outcome in outcomes]
    return ", ".join(parts) + (f": {', '.join(names)}" if 0 < len(names) <= NAMES_ON_A_ROW else "")


def _is_absent(outcome: VmOutcome) -> bool:
    return outcome.failure is not None and outcome.failure.kind in _ABSENT


def _progress_word(outcome: VmOutcome) -> str:
    return status_words(outcome) if _is_absent(outcome) else _WORDS[outcome.status]


_UNDER_WAY = frozenset(
    {
        CustomizationStatus.VM_NOT_STARTED,
        CustomizationStatus.CUSTOMIZATION_NOT_STARTED,
        CustomizationStatus.CUSTOMIZATION_STARTED,
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
    }
)
"""Statuses of VMs that are not ready yet, which something may still change."""

_WORDS = {
    CustomizationStatus.VM_NOT_STARTED: "not powered on",
    CustomizationStatus.CUSTOMIZATION_NOT_STARTED: "not started",
    CustomizationStatus.CUSTOMIZATION_STARTED: "running",
    CustomizationStatus.CUSTOMIZATION_SUCCEEDED: "not ready",
    CustomizationStatus.CUSTOMIZATION_FAILED: "failed",
    CustomizationStatus.NOT_CUSTOMIZED: "without customization",
    CustomizationStatus.VM_REMOVED: "removed",
}


def error_for(
    report: GateReport, phrases: Phrases, already_ready: int = 0
) -> CustomizationFailedError | CustomizationTimeoutError | WaitCancelledError:
    """Returns the error for a report of VMs that are not all ready; see `failure_text`."""
    text = failure_text(report, phrases, already_ready)
    if report.cancelled:
        return WaitCancelledError(text, report)
    return (CustomizationTimeoutError if report.is_unfinished else CustomizationFailedError)(text, report)
