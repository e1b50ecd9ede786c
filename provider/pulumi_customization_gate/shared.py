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
        make: Makes the thing. If it raises, those who waited for it share the error: each of them trying for itself,
            one after the other, would take as many times as long. Who asks later tries again.
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
                if place.error is not None:
                    raise place.error
                if not place.things:
                    self._fill(place, key)
            yield place.things[0]
        finally:
            with self._lock:
                place.users -= 1
                is_last = place.users == 0
                if is_last:
                    self._vacate(place, key)
            if is_last:
                for thing in place.things:
                    self._unmake(thing)

    def _fill(self, place: _Place[V], key: K) -> None:
        try:
            place.things.append(self._make(key))
        except Exception as error:
            place.error = error
            with self._lock:
                self._vacate(place, key)
            raise

    def _vacate(self, place: _Place[V], key: K) -> None:
        """Gives the key's place free, if it is not another one by now."""
        if self._places.get(key) is place:
            del self._places[key]


class _Place(Generic[V]):
    """Where a thing stands, or is being made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.things: list[V] = []
        self.error: Exception | None = None
