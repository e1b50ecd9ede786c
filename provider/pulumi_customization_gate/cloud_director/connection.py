"""One bounded HTTPS exchange with Cloud Director: verified TLS, time-outs, a cap on the answer, no redirect."""

from __future__ import annotations

import http.client
import ipaddress
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from pulumi_customization_gate.core.errors import CertificateError, ConfigurationError, ServerError
from pulumi_customization_gate.core.report import plain

CONNECT_TIMEOUT = 5.0
"""Seconds until a connection stands."""
READ_TIMEOUT = 10.0
"""Seconds in which the server must send something."""
TOTAL_TIMEOUT = 20.0
"""Seconds in which the whole answer must be here, however steadily it drips."""
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer's body: a vApp with a hundred machines is about half of it."""
_CHUNK = 64 * 1024
_CLIENT_REQUEST_ID = "X-VMWARE-VCLOUD-CLIENT-REQUEST-ID"
"""The server's request id begins with what a client sends here, and only then leads through all of its logs."""
_SHA256_DIGITS = 64


CALLED: Mapping[str, str] = MappingProxyType(
    {
        "url": "`vcd:url` or VCD_URL",
        "org": "`vcd:org` or VCD_ORG",
        "user": "`vcd:user` or VCD_USER",
        "password": "`vcd:password` or VCD_PASSWORD",
        "apiToken": "`vcd:apiToken` or VCD_API_TOKEN",
        "allowUnverifiedSsl": "`vcd:allowUnverifiedSsl` or VCD_ALLOW_UNVERIFIED_SSL",
        "caFile": "`customization:caFile` or VCD_CA_FILE",
        "thumbprint": "`customization:thumbprint` or VCD_THUMBPRINT",
    }
)
"""What the settings are called by default."""


class UnreachableError(ServerError):
    """The server did not answer, or not in time, or not with an answer of bounded size. It may pass."""


@dataclass(frozen=True)
class CloudDirectorSettings:
    """Where a Cloud Director is and how to log in: an API token, or else user and password.

    Raises:
        ConfigurationError: If something is missing or cannot be.
    """

    url: str
    """`https://host[:port]`, with or without `/api` at its end."""
    org: str
    """The organization; "System" for a provider's administrator."""
    user: str = ""
    password: str = field(default="", repr=False)
    api_token: str = field(default="", repr=False)
    allow_unverified_ssl: bool = False
    ca_file: str = ""
    """A PEM file with the authorities to trust instead of the system's."""
    thumbprint: str = ""
    """The SHA-256 thumbprint of the server's certificate, with or without colons; it alone decides then."""
    called: Mapping[str, str] = field(default_factory=lambda: CALLED, compare=False, repr=False)
    """What the settings are called where the user wrote them, for messages."""

    def __post_init__(self) -> None:
        missing = [self.called[name] for name, value in (("url", self.url), ("org", self.org)) if not value]
        if not self.api_token and not (self.user and self.password):
            called = self.called
            missing.append(f"{called['apiToken']}, or else {called['user']} with {called['password']}")
        if missing:
            raise ConfigurationError(f"Cloud Director needs {'; '.join(missing)}")
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme.lower() == "https" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or "@" in parts.netloc or parts.query or parts.fragment or parts.path.rstrip("/") not in _ROOTS:
            # The text is not quoted: a password in it would be shown.
            wanted = "must be https://<host>[:<port>], without user name, path or query"
            raise ConfigurationError(f"{self.called['url']} {wanted}")
        if self.thumbprint and (len(self.pin) != _SHA256_DIGITS or set(self.pin) - set("0123456789abcdef")):
            raise ConfigurationError(f"{self.called['thumbprint']} must be a SHA-256: 64 hexadecimal digits")

    @property
    def address(self) -> str:
        """The server's address without `/api` or a slash at its end."""
        parts = urlsplit(self.url)
        return f"https://{parts.netloc.lower()}"

    @property
    def pin(self) -> str:
        """The thumbprint as bare lower-case digits."""
        return self.thumbprint.replace(":", "").strip().lower()

    @property
    def is_provider(self) -> bool:
        """Whether the login is that of a provider's administrator."""
        return self.org.lower() == "system"


_ROOTS = ("", "/api")


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
        return plain(self.headers.get("X-VMWARE-VCLOUD-REQUEST-ID", ""), longest=200)

    @property
    def number(self) -> str:
        """The same as the end of a sentence."""
        return f" (request {self.request_id})" if self.request_id else ""


