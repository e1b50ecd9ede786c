"""The sentences people read about a wait. Whatever a guest or a server said is stripped of control characters."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import (
    CustomizationFailedError,
    CustomizationTimeoutError,
    WaitCancelledError,
)
from pulumi_customization_gate.core.model import CustomizationStatus, Failure, GateReport, VmOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pulumi_customization_gate.core.watch import Update

NAMES_ON_A_ROW = 3
"""How many machines a terminal's row has room for by name."""
LONGEST_QUOTE = 500
"""Characters of a guest's or a server's message that are shown."""

STOPPED_EARLY = "Unfinished"
"""The event of a machine that was still on its way when the wait ended for another reason."""

_UNFINISHED = frozenset({"Timeout", "StartTimeout", "NotReady"})
_ABSENT = {"NotFound": "not found", "NoPermission": "no permission"}
"""Why a machine is not there, in plain words: its status, VmRemoved, would tell of a removal that nobody saw."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b(?=[\d?]))[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor, screen
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # strings for the terminal: titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]"  # all other sequences
)
"""Escape sequences of terminals (ECMA-48): without their first character the rest would stand in the text."""

_COMMANDS = re.compile(r"##(?=\[|vso\[|teamcity\[)|^::")
"""What CI servers take for a command to them when it stands in a log."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def plain(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Returns a foreign text on one line, without control characters, escape sequences or invisible direction marks.

    Control (Cc), format (Cf), surrogate (Cs) and private-use (Co) characters go, and the two noncharacters that XML
    forbids; white space becomes one space. What a CI server would take for a command is broken up by a space.
    """
    head = _ESCAPES.sub("", text[: 4 * longest])
    spaced = "".join(" " if c.isspace() else c for c in head)
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _HIDDEN and c not in "\ufffe\uffff")
    words = _COMMANDS.sub(lambda command: " ".join(command[0]), " ".join(shown.split()))
    is_whole = len(words) <= longest and len(text) <= 4 * longest
    return words if is_whole else words[: longest - 1].rstrip() + "…"


def duration(seconds: float) -> str:
    """Returns a length of time as people say it: `45 s`, `3 min 40 s`, `1 h 5 min`."""
    if seconds < 10:  # noqa: PLR2004 -- where a tenth of a second still tells something
        return f"{math.floor(seconds * 10) / 10:g} s"
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"


def clock_time(at: datetime) -> str:
    """Returns a time of day in UTC: `12:04:31Z`."""
    return f"{at:%H:%M:%S}Z"


def outcome_line(outcome: VmOutcome) -> str:
    """Returns what happened to one machine, on one line, without the machine's name."""
    if outcome.failure is not None and not outcome.good:
        return _failure_line(outcome, outcome.failure)
    return status_line(outcome)


def status_line(outcome: VmOutcome) -> str:
    """Returns where one machine stands, in few words and without the machine's name."""
    length = f" in {duration(outcome.seconds)}" if outcome.seconds is not None else ""
    return f"{status_words(outcome)}{length}"


def status_words(outcome: VmOutcome) -> str:
    """Returns the status of a machine, or where it is not there, in plain words why."""
    return _ABSENT.get(outcome.failure.event if outcome.failure else "", outcome.status.value)


def _failure_line(outcome: VmOutcome, failure: Failure) -> str:
    at = f" at {clock_time(outcome.completed_at)}" if outcome.completed_at else ""
    said = [plain(failure.message)]
    if failure.reason and plain(failure.reason) not in said[0]:
        said.append(f"reason: {plain(failure.reason)}")
    if failure.log_location:
        said.append(f"log in the guest: {plain(failure.log_location)}")
    if failure.hint:
        said.append(plain(failure.hint))
    told = "; ".join(part for part in said if part)
    return f"{_what_happened(outcome, failure)}{at}" + (f": {told}" if told else "")


def _what_happened(outcome: VmOutcome, failure: Failure) -> str:
    """Returns the event's own name where there is one, else our word for it beside the status that it met."""
    if failure.event in _UNFINISHED:
        return f"{failure.event} in {outcome.status.value}"
    if failure.event == STOPPED_EARLY:
        return outcome.status.value
    is_state = outcome.status is CustomizationStatus.CUSTOMIZATION_FAILED and not failure.event.startswith("Custom")
    event = plain(failure.event, 80)
    return f"{outcome.status.value} ({event})" if is_state else event


def label(outcome: VmOutcome) -> str:
    """Returns how a machine is called in a report: the user's key, the name where it differs, the identifier."""
    names = [plain(outcome.key, 80)]
    if outcome.name and outcome.name != outcome.key:
        names.append(plain(outcome.name, 80))
    if outcome.id not in names:
        names.append(plain(outcome.id, 80))
    return f"{names[0]} ({', '.join(names[1:])})" if names[1:] else names[0]


def _indented(outcomes: Iterable[VmOutcome]) -> Iterable[str]:
    for outcome in outcomes:
        yield f"  {label(outcome)}  {outcome_line(outcome)}"
        if outcome.failure is not None:
            yield from (f"    {plain(line)}" for line in outcome.failure.diagnosis)


