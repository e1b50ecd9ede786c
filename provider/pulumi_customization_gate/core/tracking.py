"""The VMs of one wait: what was observed of each, its verdict, and when its power last changed."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import Snapshot
from pulumi_customization_gate.core.outcomes import (
    Situation,
    is_customized,
    is_waiting_to_start,
    unmet_by_state,
)
from pulumi_customization_gate.core.recency import AGREEMENT, age, compact, is_same_event, is_since
from pulumi_customization_gate.core.results import time_of
from pulumi_customization_gate.core.status import CustomizationStatus, Progress
from pulumi_customization_gate.core.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pulumi_customization_gate.core.facts import Facts
    from pulumi_customization_gate.core.model import Observation, VmRef
    from pulumi_customization_gate.core.outcomes import WaitRules
    from pulumi_customization_gate.core.source import Readiness
    from pulumi_customization_gate.core.verdict import Judgement

SHORTEST_DOUBT, LONGEST_DOUBT = AGREEMENT, 30.0
"""Seconds from an observation that contradicts another to the look that decides, and between two such looks."""
TOOLS_GRACE = 10.0
"""Seconds that VMware Tools run before it is certain that they found no specification to apply."""

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
        nothing = judge(())
        self._judgements = {vm.id: nothing for vm in vms}
        self._waiting, self._held, self._doubted = set(self._judgements), set[str](), set[str]()
        """The VMs that wait for a start, whose verdict is held, and that need another look."""
        self._missing: set[str] = set()
        """The VMs that were not found, may not be read, or left the inventory."""
        self._power_changes = dict.fromkeys(self._judgements, began)
        """When the power of each VM last changed, by the clock of the wait; may lie before its beginning."""
        self._tools_since: dict[str, float] = {}
        """When VMware Tools were first seen to run since the last power-on."""
        self._asked: dict[str, Judgement] = {}
        """The judgement of each VM with which its readiness was last asked."""
        self._look_at = math.inf
        self._doubt = SHORTEST_DOUBT
        self._dirty = set(self._judgements)
        self._without_failure: set[str] = set()
        """The VMs that were observed in another state than that of a failed customization."""
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
            seen = compact(self._observations[vm] | new)
            if seen == self._observations[vm]:
                continue  # Events that were read again.
            self._observations[vm] = seen
            before, judgement = self._judgements[vm], judge(self._observations[vm])
            self._keep(vm, judgement)
            if judgement.status is not CustomizationStatus.CUSTOMIZATION_FAILED:
                self._without_failure.add(vm)
            self._observe_run(vm, before.facts, judgement.facts, new, now)
            if judgement.because != before.because:
                _log.debug("%s: %s, because %s", vm, judgement.status.value, judgement.because)
        for vm in self._held.copy():
            self._settle_power_on(vm, now)
        self._plan_look(now)

    def _keep(self, vm: str, judgement: Judgement) -> None:
        """Keeps a verdict, and what it says of the next look: of thousands of VMs only those that changed are asked."""
        self._judgements[vm] = judgement
        self._dirty.add(vm)
        for group, belongs in (
            (self._waiting, is_waiting_to_start(judgement)),
            (self._held, judgement.is_held),
            (self._doubted, judgement.needs_look),
            (self._missing, judgement.facts.missing is not None or judgement.facts.is_removed),
        ):
            (group.add if belongs else group.discard)(vm)

    def mark_dirty(self, vms: Iterable[str]) -> None:
        """Has the next `take_dirty` return VMs of which something else than an observation has changed."""
        self._dirty.update(vms)

    def take_dirty(self) -> frozenset[str]:
        """Returns the identifiers of the VMs that were observed since the last call."""
        dirty = frozenset(self._dirty)
        self._dirty.clear()
        return dirty

    def is_look_due(self, now: float) -> bool:
        """Returns whether a VM needs another look by now; the next one is further away."""
        if now < self._look_at:
            return False
        self._doubt = min(2 * self._doubt, LONGEST_DOUBT)
        self._look_at = now + self._doubt
        return True

    def situation(self, vm: VmRef, now: float, readiness: Readiness | None) -> Situation:
        """Returns what decides about one VM; `readiness` is asked only about a customized one."""
        self._settle_power_on(vm.id, now)
        judgement, is_overdue = self._judgements[vm.id], self.is_overdue(vm, now)
        accepted = self._accepted(vm, judgement)
        customized = bool(accepted) or is_customized(judgement, self._rules, is_overdue=is_overdue)
        unmet = unmet_by_state(judgement) if customized else ""
        found = Situation(vm, judgement, customized, is_overdue, unmet, judgement.completed_at, accepted)
        if readiness is None:
            return found
        self._forget_earlier_run(vm, judgement, readiness, customized=customized)
        if not customized or unmet:
            return found
        self._asked[vm.id] = judgement
        return replace(
            found,
            unmet=readiness.unmet(vm),
            ready_at=readiness.ready_at(vm),
            is_final=readiness.is_final(vm),
            addresses=readiness.addresses(vm),
        )

    def _forget_earlier_run(self, vm: VmRef, now: Judgement, readiness: Readiness, *, customized: bool) -> None:
        """Has readiness begin anew where the VM was customized again or powered on again since it was asked."""
        asked = self._asked.get(vm.id)
        if asked is not None and not (customized and now.is_of_same_run(asked)):
            del self._asked[vm.id]
            readiness.forget(vm)

    def _accepted(self, vm: VmRef, judgement: Judgement) -> str:
        """Returns why the VM's failure counts as success, nothing where it does not.

        A failure is known by its time. Where the server reports none, it is the accepted one as long as this wait has
        observed nothing but it.
        """
        acceptance = self._rules.accepted.get(vm.id)
        if acceptance is None or acceptance.key not in (vm.key, vm.id):
            return ""
        if judgement.status is not CustomizationStatus.CUSTOMIZATION_FAILED:
            return ""
        latest = judgement.facts.latest
        found = Identity(instance_uuid=latest.instance_uuid if latest else "")
        if found.differs(Identity(instance_uuid=acceptance.instance_uuid)):
            return ""
        at = time_of(judgement.completed_at)
        is_same = vm.id not in self._without_failure if at is None else at == acceptance.failed_at
        return acceptance.reason if is_same else ""

    def is_overdue(self, vm: VmRef, now: float) -> bool:
        """Returns whether the customization should have started: a later start still counts."""
        judgement = self._judgements[vm.id]
        if not (is_waiting_to_start(judgement) and judgement.start_can_be_overdue):
            return False
        may_run = judgement.facts.progress is Progress.PENDING_OR_RUNNING and judgement.facts.is_on is not False
        if may_run and self._rules.start_timeout >= self._rules.timeout:
            return False  # the deadline cannot show that it did not start
        return now >= self._start_due(vm.id)

    def is_any_overdue(self, now: float) -> bool:
        """Returns whether the start time-out has decided about a VM."""
        return any(self.is_overdue(vm, now) for vm in self.refs)

    def is_any_missing(self) -> bool:
        """Returns whether a VM was never there, and each other one that was not found either was looked for again."""
        facts = [self._judgements[vm].facts for vm in self._missing]
        if any(fact.missing is not None and not fact.looks_agree for fact in facts):
            return False
        return any((fact.is_removed or fact.is_unreadable) and not fact.was_there for fact in facts)

    def next_due(self, now: float, deadline: float) -> float:
        """Returns the next moment at which time alone may decide something, at most the deadline."""
        dues = [*map(self._start_due, self._waiting), *map(self._settled_at, self._held)]
        return min((due for due in (*dues, self._look_at) if now < due < deadline), default=deadline)

    def server_now(self, now: float) -> float | None:
        """Returns the server's time in seconds since the epoch, None before the first snapshot."""
        return None if self._server_ahead is None else now + self._server_ahead

    def newest_read(self) -> datetime | None:
        """Returns the server's time of the newest look at any of the VMs."""
        facts = [judgement.facts for judgement in self._judgements.values()]
        looks = [look for fact in facts for look in (fact.latest, fact.missing) if look is not None]
        return max((look.at for look in looks), default=None)

    def _start_due(self, vm: str) -> float:
        return max(self._began, self._power_changes[vm]) + self._rules.start_timeout

    def _settled_at(self, vm: str) -> float:
        """Returns when it is certain that nothing was requested for the last power-on of a VM."""
        by_tools = self._tools_since.get(vm, math.inf) + TOOLS_GRACE
        return min(by_tools, self._power_changes[vm] + self._rules.start_timeout)

    def _settle_power_on(self, vm: str, now: float) -> None:
        if vm in self._held and now >= self._settled_at(vm):
            self._keep(vm, judge(self._observations[vm], power_on_is_settled=True))

    def _plan_look(self, now: float) -> None:
        if not self._doubted:
            self._look_at, self._doubt = math.inf, SHORTEST_DOUBT
        elif self._look_at == math.inf:
            self._look_at = now + self._doubt

    def _observe_run(self, vm: str, before: Facts, now: Facts, new: Iterable[Observation], clock: float) -> None:
        """Dates the last power-on or power-off, and since when VMware Tools run, also where one batch brings it all.

        Args:
            vm: The VM's identifier.
            before: The facts before a batch of observations.
            now: The facts after it.
            new: The batch.
            clock: The time of the batch, by the clock of the wait.
        """
        looks = [o for o in new if isinstance(o, Snapshot) and (before.latest is None or age(o) > age(before.latest))]
        has_power_changed = self._observe_power_change(vm, before, now, looks, clock)
        if has_power_changed or not (now.tools_running and all(look.tools_running for look in looks)):
            self._tools_since.pop(vm, None)
        if now.tools_running:
            self._tools_since.setdefault(vm, clock)

    def _observe_power_change(
        self, vm: str, before: Facts, now: Facts, looks: Sequence[Snapshot], clock: float
    ) -> bool:
        """Dates the last power-on or power-off, also one that is observed late, and returns whether there was one."""
        if now.power_event is not None and not is_same_event(now.power_event, before.power_event):
            seconds = (now.latest.at - now.power_event.at).total_seconds() if now.latest else 0.0
            self._power_changes[vm] = clock - max(0.0, seconds)
            return True
        was_off = any(look.power.is_on is False and is_since(look, now.power_event) for look in looks)
        if {before.is_on, now.is_on} == {True, False} or (was_off and now.is_on):
            self._power_changes[vm] = clock
            return True
        return now.is_restarted and not before.is_restarted