class Connection:
    """A pool of HTTPS connections to one server. Safe to use from many threads."""

    def __init__(self, settings: CloudDirectorSettings, size: int) -> None:
        self._settings, self._address = settings, settings.address
        self._http = requests.Session()
        # The environment may name a .netrc with other credentials and other authorities: only its proxies are used.
        self._http.trust_env = False
        self._http.proxies = {} if _is_loopback(settings.address) else dict(get_environ_proxies(settings.address))
        # The server repeats the token in a cookie, which would outlive a renewal.
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._http.verify, tls = _trust(settings)
        self._http.mount("https://", _Adapter(size, tls))

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

        Raises:
            CertificateError: If the server's certificate is not trusted.
            UnreachableError: If no complete answer of at most `largest` bytes came within `total` seconds.
        """
        deadline = time.monotonic() + total
        what = f"{method} {path.partition('?')[0]}"
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
                body = b"".join(self._body(response, what, largest, deadline))
                return Answer(response.status_code, dict(_canonical(response.headers)), body, _date(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            if reason := _distrust(error):
                raise CertificateError(_untrusted(self._settings, reason)) from None
            raise UnreachableError(f"{self._address} did not answer {what}: {_reason(error)}") from None

    def _body(self, response: requests.Response, what: str, largest: int, deadline: float) -> Iterator[bytes]:
        size = 0
        # read1 returns what is there: read would wait for a full chunk, and a dripping answer could hold it for ever.
        while chunk := response.raw.read1(_CHUNK):
            size += len(chunk)
            if size > largest:
                raise UnreachableError(f"{self._address} answered {what} with more than {largest} bytes")
            if time.monotonic() > deadline:
                raise UnreachableError(f"{self._address} did not answer {what} in time: the answer never ended")
            yield chunk

    def close(self) -> None:
        """Closes the idle connections."""
        self._http.close()


class _Adapter(HTTPAdapter):
    """The pool of connections, with the TLS that `_trust` chose also towards a proxy's far end."""

    def __init__(self, size: int, tls: Mapping[str, Any]) -> None:
        self._tls = dict(tls)
        super().__init__(pool_connections=1, pool_maxsize=size)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, **self._tls)


def _trust(settings: CloudDirectorSettings) -> tuple[bool | str, dict[str, Any]]:
    """Returns what requests and what urllib3 need to trust as the settings say."""
    if settings.pin:
        return False, {"assert_fingerprint": settings.pin}
    if settings.ca_file:
        try:
            ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            what = f"{settings.called['caFile']} is {plain(settings.ca_file)!r}, which cannot be used"
            raise ConfigurationError(f"{what}: {_reason(error)}") from None
        return settings.ca_file, {}
    if settings.allow_unverified_ssl:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False, {}
    # requests alone knows only the authorities that it ships: a company's own stands in the system's store.
    return True, {"ssl_context": ssl.create_default_context()}


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _canonical(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    wanted = ("X-VMWARE-VCLOUD-REQUEST-ID", "X-VMWARE-VCLOUD-ACCESS-TOKEN", "Retry-After", "Location", "Content-Type")
    return ((name, headers[name]) for name in wanted if name in headers)


def _date(response: requests.Response) -> datetime:
    try:
        at = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(timezone.utc)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and those that it wraps, the innermost last."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in seen:
            seen.append(item)
            queue += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return iter(seen)


def _distrust(error: BaseException) -> str:
    """Returns why a certificate is not trusted, or nothing if that is not what went wrong."""
    for inner in _chain(error):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return inner.verify_message
        if isinstance(inner, urllib3.exceptions.SSLError) and "ingerprint" in str(inner):
            return "its SHA-256 thumbprint is another than the configured one"
    return ""


def _untrusted(settings: CloudDirectorSettings, reason: str) -> str:
    called = settings.called
    return (
        f"the certificate of {settings.address} is not trusted: {plain(reason)}. Name a file with the authority that "
        f"signed it in {called['caFile']}, or give the certificate's SHA-256 in {called['thumbprint']}; "
        f"{called['allowUnverifiedSsl']} is for test systems only."
    )


def _reason(error: BaseException) -> str:
    """Returns what went wrong at the bottom, without the addresses of objects that the wrappers print."""
    if isinstance(error, requests.Timeout) or any(isinstance(e, TimeoutError) for e in _chain(error)):
        return "it timed out"
    causes = [e for e in _chain(error) if isinstance(e, (OSError, http.client.HTTPException))]
    bottom = next((e for e in reversed(causes) if not isinstance(e, requests.RequestException)), error)
    return plain(getattr(bottom, "strerror", None) or type(bottom).__name__)
