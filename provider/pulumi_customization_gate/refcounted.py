"""Shares one expensive object among all callers in the process that use the same key."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")

CLOSE_TIMEOUT = 1.0
"""Seconds that the end of the process waits until all objects are closed."""


class RefCounted(Generic[K, V]):
    """Makes an object for its first user, shares it with all others and closes it after the last.

    Args:
        make: Makes the object. If it raises, those who waited for it share the error: each of them trying for itself,
            one after the other, would take as many times as long. Who asks later tries again.
        close: Gives up what the object holds.
        is_reusable: Whether an object without users may be kept for the next one; see `keep_unused`.
    """

    def __init__(
        self, make: Callable[[K], V], close: Callable[[V], None], is_reusable: Callable[[V], bool] = lambda _: True
    ) -> None:
        self._make, self._close, self._is_reusable = make, close, is_reusable
        self._lock = threading.Lock()
        self._entries: dict[K, _Entry[V]] = {}

    @contextlib.contextmanager
    def acquire(self, key: K) -> Iterator[V]:
        """Lends the object of this key for the length of a `with` block."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
        try:
            with entry.lock:
                if entry.error is not None:
                    raise entry.error
                if not entry.objects:
                    self._fill(entry, key)
            yield entry.objects[0]
        finally:
            self._release(entry, key)

    def _fill(self, entry: _Entry[V], key: K) -> None:
        try:
            entry.objects.append(self._make(key))
        except Exception as error:
            entry.error = error
            with self._lock:
                self._remove(entry, key)
            raise
        _keeper.opened(entry)

    def _release(self, entry: _Entry[V], key: K) -> None:
        is_kept = bool(entry.objects) and _keeper.seconds > 0 and self._is_reusable(entry.objects[0])
        with self._lock:
            entry.users -= 1
            if entry.users:
                return
            if not is_kept:
                self._remove(entry, key)
        if not is_kept:
            self._close_objects(entry)
        # Between the two questions everything may have been closed: then this one is closed here.
        elif not _keeper.keep(entry, lambda: self._close_unused(entry, key)):
            self._close_unused(entry, key)

    def _close_unused(self, entry: _Entry[V], key: K) -> None:
        with self._lock:
            if entry.users or self._entries.get(key) is not entry:
                return
            self._remove(entry, key)
        self._close_objects(entry)

    def _close_objects(self, entry: _Entry[V]) -> None:
        for held in entry.objects:
            try:
                self._close(held)
            finally:
                _keeper.closed(entry)

    def _remove(self, entry: _Entry[V], key: K) -> None:
        """Removes the entry, if its key does not belong to another one by now."""
        if self._entries.get(key) is entry:
            del self._entries[key]


class _Entry(Generic[V]):
    """An object, or the place for one that is being made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.objects: list[V] = []
        self.error: Exception | None = None


class _Keeper:
    """Closes unused objects when their time is over, in a thread of its own."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._open: dict[_Entry[Any], None] = {}
        """In the order in which they were made: what was made later may need what was made before."""
        self._unused: dict[_Entry[Any], tuple[float, Callable[[], None]]] = {}

    def opened(self, entry: _Entry[Any]) -> None:
        with self._changed:
            self._open[entry] = None

    def closed(self, entry: _Entry[Any]) -> None:
        with self._changed:
            self._open.pop(entry, None)
            self._unused.pop(entry, None)
            self._changed.notify_all()

    def keep_for(self, seconds: float) -> None:
        with self._changed:
            self.seconds = seconds
            if seconds and self._thread is None:
                # Python 3.12 starts no thread any more while it exits: this one has to be there before.
                self._thread = threading.Thread(target=self._run, name="customization-gate-close-unused", daemon=True)
                self._thread.start()
                atexit.register(self.close_all, CLOSE_TIMEOUT)

    def keep(self, entry: _Entry[Any], close: Callable[[], None]) -> bool:
        """Takes an unused object; returns False if no object is kept any more."""
        with self._changed:
            if not self.seconds:
                return False
            if entry in self._open:
                self._unused[entry] = (time.monotonic() + self.seconds, close)
                self._changed.notify_all()
            return True

    def close_all(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._changed:
            self.seconds = 0.0
            self._unused = {entry: (0.0, close) for entry, (_, close) in self._unused.items()}
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._open, max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            for close in self._due():
                with contextlib.suppress(Exception):  # The next one is to be closed all the same.
                    close()

    def _due(self) -> list[Callable[[], None]]:
        with self._changed:
            while True:
                now = time.monotonic()
                due = [entry for entry in reversed(self._open) if entry in self._unused]
                due = [entry for entry in due if self._unused[entry][0] <= now]
                if due:
                    return [self._unused.pop(entry)[1] for entry in due]
                first = min((moment for moment, _ in self._unused.values()), default=None)
                self._changed.wait(None if first is None else first - now)


_keeper = _Keeper()


def keep_unused(seconds: float) -> None:
    """Keeps every object for so many seconds after its last user, so that the next one need not make it again.

    Without this call none is kept. Only a process that is notified before its end may make it; it calls `close_all`
    then.
    """
    _keeper.keep_for(seconds)


def close_all(timeout: float = CLOSE_TIMEOUT) -> bool:
    """Closes unused objects at once, and from now on every other object after its last user.

    Args:
        timeout: Seconds to wait until everything is closed; the closing itself goes on after them.

    Returns:
        Whether nothing is open any more.
    """
    return _keeper.close_all(timeout)
