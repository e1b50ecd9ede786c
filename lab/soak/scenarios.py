"""Scenarios as data: what happens to a VM during a soak, and the verdict that follows from it.

A VM starts powered off, with a pending customization specification. No customization ends by itself: each end is a
phase, so its time is known.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.status import CustomizationStatus as Status

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from lab.vcenter_client import Lab

FAILURES: Mapping[str, tuple[str, str]] = {
    "CustomizationFailed": ("", "The customization was not carried out."),
    "CustomizationLinuxIdentityFailed": ("the host name could not be set", "An error occurred in the Linux identity."),
    "CustomizationNetworkSetupFailed": ("NicSettingMismatch", "An error occurred while setting up the network."),
    "CustomizationSysprepFailed": ("sysprep returned 31", "An error occurred while sysprep ran."),
    "CustomizationUnknownFailure": ("", "An error occurred; see the log in the guest."),
}
"""Reason and message of each class of failure."""
_STEP_SECONDS = 20.0
"""A busy computer starts the customization that a step ends late."""


@dataclass(frozen=True)
class Scenario:
    """What happens to one VM."""

    name: str
    weight: int
    phases: tuple[tuple[str, float, float], ...]
    """Actions, each at a random time between two shares of the time that the scenario has.

    An action is on, off, ha_restart, customize or destroy; succeeded, failed or either (end); repeat (the end's event).
    """


_ON = ("on", 0, 0)
_SECOND = (("off", 0.42, 0.42), ("customize", 0.44, 0.44), ("on", 0.5, 0.5), ("end", 0.6, 1))
_AFTER_THE_END = (_ON, ("end", 0.15, 0.7), ("ha_restart", 0.2, 0.9), ("ha_restart", 0.2, 1))
SCENARIOS = (
    Scenario("success", 40, (_ON, ("succeeded", 0.15, 1))),
    Scenario("failure", 18, (_ON, ("failed", 0.15, 1))),
    Scenario("end reported again", 10, (_ON, ("end", 0.15, 0.8), ("repeat", 0.2, 1))),
    Scenario("HA restart after the end", 12, _AFTER_THE_END),
    Scenario("removed", 4, (_ON, ("off", 0.15, 1), ("destroy", 0.2, 1))),
    Scenario("customized twice", 10, (_ON, ("end", 0.06, 0.4), *_SECOND)),
    Scenario("HA restart before the end", 6, (_ON, ("ha_restart", 0.05, 0.3), *_SECOND)),
)
LAST = Scenario("last of its group", 1, (_ON, ("succeeded", 1, 1)))


def verdict(actions: Sequence[str]) -> tuple[Status, str]:
    """Returns the status that follows from the actions on a VM, and the event of its failure; empty if it is ready."""
    if "destroy" in actions:
        return Status.VM_REMOVED, "VmRemoved"
    end = [action for action in actions if action == "succeeded" or action in FAILURES][-1]
    return (Status.CUSTOMIZATION_SUCCEEDED, "") if end == "succeeded" else (Status.CUSTOMIZATION_FAILED, end)


@dataclass(eq=False)
class VmRun:
    """One VM and its scenario, with random times."""

    name: str
    moid: str
    scenario: Scenario
    steps: list[tuple[float, str]]
    """Seconds since the start of the soak, and the action; ends are the classes of their events."""
    verdict: tuple[Status, str]
    milestones: list[tuple[str, float]] = field(default_factory=list)
    """An end or "removed" with the monotonic time before it, "requested" (again) with the time after it."""
    requested: threading.Event = field(default_factory=threading.Event)
    """Set once another customization has been requested."""

    @classmethod
    def random(
        cls, numbers: random.Random, vm: tuple[str, str], scenarios: Sequence[Scenario], begin: float, end: float
    ) -> VmRun:
        """Chooses a scenario by weight, and the times of its phases between `begin` and `end`."""
        (scenario,) = numbers.choices(scenarios, [one.weight for one in scenarios])
        at, steps = begin, list[tuple[float, str]]()
        for phase, earliest, latest in scenario.phases:
            at = max(at, begin + numbers.uniform(earliest, latest) * (end - begin))
            action = numbers.choice(["succeeded", "failed"]) if phase == "end" else phase
            steps.append((at, numbers.choice(list(FAILURES)) if action == "failed" else action))
        return cls(*vm, scenario, steps, verdict([action for _, action in steps]))

    @property
    def label(self) -> str:
        """The VM and its scenario, for what is wrong."""
        return f"{self.name} ({self.moid}, {self.scenario.name})"

    def mark(self, what: str) -> None:
        """Records a milestone at the present time."""
        self.milestones.append((what, time.monotonic()))

    def ended_at(self) -> float:
        """Returns the time of the newest end or of the removal, 0 where there was none."""
        return max((at for what, at in self.milestones if what != "requested"), default=0.0)

    def may_be_ready(self, began: float) -> bool:
        """Whether a wait that began at `began` may report the VM as ready."""
        requests = [i for i, (what, at) in enumerate(self.milestones) if what == "requested" and at < began]
        return any(what == "succeeded" for what, _ in self.milestones[requests[-1] if requests else 0 :])

    async def play(self, lab: Lab, began: float, report: Callable[[str], None]) -> None:
        """Performs the steps at their times, and reports a step that is not possible within _STEP_SECONDS."""
        for at, action in self.steps:
            await asyncio.sleep(began + at - time.monotonic())
            deadline, before = time.monotonic() + _STEP_SECONDS, len(self.milestones)
            for pause in backoff(0.2, 0.5):
                try:
                    await asyncio.to_thread(self._act, lab, action)
                    break
                except OSError as error:
                    del self.milestones[before:]
                    if time.monotonic() + pause > deadline:
                        report(f"{self.label}: {action} failed: {error}")
                        return
                await asyncio.sleep(pause)

    def _act(self, lab: Lab, action: str) -> None:
        reason, message = FAILURES.get(self.verdict[1] if action == "repeat" else action, ("", ""))
        if action in ("on", "off", "ha_restart"):
            lab.power(self.moid, action)
        elif action == "customize":
            lab.customize(self.moid)
            self.mark("requested")
            self.requested.set()
        elif action == "destroy":
            self.mark("removed")
            lab.destroy(self.moid)
        elif action == "repeat":
            lab.post_event(self.moid, self.verdict[1] or "CustomizationSucceeded", reason=reason, message=message)
        else:
            self.mark(action)
            lab.end(self.moid, action, reason=reason, message=message)
