"""Runs the lives of a soak: each step at its time, some at once."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lab.soak.lives import Life
    from lab.vcenter_client import Lab

_AT_ONCE = 12


class Running:
    """Takes the steps of lives, in a thread of its own.

    Args:
        lab: Where the machines live.
        lives: What happens to them.
        blame: Takes a sentence about a step that could not be taken.
    """

    def __init__(self, lab: Lab, lives: Iterable[Life], blame: Callable[[str], None]) -> None:
        self._lab, self._blame = lab, blame
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._due = [(life.steps[0][0], next(self._order), life, 0) for life in lives]
        heapq.heapify(self._due)
        self._open = len(self._due)
        self._stopped = False
        self._began = 0.0
        self._thread = threading.Thread(target=self._run, name="soak-lives", daemon=True)

    @property
    def left(self) -> int:
        """How many lives are not over yet."""
        return self._open

    def begin(self, began: float) -> None:
        """Begins at a moment of the monotonic clock."""
        self._began = began
        self._thread.start()

    def stop(self) -> None:
        """Takes no more steps, and returns when the last one has been taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, "soak-step") as pool:
            while True:
                with self._changed:
                    while not self._stopped and self._open:
                        left = self._due[0][0] - (time.monotonic() - self._began) if self._due else None
                        if left is not None and left <= 0:
                            break
                        self._changed.wait(left)
                    if self._stopped or not self._open:
                        return
                    _, _, life, index = heapq.heappop(self._due)
                pool.submit(self._step, life, index)

    def _step(self, life: Life, index: int) -> None:
        try:
            life.do(life.steps[index][1], self._lab)
            is_over = index + 1 == len(life.steps)
        except Exception as error:  # noqa: BLE001 -- it is told at the end of the soak
            self._blame(f"{life.name} ({life.story}): step {index + 1} could not be taken: {error}")
            is_over = True
        with self._changed:
            if is_over:
                life.over.set()
                self._open -= 1
            else:
                heapq.heappush(self._due, (life.steps[index + 1][0], next(self._order), life, index + 1))
            self._changed.notify()
