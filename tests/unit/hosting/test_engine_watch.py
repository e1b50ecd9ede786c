"""When the engine counts as gone: only after connections that were refused, several in a row."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.hosting import engine_watch
from pulumi_customization_gate.hosting.engine_watch import INTERVAL, connection_accepted, connection_refused

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeClock:
    """Counts the seconds that the watch waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("refused", "intervals"),
    [
        pytest.param("yyy", 3, id="refused from the start"),
        pytest.param("nnnnyyy", 7, id="an engine that was killed later"),
        pytest.param("ynyynyyy", 8, id="an engine that answers in between"),
    ],
)
def test_the_engine_is_gone_after_three_refusals_in_a_row(refused: str, intervals: int) -> None:
    """A connection that is not refused starts the count again."""
    clock, answers = FakeClock(), iter(refused)
    engine_watch.wait_until_gone(lambda: next(answers) == "y", clock.sleep)
    assert clock.now == intervals * INTERVAL
    assert list(answers) == []


def test_an_engine_that_answers_is_watched_for_as_long_as_it_runs() -> None:
    """A day of connections without three refusals in a row ends nothing."""
    clock = FakeClock()

    class EndOfDay(Exception):  # noqa: N818 -- it is not an error
        pass

    def is_refused() -> bool:
        if clock.now > 86400:
            raise EndOfDay
        return int(clock.now / INTERVAL) % 3 != 0

    with pytest.raises(EndOfDay):
        engine_watch.wait_until_gone(is_refused, clock.sleep)


def test_an_engine_is_noticed_within_ten_seconds() -> None:
    """With the time that calls and the exit may take, a killed engine leaves no process after 30 s."""
    assert engine_watch.REFUSALS * (INTERVAL + engine_watch.CONNECT_TIMEOUT) <= 15


@contextmanager
def listening(backlog: int = 1) -> Iterator[str]:
    """Listens on a free port of 127.0.0.1 and never accepts: what a stopped process looks like."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_stopped_engine_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that listens and does not answer is not gone, also with its queue of connections full."""
    monkeypatch.setattr(engine_watch, "CONNECT_TIMEOUT", 0.1)
    with listening(backlog=0) as address:
        assert connection_accepted(address)
        held = [socket.socket() for _ in range(8)]
        for client in held:
            client.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
            client.connect_ex(("127.0.0.1", int(address.rpartition(":")[2])))
        assert not connection_refused(address)
        for client in held:
            client.close()


def test_a_port_without_a_process_is_refused() -> None:
    """Once the process is gone, its address refuses connections."""
    with listening() as address:
        assert not connection_refused(address)
    assert connection_refused(address)
    assert not connection_accepted(address)


def test_an_address_that_cannot_be_resolved_proves_nothing() -> None:
    """Another error than a refusal does not count as one."""
    assert not connection_refused("no-such-host.invalid:4711")
