"""One machine of a wait: what is known of it, and when it is asked about again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.diagnosis import FAILED
from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.core.model import Missing, Progress, Snapshot, VmRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.cloud_director.readings import State
    from pulumi_customization_gate.cloud_director.representations import Machine

SHORTEST_INTERVAL, LONGEST_INTERVAL = 1.0, 10.0
"""Seconds between two questions: short after a change, growing while nothing changes."""
GROWTH = 1.5
JITTER = 0.2
"""The part by which an interval is drawn longer or shorter, so that many who wait do not ask in step."""
RECONCILE_INTERVAL = 30.0
"""Seconds between two questions about a machine whose record rings when its state changes."""
_FALSE_RINGS = 3
"""After so many rings for nothing the record is not listened to any more."""
_TICK = timedelta(microseconds=1)
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class Pace:
    """A growing, jittered interval."""

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._interval = SHORTEST_INTERVAL

    def next(self, *, changed: bool) -> float:
        """Returns the seconds until the next question; a change makes them short again."""
        interval = SHORTEST_INTERVAL if changed else self._interval
        self._interval = min(interval * GROWTH, LONGEST_INTERVAL)
        return interval * self._draw(1 - JITTER, 1 + JITTER)


@dataclass
class Watched:
    """One machine."""

    ref: VmRef
    machine: Machine | None = None
    gone: str = ""
    """Why the machine is not there."""
    state: str = ""
    since: float = 0.0
    """When this wait first heard the state, by our monotonic clock."""
    due: float = 0.0
    """When its state is asked for, by the same clock."""
    fault: str = ""
    """What came of the last question, where that was no answer."""
    answered: float = field(default_factory=time.monotonic)
    """When the state was last told, by the same clock: before that, when this began."""
    asked: int = 0
    heard: int = 0
    """The newest question that was answered: an answer to an older one comes too late to count."""
    ask_enabled: bool = True
    """Whether it is still open if guest customization is enabled."""
    _word: str = ""
    _at: datetime = _NEVER
    _pace: Pace = field(default_factory=Pace)
    _reported: Snapshot | Missing | None = None
    _rang: bool = False
    _false_rings: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come."""
        progress = progress_of(self.state)
        return bool(self.gone) or (progress is not None and progress.is_end)

    @property
    def is_being_asked(self) -> bool:
        """Whether the newest question is still without an answer."""
        return self.asked > self.heard

    @property
    def has_bell(self) -> bool:
        """Whether the machine's record tells its state as well, and was not found to lag behind."""
        return self.machine is not None and bool(self.machine.state) and self._false_rings < _FALSE_RINGS

    def take_state(self, answer: State) -> bool:
        """Takes in a state and returns whether it is another than before."""
        self.fault, self.answered = "", time.monotonic()
        if answer.asked:
            self.ask_enabled = answer.enabled is False
        changed = answer.state != self.state
        if self._rang and answer.word == self._word:
            self._false_rings += 1
        self._rang = False
        if changed:
            if self.state and self.machine is not None:
                # The power state was read before the change, and may be what changed.
                self.machine = replace(self.machine, powered_on=None)
            self.since = time.monotonic()
        self.state, self._word = answer.state, answer.word
        self._at = max(answer.at, self._at + _TICK)
        return changed

    def take_machine(self, at: datetime, machine: Machine) -> bool:
        """Takes in what the inventory says and returns whether it rings: its state is another than the one known."""
        self.machine = machine
        self._at = max(at, self._at + _TICK)
        if not self.state or self.is_settled or not self.has_bell or machine.state == self._word:
            return False
        self._rang = True
        self.due = 0.0
        return True

    def lose(self, why: str) -> None:
        """Takes in that the machine is not there."""
        self.gone = why
        self._at = max(datetime.now(timezone.utc), self._at + _TICK)

    def rest(self, *, heard: bool, changed: bool, at_least: float) -> None:
        """Puts off the next question.

        Args:
            heard: Whether the last question was answered well: only then is the bell enough.
            changed: Whether the answer told something new.
            at_least: Seconds for which the server asked not to be asked.
        """
        pause = self._pace.next(changed=changed)
        self.due = time.monotonic() + max(RECONCILE_INTERVAL if heard and self.has_bell else pause, at_least)

    def news(self) -> Snapshot | Missing | None:
        """Returns what is known if it is another than what was returned before.

        Its time is later than any returned before. The Date header counts whole seconds, and the cells of one Cloud
        Director have clocks of their own: the order in which the server answered is the better one.
        """
        observation = self._observation()
        if not (self.state or self.gone):
            return None
        if self._reported is not None and replace(observation, at=self._reported.at) == self._reported:
            return None
        self._reported = observation
        return observation

    def _observation(self) -> Snapshot | Missing:
        if self.gone:
            return Missing(self.ref.id, self._at, message=self.gone)
        machine = self.machine
        progress = progress_of(self.state)
        tools_running = machine.tools_running if machine else None
        return Snapshot(
            vm=self.ref.id,
            at=self._at,
            powered_on=machine.powered_on if machine else None,
            progress=progress,
            state=self.state,
            message=FAILED if progress is Progress.FAILED else "",
            can_repeat=True,
            tools_running=bool(tools_running),
            name=machine.name if machine else "",
            ip_addresses=machine.ip_addresses if machine else (),
        )
