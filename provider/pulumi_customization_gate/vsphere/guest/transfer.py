"""Carries files to and from a guest. They go over the ESXi host that runs it, port 443, not over vCenter."""

from __future__ import annotations

import http.client
import io
import logging
import socket
from collections.abc import Callable  # noqa: TC003 -- a dataclass field
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from pulumi_customization_gate.core.errors import CertificateError, ServerError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.https import trusting_session
from pulumi_customization_gate.proxies import TUNNEL_FAILED, is_refused, proxy_for, refused, through
from pulumi_customization_gate.tls import Trust, distrust, wrapped
from pulumi_customization_gate.vsphere.faults import describe
from pulumi_customization_gate.vsphere.guest import hosts
from pulumi_customization_gate.vsphere.guest.errors import HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulumi_customization_gate.proxies import Proxy
    from pulumi_customization_gate.vsphere.session import Session

T = TypeVar("T")

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds until a connection stands."""
READ_TIMEOUT = 60.0
"""Seconds in which the host must take or give something: it passes each block on to the guest."""
_CHUNK = 64 * 1024
_UNCONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


class TransferError(ServerError):
    """A transfer failed. The next one may succeed."""


class _NotConnectedError(TransferError):
    """There was no connection, so nothing was sent."""


class _UnresolvedError(_NotConnectedError):
    """There is no such host name, no server for names answered, or the proxy did not reach the host by its name."""

    is_final = False


@dataclass(frozen=True)
class _Transfer(Generic[T]):
    """What is sent and received, wherever the host is."""

    method: str
    content: _Body | bytes | None
    receive: Callable[[requests.Response], T]


class Transfers:
    """Uploads files to guests and downloads them.

    Args:
        session: The session of the vCenter that issues the addresses.
        notify: Takes a sentence about the way that files go.
    """

    def __init__(self, session: Session, notify: Callable[[str], None] = lambda _: None) -> None:
        self._session, self._notify = session, notify

    def put(self, url: str, host: Any, content: bytes | Path, check: Callable[[], None]) -> None:
        """Uploads bytes, or a file of this computer.

        Args:
            url: The address that vCenter issued for this transfer.
            host: The ESXi host on which the VM runs, or None if vCenter does not report it.
            content: The bytes, or the file.
            check: Raises an error if the upload has to end; asked before each block.

        Raises:
            TransferError: If the upload failed.
            CertificateError: If the host's certificate is not the one that vCenter knows.
        """
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            # An empty body would be sent in chunks, which ESXi does not take.
            body = _Body(file, check) if content != b"" else b""
            self._send(url, host, _Transfer("PUT", body, lambda _: None))

    def get(self, url: str, host: Any, largest: int, check: Callable[[], None], *, keeps_end: bool = False) -> bytes:
        """Downloads a file of at most `largest` bytes, or the end of a longer one; see `put`.

        Raises:
            TransferError: If the download failed.
            CertificateError: If the host's certificate is not the one that vCenter knows.
        """

        def receive(response: requests.Response) -> bytes:
            content = b""
            for chunk in response.iter_content(_CHUNK):
                content += chunk
                if len(content) > largest and keeps_end:
                    content = content[-largest:]
                elif len(content) > largest:
                    raise TransferError(f"expected at most {largest} bytes of a guest file, got more")
                check()
            return content

        return self._send(url, host, _Transfer("GET", None, receive))

    def _send(self, url: str, host: Any, transfer: _Transfer[T]) -> T:
        """Makes the request, by the host's management address where it cannot be reached by its name."""
        address, is_vcenter = self._address(url)
        trust = self._trust(host, is_vcenter=is_vcenter)
        try:
            return self._request(address, trust, transfer)
        except _UnresolvedError as error:
            unresolved = error
        management = "" if is_vcenter else hosts.management_address(self._session, host)
        if not management:
            raise _unreachable(unresolved) if unresolved.is_final else unresolved
        parts = urlsplit(address)
        self._notify(f"{unresolved}; trying the host's management address, {management}")
        netloc = f"[{management}]" if ":" in management else management
        there = urlunsplit(parts._replace(netloc=f"{netloc}:{parts.port or 443}"))
        try:
            return self._request(there, trust, transfer, known_as=parts.netloc)
        except _NotConnectedError as error:
            raise _unreachable(unresolved, error) from None

    def _request(self, address: str, trust: Trust, transfer: _Transfer[T], known_as: str = "") -> T:
        parts = urlsplit(address)
        proxy = proxy_for(parts.hostname or "", parts.port or 443)
        where = through(parts.netloc, proxy)
        headers = {"Content-Type": "application/octet-stream", "Accept-Encoding": "identity"}
        if known_as:
            headers["Host"] = known_as
        context = trust.context(self._session.settings.called)
        name = urlsplit(f"//{known_as}").hostname or ""
        method = transfer.method
        with trusting_session(trust, context, proxy=proxy, name=name) as http_session:
            try:
                with http_session.request(
                    method,
                    address,
                    data=transfer.content,
                    headers=headers,
                    allow_redirects=False,
                    stream=True,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                ) as response:
                    _log.debug("%s of a guest file over %s: status %d", method, where, response.status_code)
                    if not response.ok:
                        raise TransferError(f"{where} answered {response.status_code} to a {method} of a guest file")
                    return transfer.receive(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
                _log.debug("%s of a guest file over %s failed: %s", method, where, type(error).__name__)
                raise self._failure(where, proxy, error) from None

    def _failure(self, where: str, proxy: Proxy | None, error: Exception) -> ServerError:
        """Returns what a failed request means. Its address holds a token, which wrapping errors repeat."""
        if reason := distrust(error):
            return CertificateError(self._untrusted(where, reason))
        if proxy and is_refused(error):
            return refused(proxy)
        causes = [inner for inner in wrapped(error) if isinstance(inner, (OSError, http.client.HTTPException))]
        cause = next((inner for inner in reversed(causes) if not isinstance(inner, requests.RequestException)), None)
        detail = type(error).__name__ if cause is None else describe(cause)
        text = f"the transfer of a guest file over {where} failed: {detail}"
        if isinstance(cause, socket.gaierror) or str(cause).startswith(TUNNEL_FAILED):
            unresolved = _UnresolvedError(text)
            unresolved.is_final = isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
            return unresolved
        is_connected = not any(isinstance(inner, _UNCONNECTED) for inner in wrapped(error))
        return TransferError(text) if is_connected else _NotConnectedError(text)

    def _address(self, url: str) -> tuple[str, bool]:
        """Returns the address, and whether it is vCenter's own, for which `*` stands."""
        parts = urlsplit(url)
        server, port = self._session.settings.host_and_port()
        if parts.hostname in {"*", None}:
            netloc = f"[{server}]" if ":" in server else server
            return urlunsplit(parts._replace(netloc=f"{netloc}:{port}")), True
        return url, (parts.hostname, parts.port or 443) == (server, port)

    def _trust(self, host: Any, *, is_vcenter: bool) -> Trust:
        """Returns how the certificate is verified: a host has the one by which vCenter knows it."""
        settings = self._session.settings
        if is_vcenter:
            return settings.trust
        return Trust(settings.ca_file, hosts.fingerprint(self._session, host), settings.trust.trusts_anyone)

    def _untrusted(self, where: str, reason: str) -> str:
        return (
            f"the certificate of {where}, over which guest files go, is not trusted ({sanitize(reason, 200)}). "
            "Select Renew or Refresh CA Certificates for the host in vCenter, or set `customization:caFile` to the PEM "
            "file of the authority that signed the certificate."
        )


def _unreachable(*errors: Exception) -> HostUnreachableError:
    """Returns the error for a host that cannot be reached by name or address."""
    return HostUnreachableError(
        f"{'; '.join(map(str, errors))}. Guest files go to the ESXi host that runs the VM: this computer must resolve "
        "its name or reach its management address, and be allowed to connect to port 443."
    )


class _Body:
    """A file that is sent, of which each block is only sent if the transfer may go on."""

    def __init__(self, file: IO[bytes], check: Callable[[], None]) -> None:
        self._file, self._check = file, check
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(_CHUNK):
            yield block

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes."""
        self._check()
        return self._file.read(size)
