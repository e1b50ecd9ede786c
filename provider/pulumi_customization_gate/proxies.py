"""Which HTTP proxy is used for a server: HTTPS_PROXY and NO_PROXY of the environment decide, as for most programs."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests

from pulumi_customization_gate.core.errors import AuthenticationError, ConfigurationError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.tls import wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXPECTED = "HTTPS_PROXY: expected an HTTP proxy, for example http://proxy.example.com:3128, got"
TUNNEL_FAILED = "Tunnel connection failed: "
"""How http.client reports that a proxy refused to connect; the proxy's status and its words follow."""
_REFUSED = f"{TUNNEL_FAILED}407"
"""The proxy wants a user and password, or others than those that it got."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; its text is its address without user and password."""

    url: str = field(repr=False)
    """With user and password, where it needs them."""

    def __str__(self) -> str:
        return f"{self.scheme}://{urlsplit(self.url).netloc.rpartition('@')[2]}"

    @property
    def scheme(self) -> str:
        """The protocol that the proxy itself is spoken to with: http, or https."""
        return urlsplit(self.url).scheme.lower()

    @property
    def address(self) -> tuple[str, int]:
        """The proxy's host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if self.scheme == "https" else 80)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that only the proxy gets."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return {}
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    def tunnel(self, host: str, port: int, **options: Any) -> HTTPSConnection:
        """Returns a connection to a server through this proxy, which sees no more of it than host and port.

        Args:
            host: The server, which the proxy resolves.
            port: Its port.
            options: What an HTTPSConnection takes.

        Raises:
            ConfigurationError: If the proxy cannot be used for it.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(f"{_EXPECTED} {sanitize(str(self))!r}")
        connection = _Tunnel(*self.address, **options)
        connection.set_tunnel(host, port, dict(self.headers))
        return connection


class _Tunnel(HTTPSConnection):
    _tunnel_host: str

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            if is_refused(error):
                raise refused(f"http://{self.host}:{self.port}") from None
            raise

    def _tunnel(self) -> None:
        """Names an IPv6 address in brackets (RFC 3986, 3.2.2), which older versions of Python do not."""
        host = self._tunnel_host
        self._tunnel_host = f"[{host}]" if ":" in host else host
        try:
            super()._tunnel()  # type: ignore[misc]  # not in the stubs
        finally:
            self._tunnel_host = host


def is_refused(error: BaseException) -> bool:
    """Whether a proxy refused its user and password, or had none."""
    return any(str(inner).startswith(_REFUSED) for inner in wrapped(error))


def refused(proxy: object) -> AuthenticationError:
    """Returns the error for that: asked again with the same, it could lock the account."""
    return AuthenticationError(
        f"the proxy {proxy} refused the user name or password in HTTPS_PROXY (407 Proxy Authentication Required). Set "
        "HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT, or name the server in NO_PROXY if it needs no proxy."
    )


def proxy_for(host: str, port: int) -> Proxy | None:
    """Returns the proxy that the environment names for a server; none is used for this computer itself.

    Raises:
        ConfigurationError: If what it names is not the address of a proxy.
    """
    if _is_loopback(host):
        return None
    address = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    url = requests.utils.select_proxy(address, requests.utils.get_environ_proxies(address))
    if not url:
        return None
    proxy = Proxy(url if "://" in url else f"http://{url}")
    try:
        is_usable = proxy.scheme in {"http", "https"} and bool(urlsplit(proxy.url).hostname)
        is_usable = is_usable and urlsplit(proxy.url).port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigurationError(f"{_EXPECTED} {sanitize(str(proxy))!r}")
    return proxy


def through(server: str, proxy: Proxy | None) -> str:
    """Returns how messages name a server: with the proxy that is used for it."""
    return f"{server} through the proxy {sanitize(str(proxy))}" if proxy else server


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
