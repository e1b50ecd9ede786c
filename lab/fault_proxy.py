"""A TCP proxy between a client and a server that forwards bytes, delays them, drops them, or resets connections.

Shopify's Toxiproxy is the well-kept program for this. Its toxics apply to all connections of a proxy, old and new, and
removing one closes the connection. So it cannot simulate half-open connections: a peer that has disappeared from the
connections that exist and accepts new ones. Faults of whole calls (HTTP errors, late answers, API faults) are
simulated by the lab's vCenter itself.
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
class LinkConditions:
    """How a connection behaves. The default is a normal connection."""

    silent: bool = False
    """Accepts what the client sends and returns nothing, not even the end of the connection."""
    delay: float = 0.0
    """Seconds before each piece of an answer."""
    cut_after: int | None = None
    """Bytes from the server after which the connection is reset; 100 is in the middle of a TLS handshake."""


NORMAL = LinkConditions()
SILENT = LinkConditions(silent=True)


@dataclass(eq=False)
class _Link:
    """One connection of a client."""

    conditions: LinkConditions
    client: asyncio.StreamWriter
    task: asyncio.Task[None] | None
    forwarded: int = 0


class FaultProxy:
    """Forwards connections to a server under the conditions that are set; `proxy_for` makes one.

    Args:
        server: Host and port of the server.
    """

    def __init__(self, server: str) -> None:
        self._host, self._port = _host_and_port(server)
        self._own_port = 0
        self._conditions = NORMAL
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self.accept()

    @property
    def address(self) -> str:
        """Host and port of the proxy."""
        return f"{self._host}:{self._own_port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def set_conditions(self, conditions: LinkConditions, *, old: bool = True, new: bool = True) -> None:
        """Sets the conditions of the open connections, of new ones, or of both."""

        async def apply() -> None:
            if new:
                self._conditions = conditions
            if old:
                for link in self._links:
                    link.conditions = conditions

        self._do(apply())

    def retarget(self, server: str) -> None:
        """Forwards new connections to another server, as a machine-in-the-middle attacker would."""
        self._host, self._port = _host_and_port(server)

    def half_open(self) -> None:
        """Makes all open connections half-open: the server no longer answers on them. New ones work."""
        self.set_conditions(SILENT, new=False)

    def reset(self) -> int:
        """Resets all open connections and returns their number."""

        async def reset() -> int:
            for link in self._links:
                _reset(link.client)
            return len(self._links)

        return self._do(reset())

    def refuse(self) -> None:
        """Refuses new connections until `accept` is called."""

        async def refuse() -> None:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

        self._do(refuse())

    def accept(self) -> None:
        """Accepts connections again, at the same address."""

        async def accept() -> None:
            if self._listener is None:
                self._listener = await asyncio.start_server(self._serve, self._host, self._own_port)
                self._own_port = self._listener.sockets[0].getsockname()[1]

        self._do(accept())

    def close(self) -> None:
        """Closes all connections and ends the proxy."""
        self.refuse()

        async def end() -> None:
            # The task of a connection that was just accepted has not registered its link yet.
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
        link = _Link(self._conditions, writer, asyncio.current_task())
        self._links.add(link)
        try:
            await self._forward(link, reader)
        except (OSError, asyncio.CancelledError):
            pass  # One side closed the connection, or the proxy ends.
        finally:
            self._links.discard(link)
            writer.close()

    async def _forward(self, link: _Link, requests: asyncio.StreamReader) -> None:
        responses, server = await asyncio.open_connection(self._host, self._port)
        upstream = asyncio.ensure_future(_forward_requests(link, requests, server))
        downstream = asyncio.ensure_future(_forward_responses(link, responses))
        try:
            await asyncio.wait([upstream, downstream], return_when=asyncio.FIRST_COMPLETED)
            if link.conditions.silent:
                # The server may have closed its side: a half-open client does not see that until it closes its own.
                await upstream
        finally:
            upstream.cancel()
            downstream.cancel()
            await asyncio.gather(upstream, downstream, return_exceptions=True)
            server.transport.abort()


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host, int(port)


async def _forward_requests(link: _Link, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        if not link.conditions.silent:
            server.write(data)
            await server.drain()


async def _forward_responses(link: _Link, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_PIECE):
        await asyncio.sleep(link.conditions.delay)
        if link.conditions.silent:
            continue
        limit = link.conditions.cut_after
        if limit is not None and link.forwarded + len(data) >= limit:
            link.client.write(data[: max(0, limit - link.forwarded)])
            await link.client.drain()
            _reset(link.client)
            return
        link.forwarded += len(data)
        link.client.write(data)
        await link.client.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Resets a connection (SO_LINGER 0 sends RST)."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def proxy_for(server: str) -> Iterator[FaultProxy]:
    """Runs a proxy in front of a server for the duration of a `with` block."""
    proxy = FaultProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
