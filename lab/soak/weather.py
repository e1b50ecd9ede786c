"""Random faults at random moments, one at a time, with fair weather between them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.soak.faults import FAULTS, SHORTEST, Sky
from pulumi_customization_gate.vsphere import event_feed, session

if TYPE_CHECKING:
    from collections.abc import Callable


_EARLY = 2
"""How often it is foul in a way that belongs to the warm-up."""


@dataclass
class Spell:
    """One stretch of foul weather, by the monotonic clock."""

    kind: str
    begin: float
    end: float = float("inf")
    """When it was over on the wire."""
    deaf_until: float = 0.0
    """Until when a long poll may have been left on a dead connection."""
    logins: int = 0
    """How many log-ins the server carried out in it."""


def deaf_seconds() -> float:
    """Returns how long a feed may go without noticing that its connection is dead."""
    return event_feed.LONGEST_POLL + session.CALL_TIMEOUT


class Weather:
    """Lets it be foul now and then, in a thread of its own, until it is told to be fair for good.

    Args:
        sky: Where it may be foul.
        may_forget: Tells whether the server may forget events now.
        is_warming_up: Tells whether memory may still grow.
    """

    def __init__(self, sky: Sky, may_forget: Callable[[], bool], is_warming_up: Callable[[], bool]) -> None:
        self._sky = sky
        self._may_forget, self._is_warming_up = may_forget, is_warming_up
        self._over = threading.Event()
        self._deck: list[str] = []
        self.spells: list[Spell] = []
        self.counted: Counter[str] = Counter()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="soak-weather", daemon=True)

    @property
    def now(self) -> str:
        """What it is like at this moment."""
        return self.spells[-1].kind if self.spells and self.spells[-1].end == float("inf") else "fair"

    def begin(self) -> None:
        """Begins, fairly."""
        self._thread.start()

    def clear_up(self) -> None:
        """Ends the foul weather for good."""
        self._over.set()
        self._thread.join()

    @property
    def deaf_until(self) -> float:
        """Until when somebody may wait on a connection that is dead without a word."""
        return max((spell.deaf_until for spell in self.spells), default=0.0)

    def is_fair(self, begin: float, end: float) -> bool:
        """Tells whether the weather was fair, and nobody deaf from earlier, between two moments."""
        return not any(spell.begin <= end and max(spell.end, spell.deaf_until) >= begin for spell in self.spells)

    def is_foul_throughout(self, begin: float, end: float) -> bool:
        """Tells whether one spell lasted from one moment to the other."""
        return any(spell.begin <= begin and spell.end >= end for spell in self.spells)

    def forgotten(self, begin: float, end: float) -> bool:
        """Tells whether the server may have forgotten an event of the one moment before the other."""
        return any(FAULTS[spell.kind].forgets and begin <= spell.end and spell.begin <= end for spell in self.spells)

    def since_all_sessions_ended(self) -> list[Spell]:
        """Returns the foul weather since the server ended all sessions, the spell that did so with it."""
        ends = [i for i, spell in enumerate(self.spells) if FAULTS[spell.kind].ends_sessions]
        return self.spells[ends[-1] if ends else 0 :]

    def _logins(self) -> int:
        return int(self._sky.lab.stats()["logins"]["ok"])

    def _run(self) -> None:
        try:
            while not self._over.wait(self._sky.numbers.uniform(1.0, 2.0) * self._sky.longest):
                self._strike(self._draw())
        except Exception as error:  # noqa: BLE001 -- it is told at the end of the soak
            self.error = error

    def _draw(self) -> str:
        """Returns the next kind. All of them come before one comes again; what may not be now is left for later."""
        forgetful = [kind for kind, fault in FAULTS.items() if fault.forgets]
        if self._may_forget() and self._sky.numbers.random() < 0.5:  # noqa: PLR2004 -- it is seldom that it may
            return self._sky.numbers.choice(forgetful)
        early = [kind for kind, fault in FAULTS.items() if fault.is_early]
        if self._is_warming_up() and sum(self.counted[kind] for kind in early) < _EARLY:
            return early[0]
        if not self._deck:
            self._deck = [kind for kind in FAULTS if kind not in forgetful and kind not in early]
            self._sky.numbers.shuffle(self._deck)
        return self._deck.pop()

    def _strike(self, kind: str) -> None:
        fault, spell = FAULTS[kind], Spell(kind, time.monotonic())
        logins = self._logins()
        self.spells.append(spell)
        self.counted[kind] += 1
        fault.begin(self._sky)
        if fault.lasts:
            self._over.wait(self._sky.numbers.uniform(SHORTEST, 1.0) * self._sky.longest)
        fault.end(self._sky)
        spell.end = time.monotonic()
        spell.logins = self._logins() - logins
        if fault.heals:
            for earlier in self.spells:
                earlier.deaf_until = min(earlier.deaf_until, spell.end)
        if fault.deafens:
            spell.deaf_until = spell.end + deaf_seconds()
