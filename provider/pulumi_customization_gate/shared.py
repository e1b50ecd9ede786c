"""Lends one costly thing to everyone in the process who asks for it under the same key."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Makes a thing for the first who asks, lets the others wait for it, and unmakes it when the last one is done.

    Args:
        make: Makes the thing; if it raises, the next who asks tries again.
        unmake: Gives up what the thing holds.
    """

    def __init__(self, make: Callable[[K], V], unmake: Callable[[V], None]) -> None:
        self._make, self._unmake = make, unmake
        self._lock = threading.Lock()
        self._places: dict[K, _Place[V]] = {}

    @contextlib.contextmanager
    def lend(self, key: K) -> Iterator[V]:
        """Lends the thing of this key for the length of a `with` block."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            place.users += 1
        try:
            with place.lock:
                if not place.things:
                    place.things.append(self._make(key))
            yield place.things[0]
        finally:
            with self._lock:
                place.users -= 1
                is_last = place.users == 0
                if is_last:
                    self._places.pop(key, None)
            if is_last:
                for thing in place.things:
                    self._unmake(thing)


class _Place(Generic[V]):
    """Where a thing stands, or is being made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.things: list[V] = []
