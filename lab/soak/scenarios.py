"""Scenarios as data: what happens to a VM during a soak, and the verdict that follows from it.

A VM starts powered off, with a pending customization specification. No customization ends by itself: each end is a
phase, so its time is known.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.model import CustomizationStatus as Status

if TYPE_CHECKING:
    import random

    from lab.vcenter_client import Lab

SUCCEEDED = "CustomizationSucceeded"
FAILURES: Mapping[str, tuple[str, str]] = {
    "CustomizationFailed": ("", "The customization was not carried out."),
    "CustomizationLinuxIdentityFailed": ("the host name could not be set", "An error occurred in the Linux identity."),
    "CustomizationNetworkSetupFailed": ("NicSettingMismatch", "An error occurred while setting up the network."),
    "CustomizationSysprepFailed": ("sysprep returned 31", "An error occurred while sysprep ran."),
    "CustomizationUnknownFailure": ("", "An error occurred; see the log in the guest."),
}
"""Reason and message of each class of failure."""


@dataclass(frozen=True)
class Phase:
    """One action on a VM, at a random time between two shares of the time that the scenario has."""

    action: str
    """on, off, ha_restart, customize, destroy; end, succeed, fail; repeat (the end's event)."""
    earliest: float
    latest: float


@dataclass(frozen=True)
class Scenario:
    """What happens to one VM."""

    name: str
    weight: int
    phases: tuple[Phase, ...]


_ON = Phase("on", 0, 0)
_SECOND = (Phase("off", 0.42, 0.42), Phase("customize", 0.44, 0.44), Phase("on", 0.5, 0.5), Phase("end", 0.6, 1))
SCENARIOS = (
    Scenario("success", 40, (_ON, Phase("succeed", 0.15, 1))),
    Scenario("failure", 18, (_ON, Phase("fail", 0.15, 1))),
    Scenario("end reported again", 10, (_ON, Phase("end", 0.15, 0.8), Phase("repeat", 0.2, 1))),
    Scenario(
        "HA restart after the end",
        12,
        (_ON, Phase("end", 0.15, 0.7), Phase("ha_restart", 0.2, 0.9), Phase("ha_restart", 0.2, 1)),
    ),
    Scenario("removed", 4, (_ON, Phase("off", 0.15, 1), Phase("destroy", 0.2, 1))),
    Scenario("customized twice", 10, (_ON, Phase("end", 0.06, 0.4), *_SECOND)),
    Scenario("HA restart before the end", 6, (_ON, Phase("ha_restart", 0.05, 0.3), *_SECOND)),
)
LAST = Scenario("last of its group", 1, (_ON, Phase("succeed", 1, 1)))


@dataclass(frozen=True)
class Verdict:
    """What a wait must report about a VM."""

    status: Status
    failure: str = ""
    """The event of the failure; empty where the VM is ready."""


def verdict(actions: Sequence[str]) -> Verdict:
    """Returns the verdict that follows from the actions on a VM: the newest end counts."""
    if "destroy" in actions:
        return Verdict(Status.VM_REMOVED, "VmRemoved")
    end = [action for action in actions if action == SUCCEEDED or action in FAILURES][-1]
    if end == SUCCEEDED:
        return Verdict(Status.CUSTOMIZATION_SUCCEEDED)
    return Verdict(Status.CUSTOMIZATION_FAILED, end)


@dataclass(frozen=True)
class Milestone:
    """An event of a VM that its verdict depends on."""

    what: str
    """ended, succeeded, requested (another customization) or removed."""
    at: float
    """Monotonic time just before the action; for "requested", just after it."""


@dataclass(eq=False)
class VmRun:
    """One VM and its scenario, with random times."""

    name: str
    moid: str
    scenario: Scenario
    steps: list[tuple[float, str]]
    """Seconds since the start of the soak, and the action; ends are the classes of their events."""
    verdict: Verdict
    milestones: list[Milestone] = field(default_factory=list)
    requested: threading.Event = field(default_factory=threading.Event)
    """Set once another customization has been requested."""

    @classmethod
    def random(
        cls, numbers: random.Random, vm: tuple[str, str], scenarios: Sequence[Scenario], begin: float, end: float
    ) -> VmRun:
        """Chooses a scenario by weight, and the times of its phases between `begin` and `end`."""
        (scenario,) = numbers.choices(scenarios, [one.weight for one in scenarios])
        at, steps = begin, list[tuple[float, str]]()
        for phase in scenario.phases:
            at = max(at, begin + numbers.uniform(phase.earliest, phase.latest) * (end - begin))
            kind = numbers.choice(["succeed", "fail"]) if phase.action == "end" else phase.action
            action = {"succeed": SUCCEEDED, "fail": numbers.choice(list(FAILURES))}.get(kind, kind)
            steps.append((at, action))
        return cls(*vm, scenario, steps, verdict([action for _, action in steps]))

    def at(self, action: str) -> float | None:
        """Returns the time of an action, None where the scenario has none of that name."""
        return next((at for at, one in self.steps if one == action), None)

    def mark(self, what: str) -> None:
        """Records a milestone at the present time."""
        self.milestones.append(Milestone(what, time.monotonic()))

    def last(self, *whats: str) -> float | None:
        """Returns the time of the newest of these milestones."""
        return max((one.at for one in self.milestones if one.what in whats), default=None)

    def ready_since(self, began: float) -> float | None:
        """Returns the time from which a wait that began at `began` may report the VM as ready, None for not yet."""
        requests = [i for i, one in enumerate(self.milestones) if one.what == "requested" and one.at < began]
        since = requests[-1] if requests else 0
        return next((one.at for one in self.milestones[since:] if one.what == "succeeded"), None)

    async def play(self, lab: Lab, began: float) -> None:
        """Performs the steps at their times.

        Raises:
            OSError: A step was not possible within 20 seconds.
        """
        for at, action in self.steps:
            await asyncio.sleep(began + at - time.monotonic())
            await asyncio.to_thread(self._perform, lab, action)

    def _perform(self, lab: Lab, action: str) -> None:
        # On a busy computer the customization that an action ends may start late.
        deadline = time.monotonic() + 20
        for pause in backoff(0.2, 0.5):
            before = len(self.milestones)
            try:
                self._act(lab, action)
            except OSError:
                del self.milestones[before:]
                if time.monotonic() + pause > deadline:
                    raise
            else:
                return
            time.sleep(pause)

    def _act(self, lab: Lab, action: str) -> None:
        if action in ("on", "off", "ha_restart"):
            lab.power(self.moid, action)
        elif action == "customize":
            lab.customize(self.moid)
            self.mark("requested")
            self.requested.set()
        elif action == "destroy":
            self.mark("removed")
            lab.destroy(self.moid)
        else:
            event = (self.verdict.failure or SUCCEEDED) if action == "repeat" else action
            reason, message = FAILURES.get(event, ("", ""))
            if action == "repeat":
                lab.post_event(self.moid, event, reason=reason, message=message)
                return
            self.mark("ended")
            if event == SUCCEEDED:
                self.mark("succeeded")
            lab.end(self.moid, "succeeded" if event == SUCCEEDED else event, reason=reason, message=message)
