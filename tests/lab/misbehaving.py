"""A server that misbehaves: it answers some requests with bytes of the test's. What answers the others is a subclass.

`MisbehavingServer` is a Cloud Director that passes them on to the lab's; `soap_server.SoapServer` is a vCenter.
"""

from __future__ import annotations

import abc
import contextlib
import gzip
import http.client
import itertools
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from typing_extensions import Self

LONGEST = 30.0
"""Seconds after which a connection ends, however it is answered."""

Reply = Callable[[ssl.SSLSocket, threading.Event], None]
"""Writes the answer to one request; the event is set at the end of the test."""


@dataclass(frozen=True)
class Request:
    """One request of a client."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ScriptedServer(abc.ABC):
    """Answers each request by `usual`, unless a test set another reply for it; counts all of them."""

    def __init__(self) -> None:
        self._replies: dict[str, Iterator[Reply | None]] = {}
        self.released = threading.Event()
        """Set at the end of the test."""
        self.url = ""
        self.requests: Counter[str] = Counter()
        """By name."""

    @abc.abstractmethod
    def usual(self, request: Request) -> Reply:
        """Returns the reply of a server that does not misbehave."""

    def name(self, request: Request) -> str:
        """Returns what tests call this request: its method and path, without the query."""
        return f"{request.method} {request.path.partition('?')[0]}"

    def reply(self, request: str, *replies: Reply | None) -> None:
        """Answers the next requests whose names begin like this, for example `POST /cloudapi`.

        Args:
            request: The beginning of the name; a later call for the same one replaces an earlier.
            replies: One for each request, the last for all that follow; None is the usual reply.
        """
        self._replies[request] = itertools.chain(replies, itertools.repeat(replies[-1]))

    def count(self, request: str) -> int:
        """Returns how many requests began like this."""
        return sum(count for each, count in self.requests.items() if each.startswith(request))

    @contextmanager
    def serving_with(self, certificate: Path, key: Path, address: str = "127.0.0.1") -> Iterator[Self]:
        """Serves for the length of a `with` block, with a certificate, at an address of this computer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        family, host = (socket.AF_INET6, f"[{address}]") if ":" in address else (socket.AF_INET, address)
        with socket.create_server((address, 0), family=family, backlog=64) as listener:
            self.url = f"https://{host}:{listener.getsockname()[1]}"
            threading.Thread(target=self._accept, args=(listener, context), daemon=True).start()
            try:
                yield self
            finally:
                self.released.set()
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
            if not (line := stream.readline()):
                return  # The client did not trust the certificate.
            method, path, _ = line.decode().split()
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers.get("Content-Length", 0)))
            request = Request(method, path, dict(headers.items()), body)
            name = self.name(request)
            self.requests[name] += 1
            scripted = next((replies for start, replies in self._replies.items() if name.startswith(start)), None)
            reply = next(scripted, None) if scripted is not None else None
            (reply or self.usual(request))(connection, self.released)


class MisbehavingServer(ScriptedServer):
    """Passes requests on to the lab's Cloud Director, except those for which a test set another reply."""

    def __init__(self, lab_url: str) -> None:
        super().__init__()
        self._lab = urlsplit(lab_url).netloc

    def serving(self, tls: Path) -> AbstractContextManager[Self]:
        """Serves for the length of a `with` block, with the certificate in a folder."""
        return self.serving_with(tls / "server.pem", tls / "server-key.pem")

    def usual(self, request: Request) -> Reply:
        """Returns the lab's reply."""
        lab = http.client.HTTPSConnection(self._lab, timeout=LONGEST, context=ssl._create_unverified_context())  # noqa: S323 -- the lab's own certificate
        try:
            headers = {name: text for name, text in request.headers.items() if name != "Host"}
            lab.request(request.method, request.path, request.body, headers)
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


def delayed(seconds: float, reply: Reply) -> Reply:
    """Returns a reply that comes later; the end of the test ends the delay."""

    def write(connection: ssl.SSLSocket, released: threading.Event) -> None:
        released.wait(seconds)
        reply(connection, released)

    return write
