"""The order of a server's events: their keys are counters of 32 bits, which wrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_RANGE = 2**32
"""How many keys there are. vSphere's are signed (Event.key, xsd:int)."""


class Keyed(Protocol):
    """What has an event's key."""

    @property
    def key(self) -> int:
        """The key."""


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True)
class ByText:
    """The last part of a sorting key: the text of what is sorted, which is long, so it is made only for a tie."""

    of: object

    def __lt__(self, other: ByText) -> bool:
        return repr(self.of) < repr(other.of)


def in_order(events: Iterable[K]) -> list[K]:
    """Returns events from the oldest to the newest: the widest gap between two keys is where their round begins."""
    ordered = sorted(events, key=lambda event: (event.key, ByText(event)))
    gaps = [(ordered[i].key - ordered[i - 1].key) % _RANGE for i in range(len(ordered))]
    first = gaps.index(max(gaps)) if any(gaps) else 0
    return ordered[first:] + ordered[:first]
