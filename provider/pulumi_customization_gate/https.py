"""The transport of `requests` with the trust of `tls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pulumi_customization_gate.proxies import Proxy
    from pulumi_customization_gate.tls import Trust


class TlsAdapter(HTTPAdapter):
    """A pool of connections whose TLS is that of one context, also towards the far end of a proxy.

    Args:
        tls: What urllib3 needs to trust the server.
        size: The most idle connections.
    """

    def __init__(self, tls: Mapping[str, Any], size: int) -> None:
        self._tls = dict(tls)
        super().__init__(pool_connections=1, pool_maxsize=size)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Makes the pool towards the server itself."""
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Returns the pool towards the server behind a proxy."""
        return super().proxy_manager_for(proxy, **kwargs, **self._tls)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leaves it to the context: requests would add the authorities that it ships."""


def trusting_session(
    trust: Trust,
    context: ssl.SSLContext,
    adapter: type[TlsAdapter] = TlsAdapter,
    size: int = 1,
    *,
    proxy: Proxy | None = None,
    name: str = "",
) -> requests.Session:
    """Returns a session of `requests` that takes TLS from the context, and nothing from the environment by itself.

    Args:
        trust: What the context was made of.
        context: The TLS context.
        adapter: What makes the connections.
        size: The most idle connections.
        proxy: The proxy that is used for the server.
        name: The host that the certificate must be for, where it is reached by another address.
    """
    session = requests.Session()
    # The environment may name a .netrc with other credentials, and other authorities.
    session.trust_env = False
    session.verify = not (trust.thumbprint or trust.trusts_anyone)
    session.proxies = {"https": proxy.url} if proxy else {}
    tls: dict[str, Any] = {"ssl_context": context}
    if name:
        tls["server_hostname"] = name
    if trust.thumbprint:
        # The context has compared it already; urllib3 warns of a connection that it does not know to be verified.
        tls["assert_fingerprint"] = trust.fingerprint
    elif trust.trusts_anyone:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    session.mount("https://", adapter(tls, size))
    return session
