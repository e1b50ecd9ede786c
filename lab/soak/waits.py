"""The waits of a soak: each over some machines, as a gate has one, and held against what is right."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lab.soak.lives import GONE, STATE_FAILED
from lab.soak.weather import deaf_seconds
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import CustomizationStatus
from pulumi_customization_gate.core.watch import WaitRules, watch
from pulumi_customization_gate.vsphere import event_feed
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.soak.lives import Life
    from lab.soak.weather import Weather
    from pulumi_customization_gate.core.model import GateReport, VmOutcome
    from pulumi_customization_gate.core.watch import Update
    from pulumi_customization_gate.vsphere.session import VsphereSettings

_CLOCKS = 0.01
"""Seconds by which the server's time of an event may seem to lie before the order that caused it: it is rounded."""
_WEATHERED = 30.0
"""Seconds for which foul weather is an excuse for a wait that cannot start."""
_LATE = 50.0
"""Seconds by which foul weather after foul weather may delay what is heard, beside the time of a dead connection."""
_NOT_BEFORE = 2.0
"""Seconds of fair weather before an end of which the delay counts as that of fair weather."""


@dataclass
class Tally:
    """What all waits have found out; each adds to it under the lock."""

    wrong: list[str] = field(default_factory=list)
    verdicts: int = 0
    latencies: list[float] = field(default_factory=list)
    """Seconds from an order to end a customization to the listener's hearing of it, in fair weather."""
    refused: int = 0
    """Waits that could not start in foul weather, and were made again."""
    slowest: float = 0.0
    """Seconds from the last end among its machines to the end of a wait, foul weather included."""
    rode_out: int = 0
    """Notes of the waits on what they rode out."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def blame(self, text: str) -> None:
        """Notes something that is wrong."""
        with self.lock:
            self.wrong.append(text)


class Wait:
    """One wait, in a thread of its own.

    Args:
        title: What it is called where something is wrong.
        at: Seconds from the beginning of the soak at which it begins.
        settings: Which server, and how it is trusted.
        lives: The machines, by what names them.
        timeout: Seconds that it may last.
        forgetful: Whether the server may forget events while it lasts.
        stop_on_missing: Whether a machine that is not there at the start ends it.
    """

    def __init__(
        self,
        title: str,
        at: float,
        settings: VsphereSettings,
        lives: Mapping[str, Life],
        *,
        timeout: float,
        forgetful: bool = False,
        stop_on_missing: bool = True,
    ) -> None:
        self.title, self.at, self.settings, self.lives, self.forgetful = title, at, settings, lives, forgetful
        # No start is ever overdue: what never begins meets the deadline.
        self.rules = WaitRules(timeout, start_timeout=10 * timeout, stop_on_missing=stop_on_missing)
        self.began = self.ended = 0.0
        self.is_running = False
        self.after: threading.Event | None = None
        """What has to happen first."""
        self._by_key = {life.name: life for life in lives.values()}
        self._heard: dict[str, CustomizationStatus] = {}
        self._mended_at = 0.0

    def run(self, tally: Tally, weather: Weather, is_cancelled: Callable[[], bool]) -> None:
        """Waits, again where foul weather does not let it start, and adds to the tally."""
        self.is_running = True
        try:
            self._run(tally, weather, is_cancelled)
        except Exception as error:  # noqa: BLE001 -- it is told at the end of the soak
            tally.blame(f"{self.title}: {type(error).__name__}: {error}")
        finally:
            self.is_running = False

    def _run(self, tally: Tally, weather: Weather, is_cancelled: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.rules.timeout
        references = {life.name: reference for reference, life in self.lives.items()}
        while not is_cancelled():
            self.began = time.monotonic()
            # The feed is shared, and may be trying again since before this wait could be told of it.
            self._mended_at = self.began + event_feed.LONGEST_PAUSE
            self._heard.clear()
            source = VsphereSource(self.settings, references)
            try:
                report = watch(
                    source,
                    replace(self.rules, timeout=deadline - self.began),
                    listener=lambda update: self._hear(update, tally, weather),
                    cancelled=is_cancelled,
                )
            except ServerError as error:
                if weather.is_fair(self.began - _WEATHERED, time.monotonic()) or self.began > deadline:
                    tally.blame(f"{self.title}: {error}")
                    return
                with tally.lock:
                    tally.refused += 1
                continue
            finally:
                self.ended = time.monotonic()
            if not report.cancelled:
                self._judge(report, tally, weather)
            return

    def _hear(self, update: Update, tally: Tally, weather: Weather) -> None:
        now = time.monotonic()
        late: list[float] = []
        # The last verdict of a wait is told after the look that confirms its end.
        is_decided = all(outcome.status.is_terminal for outcome in update.outcomes)
        for outcome in update.changed:
            life = self._by_key[outcome.key]
            since = life.good_since(self.began)
            if outcome.good and since is None:
                tally.blame(f"{self.title}: {life.name} ({life.story}) was called good before its end")
            ended = life.last("succeeded", "failed")
            first = self._heard.get(outcome.key) is CustomizationStatus.CUSTOMIZATION_STARTED
            self._heard[outcome.key] = outcome.status
            if ended is None or is_decided or not first or not outcome.status.is_terminal:
                continue
            if ended > self._mended_at and weather.is_fair(ended - _NOT_BEFORE, now):
                late.append(now - ended)
        for note in update.notes:
            if "trying again" in note:
                self._mended_at = float("inf")
            elif "watching again" in note:
                self._mended_at = now
        with tally.lock:
            tally.latencies += late
            tally.rode_out += len(update.notes)

    def _judge(self, report: GateReport, tally: Tally, weather: Weather) -> None:
        wrong = [f"the wait broke off: {report.trouble}"] if report.trouble is not None else []
        for outcome in report.outcomes:
            life = self._by_key[outcome.key]
            told = self._errors(life, outcome, weather)
            wrong += [f"{life.name} ({life.moid}, {life.story}): {text}" for text in told]
        late = 0.0
        if not report.timed_out:
            ends = [life.last("succeeded", "failed", "removed") or 0.0 for life in self.lives.values()]
            late = self.ended - max(self.began, *ends)
            if late > deaf_seconds() + _LATE:
                wrong.append(f"it lasted {late:.0f} s longer than its machines")
        with tally.lock:
            tally.slowest = max(tally.slowest, late)
            tally.verdicts += len(report.outcomes)
            tally.wrong += [f"{self.title}: {text}" for text in wrong]

    def _errors(self, life: Life, outcome: VmOutcome, weather: Weather) -> list[str]:
        """Returns what is wrong with what was said of a machine, in words."""
        verdict, failure = life.verdict, outcome.failure
        event = failure.event if failure else ""
        ended, gone = life.last("succeeded", "failed"), life.last("removed")
        wanted = {verdict.failure}
        if outcome.status is CustomizationStatus.CUSTOMIZATION_FAILED and ended is not None:
            wanted |= {STATE_FAILED} if weather.forgotten(ended, self.ended) else set()
        if verdict is GONE and gone is not None and gone < self.ended:
            # One that was deleted before the wait, or while it began, was never there.
            wanted |= {"NotFound"} if gone < self.began + _WEATHERED else set()
        wrong = []
        if outcome.status not in verdict.statuses or outcome.good != (not verdict.failure) or event not in wanted:
            words = " or ".join(sorted(status.value for status in verdict.statuses))
            told = f"{outcome.status.value} {event} by {outcome.evidence and outcome.evidence.value}"
            wrong.append(f"{told}, and {words} {verdict.failure} is right")
        elif failure is not None and event in {verdict.failure, STATE_FAILED} and verdict.texts != ("", ""):
            texts = (failure.reason if event == verdict.failure else verdict.texts[0], failure.message)
            wrong += [f"{event} says {texts}, not {verdict.texts}"] if texts != verdict.texts else []
        if outcome.good and outcome.completed_at is not None and (since := life.last("succeeded")) is not None:
            early = (time.time() - time.monotonic() + since) - outcome.completed_at.timestamp()
            wrong += [f"it is said to have ended {early:.3f} s before it did"] if early > _CLOCKS else []
        return wrong
