"""Random lives of machines, each with the verdict that is right for it beyond doubt.

A life begins powered off, with a customization waiting. Nothing ends by itself: each end is a step, so that it is known
when it came.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pulumi_customization_gate.core.model import CustomizationStatus as Status

if TYPE_CHECKING:
    import random

    from lab.vcenter_client import Lab

Step: TypeAlias = Callable[["Lab", "Life"], None]
Steps: TypeAlias = list[tuple[float, Step]]

FAILURES: Mapping[str, tuple[str, str]] = {
    "CustomizationFailed": ("", "The customization was not carried out."),
    "CustomizationLinuxIdentityFailed": ("the host name could not be set", "An error occurred in the Linux identity."),
    "CustomizationNetworkSetupFailed": ("NicSettingMismatch", "An error occurred while setting up the network."),
    "CustomizationSysprepFailed": ("sysprep returned 31", "An error occurred while sysprep ran."),
    "CustomizationUnknownFailure": ("", "An error occurred; see the log in the guest."),
}
"""Reason and message of each class of failure."""
STATE_FAILED = "TOOLSDEPLOYPKG_FAILED"
"""What a failure is called whose event is forgotten."""
_BOOT = 0.15
"""The share of an act that goes from power-on to its end at least."""
_PATIENCE = 20.0
"""Seconds for which a step is tried again: the customization that it ends may be late to begin on a busy machine."""
_PAUSE = 0.2


@dataclass(frozen=True)
class Verdict:
    """What has to be said of a machine at the end of a wait."""

    statuses: frozenset[Status]
    failure: str = ""
    """The event of the failure; empty where the machine is good."""
    texts: tuple[str, str] = ("", "")
    """Reason and message of the failure."""


GOOD = Verdict(frozenset({Status.CUSTOMIZATION_SUCCEEDED}))
GONE = Verdict(frozenset({Status.VM_REMOVED}), "VmRemoved")


def failed(kind: str) -> Verdict:
    """Returns the verdict of a customization that failed in this way."""
    return Verdict(frozenset({Status.CUSTOMIZATION_FAILED}), kind, FAILURES[kind])


def late(*statuses: Status) -> Verdict:
    """Returns the verdict of a machine that the deadline finds in one of these statuses."""
    return Verdict(frozenset(statuses), "Timeout")


@dataclass(frozen=True)
class Mark:
    """One thing of a life that bears on its verdict."""

    what: str
    """succeeded, failed, asked (for another customization) or removed."""
    at: float
    """The monotonic time just before it was ordered; of "asked", just after it was done."""


@dataclass(eq=False)
class Life:
    """What happens to one machine, and when."""

    name: str
    moid: str
    story: str
    verdict: Verdict
    steps: Steps
    """Seconds from the beginning of the soak, and what is done to the machine then; one after the other."""
    marks: list[Mark] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set once another customization was asked for."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def asked_at(self) -> float | None:
        """When another customization is to be asked for, in seconds from the beginning of the soak; None for never."""
        return next((at for at, step in self.steps if step is _ask), None)

    def mark(self, what: str) -> None:
        """Notes that something happens now."""
        self.marks.append(Mark(what, time.monotonic()))
        if what == "asked":
            self.asked.set()

    def good_since(self, began: float) -> float | None:
        """Returns the moment from which a wait that began then may call it good, None for not yet."""
        asked = [i for i, mark in enumerate(self.marks) if mark.what == "asked" and mark.at < began]
        since = asked[-1] if asked else 0
        return next((mark.at for mark in self.marks[since:] if mark.what == "succeeded"), None)

    def last(self, *whats: str) -> float | None:
        """Returns when one of these happened last, None for never."""
        return max((mark.at for mark in self.marks if mark.what in whats), default=None)

    def do(self, step: Step, lab: Lab) -> None:
        """Takes a step, again while it cannot be taken yet.

        Raises:
            OSError: It could not be taken at all.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            before = len(self.marks)
            try:
                step(lab, self)
            except OSError:
                del self.marks[before:]
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return


@dataclass(frozen=True)
class Act:
    """The part of a life from one power-on to the next."""

    begin: float
    end: float

    def at(self, share: float) -> float:
        """Returns a moment in it."""
        return self.begin + share * (self.end - self.begin)

    def within(self, numbers: random.Random) -> float:
        """Returns a random moment at which its customization runs."""
        return self.at(numbers.uniform(_BOOT, 1))


def _power(kind: str) -> Step:
    def power(lab: Lab, life: Life) -> None:
        lab.power(life.moid, kind)

    return power


def _ask(lab: Lab, life: Life) -> None:
    lab.customize(life.moid)
    life.mark("asked")


def _destroy(lab: Lab, life: Life) -> None:
    life.mark("removed")
    lab.destroy(life.moid)


