"""What a set of observations of one VM amounts to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.status import FailureKind, PowerState, Progress, Signal

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import Event, Missing, Snapshot

END_OF = {Signal.CUSTOMIZATION_SUCCEEDED: Progress.SUCCEEDED, Signal.CUSTOMIZATION_FAILED: Progress.FAILED}
"""The state that follows each end."""


@dataclass(frozen=True)
class Facts:
    """What a set of observations of one VM amounts to."""

    anchor: Event | None = None
    """The newest power-on: what came before it belongs to an earlier run of the VM."""
    is_restarted: bool = False
    """Whether the VM was powered on after the newest power-on that an event reports."""
    started: Event | None = None
    """The newest start of a customization after the last power-on."""
    is_unended: bool = False
    """Whether no end followed that start: no event, and no state that was still the same END_LAG after it."""
    ended: Event | None = None
    """The newest end of a customization after the last power-on."""
    ended_before: Event | None = None
    """The newest end of a customization before the last power-on, where none followed it."""
    is_contradicted: bool = False
    """Whether the state reports a failure although the newest event reports a success: one of them is late."""
    interrupted: Event | None = None
    """The start of a customization before the last power-on that no end followed: it was restarted while it ran."""
    power_event: Event | None = None
    """The newest power-on, power-off or the like."""
    power: PowerState = PowerState.UNKNOWN
    """Whether the VM runs, by the newest evidence."""
    removed: Event | None = None
    latest: Snapshot | None = None
    missing: Missing | None = None
    """The newest look at the VM, where it did not find it."""
    looks_agree: bool = False
    """Whether an earlier look agrees with it."""
    power_on_is_settled: bool = False
    """Whether a customization that was requested for the last power-on would have started by now."""
    history_was_read: bool = False
    """Whether what the server remembers of the VM's customizations was read."""
    previously_customized: bool = False
    """Whether an earlier wait found the VM customized."""
    was_there: bool = False
    """Whether the VM was ever observed in the inventory."""
    progress: Progress | None = None
    """What the newest snapshot means, unless an end is newer than it."""
    is_current: bool = False
    """Whether the newest snapshot is newer than the last power-on and the last start of a customization."""
    tools_running: bool = False
    """Whether VMware Tools were seen to run since the last power-on."""
    seen_waiting: bool = False
    """Whether a snapshot since the newest end found a customization, or a specification, pending."""
    seen_running: bool = False
    """Whether a snapshot since the newest end found a customization running."""
    seen_to_change: bool = False
    """Whether a snapshot since the newest end, and since a specification waited, had another progress than the latest.
    """

    @property
    def end(self) -> Event | None:
        """The newest end of a customization."""
        return self.ended or self.ended_before

    @property
    def is_removed(self) -> bool:
        """Whether the VM left the inventory, or was never there."""
        if self.removed is not None:
            return True
        return self.looks_agree and self.missing is not None and self.missing.kind is FailureKind.NOT_FOUND

    @property
    def is_unreadable(self) -> bool:
        """Whether the user may not read the VM, so that nothing more will be known of it."""
        return self.looks_agree and self.missing is not None and self.missing.kind is not FailureKind.NOT_FOUND

    @property
    def is_on(self) -> bool | None:
        """Whether the VM runs, None where there is no evidence."""
        return self.power.is_on

    @property
    def needs_look(self) -> bool:
        """Whether what was observed contradicts itself, so that only another look at the VM shows which part is late.

        A state may still be RUNNING just after the end, an end may be the state of before the last power-on or start,
        a VM may still be reported as on just after its power-off, and one that was not found may be there again.
        """
        if self.missing is not None:
            return not self.looks_agree
        if self.is_contradicted:
            return True
        if self.end is not None and not self.is_unended and not self.seen_waiting and self.is_open:
            return True
        if self.latest is None:
            return False
        if self.is_current and self.latest.power is PowerState.ON and self.is_on is False:
            return True
        is_end = self.latest.progress in END_OF.values()
        return is_end and (self.is_unended or (not self.is_current and self.ended is None))

    @property
    def is_open(self) -> bool:
        """Whether a customization was requested, or started, whose end is still to come.

        A power-on consumes the specification before the guest reports anything: that it was seen to wait stays true.
        A state that says RUNNING just after the end may only be late: it counts until it reports that end, too.
        """
        if self.is_unended or self.seen_waiting or self.is_contradicted:
            return True
        return self.seen_running and not self._state_confirms_end

    @property
    def is_running(self) -> bool:
        """Whether a customization started."""
        return self.is_unended or self.progress is Progress.RUNNING

    @property
    def has_power_on(self) -> bool:
        """Whether it is known that the VM was powered on while the server kept events of it."""
        return self.anchor is not None or self.is_restarted

    @property
    def excludes_request(self) -> bool:
        """Whether a state that was read since the last power-on shows that none was requested for it or can run."""
        return self.is_current and (self.is_on is False or self.progress not in (None, Progress.UNKNOWN))

    @property
    def is_idle_for_good(self) -> bool:
        """Whether an idle state cannot become another: VMware Tools have run, or customization is disabled."""
        if self.progress is Progress.DISABLED:
            return True
        return self.progress is Progress.IDLE and self.tools_running and self.history_was_read

    def was_seen_to_end(self, progress: Progress) -> bool:
        """Returns whether the state changed to this end while it was observed."""
        return self.seen_to_change and self.reports(progress)

    def reports(self, progress: Progress) -> bool:
        """Returns whether the newest state is this one, and nothing is newer than it."""
        waits = self.latest is not None and self.latest.specification_pending
        return self.progress is progress and self.is_current and not waits

    def ended_with(self, signal: Signal) -> bool:
        """Returns whether this event ended the customization after the last power-on."""
        if self.ended is None or self.ended.signal is not signal:
            return False
        return not self.is_open or self.was_seen_to_end(END_OF[signal])

    def ended_before_with(self, signal: Signal) -> bool:
        """Returns whether this event ended a customization before the last power-on, and none started since."""
        return self.interrupted is None and self.ended_before is not None and self.ended_before.signal is signal

    @property
    def _state_confirms_end(self) -> bool:
        return self.end is not None and self.progress is END_OF[self.end.signal]