def failure_text(report: GateReport, found_before: int = 0) -> str:
    """Returns the error's text: one sentence of what happened, a line per machine, what to do.

    Args:
        report: The report of the wait.
        found_before: How many machines it was not about, because an earlier run had found them good.
    """
    bad = [outcome for outcome in report.outcomes if not outcome.good]
    good = [outcome for outcome in report.outcomes if outcome.good]
    headline = f"{_headline(report, bad, len(report.outcomes) + found_before)} after {duration(report.waited)}"
    if found_before:
        headline += f"; {found_before} {'were' if found_before > 1 else 'was'} found good by an earlier run"
    return "\n".join([headline, *_indented(bad), *_indented(good), *_advice(report, bad)])


def _headline(report: GateReport, bad: list[VmOutcome], whole: int) -> str:
    if report.cancelled:
        return f"the wait was cancelled with {len(bad)} of {whole} virtual machines not ready"
    if report.trouble is not None:
        return f"{report.trouble} {len(bad)} of {whole} virtual machines were not ready"
    culprits = [o.failure.event for o in bad if o.failure is not None and o.failure.event != STOPPED_EARLY]
    ended = "failed" if set(culprits) - _UNFINISHED - _MISSING.keys() else "did not finish"
    customization = f"customization {ended} on {{}}"
    kinds = Counter(_MISSING.get(event, customization) for event in culprits) or {customization: len(bad)}
    (kind, count), *others = sorted(kinds.items(), key=lambda item: item[0] != customization)
    parts = [kind.format(f"{count} of {whole} virtual machines")]
    return ", ".join([*parts, *(kind.format(f"{count} of {whole}") for kind, count in others)])


_MISSING = {"NotFound": "{} not found", "NoPermission": "no permission to read {}", "VmRemoved": "{} removed"}
"""What a headline says of machines that are not there: nothing is known of their customization."""


def _advice(report: GateReport, bad: list[VmOutcome]) -> Iterable[str]:
    """Yields a sentence of what to do for each kind of failure that is there."""
    if report.cancelled or report.trouble is not None:
        yield "The machines go on by themselves: run `pulumi up` again to resume the wait."
    for applies, sentence in _ADVICE:
        names = [plain(outcome.key, 80) for outcome in bad if outcome.failure and applies(outcome, outcome.failure)]
        if names:
            yield sentence.format(them=" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])))


_ADVICE: tuple[tuple[Callable[[VmOutcome, Failure], bool], str], ...] = (
    (
        lambda _, failure: failure.event == "GC_FAILED",
        "Correct the guest customization of {them}, power it on with forced customization, then run `pulumi up` again.",
    ),
    (
        lambda outcome, failure: (
            outcome.status is CustomizationStatus.CUSTOMIZATION_FAILED and failure.event != "GC_FAILED"
        ),
        "The specification was used up by the attempt: fix it and replace {them}, then run `pulumi up` again.",
    ),
    (
        lambda _, failure: failure.event == "NotFound",
        "Correct the reference of {them} in `vms`, then run `pulumi up` again.",
    ),
    (
        lambda _, failure: failure.event == "NoPermission",
        "Grant this user the role Read-only on {them}, then run `pulumi up` again.",
    ),
    (
        lambda _, failure: failure.event == "VmRemoved",
        "Create {them} again or take it out of `vms`, then run `pulumi up` again.",
    ),
    (
        lambda _, failure: failure.event == "NoCustomization",
        'Give {them} a customization specification and replace it, or set expect="auto" where none is wanted.',
    ),
    (
        lambda _, failure: failure.event == "StartTimeout",
        "Find out why nothing starts on {them}; `pulumi up` again resumes the wait, `start_timeout` is its patience.",
    ),
    (
        lambda _, failure: failure.event in {"Timeout", "NotReady"},
        "{them} may still get there: `pulumi up` again resumes the wait, `timeout` makes it longer.",
    ),
)


def progress_line(update: Update) -> str:
    """Returns where the whole wait stands, on one line: `2 of 3 customized, 1 running for 3 min 10 s: web-2`.

    Counts come before names, because a terminal cuts the line at its width. A count's time is that of the VM that has
    had the status longest.
    """
    open_ = [outcome for outcome in update.outcomes if not outcome.good]
    by_word: dict[str, list[VmOutcome]] = {}
    for outcome in open_:
        by_word.setdefault(_progress_word(outcome), []).append(outcome)
    parts = [f"{len(update.outcomes) - len(open_)} of {len(update.outcomes)} customized"]
    for word, outcomes in by_word.items():
        longest = duration(max(update.lasting.get(outcome.id, 0) for outcome in outcomes))
        parts.append(f"{len(outcomes)} {word}" + (f" for {longest}" if outcomes[0].status in _UNDER_WAY else ""))
    names = [plain(outcome.key, 40) for outcomes in by_word.values() for outcome in outcomes]
    return ", ".join(parts) + (f": {', '.join(names)}" if 0 < len(names) <= NAMES_ON_A_ROW else "")


def _is_absent(outcome: VmOutcome) -> bool:
    return outcome.failure is not None and outcome.failure.event in _ABSENT


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
    report: GateReport, found_before: int = 0
) -> CustomizationFailedError | CustomizationTimeoutError | WaitCancelledError:
    """Returns the error that a report which is not good amounts to; see `failure_text`."""
    text = failure_text(report, found_before)
    if report.cancelled:
        return WaitCancelledError(text, report)
    bad = [outcome.failure for outcome in report.outcomes if not outcome.good]
    if all(failure is not None and failure.event in {*_UNFINISHED, STOPPED_EARLY} for failure in bad):
        return CustomizationTimeoutError(text, report)
    return CustomizationFailedError(text, report)
