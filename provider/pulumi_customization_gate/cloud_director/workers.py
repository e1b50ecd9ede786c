"""A few threads that make requests, so that a server which hangs never holds up the one who waits."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Workers:
    """At most `count` threads that run jobs in turn.

    They are daemon threads, unlike those of `concurrent.futures`: the process never waits for a request that hangs.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._is_closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Runs a job as soon as a thread is free. After `close` it is dropped."""
        with self._lock:
            if self._is_closed:
                return
            self._jobs.put(job)
            if self._threads < self._count:
                self._threads += 1
                threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()

    def close(self) -> None:
        """Ends the threads after the jobs that they are at; the rest is dropped."""
        with self._lock:
            self._is_closed = True
            while not self._jobs.empty():
                self._jobs.get()
            for _ in range(self._threads):
                self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
