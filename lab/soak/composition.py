"""Puts a soak together: waves of machines whose lives overlap, and several waits over the machines of each wave."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lab.soak.lives import ENDLESS, GOOD, INTRICATE, PLAIN, Act, Life, life, power_on, succeed
from lab.soak.waits import Wait
from lab.soak.weather import deaf_seconds
from pulumi_customization_gate.vsphere.session import VsphereSettings

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from lab.vcenter_client import Lab

FEWEST_WAVES, MOST_WAVES, OF_A_WAVE = 3, 10, 100
LENGTH = 1.8
"""The length of a wave, in distances from one to the next: two of them run at any time."""
_LAST = 0.93
"""The share of a wave in which all lives are over but the last."""
_SHORTEST = 0.25
"""The share of a wave that a life lasts at least."""
_ENDLESS = 0.06
"""The share of the machines of a wave that never end, where there are any."""
_ANEW = 4
"""Waits over a single machine that is customized a second time, of a wave at most."""
_PATIENCE = 50.0
"""Seconds for foul weather after foul weather, in which nothing is heard."""


def settings(lab: Lab, address: str) -> Sequence[VsphereSettings]:
    """Returns the ways in which a certificate is trusted; waits that differ in it share no session."""
    trusting = VsphereSettings(address, lab.user, lab.password, ca_file=lab.ca_file)
    pinning = replace(trusting, ca_file="", thumbprint=lab.thumbprint)
    return trusting, pinning, replace(trusting, ca_file="", allow_unverified_ssl=True)


class Wave:
    """Some machines that live at the same time, and the waits over them.

    The last machine of a wave ends after all the others, and is in every wait over some of them: each lasts until all
    verdicts are final.

    Args:
        number: Which one.
        machines: Name and managed object ID of each.
        begin: Seconds from the beginning of the soak.
        length: Seconds.
        forgetful: Whether the server may forget events while it lasts; then there are machines that never end, too.
    """

    def __init__(
        self,
        number: int,
        machines: Sequence[tuple[str, str]],
        numbers: random.Random,
        *,
        begin: float,
        length: float,
        forgetful: bool,
    ) -> None:
        self.number, self.begin, self.length, self.forgetful = number, begin, length, forgetful
        self._numbers = numbers
        stories = PLAIN if forgetful else {**PLAIN, **INTRICATE}
        rest, last = machines[:-1], machines[-1]
        count = max(len(ENDLESS), round(_ENDLESS * len(rest))) if forgetful else 0
        self.endless = [life(numbers, machine, self._act(), ENDLESS) for machine in rest[:count]]
        self.ordinary = [life(numbers, machine, self._act(), stories) for machine in rest[count:]]
        self.last = self._closing(last)

    @property
    def lives(self) -> list[Life]:
        """All machines."""
        return [*self.endless, *self.ordinary, self.last]

    def _act(self) -> Act:
        begin = self._numbers.uniform(0.03, _LAST - _SHORTEST)
        end = self._numbers.uniform(begin + _SHORTEST, _LAST)
        return Act(self.begin + begin * self.length, self.begin + end * self.length)

    def _closing(self, machine: tuple[str, str]) -> Life:
        def close(lab: Lab, life: Life) -> None:
            for other in self.ordinary:
                if not other.over.wait(_PATIENCE):
                    raise OSError(f"{other.name} is late")
            succeed(lab, life)

        begin, end = self.begin + _LAST * self.length, self.begin + self.length
        return Life(*machine, "last of its wave", GOOD, [(begin, power_on), (end, close)])

    def waits(self, settings: VsphereSettings) -> list[Wait]:
        """Returns the waits: over all machines and over some, from the beginning, from later on, and once more."""
        numbers, end = self._numbers, self.begin + self.length
        some = [life for life in self.ordinary if numbers.random() < 0.4]  # noqa: PLR2004 -- some of them
        few = numbers.sample(self.ordinary, min(len(self.ordinary), numbers.randint(3, 10)))
        begins = {
            "all": self.begin,
            "some": self.begin + numbers.uniform(0, 0.9) * self.length,
            "few": self.begin + numbers.uniform(0, 0.9) * self.length,
            "again": end + numbers.uniform(0.05, 0.25) * self.length,
        }
        watched = {"all": self.ordinary, "some": some, "few": few, "again": self.ordinary}
        found = [
            self._wait(title, at, settings, [*watched[title], self.last], timeout=max(end - at, 0) + _patience())
            for title, at in begins.items()
        ]
        # A wait that begins after the first of two customizations has that of one machine to go by, and nothing else.
        twice = [(one.asked_at, one) for one in self.ordinary if one.asked_at is not None]
        for at, one in numbers.sample(twice, min(len(twice), _ANEW)):
            wait = self._wait(f"anew {one.name}", at, settings, [one], timeout=end - at + _patience())
            wait.after = one.asked
            found.append(wait)
        if self.endless:
            # Whatever ended has been heard of long before the deadline, however foul the weather.
            timeout = self.length + deaf_seconds() + _PATIENCE
            found.append(self._wait("deadline", self.begin, settings, [*self.endless, *few], timeout=timeout))
        return found

    def _wait(self, title: str, at: float, settings: VsphereSettings, lives: Iterable[Life], *, timeout: float) -> Wait:
        names = {(f"DC0/vm/{life.name}" if title == "some" else life.moid): life for life in lives}
        return Wait(
            f"wave {self.number}, {title}",
            at,
            settings,
            names,
            timeout=timeout,
            forgetful=self.forgetful,
            stop_on_missing=at == self.begin,
        )


def _patience() -> float:
    """Returns how much longer than its machines live a wait may last."""
    return 2 * (deaf_seconds() + _PATIENCE)


def compose(machines: Sequence[tuple[str, str]], numbers: random.Random, seconds: float) -> list[Wave]:
    """Spreads machines over waves that fill so many seconds; in the middle the server may forget events."""
    count = min(MOST_WAVES, max(FEWEST_WAVES, len(machines) // OF_A_WAVE))
    distance = seconds / (count - 1 + LENGTH)
    waves = []
    for number in range(count):
        forgetful = count // 3 <= number < 2 * count // 3
        share = machines[number::count]
        waves.append(
            Wave(number, share, numbers, begin=number * distance, length=LENGTH * distance, forgetful=forgetful)
        )
    return waves
