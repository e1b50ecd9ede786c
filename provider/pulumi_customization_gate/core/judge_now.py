"""The first judgement of VMs, without a wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.core.model import GateReport
    from pulumi_customization_gate.core.source import Source

TIMEOUT = 60.0
"""Seconds that the server may take until every VM is judged once."""


def judge_now(
    source: Source, *, requires_customization: bool, cancelled: Callable[[], bool] = lambda: False
) -> GateReport:
    """Returns the report of a wait that ends with its first judgement; it counts as cancelled where a VM is unsettled.

    Args:
        source: The VMs.
        requires_customization: Whether a VM with no trace of a customization is a failure.
        cancelled: Whether the user has cancelled the work.
    """
    rules = WaitRules(
        timeout=TIMEOUT,
        start_timeout=math.inf,
        requires_customization=requires_customization,
        stop_on_missing=False,
        judges_once=True,
    )
    return wait(source, rules, cancelled=cancelled)
