"""The progress reports of a wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.status import CustomizationStatus

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import VmOutcome, VmRef
    from pulumi_customization_gate.core.status import FailureKind

HEARTBEAT = 30.0
"""Seconds between two reports of progress when nothing changes."""


@dataclass(frozen=True)
class Update:
    """A progress report: on every change of a status, and every `heartbeat` seconds."""

    outcomes: tuple[VmOutcome, ...]
    changed: tuple[VmOutcome, ...]
    """Those whose status, or readiness, is another than at the last update."""
    wait_seconds: float
    """The length of the wait so far."""
    lasting: Mapping[str, float]
    """Seconds for which each VM has had its present status, by its identifier.

    By the server's clock where the server says since when: a customization may have started before the wait. Otherwise
    since this wait first saw the status.
    """
    notes: tuple[str, ...] = ()
    """What the source recovered from since the last update."""


class ProgressReporter:
    """Reports to a listener what is new since its last report.

    Args:
        listener: Takes an update.
        began: When the wait began, by the clock whose times `report` is given.
        heartbeat: Seconds between two reports when nothing changes.
    """

    def __init__(self, listener: Callable[[Update], None], began: float, heartbeat: float = HEARTBEAT) -> None:
        self._listener, self._began, self._heartbeat = listener, began, heartbeat
        self._outcomes: dict[str, VmOutcome] = {}
        self._reported: dict[str, tuple[CustomizationStatus, bool, FailureKind | None]] = {}
        self._since: dict[str, float] = {}
        self._reported_at = began
        self._pending: list[str] = []
        self.notes: list[str] = []
        """All notes of the wait."""

    def note(self, text: str) -> None:
        """Notes what the wait recovered from, for the next report."""
        self._pending.append(text)
        self.notes.append(text)

    def was_ready(self, vm: VmRef) -> bool | None:
        """Returns whether this VM was last reported as ready, None where nothing was reported of it yet."""
        return self._outcomes[vm.id].ready if vm.id in self._outcomes else None

    def report(self, fresh: Iterable[VmOutcome], now: float, server_now: float | None = None) -> None:
        """Reports if a status changed, if there is a note, or if `heartbeat` seconds have passed since the last report.

        Args:
            fresh: The outcomes of the VMs that may have changed, at first those of all VMs in the order of the request.
            now: The time by the wait's clock.
            server_now: The server's time, in seconds since the epoch; None where it is not known.
        """
        fresh = tuple(fresh)
        self._outcomes.update({o.id: o for o in fresh})
        changed = tuple(o for o in fresh if self._reported.get(o.id) != _shown(o))
        self._reported.update({o.id: _shown(o) for o in changed})
        self._since.update({o.id: now for o in changed})
        notes, self._pending = self._pending, []
        if changed or notes or now - self._reported_at >= self._heartbeat:
            self._reported_at = now
            lasting = _Lasting(self._outcomes.copy(), self._since.copy(), now, server_now)
            self._listener(Update(tuple(self._outcomes.values()), changed, now - self._began, lasting, tuple(notes)))


@dataclass(frozen=True, eq=False)
class _Lasting(Mapping[str, float]):
    """Calculates a length when it is asked for: with thousands of VMs most listeners need few of them."""

    outcomes: Mapping[str, VmOutcome]
    since: Mapping[str, float]
    """When the wait first saw the present status of each VM, by the wait's clock."""
    now: float
    server_now: float | None

    def __getitem__(self, vm: str) -> float:
        outcome = self.outcomes[vm]
        since = {
            CustomizationStatus.CUSTOMIZATION_NOT_STARTED: outcome.powered_on_at,
            CustomizationStatus.CUSTOMIZATION_STARTED: outcome.started_at,
            CustomizationStatus.CUSTOMIZATION_SUCCEEDED: outcome.completed_at,
        }.get(outcome.status)
        if since is None or self.server_now is None:
            return self.now - self.since[vm]
        return max(0.0, self.server_now - since.timestamp())

    def __iter__(self) -> Iterator[str]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)


def _shown(outcome: VmOutcome) -> tuple[CustomizationStatus, bool, FailureKind | None]:
    return outcome.status, outcome.ready, outcome.failure.kind if outcome.failure else None
