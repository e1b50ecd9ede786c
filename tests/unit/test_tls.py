"""How a server's certificate is trusted, against a server on this computer."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.https import trusting_session
from pulumi_customization_gate.tls import Trust, distrust, untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLED = {"caFile": "`a:caFile`", "thumbprint": "`a:thumbprint`", "allowUnverifiedSsl": "`a:allowUnverifiedSsl`"}
CERTIFICATE = Path(__file__).parent / "certificate"
"""A self-signed certificate of localhost that is valid for a hundred years, and its key, for tests only."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Server:
    """Answers each request over TLS, and keeps what it was sent."""

    def __init__(self) -> None:
        self.ca_file = CERTIFICATE / "localhost.pem"
        self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.ca_file.read_text())).hexdigest()
        self.received: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca_file, CERTIFICATE / "localhost-key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    connection.settimeout(5)
                    if received := connection.recv(65536):
                        self.received.append(received)
                        connection.sendall(ANSWER)
            except OSError:
                raw.close()

    def close(self) -> None:
        """Ends the server."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def by_http_client(trust: Trust, port: int) -> int:
    """Asks as pyVmomi does."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=trust.context(CALLED))
    try:
        connection.request("GET", "/", headers={"Cookie": "s3cret"})
        return connection.getresponse().status
    finally:
        connection.close()


def by_requests(trust: Trust, port: int) -> int:
    """Asks as the client of Cloud Director and the transfers of guest files do."""
    with trusting_session(trust, trust.context(CALLED)) as session:
        return session.get(f"https://localhost:{port}/", headers={"Cookie": "s3cret"}, timeout=5).status_code


CLIENTS = [pytest.param(by_http_client, id="http.client"), pytest.param(by_requests, id="requests")]


def colons(digits: str) -> str:
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()


@pytest.mark.parametrize("ask", CLIENTS)
def test_a_server_is_trusted_in_three_ways(ask: object, server: Server) -> None:
    """By a file of authorities, by its fingerprint in either form, or without any verification."""
    assert callable(ask)
    for trust in (
        Trust(ca_file=str(server.ca_file)),
        Trust(thumbprint=server.fingerprint),
        Trust(thumbprint=colons(server.fingerprint), allow_unverified_ssl=True),
        Trust(allow_unverified_ssl=True),
    ):
        assert ask(trust, server.port) == 200


@pytest.mark.parametrize("ask", CLIENTS)
@pytest.mark.parametrize(
    ("trust", "said"),
    [
        pytest.param(Trust(), "self-signed certificate", id="the system's authorities"),
        pytest.param(Trust(thumbprint="AB" * 32), "not the expected one", id="another fingerprint"),
        pytest.param(
            Trust(thumbprint="AB" * 32, allow_unverified_ssl=True), "not the expected one", id="a fingerprint decides"
        ),
    ],
)
def test_a_server_that_is_not_trusted_receives_nothing(ask: object, trust: Trust, said: str, server: Server) -> None:
    """The connection ends with the handshake, before a request is sent, and the error says why."""
    assert callable(ask)
    before = len(server.received)
    with pytest.raises((OSError, requests.RequestException)) as refusal:
        ask(trust, server.port)
    assert said in distrust(refusal.value).replace("self signed", "self-signed")
    assert len(server.received) == before


def test_a_pinned_certificate_is_compared_also_inside_of_another_connection(server: Server) -> None:
    """TLS that is not on a socket of its own, as through an HTTPS proxy, is held to the same fingerprint."""
    for fingerprint, is_good in ((server.fingerprint, True), ("0" * 64, False)):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = Trust(thumbprint=fingerprint).context(CALLED).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            if is_good:
                _shake_hands(tls, raw, incoming, outgoing)
            else:
                with pytest.raises(ssl.SSLCertVerificationError, match="not the expected one"):
                    _shake_hands(tls, raw, incoming, outgoing)


def _shake_hands(tls: ssl.SSLObject, raw: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
    while _is_waiting(tls):
        raw.sendall(outgoing.read())
        incoming.write(raw.recv(65536))


def _is_waiting(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return True
    return False


def test_a_file_that_is_not_pem_is_named(tmp_path: Path) -> None:
    """A file without certificates is a mistake in the configuration."""
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(ConfigurationError, match=r"^`a:caFile`: expected a PEM file of certificates, got '.*ca\.pem'"):
        Trust(ca_file=str(wrong)).context(CALLED)


@pytest.mark.parametrize(
    ("trust", "trusts_anyone"),
    [
        pytest.param(Trust(), False, id="default"),
        pytest.param(Trust(allow_unverified_ssl=True), True, id="unverified"),
        pytest.param(Trust(allow_unverified_ssl=True, ca_file="ca.pem"), False, id="a file of authorities decides"),
        pytest.param(Trust(allow_unverified_ssl=True, thumbprint="AA"), False, id="a fingerprint decides"),
    ],
)
def test_verification_is_off_only_where_nothing_else_is_given(trust: Trust, trusts_anyone: bool) -> None:
    """No verification is the last choice."""
    assert trust.trusts_anyone == trusts_anyone


def test_the_message_names_server_reason_and_settings() -> None:
    """What can be done about a certificate that is not trusted, in the settings' own names."""
    message = str(untrusted("vc.example.com", CALLED, ssl.SSLError("self-signed certificate")))
    words = ("vc.example.com", "self-signed", *CALLED.values())
    assert [word for word in words if word not in message] == []
