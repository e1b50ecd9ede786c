"""An HTTP proxy that knows servers by names that nothing else resolves."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST = 30.0
"""Seconds after which a silent connection ends."""


class ConnectProxy:
    """Connects clients that send CONNECT with the servers that it knows.

    Args:
        servers: The address of each server, `host:port`, by the name and port that clients ask for.
        login: The user and password that clients must send, `user:password`; empty if none.
        status: The status with which all requests are refused.
    """

    def __init__(self, servers: Mapping[str, str], login: str = "", status: int = 0) -> None:
        self._servers, self._login, self._status = servers, login, status
        self.requests: list[str] = []
        """The names and ports that clients asked for."""
        self.port = 0

    @property
    def url(self) -> str:
        """What HTTPS_PROXY holds."""
        return f"http://{self._login}{'@' if self._login else ''}127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[ConnectProxy]:
        """Serves for the length of a block."""
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.port = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(LONGEST)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException), client:
            # Unbuffered: what follows the headers belongs to the server.
            stream = client.makefile("rb", buffering=0)
            method, target, _ = stream.readline().decode().split()
            headers = http.client.parse_headers(stream)
            self.requests.append(target)
            status = self._answer(method, target, headers.get("Proxy-Authorization", ""))
            client.sendall(f"HTTP/1.1 {status} {http.client.responses[status]}\r\n\r\n".encode())
            if status == http.client.OK:
                host, _, port = self._servers[target].rpartition(":")
                with socket.create_connection((host, int(port)), LONGEST) as server:
                    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                    back.start()
                    _copy(client, server)
                    back.join(LONGEST)

    def _answer(self, method: str, target: str, login: str) -> int:
        wanted = f"Basic {base64.b64encode(self._login.encode()).decode()}"
        if self._login and login != wanted:
            return 407
        if self._status:
            return self._status
        return 200 if method == "CONNECT" and target in self._servers else 502


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
