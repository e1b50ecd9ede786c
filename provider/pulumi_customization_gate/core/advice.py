"""What to do about a failure, as a decision. The program that shows a report has a sentence for each."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.core.model import GateReport


class Advice(enum.Enum):
    """What to do about one kind of failure, in the order in which a report gives it."""

    RESUME = "resume"
    """The wait ended early and the VMs continue without it: wait again."""
    CUSTOMIZE_AGAIN = "customize again"
    """The same VM can be customized again."""
    REPLACE = "replace"
    """The attempt consumed the specification: fix it and replace the VM."""
    CORRECT_REFERENCE = "correct the reference"
    GRANT_PERMISSION = "grant permission"
    RESTORE_OR_DROP = "restore or drop"
    """The VM was removed: create it again, or do not wait for it."""
    REQUEST_CUSTOMIZATION = "request a customization"
    """Give the VM a specification, or accept that it has none."""
    FIND_START_FAULT = "find what prevents the start"
    POWER_ON = "power on"
    """The VM is customized, and work needs it to run."""
    WAIT_LONGER = "wait longer"


def advice_of(report: GateReport) -> Iterator[tuple[Advice, tuple[str, ...]]]:
    """Yields each piece of advice that a report calls for, with the keys of the VMs that it is about."""
    if report.cancelled or report.fatal_error is not None:
        yield Advice.RESUME, ()
    for advice in Advice:
        keys = tuple(o.key for o in report.outcomes if not o.ready and o.failure and o.failure.advice is advice)
        if keys:
            yield advice, keys
