"""Tries that are made again until they succeed, in threads of their own: whoever asks never waits for one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

NOT_TRIED = "not tried yet"


class Tries:
    """Makes tries in the background.

    Args:
        name: The threads' name in a stack dump.
        threads: The most tries at a time.
        pause: The least seconds from the start of a try to that of the next one of the same key.
    """

    def __init__(self, name: str, threads: int, pause: float = 0.0) -> None:
        self._background = Background(name, threads)
        self._pause = pause
        self._tries: dict[Hashable, tuple[float, Future[str]]] = {}

    def ask(self, key: Hashable, call: Callable[[], str]) -> str:
        """Returns at once why the last try that has ended failed, or nothing if it succeeded; starts the next try.

        Args:
            key: What is tried.
            call: Makes a try, and returns why it failed, or nothing.
        """
        began, last = self._tries.get(key, (float("-inf"), None))
        if last is not None and not last.done():
            return NOT_TRIED
        reason = NOT_TRIED if last is None or last.cancelled() else last.result()
        if reason and time.monotonic() - began >= self._pause:
            self.start(key, call)
        return reason

    def start(self, key: Hashable, call: Callable[[], str]) -> Future[str]:
        """Starts a try whatever the last one said."""
        future = self._background.submit(call)
        self._tries[key] = time.monotonic(), future
        return future

    def forget(self, key: Hashable) -> None:
        """Drops the last try of a key; one that is under way counts no more."""
        self._tries.pop(key, None)

    def close(self) -> None:
        """Drops the tries that have not begun. One under way is left to itself."""
        self._background.close()
