"""The fault proxy: what its clients see under each kind of conditions."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from lab.fault_proxy import NORMAL, SILENT, FaultProxy, LinkConditions, proxy_for
from tests.lab.vcenter_fixture import TEST_TIMEOUT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENCE = 0.2
"""Seconds after which an answer that was to come at once is taken for none."""


class Echo:
    """A server that sends its name, and then the text that the client sends."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        try:
            connection.sendall(self.name)
            while data := connection.recv(100):
                connection.sendall(data)
        except OSError:
            pass

    def hang_up(self) -> None:
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(b"one")
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with proxy_for(echo.address) as one:
        yield one


def connect(proxy: FaultProxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=TEST_TIMEOUT)


def greeted(proxy: FaultProxy) -> socket.socket:
    client = connect(proxy)
    assert client.recv(3) == b"one"
    return client


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


def test_normal_conditions(proxy: FaultProxy) -> None:
    """Bytes are forwarded in both directions, and so is the end of a connection."""
    with greeted(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        assert proxy.connections == 1
    until(lambda: proxy.connections == 0)


def test_half_open(proxy: FaultProxy, echo: Echo) -> None:
    """The server vanishes from old connections for good, its end included; new ones work."""
    with greeted(proxy) as old:
        proxy.half_open()
        old.sendall(b"hello")
        with greeted(proxy):
            assert is_silent(old)
            echo.hang_up()
            assert is_silent(old)


def test_accepts_and_never_answers(proxy: FaultProxy) -> None:
    """A connection that is made during the fault gets no answer; connections after it do."""
    proxy.set_conditions(SILENT)
    with connect(proxy) as client:
        assert is_silent(client)
        proxy.set_conditions(NORMAL, old=False)
        assert is_silent(client)
        greeted(proxy).close()


def test_reset(proxy: FaultProxy) -> None:
    """A reset breaks off what is open."""
    with greeted(proxy) as client:
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_refused(proxy: FaultProxy) -> None:
    """Connections are refused until the proxy accepts again, at the same address."""
    before = proxy.address
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()
    greeted(proxy).close()

    assert proxy.address == before


def test_cut_off(proxy: FaultProxy) -> None:
    """A connection that is cut after some bytes never says more than these."""
    proxy.set_conditions(LinkConditions(cut_after=2))
    message = b""
    # The reset may overtake the bytes, and even the connection.
    with pytest.raises(ConnectionResetError), connect(proxy) as client:  # noqa: PT012 -- it ends the loop
        while True:
            message += client.recv(1)
    assert b"on".startswith(message)


def test_late(proxy: FaultProxy) -> None:
    """An answer that is delayed comes in the end."""
    with greeted(proxy) as client:
        proxy.set_conditions(LinkConditions(delay=2 * SILENCE))
        client.sendall(b"hello")
        assert is_silent(client)
        client.settimeout(TEST_TIMEOUT)
        assert client.recv(5) == b"hello"


def test_another_server(proxy: FaultProxy) -> None:
    """New connections lead to the other server, old ones stay where they are."""
    other = Echo(b"two")
    with greeted(proxy) as old:
        proxy.retarget(other.address)
        with connect(proxy) as client:
            assert client.recv(3) == b"two"
        old.sendall(b"hello")
        assert old.recv(5) == b"hello"
    other.close()


def test_a_server_that_is_away(proxy: FaultProxy, echo: Echo) -> None:
    """Where the server is not reachable, the connections of its clients end, and the proxy continues to run."""
    echo.listener.shutdown(socket.SHUT_RDWR)
    echo.listener.close()
    with connect(proxy) as client:
        assert client.recv(1) == b""
    echo.listener = socket.create_server(("127.0.0.1", 0))
    until(lambda: proxy.connections == 0)
