"""The VMs of one wait: what was observed of each, its verdict, and when its power last changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.facts import compact
from pulumi_customization_gate.core.model import Progress, Snapshot
from pulumi_customization_gate.core.outcomes import Situation, is_customized, is_waiting_to_start
from pulumi_customization_gate.core.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pulumi_customization_gate.core.facts import Facts
    from pulumi_customization_gate.core.model import Observation, VmRef
    from pulumi_customization_gate.core.outcomes import WaitRules
    from pulumi_customization_gate.core.source import Readiness

_log = logging.getLogger(__name__)


class TrackedVms:
    """Judges the VMs of a wait anew with each observation.

    Args:
        vms: The VMs, in the order of the request.
        rules: How long to wait, and for what.
        began: When the wait began, by the clock whose times the methods are given.
    """

    def __init__(self, vms: Sequence[VmRef], rules: WaitRules, began: float) -> None:
        self.refs = tuple(vms)
        self._rules, self._began = rules, began
        self._observations: dict[str, frozenset[Observation]] = {vm.id: frozenset() for vm in vms}
        self._judgements = {vm.id: judge(()) for vm in vms}
        self._power_changes = dict.fromkeys(self._judgements, began)
        self._dirty: set[str] = set()
        self._server_ahead: float | None = None
        """Seconds by which the server's clock is ahead of the wait's; a snapshot that arrives late says less."""

    def observe(self, batch: Iterable[Observation], now: float) -> None:
        """Takes in observations; those of other VMs are ignored."""
        fresh: dict[str, set[Observation]] = {}
        for observation in batch:
            if observation.vm in self._observations:
                fresh.setdefault(observation.vm, set()).add(observation)
            if isinstance(observation, Snapshot):
                ahead = observation.at.timestamp() - now
                self._server_ahead = ahead if self._server_ahead is None else max(self._server_ahead, ahead)
        for vm, new in fresh.items():
            self._observations[vm] = compact(self._observations[vm] | new)
            before, judgement = self._judgements[vm], judge(self._observations[vm])
            self._judgements[vm] = judgement
            self._dirty.add(vm)
            self._observe_power_change(vm, before.facts, judgement.facts, now)
            if judgement.because != before.because:
                _log.debug("%s: %s, because %s", vm, judgement.status.value, judgement.because)

    def take_dirty(self) -> frozenset[str]:
        """Returns the identifiers of the VMs that were observed since the last call."""
        dirty = frozenset(self._dirty)
        self._dirty.clear()
        return dirty

    def situation(self, vm: VmRef, now: float, readiness: Readiness | None) -> Situation:
        """Returns what decides about one VM; `readiness` is asked only about a customized one."""
        judgement, is_overdue = self._judgements[vm.id], self.is_overdue(vm, now)
        customized = is_customized(judgement, self._rules, is_overdue=is_overdue)
        if not customized or readiness is None:
            return Situation(vm, judgement, customized, is_overdue, ready_at=judgement.completed_at)
        return Situation(vm, judgement, customized, is_overdue, readiness.unmet(vm), readiness.ready_at(vm))

    def is_overdue(self, vm: VmRef, now: float) -> bool:
        """Returns whether the customization should have started: a later start still counts."""
        judgement = self._judgements[vm.id]
        if not (is_waiting_to_start(judgement) and judgement.start_can_be_overdue):
            return False
        may_run = judgement.facts.progress is Progress.PENDING_OR_RUNNING and judgement.facts.is_on is not False
        if may_run and self._rules.start_timeout >= self._rules.timeout:
            return False  # the deadline cannot show that it did not start
        return now >= self._power_changes[vm.id] + self._rules.start_timeout

    def is_any_overdue(self, now: float) -> bool:
        """Returns whether the start time-out has decided about a VM."""
        return any(self.is_overdue(vm, now) for vm in self.refs)

    def is_any_missing(self) -> bool:
        """Returns whether a VM was looked for in vain."""
        return any(judgement.facts.missing for judgement in self._judgements.values())

    def next_due(self, now: float, deadline: float) -> float:
        """Returns the next moment at which time alone may decide something, at most the deadline."""
        waiting = [vm for vm, judgement in self._judgements.items() if is_waiting_to_start(judgement)]
        dues = (self._power_changes[vm] + self._rules.start_timeout for vm in waiting)
        return min((due for due in dues if now < due < deadline), default=deadline)

    def server_now(self, now: float) -> float | None:
        """Returns the server's time in seconds since the epoch, None before a snapshot told it."""
        return None if self._server_ahead is None else now + self._server_ahead

    def newest_read(self) -> datetime | None:
        """Returns the server's time of the newest look at any of the VMs."""
        facts = [judgement.facts for judgement in self._judgements.values()]
        looks = [look for fact in facts for look in (fact.latest, fact.missing) if look is not None]
        return max((look.at for look in looks), default=None)

    def _observe_power_change(self, vm: str, before: Facts, now: Facts, clock: float) -> None:
        """Dates the last power-on or power-off by the clock of the wait, also one that is observed late."""
        if now.power_event is not None and now.power_event != before.power_event:
            age = (now.latest.at - now.power_event.at).total_seconds() if now.latest else 0.0
            self._power_changes[vm] = max(self._began, clock - max(0.0, age))
        elif {before.is_on, now.is_on} == {True, False}:
            self._power_changes[vm] = clock
