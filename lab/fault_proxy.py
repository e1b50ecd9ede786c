"""A network that misbehaves: stands between a client and a server and passes the bytes on, or does not.

The well-kept program for this is Shopify's Toxiproxy. It cannot do the fault that matters most here: its toxics hold
for all connections of a proxy, the old and the new, and end a connection when they are taken away again, so that a peer
which vanished from the old connections and takes new ones - half-open connections - is out of its reach. Faults of
whole calls (HTTP errors, late answers, API faults) are the lab's vCenter's own; what is left is small enough to stand
here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")

_PIECE = 65536
_CALL_SECONDS = 10.0


@dataclass(frozen=True)
class Weather:
    """What happens on a connection. The default is fair."""

    silent: bool = False
    """Takes what the client sends and answers nothing, not even that the connection has ended."""
    delay: float = 0.0
    """Seconds before each piece of an answer."""
    cut_after: int | None = None
    """Bytes of the server's after which the connection breaks off: 100 are in the midst of a TLS handshake."""


FAIR = Weather()
SILENT = Weather(silent=True)


@dataclass(eq=False)
class _Link:
    """One connection of a client."""

    weather: Weather
    client: asyncio.StreamWriter
    task: asyncio.Task[None] | None
    answered: int = 0


class FaultProxy:
    """Passes connections on to a server, in whatever weather it is told; get one from `standing_before`.

    Args:
        server: Host and port of the server.
    """

    def __init__(self, server: str) -> None:
        self._host, self._port = _host_and_port(server)
        self._here = 0
        self._weather = FAIR
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self.accept()

    @property
    def address(self) -> str:
        """Host and port of the proxy."""
        return f"{self._host}:{self._here}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def turn(self, weather: Weather, *, old: bool = True, new: bool = True) -> None:
        """Changes the weather, for the connections that are open, for those to come, or for both."""

        async def turn() -> None:
            if new:
                self._weather = weather
            if old:
                for link in self._links:
                    link.weather = weather

        self._do(turn())

    def lead_to(self, server: str) -> None:
        """Passes the connections to come on to another server, as someone in the middle would."""
        self._host, self._port = _host_and_port(server)

    def half_open(self) -> None:
        """Lets the server vanish from all open connections without a word; new ones work."""
        self.turn(SILENT, new=False)

    def reset(self) -> int:
        """Breaks all open connections off, and returns how many there were."""

        async def reset() -> int:
            for link in self._links:
                _break_off(link.client)
            return len(self._links)

        return self._do(reset())

    def refuse(self) -> None:
        """Takes no connections any more, as a machine on which nothing listens; see `accept`."""

        async def refuse() -> None:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

        self._do(refuse())

    def accept(self) -> None:
        """Takes connections, at the same address as ever."""

        async def accept() -> None:
            if self._listener is None:
                self._listener = await asyncio.start_server(self._serve, self._host, self._here)
                self._here = self._listener.sockets[0].getsockname()[1]

        self._do(accept())

    def close(self) -> None:
        """Ends everything."""
        self.refuse()

        async def end() -> None:
            # The task of a connection that was taken a moment ago has yet to begin, and to enter its link.
            await asyncio.sleep(0.01)
            tasks = [link.task for link in self._links if link.task is not None]
            for link in self._links:
                link.client.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self._weather, writer, asyncio.current_task())
        self._links.add(link)
        try:
            await self._pass_on(link, reader)
        except (OSError, asyncio.CancelledError):
            pass  # A side is gone, or the proxy ends: so does the connection.
        finally:
            self._links.discard(link)
            writer.close()

    async def _pass_on(self, link: _Link, questions: asyncio.StreamReader) -> None:
        answers, server = await asyncio.open_connection(self._host, self._port)
        asking = asyncio.ensure_future(_ask(link, questions, server))
        answering = asyncio.ensure_future(_answer(link, answers))
        try:
            await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
            if link.weather.silent:
                # The server may be gone: who is half-open does not hear of it until he hangs up himself.
                await asking
        finally:
            asking.cancel()
            answering.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            server.transport.abort()


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host, int(port)


async def _ask(link: _Link, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        if not link.weather.silent:
            server.write(data)
            await server.drain()


async def _answer(link: _Link, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_PIECE):
        await asyncio.sleep(link.weather.delay)
        if link.weather.silent:
            continue
        limit = link.weather.cut_after
        if limit is not None and link.answered + len(data) >= limit:
            link.client.write(data[: max(0, limit - link.answered)])
            await link.client.drain()
            _break_off(link.client)
            return
        link.answered += len(data)
        link.client.write(data)
        await link.client.drain()


def _break_off(writer: asyncio.StreamWriter) -> None:
    """Closes a connection without a goodbye: the peer sees a reset."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def standing_before(server: str) -> Iterator[FaultProxy]:
    """Runs a proxy before a server for the length of a block."""
    proxy = FaultProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
