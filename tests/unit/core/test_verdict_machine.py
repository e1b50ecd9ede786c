"""A simulated VM, and an observer that hears of it late, twice and in any order: what holds for the verdict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pulumi_customization_gate.core.model import Event, Snapshot
from pulumi_customization_gate.core.recency import compact
from pulumi_customization_gate.core.status import CustomizationStatus as Status
from pulumi_customization_gate.core.status import Evidence, PowerState
from pulumi_customization_gate.core.verdict import judge
from tests.unit.core.timeline import (
    ALL_READ,
    at,
    failed,
    gone,
    powered_off,
    powered_on,
    read,
    removed,
    resuming,
    started,
    starting,
    succeeded,
    suspended,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.core.model import Missing, Observation

FEW = 12
"""Steps after which a VM may be removed."""
POWER_ONS = st.sampled_from([(starting,), (starting, powered_on), (powered_on,)])
ENDS = {"SUCCEEDED": Status.CUSTOMIZATION_SUCCEEDED, "FAILED": Status.CUSTOMIZATION_FAILED}


class Verdicts(RuleBasedStateMachine):
    """The VM is what the server knows. The observer knows what was delivered, and may not be up to date."""

    def __init__(self) -> None:
        super().__init__()
        self.second = 0
        self.key = 0
        self.clock = 0
        """Seconds by which the server's clock is ahead."""
        self.clock_was_set = self.is_suspended = self.is_lossy = False
        self.exists, self.on, self.pending = True, False, False
        self.state = "IDLE"
        """The server's state of the customization; RUNNING remains where a power-off or a restart interrupts it."""
        self.is_running = self.is_about_to_run = False
        self.has_succeeded = False
        self.undelivered: list[Event | Snapshot | Missing] = []
        self.delivered: list[Observation] = [ALL_READ]
        self.is_read = False
        """Whether the observer has read the state since something happened."""
        self.powered_on: Event | None = None
        self.started: Event | None = None
        """The start of a customization since the last power-on."""
        self.ended: Event | None = None
        """The newest end."""
        self.is_up_to_date = False
        self.pending_was_read = False
        """Whether the observer has read that the customization which has not ended was pending."""

    @initialize(
        is_requested=st.booleans(),
        keeps=st.sampled_from([("events", "states"), ("events",), ("states",)]),
        key=st.sampled_from([0, 2**31 - 6, -4]),
    )
    def begin(self, *, is_requested: bool, keeps: tuple[str, ...], key: int) -> None:
        """One source may be all the evidence: events are denied or gone, states come with 7.0.2. The keys wrap."""
        self.keeps_events, self.keeps_states, self.key = "events" in keeps, "states" in keeps, key
        if is_requested:
            self.request()

    def tick(self) -> int:
        self.second += 1
        return self.second

    def event(self, make: Callable[[int], Event]) -> Event:
        """Returns an event as the server records it now; it is read when it is delivered."""
        second = self.tick()
        self.key = (self.key + 1 + 2**31) % 2**32 - 2**31
        return replace(make(second), key=self.key, at=at(second + self.clock), read_at=math.inf)

    def happened(self, *events: Event) -> None:
        self.is_up_to_date = self.is_read = False
        if self.keeps_events:
            self.undelivered += events

    # What happens to the VM.

    @precondition(lambda self: self.exists and not self.on)
    @rule()
    def request(self) -> None:
        """A customization is requested: a specification is pending until the next power-on."""
        self.tick()
        self.pending, self.state = True, "PENDING"
        self.happened()

    @precondition(lambda self: self.exists and not self.on)
    @rule(makes=POWER_ONS)
    def power_on(self, makes: tuple[Callable[[int], Event], ...] = (starting,)) -> None:
        self.on, self.is_about_to_run, self.pending = True, self.pending, False
        self.boot(*makes)

    def boot(self, *makes: Callable[[int], Event]) -> None:
        """The server reports a power-on when it begins, when it is complete, or both times."""
        events = [self.event(make) for make in makes or (starting,)]
        self.powered_on, self.started = events[0], None
        self.happened(*events)

    @precondition(lambda self: self.is_about_to_run and not self.is_suspended)
    @rule()
    def start(self) -> None:
        self.is_running, self.is_about_to_run, self.state = True, False, "RUNNING"
        self.started = self.event(started)
        self.happened(self.started)

    @precondition(lambda self: self.is_running and not self.is_suspended)
    @rule(success=st.booleans())
    def end(self, *, success: bool) -> None:
        self.is_running, self.state = False, "SUCCEEDED" if success else "FAILED"
        self.pending_was_read = False
        self.has_succeeded |= success
        self.ended = self.event(succeeded if success else failed)
        self.happened(self.ended)

    @precondition(lambda self: self.on)
    @rule()
    def power_off(self) -> None:
        self.on = self.is_running = self.is_about_to_run = self.is_suspended = False
        self.happened(self.event(powered_off))

    @precondition(lambda self: self.on)
    @rule(makes=POWER_ONS)
    def ha_restart(self, makes: tuple[Callable[[int], Event], ...]) -> None:
        self.is_running = self.is_about_to_run = self.is_suspended = False
        self.happened(self.event(powered_off))
        self.boot(*makes)

    @precondition(lambda self: self.on)
    @rule()
    def suspend_or_resume(self) -> None:
        self.is_suspended = not self.is_suspended
        self.happened(self.event(suspended if self.is_suspended else resuming))

    @precondition(lambda self: not self.clock_was_set)
    @rule(ahead=st.sampled_from([-25_200, -7, 7, 25_200]))
    def set_clock(self, ahead: int) -> None:
        """The server's clock is set, forward or back."""
        self.clock, self.clock_was_set = ahead, True

    @precondition(lambda self: self.exists)
    @rule(success=st.booleans())
    def customize(self, *, success: bool) -> None:
        """A whole customization, after an earlier one or the first."""
        if self.on:
            self.power_off()
        self.request()
        self.power_on()
        self.start()
        self.end(success=success)

    @precondition(lambda self: self.on)
    @rule()
    def request_again(self) -> None:
        """The VM is powered off for another customization."""
        self.power_off()
        self.request()

    # Not early, because little happens afterwards.
    @precondition(lambda self: self.exists and not self.on and self.second > FEW)
    @rule()
    def remove(self) -> None:
        self.exists = self.pending = False
        self.removal = self.event(removed)
        self.happened(self.removal)

    # What the observer hears of it.

    @rule()
    def read_state(self) -> None:
        """The state is read; what was read may be delivered late."""
        self.undelivered.append(self.snapshot())

    @rule()
    def read_state_at_once(self) -> None:
        """The state is read and delivered, while older events may be on their way."""
        self.delivered.append(self.snapshot())
        self.is_read = True
        self.pending_was_read |= self.pending

    def snapshot(self) -> Snapshot | Missing:
        second = self.tick()
        if not self.exists:
            return replace(gone(second), at=at(second + self.clock))
        power = PowerState.SUSPENDED if self.is_suspended else PowerState.of(self.on)
        state = read(second, self.state if self.keeps_states else "", power=power, pending=self.pending, tools=self.on)
        return replace(state, at=at(second + self.clock))

    def receive(self, observation: Event | Snapshot | Missing) -> None:
        if isinstance(observation, Event):
            observation = replace(observation, read_at=self.tick())
        self.delivered.append(observation)

    @precondition(lambda self: self.undelivered)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """One observation arrives, not necessarily the oldest."""
        index = data.draw(st.integers(0, len(self.undelivered) - 1))
        self.receive(self.undelivered.pop(index))

    @precondition(lambda self: self.undelivered)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """One observation never arrives: its verdict may be late, but no gate opens for that."""
        self.undelivered.pop(data.draw(st.integers(0, len(self.undelivered) - 1)))
        self.is_lossy = True

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        """An observation arrives for a second time; an event is read again, which makes it no newer."""
        again = data.draw(st.sampled_from(self.delivered))
        self.delivered.append(replace(again, read_at=self.tick()) if isinstance(again, Event) else again)

    @rule()
    def drop_what_is_not_needed(self) -> None:
        """A long wait compacts what it holds."""
        needed = compact(self.delivered)
        self.delivered = [one for one in self.delivered if one in needed]

    @rule(data=st.data())
    def catch_up(self, data: st.DataObject) -> None:
        """Everything arrives, in any order, and the state is read: now the verdict must be the truth."""
        self.read_state()
        for observation in data.draw(st.permutations(self.undelivered)):
            self.receive(observation)
        self.undelivered.clear()
        if self.clock_was_set or not self.exists:
            self.tick()
            self.read_state_at_once()
        self.is_up_to_date, self.is_read = not self.is_lossy, True

    @property
    def expected_statuses(self) -> set[Status]:
        if not self.exists:
            return {Status.VM_REMOVED}
        if self.state in ENDS:
            return {ENDS[self.state]}
        if not self.on or self.is_suspended:
            return {Status.VM_NOT_STARTED}
        if self.state == "IDLE":
            return {Status.NOT_CUSTOMIZED if self.keeps_states else Status.CUSTOMIZATION_NOT_STARTED}
        if self.is_running:
            return {Status.CUSTOMIZATION_STARTED}
        # About to start, or interrupted and not requested again.
        return {Status.CUSTOMIZATION_NOT_STARTED, Status.CUSTOMIZATION_STARTED}

    @property
    def expected_evidence(self) -> Evidence | None:
        if not self.exists:
            return Evidence.INVENTORY
        if self.state in ENDS and self.ended and self.powered_on:
            has_booted_since = 0 < (self.powered_on.key - self.ended.key) % 2**32 < 2**31
            return (
                (Evidence.EARLIER_EVENT if has_booted_since else Evidence.EVENT)
                if self.keeps_events
                else Evidence.STATE
            )
        is_running = self.on and not self.is_suspended
        return Evidence.NO_TRACE if is_running and self.state == "IDLE" else None

    # What holds at any time.

    @invariant()
    def the_verdict_is_the_truth_once_everything_is_known(self) -> None:
        """Stale and repeated observations change nothing about it."""
        # Without a state, only time shows that a power-on has used up a request, and a wrong clock delays the verdict.
        is_used_up = self.state == "PENDING" and not self.pending
        if not self.is_up_to_date or (not self.keeps_states and (is_used_up or self.clock_was_set)):
            return
        judgement = judge(self.delivered, power_on_is_settled=not self.keeps_states)
        assert judgement.status in self.expected_statuses, judgement.because
        if self.clock_was_set or not self.keeps_states:
            return
        assert judgement.evidence == self.expected_evidence, judgement.because
        if self.keeps_events:
            assert judgement.started_at == (self.started and self.started.at)
            assert judgement.powered_on_at == (self.powered_on and self.powered_on.at)
        if self.keeps_events and self.state in ENDS and self.ended and self.exists:
            assert judgement.completed_at == self.ended.at

    @invariant()
    def order_duplicates_and_compacting_change_nothing(self) -> None:
        verdict = judge(self.delivered)
        assert judge([*reversed(self.delivered), *self.delivered]) == verdict
        assert judge(compact(self.delivered)) == verdict

    @invariant()
    def no_success_is_invented(self) -> None:
        """However little is known, a VM whose customization never succeeded is not called customized."""
        if not self.has_succeeded:
            assert judge(self.delivered).status is not Status.CUSTOMIZATION_SUCCEEDED

    @invariant()
    def a_known_removal_is_final(self) -> None:
        is_told = (
            any(isinstance(one, Event) and one.key == self.removal.key for one in self.delivered)
            if not self.exists
            else False
        )
        if is_told:
            assert judge(self.delivered).status is Status.VM_REMOVED

    @invariant()
    def nothing_is_ready_while_a_pending_specification_is_known(self) -> None:
        """The events of an earlier customization may still arrive, or never arrive."""
        if self.is_read and self.pending:
            assert judge(self.delivered).status is Status.VM_NOT_STARTED
        if self.is_read and self.exists and self.keeps_states and self.state in ("PENDING", "RUNNING", "FAILED"):
            assert judge(self.delivered).status is not Status.CUSTOMIZATION_SUCCEEDED

    @invariant()
    def nothing_is_ready_after_a_pending_specification_was_read(self) -> None:
        """However little is known of what became of it, and however long ago the power-on is, until it has ended."""
        if self.pending_was_read:
            for is_settled in (False, True):
                judgement = judge(self.delivered, power_on_is_settled=is_settled)
                assert judgement.status is not Status.CUSTOMIZATION_SUCCEEDED, judgement.because

    @invariant()
    def nothing_is_ready_that_a_fresh_look_finds_off(self) -> None:
        """Customized and powered off, or suspended, is not ready."""
        if self.is_read and self.exists and not (self.on and not self.is_suspended):
            assert judge(self.delivered).facts.is_on is False


TestVerdicts = Verdicts.TestCase
TestVerdicts.settings = settings(stateful_step_count=40)
