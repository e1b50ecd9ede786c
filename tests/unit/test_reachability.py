"""Whether a server can be reached and is trusted, against a server on this computer."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate import reachability
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.proxies import Proxy
from pulumi_customization_gate.tls import Trust
from tests.unit.test_tls import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLED = {
    "vsphereServer": "SERVER",
    "caFile": "CA_FILE",
    "thumbprint": "THUMBPRINT",
    "allowUnverifiedSsl": "UNVERIFIED",
}
OTHER = "ab" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def looked(trust: Trust, host: str, port: int) -> list[Finding]:
    return list(reachability.findings(host, host, port, trust, CALLED))


def test_a_name_that_does_not_resolve_ends_it() -> None:
    """What depends on the name is not tried."""
    (found,) = looked(Trust(), "no-such-host.invalid", 443)

    assert (found.check, found.state) == (Check.NAME_RESOLUTION, State.FAILED)
    assert found.message == "host name could not be resolved"
    assert "SERVER" in found.remedy


def test_a_resolver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver has no time-out; the check has one."""
    monkeypatch.setattr(reachability, "CONNECT_TIMEOUT", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(0.5))
    (found,) = looked(Trust(), "slow.example.com", 443)

    assert found.message == "name resolution timed out after 0 s"


def test_a_port_without_a_server_ends_it() -> None:
    """The reason is the operating system's, in its words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    name, found = looked(Trust(), "127.0.0.1", port)

    assert (name.state, name.message) == (State.OK, "127.0.0.1")
    assert (found.check, found.state) == (Check.CONNECTION, State.FAILED)
    assert found.message == f"port {port}: connection refused"


def test_a_server_without_tls_is_not_taken_for_an_untrusted_one() -> None:
    """A port that is not HTTPS has no certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen()

        def close_each() -> None:
            for _ in range(2):
                listener.accept()[0].close()

        future = reachability._RESOLVERS.submit(close_each)
        *_, found = looked(Trust(), "127.0.0.1", listener.getsockname()[1])
        future.result()

    assert (found.check, found.state) == (Check.CERTIFICATE, State.FAILED)
    assert found.message.startswith("TLS handshake: ")
    assert "CA_FILE" not in found.remedy


@pytest.mark.parametrize(
    ("trust", "state", "message", "remedy"),
    [
        pytest.param("pinned", State.OK, "trusted by its fingerprint (THUMBPRINT)", "", id="pinned"),
        pytest.param("authority", State.OK, "localhost.pem (CA_FILE)", "", id="an authority's file"),
        pytest.param("anyone", State.WARNING, "not verified, because UNVERIFIED is true", "THUMBPRINT", id="anyone"),
        pytest.param("system", State.FAILED, "not trusted (self", "CA_FILE", id="the system's authorities"),
        pytest.param("other", State.FAILED, "not the expected one", "which is right", id="another fingerprint"),
        pytest.param("no file", State.FAILED, "CA_FILE: expected a PEM file", "", id="no PEM file"),
    ],
)
def test_the_certificate_and_what_trusts_it(
    server: Server, trust: str, state: State, message: str, remedy: str
) -> None:
    """Trusted or not, the certificate is named with its subject, issuer, end and fingerprint; no data is sent."""
    trusts = {
        "pinned": Trust(thumbprint=server.fingerprint),
        "authority": Trust(ca_file=str(server.ca_file)),
        "anyone": Trust(allow_unverified_ssl=True),
        "system": Trust(),
        "other": Trust(thumbprint=OTHER),
        "no file": Trust(ca_file=__file__),
    }
    name, port, found = looked(trusts[trust], "localhost", server.port)

    assert (name.state, port.state, found.check, found.state) == (State.OK, State.OK, Check.CERTIFICATE, state)
    assert message in found.message
    assert remedy in found.remedy
    if trust != "no file":
        assert "localhost, issued by localhost, valid until 21" in found.message
        assert found.message.replace(":", "").lower().count(server.fingerprint) == 1
    assert server.received == []


def test_a_certificate_that_ends_soon_gets_a_warning(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still works today."""
    monkeypatch.setattr(reachability, "EXPIRES_SOON", timedelta(days=365 * 200))
    *_, found = looked(Trust(ca_file=str(server.ca_file)), "localhost", server.port)

    assert (found.state, found.remedy) == (State.WARNING, "Renew the certificate before it expires.")


def test_behind_a_proxy_the_proxy_is_what_must_be_reached(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's name is the proxy's to resolve; its certificate comes through the tunnel."""

    class LocalProxy(Proxy):
        def tunnel(self, host: str, port: int, **options: Any) -> HTTPSConnection:
            assert (host, port) == ("vc.invalid", 443)
            return HTTPSConnection("localhost", server.port, **options)

    proxy = LocalProxy(f"http://ann:s3cret@localhost:{server.port}")
    monkeypatch.setattr(reachability, "proxy_for", lambda *_: proxy)
    found = looked(Trust(thumbprint=server.fingerprint), "vc.invalid", 443)

    assert [(f.check, f.state) for f in found] == [
        (Check.NAME_RESOLUTION, State.OK),
        (Check.CONNECTION, State.OK),
        (Check.CERTIFICATE, State.OK),
    ]
    assert f"of the proxy http://localhost:{server.port}" in found[0].message
    assert "s3cret" not in str(found)


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is its address in the environment, not the server's."""
    monkeypatch.setattr(reachability, "proxy_for", lambda *_: Proxy("http://no-such-proxy.invalid:3128"))
    (found,) = looked(Trust(), "vc.example.com", 443)

    assert found.message == "the proxy http://no-such-proxy.invalid:3128: host name could not be resolved"
    assert found.remedy.startswith("Correct HTTPS_PROXY")
