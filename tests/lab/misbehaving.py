"""A Cloud Director that misbehaves: it passes requests on to the lab's, and answers some with bytes of the test's."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 30.0
"""Seconds after which a connection ends, however it is answered."""

Reply = Callable[[ssl.SSLSocket, threading.Event], None]
"""Writes the answer to one request; the event is set at the end of the test."""


class MisbehavingServer:
    """Passes requests on, except those for which a test set another reply; counts all of them."""

    def __init__(self, lab_url: str) -> None:
        self._lab = urlsplit(lab_url).netloc
        self._replies: dict[str, Reply] = {}
        self._released = threading.Event()
        self.url = ""
        self.requests: Counter[str] = Counter()
        """By method and path, without the query."""

    def reply(self, request: str, reply: Reply) -> None:
        """Answers each request that begins like this, for example `POST /cloudapi`, so from now on."""
        self._replies[request] = reply

    def count(self, request: str) -> int:
        """Returns how many requests began like this."""
        return sum(count for each, count in self.requests.items() if each.startswith(request))

    @contextmanager
    def serving(self, tls: Path) -> Iterator[MisbehavingServer]:
        """Serves for the length of a `with` block, with the certificate in a folder."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / "server.pem", tls / "server-key.pem")
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            threading.Thread(target=self._accept, args=(listener, context), daemon=True).start()
            try:
                yield self
            finally:
                self._released.set()
                listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client, context), daemon=True).start()

    def _serve(self, client: socket.socket, context: ssl.SSLContext) -> None:
        client.settimeout(LONGEST)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            client,
            context.wrap_socket(client, server_side=True) as connection,
        ):
            stream = connection.makefile("rb")
            method, path, _ = stream.readline().decode().split()
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers.get("Content-Length", 0)))
            request = f"{method} {path.partition('?')[0]}"
            self.requests[request] += 1
            reply = next((reply for start, reply in self._replies.items() if request.startswith(start)), None)
            (reply or self._pass_on(method, path, dict(headers.items()), body))(connection, self._released)

    def _pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        lab = http.client.HTTPSConnection(self._lab, timeout=LONGEST, context=ssl._create_unverified_context())  # noqa: S323 -- the lab's own certificate
        try:
            lab.request(method, path, body, {name: text for name, text in headers.items() if name != "Host"})
            response = lab.getresponse()
            content = response.read()
            kept = [
                f"{name}: {text}" for name, text in response.getheaders() if name.startswith(("X-", "Content-Type"))
            ]
            return answer(response.status, content, *kept)
        finally:
            lab.close()


def raw(*parts: bytes, endless: bytes = b"", pause: float = 0.02) -> Reply:
    """Returns a reply of the given bytes; `endless` is repeated until the client hangs up."""

    def write(connection: ssl.SSLSocket, released: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)
        while endless and not released.wait(pause):
            connection.sendall(endless)

    return write


def head(status: int, *headers: str) -> bytes:
    """Returns a status line with headers and the empty line after them."""
    return "\r\n".join((f"HTTP/1.1 {status} {http.client.responses[status]}", *headers, "", "")).encode()


def answer(status: int, body: bytes, *headers: str) -> Reply:
    """Returns a well-formed reply."""
    return raw(head(status, f"Content-Length: {len(body)}", "Connection: close", *headers), body)


def compressed(status: int, body: bytes, encoding: str, *headers: str) -> Reply:
    """Returns a well-formed reply whose body is compressed; `raw-deflate` is what some servers call deflate."""
    if encoding == "gzip":
        content = gzip.compress(body)
    else:
        packer = zlib.compressobj(wbits=-15 if encoding == "raw-deflate" else 15)
        content = packer.compress(body) + packer.flush()
    return answer(status, content, f"Content-Encoding: {encoding.removeprefix('raw-')}", *headers)