def succeed(lab: Lab, life: Life) -> None:
    """Ends the customization well."""
    life.mark("succeeded")
    lab.end(life.moid)


def _fail(kind: str) -> Step:
    def fail(lab: Lab, life: Life) -> None:
        life.mark("failed")
        reason, message = FAILURES[kind]
        lab.end(life.moid, kind, reason=reason, message=message)

    return fail


def _post(kind: str, count: int = 1) -> Step:
    reason, message = FAILURES.get(kind, ("", ""))

    def post(lab: Lab, life: Life) -> None:
        lab.post_event(life.moid, kind, reason=reason, message=message, count=count)

    return post


power_on, _off, _ha = _power("on"), _power("off"), _power("ha_restart")


def _success(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    return GOOD, [(act.begin, power_on), (act.within(numbers), succeed)]


def _failure(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    kind = numbers.choice(list(FAILURES))
    return failed(kind), [(act.begin, power_on), (act.within(numbers), _fail(kind))]


def _told_twice(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """Its end is told again and again."""
    verdict, steps = numbers.choice([_success, _failure])(numbers, Act(act.begin, act.at(0.8)))
    told = _post(verdict.failure or "CustomizationSucceeded", numbers.randint(1, 3))
    return verdict, [*steps, (numbers.uniform(steps[-1][0], act.end), told)]


def _wrong_order(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """Its start is told after its end."""
    verdict, steps = numbers.choice([_success, _failure])(numbers, act)
    return verdict, [*steps, (steps[-1][0], _post("CustomizationStartedEvent"))]


def _restarted(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """HA restarts it after the end, which stands."""
    verdict, steps = numbers.choice([_success, _success, _failure])(numbers, Act(act.begin, act.at(0.7)))
    return verdict, [*steps, *((numbers.uniform(steps[-1][0], act.end), _ha) for _ in range(numbers.randint(1, 2)))]


def _again(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """It is customized a second time: the first end is stale."""
    _, first = numbers.choice([_success, _failure])(numbers, Act(act.begin, act.at(0.4)))
    verdict, second = numbers.choice([_success, _failure])(numbers, Act(act.at(0.5), act.end))
    return verdict, [*first, (act.at(0.42), _off), (act.at(0.44), _ask), *second]


def _cut_short(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """HA restarts it before the end, and it is customized anew."""
    verdict, second = numbers.choice([_success, _failure])(numbers, Act(act.at(0.5), act.end))
    restarted = [(act.begin, power_on), (act.at(numbers.uniform(0.05, 0.3)), _ha)]
    return verdict, [*restarted, (act.at(0.42), _off), (act.at(0.44), _ask), *second]


def _removed(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """It is deleted while its customization runs."""
    off = act.within(numbers)
    return GONE, [(act.begin, power_on), (off, _off), (numbers.uniform(off, act.end), _destroy)]


def _endless(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:  # noqa: ARG001 -- as the others
    return late(Status.CUSTOMIZATION_STARTED), [(act.begin, power_on)]


def _switched_off(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """It is switched off in mid-customization, and stays so."""
    return late(Status.VM_NOT_STARTED), [(act.begin, power_on), (act.within(numbers), _off)]


def _lost(numbers: random.Random, act: Act) -> tuple[Verdict, Steps]:
    """HA restarts it before the end, and nobody asks again: nothing ends what began."""
    verdict = late(Status.CUSTOMIZATION_STARTED, Status.CUSTOMIZATION_NOT_STARTED)
    return verdict, [(act.begin, power_on), (act.within(numbers), _ha)]


Story: TypeAlias = Callable[["random.Random", Act], tuple[Verdict, Steps]]
PLAIN: Mapping[str, tuple[Story, int]] = {
    "success": (_success, 40),
    "failure": (_failure, 18),
    "told twice": (_told_twice, 10),
    "HA restart after the end": (_restarted, 12),
    "deleted": (_removed, 4),
}
"""Stories with their weights, of which the machine's state alone tells enough when events are forgotten."""
INTRICATE: Mapping[str, tuple[Story, int]] = {
    "customized twice": (_again, 10),
    "HA restart before the end": (_cut_short, 6),
    "start told after the end": (_wrong_order, 6),
}
"""Stories that need all of the history."""
ENDLESS: Mapping[str, tuple[Story, int]] = {
    "never ends": (_endless, 1),
    "switched off": (_switched_off, 1),
    "HA restart, nobody asks again": (_lost, 1),
}


def life(numbers: random.Random, machine: tuple[str, str], act: Act, stories: Mapping[str, tuple[Story, int]]) -> Life:
    """Makes up a life within an act."""
    (story,) = numbers.choices(list(stories), [weight for _, weight in stories.values()])
    verdict, steps = stories[story][0](numbers, act)
    return Life(*machine, story, verdict, steps)
