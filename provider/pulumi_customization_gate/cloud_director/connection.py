"""One bounded HTTPS exchange with Cloud Director: verified TLS, time-outs, a limit on the answer, no redirect."""

from __future__ import annotations

import contextlib
import http.client
import logging
import secrets
import socket
import time
from collections.abc import Iterator, Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import requests
import urllib3

from pulumi_customization_gate.cloud_director.bounded_http import BoundedAdapter, HeadersError, current_exchange
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.https import trusting_session
from pulumi_customization_gate.proxies import TUNNEL_FAILED, is_refused, proxy_for, refused, through
from pulumi_customization_gate.tls import distrust, untrusted, wrapped

if TYPE_CHECKING:
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

CONNECT_TIMEOUT = 5.0
"""Seconds to establish a connection."""
READ_TIMEOUT = 10.0
"""Seconds to wait for the next bytes of an answer."""
TOTAL_TIMEOUT = 20.0
"""Seconds for a whole answer, however slowly it is sent."""
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer's body, after decompression: a vApp with a hundred VMs is about half of it."""
ERROR_BODY_TIMEOUT, LARGEST_ERROR_BODY = 3.0, 64 * 1024
"""Seconds and bytes for the body of an error: its status matters more."""
_CHUNK = 64 * 1024
_CLIENT_REQUEST_ID = "X-VMWARE-VCLOUD-CLIENT-REQUEST-ID"
"""What a client sends here becomes the beginning of the server's request ID, which is in all of its logs."""


_log = logging.getLogger(__name__)


class UnreachableError(ServerError):
    """The server did not answer, or not in time, or not with an answer of bounded size. It may be transient.

    Args:
        message: The whole message for the user.
        was_sent: Whether the server may have received the request.
    """

    def __init__(self, message: str, *, was_sent: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent


@dataclass(frozen=True)
class Answer:
    """What the server said to one request."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: datetime
    """The server's time by its Date header; ours where it sent none."""

    @property
    def request_id(self) -> str:
        """The server's identifier of the request, for its log."""
        return sanitize(self.headers.get("X-VMWARE-VCLOUD-REQUEST-ID", ""), longest=200)

    @property
    def number(self) -> str:
        """The same as the end of a sentence."""
        return f" (request {self.request_id})" if self.request_id else ""


class Transport(Protocol):
    """Sends requests to one server."""

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        largest: int = LARGEST_ANSWER,
        total: float = TOTAL_TIMEOUT,
    ) -> Answer:
        """Sends one request and returns the answer, whatever its status; see `Connection.exchange`."""

    def close(self) -> None:
        """Closes the idle connections."""


class Connection:
    """A pool of HTTPS connections to one server. Safe to use from many threads."""

    def __init__(self, settings: CloudDirectorSettings, size: int) -> None:
        self._settings, self._address = settings, settings.address
        server = urlsplit(settings.address)
        self._proxy = proxy_for(server.hostname or "", server.port or 443)
        context = settings.trust.context(settings.called)
        self._http = trusting_session(settings.trust, context, BoundedAdapter, size, proxy=self._proxy)
        # The server repeats the token in a cookie, which would outlive a renewal.
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._where = through(self._address, self._proxy)
        _log.debug("requests go to %s", self._where)

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        largest: int = LARGEST_ANSWER,
        total: float = TOTAL_TIMEOUT,
    ) -> Answer:
        """Sends one request and returns the answer, whatever its status.

        The status line decides: an answer other than a good one is returned also where the rest of it is malformed,
        cut off, too large or without an end, with what could be read.

        Raises:
            CertificateError: If the server's certificate is not trusted.
            UnreachableError: If no complete answer of at most `largest` bytes came within `total` seconds.
        """
        what = f"{method} {path.partition('?')[0]}"
        began = time.monotonic()
        current_exchange.deadline, current_exchange.is_sent = began + total, False
        try:
            with self._http.request(
                method,
                self._address + path,
                headers={
                    "Accept-Encoding": "identity",
                    _CLIENT_REQUEST_ID: f"customization-gate-{secrets.token_hex(4)}",
                    **headers,
                },
                data=form,
                allow_redirects=False,
                stream=True,
                timeout=(min(CONNECT_TIMEOUT, total), min(READ_TIMEOUT, total)),
            ) as response:
                is_good = response.status_code in GOOD
                body = self._body(response, what, largest) if is_good else _error_body(response)
                answer = Answer(response.status_code, dict(_canonical(response.headers)), body, _date(response))
                _log.debug("%s %s: %d%s", self._address, what, answer.status, answer.number)
                return answer
        except _FAULTS as error:
            if distrust(error):
                raise untrusted(self._where, self._settings.called, error) from None
            if self._proxy and is_refused(error):
                raise refused(self._proxy) from None
            status = next((inner.status for inner in wrapped(error) if isinstance(inner, HeadersError)), None)
            if status is not None and status not in GOOD:
                return Answer(status, {}, b"", datetime.now(timezone.utc))
            message = f"{self._where} did not answer {what}: {_reason(error, time.monotonic() - began)}"
            raise UnreachableError(message, was_sent=current_exchange.is_sent) from None

    def _body(self, response: requests.Response, what: str, largest: int) -> bytes:
        body = bytearray()
        for chunk in _chunks(response):
            body += chunk
            if len(body) > largest:
                raise UnreachableError(f"{self._address} answered {what} with more than {largest} bytes", was_sent=True)
        return bytes(body)

    def close(self) -> None:
        """Closes the idle connections."""
        self._http.close()


GOOD = range(200, 300)
"""The statuses of good answers."""
_FAULTS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yields a body as it comes, decompressed where the server compressed it without being asked."""
    # read1 returns what is there: read would wait for a full chunk.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        yield chunk


def _error_body(response: requests.Response) -> bytes:
    """Returns the beginning of a body as far as it can be read."""
    current_exchange.deadline = min(current_exchange.deadline, time.monotonic() + ERROR_BODY_TIMEOUT)
    body = bytearray()
    with contextlib.suppress(*_FAULTS):
        for chunk in _chunks(response):
            body += chunk
            if len(body) >= LARGEST_ERROR_BODY:
                break
    return bytes(body[:LARGEST_ERROR_BODY])


def _canonical(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    wanted = ("X-VMWARE-VCLOUD-REQUEST-ID", "X-VMWARE-VCLOUD-ACCESS-TOKEN", "Retry-After", "Location", "Content-Type")
    return ((name, headers[name]) for name in wanted if name in headers)


def _date(response: requests.Response) -> datetime:
    try:
        at = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(timezone.utc)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _reason(error: BaseException, seconds: float) -> str:
    """Returns what went wrong at the bottom, without the addresses of objects that the wrappers print.

    Args:
        error: The error.
        seconds: How long the exchange took.
    """
    if isinstance(error, requests.Timeout) or any(isinstance(e, TimeoutError) for e in wrapped(error)):
        return f"timed out after {duration(seconds)}"
    if any(isinstance(e, socket.gaierror) for e in wrapped(error)):
        return "host name could not be resolved"
    if any(isinstance(e, urllib3.exceptions.DecodeError) for e in wrapped(error)):
        return "the compressed response is malformed"
    causes = [e for e in wrapped(error) if isinstance(e, (OSError, http.client.HTTPException))]
    bottom = next((e for e in reversed(causes) if not isinstance(e, requests.RequestException)), error)
    reason = next((str(e) for e in causes if str(e).startswith(TUNNEL_FAILED)), None)
    return sanitize(reason or getattr(bottom, "strerror", None) or type(bottom).__name__)
