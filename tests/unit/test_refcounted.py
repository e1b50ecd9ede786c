"""One thing for all who ask under the same key."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate import refcounted
from pulumi_customization_gate.refcounted import RefCounted

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_TIMEOUT = 10
"""Seconds after which a thread that should have come counts as lost."""


class Workshop:
    """Makes things and remembers what became of them."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.made: list[str] = []
        self.unmade: list[str] = []
        self.shared = RefCounted(self._make, self.unmade.append)

    def _make(self, key: str) -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError(key)
        self.made.append(f"{key} {len(self.made) + 1}")
        return self.made[-1]


def test_all_who_ask_get_the_one_thing() -> None:
    """A thing is made for the first, lent to the others, and unmade after the last."""
    workshop = Workshop()
    with workshop.shared.acquire("a") as first:
        with workshop.shared.acquire("a") as second:
            held = (first, second, list(workshop.unmade))
        still_held = list(workshop.unmade)

    assert held == ("a 1", "a 1", [])
    assert (still_held, workshop.unmade, workshop.made) == ([], ["a 1"], ["a 1"])


def test_each_key_has_its_own_thing() -> None:
    """Things of two keys know nothing of each other."""
    workshop = Workshop()
    with workshop.shared.acquire("a"), workshop.shared.acquire("b"):
        pass

    assert (workshop.made, workshop.unmade) == (["a 1", "b 2"], ["b 2", "a 1"])


def test_after_the_last_user_a_new_thing_is_made() -> None:
    """Nothing that was given up is lent again."""
    workshop = Workshop()
    for _ in range(2):
        with workshop.shared.acquire("a"):
            pass

    assert workshop.unmade == workshop.made == ["a 1", "a 2"]


def test_an_error_inside_still_gives_the_thing_back() -> None:
    """A user who fails is a user who is done."""
    workshop = Workshop()
    with pytest.raises(ZeroDivisionError), workshop.shared.acquire("a"):
        raise ZeroDivisionError

    assert workshop.unmade == ["a 1"]


def test_a_thing_that_could_not_be_made_is_not_unmade() -> None:
    """A failure to make is the asker's, leaves nothing behind, and the next who asks tries again."""
    workshop = Workshop(failures=1)
    with pytest.raises(ConnectionRefusedError), workshop.shared.acquire("a"):
        pytest.fail("nothing was made")
    with workshop.shared.acquire("a") as thing:
        pass

    assert (thing, workshop.unmade) == ("a 1", ["a 1"])


def test_a_crowd_makes_one_thing() -> None:
    """Those who ask while the thing is being made wait for it."""
    everyone_asks = threading.Barrier(16, timeout=TEST_TIMEOUT)
    everyone_has = threading.Barrier(16, timeout=TEST_TIMEOUT)
    workshop = Workshop()

    def use(_: int) -> str:
        everyone_asks.wait()
        with workshop.shared.acquire("a") as thing:
            everyone_has.wait()
            return thing

    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(use, range(16)))

    assert (got, workshop.made, workshop.unmade) == (["a 1"] * 16, ["a 1"], ["a 1"])


def test_a_crowd_shares_a_failure() -> None:
    """Callers that wait for an object that cannot be created get the error at once; a later caller gets a new one."""
    attempts: list[str] = []

    def make(key: str) -> str:
        attempts.append(key)
        if len(attempts) > 1:
            return key
        deadline = time.monotonic() + TEST_TIMEOUT
        while shared._entries[key].users < 8 and time.monotonic() < deadline:
            time.sleep(0.001)
        raise ConnectionRefusedError(key)

    def use(_: int) -> str:
        try:
            with shared.acquire("a") as thing:
                return thing
        except ConnectionRefusedError:
            return "refused"

    shared: RefCounted[str, str] = RefCounted(make, lambda _: None)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(use, range(8)))

    assert (got, attempts) == (["refused"] * 8, ["a"])
    assert (use(0), attempts) == ("a", ["a", "a"])


def test_one_key_does_not_wait_for_another() -> None:
    """An object that takes long to create does not delay callers of another object."""
    release = threading.Event()

    def make(key: str) -> str:
        if key == "slow":
            assert release.wait(TEST_TIMEOUT)
        return key

    def use(key: str) -> str:
        with shared.acquire(key) as thing:
            return thing

    shared: RefCounted[str, str] = RefCounted(make, lambda _: None)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(use, "slow")
        quick = pool.submit(use, "quick").result(TEST_TIMEOUT)
        was_waiting = not slow.done()
        release.set()

    assert (quick, was_waiting, slow.result()) == ("quick", True, "slow")


@pytest.fixture
def keeping() -> Iterator[None]:
    """Has objects without users kept, and closes all of them at the end."""
    refcounted.keep_unused(60)
    yield
    refcounted.close_all(TEST_TIMEOUT)


def _use(workshop: Workshop) -> str:
    with workshop.shared.acquire("a") as thing:
        return thing


@pytest.mark.usefixtures("keeping")
def test_a_kept_object_serves_the_next_user() -> None:
    """Users that follow one another get one object while it is kept."""
    workshop = Workshop()
    assert ([_use(workshop) for _ in range(3)], workshop.unmade) == (["a 1"] * 3, [])


def test_a_kept_object_is_closed_when_its_time_is_up() -> None:
    """The time counts from the last user; then the object is closed and the next user gets a new one."""
    workshop = Workshop()
    refcounted.keep_unused(0.05)
    _use(workshop)
    deadline = time.monotonic() + TEST_TIMEOUT
    while not workshop.unmade and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (workshop.unmade, _use(workshop)) == (["a 1"], "a 2")
    assert refcounted.close_all(TEST_TIMEOUT)


@pytest.mark.usefixtures("keeping")
def test_at_the_end_the_newest_object_is_closed_first_and_nothing_is_kept_any_more() -> None:
    """What was made later may need what was made before, and users that are left close what they hold."""
    closed: list[str] = []
    shared = RefCounted(lambda key: key, closed.append)
    with shared.acquire("held"):
        for key in ("session", "feed"):
            with shared.acquire(key):
                pass
        is_all_closed = refcounted.close_all(0.1)
        while_held = list(closed)
    assert (is_all_closed, while_held, closed) == (False, ["feed", "session"], ["feed", "session", "held"])
    assert refcounted.close_all(0)


@pytest.mark.usefixtures("keeping")
def test_what_cannot_be_used_again_is_not_kept() -> None:
    """An object that has ended is closed after its last user, also while others are kept."""
    closed: list[str] = []
    shared = RefCounted(lambda key: key, closed.append, is_reusable=lambda thing: thing != "broken")
    for key in ("broken", "sound"):
        with shared.acquire(key):
            pass
    assert closed == ["broken"]


@pytest.mark.usefixtures("keeping")
def test_an_object_that_does_not_close_keeps_no_other_open() -> None:
    """An error while one object is closed does not keep the others from being closed."""
    closed: list[str] = []

    def close(thing: str) -> None:
        closed.append(thing)
        raise ConnectionResetError

    shared = RefCounted(lambda key: key, close)
    for key in ("a", "b"):
        with shared.acquire(key):
            pass
    assert refcounted.close_all(TEST_TIMEOUT)
    assert closed == ["b", "a"]
