"""Answers callers that ask at the same time with one call for all of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Q = TypeVar("Q")
A = TypeVar("A")


class Batched(Generic[Q, A]):
    """Collects the requests that come while a call is in progress, and answers them all with the next one.

    A call never answers a request that came after it began: its answer is newer than each of its requests.

    Args:
        call: Answers a number of requests at once. If it raises, all who asked get the error.
    """

    def __init__(self, call: Callable[[Sequence[Q]], A]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._calling = threading.Lock()
        self._next: _Batch[Q, A] = _Batch()

    def ask(self, request: Q) -> A:
        """Returns the answer of the call that this request is part of, which the caller's thread may have to make.

        Raises:
            Exception: What the call raised.
        """
        with self._lock:
            batch = self._next
            batch.requests.append(request)
        with self._calling:
            if not batch.is_done:
                with self._lock:
                    self._next = _Batch()
                self._answer(batch)
        if batch.error is not None:
            raise batch.error
        return batch.answers[0]

    def _answer(self, batch: _Batch[Q, A]) -> None:
        try:
            batch.answers.append(self._call(batch.requests))
        except BaseException as error:  # noqa: BLE001 -- each who asked raises it
            batch.error = error
        batch.is_done = True


class _Batch(Generic[Q, A]):
    """Requests that one call answers."""

    def __init__(self) -> None:
        self.requests: list[Q] = []
        self.answers: list[A] = []
        self.error: BaseException | None = None
        self.is_done = False
