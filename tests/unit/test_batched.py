"""One call for all who ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.batched import Batched

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 10
"""Seconds after which a thread that should have come counts as lost."""


class Server:
    """Answers requests, the first of them only once the others wait."""

    def __init__(self, *, waiting: int, fails: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.batched: Batched[str, list[str]] = Batched(self._answer)
        self._waiting, self._fails = waiting, fails
        self.began = threading.Event()

    def _answer(self, requests: Sequence[str]) -> list[str]:
        self.calls.append(sorted(requests))
        if len(self.calls) == 1:
            self.began.set()
            deadline = time.monotonic() + TIMEOUT
            while len(self.batched._next.requests) < self._waiting and time.monotonic() < deadline:
                time.sleep(0.001)
        elif self._fails:
            raise ConnectionResetError
        return sorted(requests)


def ask(server: Server, names: Sequence[str]) -> list[list[str] | type[Exception]]:
    """Asks for the first name, and for the others while the first call is in progress."""

    def ask_one(name: str) -> list[str] | type[Exception]:
        if name != names[0]:
            server.began.wait(TIMEOUT)
        try:
            return server.batched.ask(name)
        except ConnectionResetError as error:
            return type(error)

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(ask_one, names))


def test_a_request_alone_is_answered_at_once() -> None:
    """A single caller does not wait for others, and each such request is a call of its own."""
    server = Server(waiting=0)
    assert [server.batched.ask(name) for name in ("a", "b")] == [["a"], ["b"]]
    assert server.calls == [["a"], ["b"]]


def test_requests_during_a_call_share_the_next_one() -> None:
    """A request is never answered by a call that began before it; all that wait are answered by one."""
    server = Server(waiting=3)
    answers = ask(server, ["a", "b", "c", "d"])
    assert answers == [["a"], *[["b", "c", "d"]] * 3]
    assert server.calls == [["a"], ["b", "c", "d"]]


def test_an_error_is_raised_to_all_who_asked_and_to_no_one_else() -> None:
    """All requests of a failed call fail, without a call for each of them; those before and after do not."""
    server = Server(waiting=2, fails=True)
    answers = ask(server, ["a", "b", "c"])
    server._fails = False
    assert (answers, server.batched.ask("d")) == ([["a"], ConnectionResetError, ConnectionResetError], ["d"])
    assert server.calls == [["a"], ["b", "c"], ["d"]]


def test_an_interrupt_does_not_leave_the_others_waiting() -> None:
    """A thread that is interrupted in the call that it makes for all passes that on."""

    def answer(_: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Batched(answer).ask("a")
