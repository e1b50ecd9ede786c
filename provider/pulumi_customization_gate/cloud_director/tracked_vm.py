"""One VM of a wait: what is known of it, and when it is read again."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.diagnosis import FAILED
from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.core.backoff import uniform
from pulumi_customization_gate.core.model import Missing, Snapshot, VmRef
from pulumi_customization_gate.core.recency import AGREEMENT
from pulumi_customization_gate.core.status import PowerState, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.cloud_director.api import CustomizationState, Refusal
    from pulumi_customization_gate.cloud_director.representations import InventoryVm

SHORTEST_INTERVAL, LONGEST_INTERVAL = 1.0, 10.0
"""Seconds between two reads: short after a change, growing while nothing changes."""
GROWTH = 1.5
JITTER = 0.2
"""The part by which an interval is drawn longer or shorter, so that many waits do not read in step."""
RECONCILE_INTERVAL = 30.0
"""Seconds between two reads of a VM whose inventory record reports its state as well."""
SETTLED_INTERVAL = 120.0
"""Seconds between two reads of a VM whose customization has ended, or that is missing."""
_FALSE_HINTS = 3
"""After so many hints without a change the record is not used any more."""
_TICK = timedelta(microseconds=1)
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class Pace:
    """A growing, jittered interval."""

    def __init__(self, draw: Callable[[float, float], float] = uniform) -> None:
        self._draw = draw
        self._interval = SHORTEST_INTERVAL

    def next(self, *, changed: bool) -> float:
        """Returns the seconds until the next read; a change makes them short again."""
        interval = SHORTEST_INTERVAL if changed else self._interval
        self._interval = min(interval * GROWTH, LONGEST_INTERVAL)
        return self.jitter(interval)

    def jitter(self, interval: float) -> float:
        """Returns an interval drawn a little longer or shorter."""
        return interval * self._draw(1 - JITTER, 1 + JITTER)


class TrackedVm:
    """One VM.

    Args:
        ref: The VM.
        clock: The monotonic clock of the wait.
        inventory: What the inventory reports of it, where that is known.
    """

    def __init__(self, ref: VmRef, clock: Callable[[], float], inventory: InventoryVm | None = None) -> None:
        self.ref, self.inventory = ref, inventory
        self.state = ""
        self.since = 0.0
        """When this wait first read the state, by the clock."""
        self.due = 0.0
        """When its state is read next, by the clock."""
        self.fault = ""
        """Why the last read did not report the state, empty where it did."""
        self.answered = clock()
        """When the state was last reported, by the clock; before that, when this began."""
        self.requested = self.received = 0
        """The newest request and the newest one that was answered: an answer to an older one is too late to count."""
        self.refreshed = 0
        """The newest request that a refresh has made."""
        self.read_enabled = True
        """Whether it is still open if guest customization is enabled."""
        self._clock = clock
        self._refusal: Refusal | None = None
        self._refused_since = 0.0
        self._word = ""
        self._at = _NEVER
        self._at_clock = 0.0
        """When the newest answer came, by the clock."""
        self._pace = Pace()
        self._reported: Snapshot | Missing | None = None
        self._hinted = False
        self._true_hints = self._false_hints = 0
        self.inventory_read = -math.inf
        """When the inventory last reported the VM, by the clock."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is expected: it is read again, but not often."""
        progress = progress_of(self.state)
        return self.is_refused or (progress is not None and progress.is_end)

    @property
    def is_refused(self) -> bool:
        """Whether the newest read found that the VM is not there, or may not be read."""
        return self._refusal is not None

    @property
    def is_unanswered(self) -> bool:
        """Whether the newest read failed, so that it is not known what the server would report."""
        return bool(self.fault) and not self.is_refused

    @property
    def is_being_read(self) -> bool:
        """Whether the newest request has no answer yet."""
        return self.requested > self.received

    @property
    def is_being_refreshed(self) -> bool:
        """Whether the newest request of a refresh has no answer yet."""
        return self.refreshed > self.received

    @property
    def has_hints(self) -> bool:
        """Whether the VM's inventory record reports its state as well, and was not found to be wrong."""
        return self.inventory is not None and bool(self.inventory.state) and self._false_hints < _FALSE_HINTS

    @property
    def is_confirmed_by_record(self) -> bool:
        """Whether a new record suffices to confirm the end: records followed the status, and were never wrong."""
        return self.is_settled and not self.is_refused and self._true_hints > 0 and not self._false_hints

    def observe_state(self, answer: CustomizationState) -> bool:
        """Takes in a state and returns whether it differs from the one before."""
        self.fault, self.answered = "", self._clock()
        self._refusal, self._at_clock = None, self._clock()
        if answer.enabled_was_read:
            self.read_enabled = answer.enabled is False
        changed = answer.state != self.state
        if self._hinted:
            self._true_hints += answer.word != self._word
            self._false_hints += answer.word == self._word
        self._hinted = False
        if changed:
            self.inventory_read = -math.inf  # the record is from before the change
            if self.state and self.inventory is not None:
                # The power state was read before the change, and may be what changed.
                self.inventory = replace(self.inventory, powered_on=None)
            self.since = self._clock()
        self.state, self._word = answer.state, answer.word
        self._at = max(answer.at, self._at + _TICK)
        return changed

    def observe_refusal(self, refusal: Refusal) -> None:
        """Takes in that a read was refused."""
        self._at_clock, self.fault = self._clock(), refusal.message
        if self._refusal is None:
            self._refused_since = self._at_clock
        self._refusal = refusal
        self._at = max(refusal.at, self._at + _TICK)

    def observe_inventory(self, at: datetime, inventory: InventoryVm) -> bool:
        """Takes in the inventory's record and returns whether it hints at a change: its state is not the known one."""
        self.inventory, self.inventory_read = inventory, self._clock()
        self._at = max(at, self._at + _TICK)
        if not self.state or not self.has_hints or inventory.state == self._word:
            return False
        self._hinted = True
        self.due = 0.0
        return True

    def schedule(self, *, reported: bool, changed: bool, at_least: float) -> None:
        """Sets when the state is read next.

        Args:
            reported: Whether the last read reported a state: only then do hints suffice.
            changed: Whether the state changed.
            at_least: Seconds for which the server asked for a pause.
        """
        now = self._clock()
        pause = self._pace.next(changed=changed)
        if self.is_refused and now - self._refused_since < AGREEMENT:
            pause = AGREEMENT  # one refusal may be a cell that restarts: the next look is soon
        elif self.is_settled and (reported or self.is_refused):
            pause = self._pace.jitter(SETTLED_INTERVAL)
        elif reported and self.has_hints:
            pause = RECONCILE_INTERVAL
        self.due = now + max(pause, at_least)

    def take_observation(self) -> Snapshot | Missing | None:
        """Returns what is known if it differs from what was returned before.

        Its time is later than any returned before. The Date header counts whole seconds, and the cells of one Cloud
        Director have clocks of their own: the order in which the server answered is the better one.
        """
        if not (self.state or self.is_refused):
            return None
        observation, before = self._observation(), self._reported
        if isinstance(observation, Snapshot) and isinstance(before, Snapshot):
            if replace(observation, at=before.at, asked_at=before.asked_at) == before:
                return None
        elif observation == before:
            return None
        self._reported = observation
        return observation

    def _observation(self) -> Snapshot | Missing:
        if self._refusal is not None:
            return Missing(
                self.ref.id,
                self._at,
                self._refusal.kind,
                self._refusal.message,
                needs_second_look=True,
                asked_at=self._at_clock,
            )
        inventory = self.inventory
        progress = progress_of(self.state)
        return Snapshot(
            vm=self.ref.id,
            at=self._at,
            power=PowerState.of(inventory.powered_on if inventory else None),
            progress=progress,
            state=self.state,
            message=FAILED if progress is Progress.FAILED else "",
            can_repeat=True,
            tools_running=bool(inventory and inventory.tools_running),
            name=inventory.name if inventory else "",
            ip_addresses=inventory.ip_addresses if inventory else (),
            asked_at=self._at_clock,
        )
