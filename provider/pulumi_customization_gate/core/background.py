"""Runs blocking calls on daemon threads, so that the caller can keep its deadline."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")
S = TypeVar("S")

CANCEL_CHECK_INTERVAL = 0.5
"""Seconds between two checks of a cancellation: how late it can be noticed."""

_Call = tuple["Future[Any]", Callable[[], Any]]


class Background:
    """An executor of daemon threads: at most `threads` run calls in turn, each with a future.

    The threads of `concurrent.futures.ThreadPoolExecutor` are joined when the interpreter exits, so a call to a server
    that never answers would keep the process. These are not joined.

    Args:
        name: The threads' name in a stack dump.
        threads: The most calls at a time.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._name, self._limit = name, threads
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._unfinished = 0
        self._is_closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Runs a call as soon as a thread is free; after `close` the future is cancelled at once."""
        future: Future[T] = Future()
        with self._lock:
            if not self._is_closed:
                self._calls.put((future, call))
                self._unfinished += 1
                if self._started < min(self._limit, self._unfinished):
                    self._started += 1
                    threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
                return future
        future.cancel()
        return future

    def map(self, call: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Returns the results of a call for each item, in the items' order.

        Raises:
            Exception: The first that a call raised, in the items' order; calls that have not begun are cancelled.
        """
        futures = [self.submit(_bound(call, item)) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Cancels the calls that have not begun, and ends the threads once the running calls return."""
        with self._lock:
            self._is_closed = True
            dropped: list[Future[Any]] = []
            # A thread may take the last call meanwhile: a `get` that waits would hold the lock that the thread needs.
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting = self._calls.get_nowait()
                    if waiting is not None:
                        dropped.append(waiting[0])
            for _ in range(self._started):
                self._calls.put(None)
        # Outside the lock, because a cancelled future runs its callbacks here, and one of them may submit.
        for future in dropped:
            future.cancel()

    def _run(self) -> None:
        while (job := self._calls.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 -- the reader of the future raises it
                    self._finish()
                    future.set_exception(error)
                else:
                    self._finish()
                    future.set_result(result)
            else:
                self._finish()
            del future, call, job

    def _finish(self) -> None:
        with self._lock:
            self._unfinished -= 1


def _bound(call: Callable[[S], T], item: S) -> Callable[[], T]:
    return lambda: call(item)


def wait_until_done(
    future: Future[Any],
    deadline: float = float("inf"),
    *,
    cancelled: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Waits until a call has returned, a deadline has passed or the wait is cancelled.

    Args:
        future: The call's.
        deadline: By `clock`; there is at least one look, so a deadline that has passed is a question.
        cancelled: Returns whether to stop waiting; asked every CANCEL_CHECK_INTERVAL seconds.
        clock: A monotonic clock.

    Returns:
        Whether the call has returned, or raised.
    """
    while True:
        left = deadline - clock()
        wait([future], max(0.0, min(CANCEL_CHECK_INTERVAL, left)))
        if future.done():
            return True
        if cancelled() or clock() >= deadline:
            return False
