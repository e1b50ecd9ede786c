"""The executor of daemon threads, and the wait for one of its calls."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import CancelledError

import pytest

from pulumi_customization_gate.core.background import Background, wait_until_done

LONG = 10.0
"""Seconds after which a test that hangs fails."""


def test_a_call_runs_on_a_daemon_thread_and_its_future_has_the_result() -> None:
    """A call runs on a named daemon thread, so it never keeps the process."""
    background = Background("worker")

    thread = background.submit(threading.current_thread).result(LONG)

    assert (thread.daemon, thread.name) == (True, "worker-1")
    background.close()


def test_an_error_of_a_call_is_raised_by_its_future() -> None:
    """The future raises what the call raised, also what is not an Exception."""
    background = Background("worker")

    with pytest.raises(KeyboardInterrupt):
        background.submit(_interrupt).result(LONG)

    assert background.submit(lambda: "still works").result(LONG) == "still works"
    background.close()


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_no_more_calls_run_at_a_time_than_there_are_threads() -> None:
    """With two threads the third call waits until one of the two has returned."""
    background = Background("worker", threads=2)
    may_return, third_ran = threading.Event(), threading.Event()
    both_run = threading.Barrier(3)

    def hold() -> None:
        both_run.wait(LONG)
        may_return.wait(LONG)

    held = [background.submit(hold) for _ in range(2)]
    third = background.submit(third_ran.set)
    both_run.wait(LONG)
    ran_early = third_ran.is_set()
    may_return.set()

    assert wait_until_done(third)
    for future in held:
        future.result(LONG)
    assert (ran_early, third_ran.is_set()) == (False, True)
    background.close()


def test_calls_in_turn_share_one_thread() -> None:
    """A thread is started only where no other is free."""
    background = Background("worker", threads=8)

    names = {background.submit(lambda: threading.current_thread().name).result(LONG) for _ in range(5)}

    assert names == {"worker-1"}
    background.close()


def test_map_keeps_the_order_of_the_items() -> None:
    """The results come in the items' order, whichever call returns first."""
    background = Background("worker", threads=2)
    second_is_done = threading.Event()

    def call(number: int) -> int:
        if number == 1:
            second_is_done.wait(LONG)
        else:
            second_is_done.set()
        return 10 * number

    assert background.map(call, [1, 2]) == [10, 20]
    background.close()


def test_map_raises_the_first_error_and_drops_what_has_not_begun() -> None:
    """After an error no further call of the same map begins."""
    background = Background("worker")
    begun = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        background.map(call, [1])
    background.close()
    with pytest.raises(CancelledError):
        background.map(call, [2, 3])

    assert begun == [1]


def test_close_cancels_what_has_not_begun_and_does_not_wait_for_what_has() -> None:
    """`close` returns while a call hangs; the calls behind it are cancelled, and so are later ones."""
    background = Background("worker")
    begun, may_return = threading.Event(), threading.Event()

    def hang() -> str:
        begun.set()
        may_return.wait(LONG)
        return "returned"

    hanging = background.submit(hang)
    begun.wait(LONG)
    queued = background.submit(lambda: "never")

    background.close()

    assert [hanging.done(), queued.cancelled(), background.submit(hang).cancelled()] == [False, True, True]
    may_return.set()
    assert hanging.result(LONG) == "returned"


def test_close_returns_although_a_thread_takes_the_last_call_meanwhile() -> None:
    """A queue that was not empty when `close` looked may be empty when it takes from it."""

    class TakenMeanwhile(queue.SimpleQueue[object]):
        def empty(self) -> bool:
            return False

    background = Background("worker")
    background._calls = TakenMeanwhile()  # type: ignore[assignment]  # a fake of the race
    closing = threading.Thread(target=background.close, daemon=True)
    closing.start()
    closing.join(LONG)

    assert not closing.is_alive()


def test_a_callback_of_a_cancelled_call_may_submit() -> None:
    """A future that `close` cancels may run a callback that submits another call: there is no deadlock."""
    background = Background("worker")
    begun, may_return = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        may_return.wait(LONG)

    background.submit(hang)
    begun.wait(LONG)
    later = []
    background.submit(lambda: None).add_done_callback(lambda _: later.append(background.submit(lambda: None)))

    background.close()
    may_return.set()

    assert [future.cancelled() for future in later] == [True]


@pytest.mark.parametrize(
    ("deadline", "is_cancelled"),
    [pytest.param(0.0, False, id="the deadline has passed"), pytest.param(LONG, True, id="cancelled")],
)
def test_a_wait_for_a_call_that_hangs_ends(deadline: float, *, is_cancelled: bool) -> None:
    """The one who waits goes on when the deadline passes or the wait is cancelled, whatever the call does."""
    background = Background("worker")
    may_return = threading.Event()
    hanging = background.submit(lambda: may_return.wait(LONG))

    is_done = wait_until_done(hanging, deadline, cancelled=lambda: is_cancelled, clock=lambda: 0.0)

    assert not is_done
    may_return.set()
    background.close()


def test_a_call_that_has_returned_is_done_even_past_the_deadline() -> None:
    """A deadline that has passed is no reason to lose a result that is there."""
    background = Background("worker")
    future = background.submit(lambda: 1)
    future.result(LONG)

    assert wait_until_done(future, deadline=0.0, clock=lambda: 5.0)
    background.close()
