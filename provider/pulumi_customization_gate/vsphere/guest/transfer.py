"""Carries files to and from a guest. They go over the ESXi host that runs it, port 443, not over vCenter."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import ssl
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from pyVmomi import vmodl

from pulumi_customization_gate.core.errors import CertificateError, ServerError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.https import trusting_session
from pulumi_customization_gate.tls import Trust, distrust
from pulumi_customization_gate.vsphere.properties import retrieve, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds until a connection stands."""
READ_TIMEOUT = 60.0
"""Seconds in which the host must take or give something: it passes each block on to the guest."""
_CHUNK = 64 * 1024


class TransferError(ServerError):
    """A transfer failed. The next one may succeed."""


class Transfers:
    """Uploads files to guests and downloads them.

    Args:
        session: The session of the vCenter that issues the addresses.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

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
        with (
            io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file,
            # An empty body would be sent in chunks, which ESXi does not take.
            self._request("PUT", url, host, _Body(file, check) if content != b"" else b""),
        ):
            pass

    def get(self, url: str, host: Any, largest: int, check: Callable[[], None], *, keeps_end: bool = False) -> bytes:
        """Downloads a file of at most `largest` bytes, or the end of a longer one; see `put`.

        Raises:
            TransferError: If the download failed.
            CertificateError: If the host's certificate is not the one that vCenter knows.
        """
        content = b""
        with self._request("GET", url, host, None) as response:
            for chunk in response.iter_content(_CHUNK):
                content += chunk
                if len(content) > largest and keeps_end:
                    content = content[-largest:]
                elif len(content) > largest:
                    raise TransferError(f"expected at most {largest} bytes of a guest file, got more")
                check()
        return content

    @contextlib.contextmanager
    def _request(self, method: str, url: str, host: Any, content: _Body | bytes | None) -> Iterator[requests.Response]:
        address, is_vcenter = self._address(url)
        trust = self._trust(host, is_vcenter=is_vcenter)
        # Of the environment nothing counts, no proxy either: a guest's host is not behind one.
        with trusting_session(trust, trust.context(self._session.settings.called)) as http_session:
            where = urlsplit(address).netloc
            try:
                with http_session.request(
                    method,
                    address,
                    data=content,
                    headers={"Content-Type": "application/octet-stream", "Accept-Encoding": "identity"},
                    allow_redirects=False,
                    stream=True,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                ) as response:
                    _log.debug("%s of a guest file over %s: status %d", method, where, response.status_code)
                    if not response.ok:
                        raise TransferError(f"{where} answered {response.status_code} to a {method} of a guest file")
                    yield response
            except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
                _log.debug("%s of a guest file over %s failed: %s", method, where, type(error).__name__)
                if reason := distrust(error):
                    raise CertificateError(self._untrusted(where, reason)) from None
                # The address holds a token, so the message has only the kind of the error.
                said = f"the transfer of a guest file over {where} failed: {type(error).__name__}"
                raise TransferError(said) from None

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
        return Trust(settings.ca_file, self._host_fingerprint(host), settings.trust.trusts_anyone)

    def _host_fingerprint(self, host: Any) -> str:
        """Returns the SHA-256 fingerprint of the certificate that vCenter reports for the host, if it does."""
        if host is None:
            return ""
        try:
            reported = self._session.with_retries(lambda: self._reported_certificate(host))
        except (ServerError, vmodl.MethodFault) as error:
            _log.debug("the certificate of a host cannot be read: %s", self._session.describe(error))
            return ""
        if not reported:
            return ""
        der = ssl.PEM_cert_to_DER_cert(reported.decode()) if reported.startswith(b"-----") else reported
        return hashlib.sha256(der).hexdigest()

    def _reported_certificate(self, host: Any) -> bytes:
        found = retrieve(self._session, [host], {type(host): ["config.certificate"]})
        reported = values_of(found[0]).get("config.certificate") if found else None
        return _bytes(reported) if reported else b""

    def _untrusted(self, where: str, reason: str) -> str:
        return (
            f"the certificate of {where}, over which guest files go, is not trusted ({sanitize(reason, 200)}). Have "
            "vCenter refresh what it knows of the host (Renew or Refresh CA Certificates), or name the PEM file of "
            "the authority that signed it as `customization:caFile`."
        )


def _bytes(value: Any) -> bytes:
    """Turns the API's list of signed bytes into bytes."""
    return bytes(value) if isinstance(value, bytes | bytearray) else bytes(byte & 0xFF for byte in value)


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
