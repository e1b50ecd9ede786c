"""The judgement of VMs as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.command_line.connection import Access
    from pulumi_customization_gate.core.model import GateReport


def judge_now(access: Access, words: Sequence[str], *, requires_customization: bool) -> GateReport:
    """Returns the first judgement of VMs."""
    from pulumi_customization_gate.core import judge_now as judgement  # noqa: PLC0415 -- `--help` does not need it

    with access.source(words) as source:
        return judgement.judge_now(source, requires_customization=requires_customization)
