"""How a server's certificate is trusted, against a server on this computer."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import truststore

from pulumi_customization_gate import tls
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.https import trusting_session
from pulumi_customization_gate.tls import Trust, distrust, untrusted
from tests.certificates import authority, leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.certificates import Certificate

CALLED = {"caFile": "`a:caFile`", "thumbprint": "`a:thumbprint`", "allowUnverifiedSsl": "`a:allowUnverifiedSsl`"}
CERTIFICATE = Path(__file__).parent / "certificate"
"""A self-signed certificate of localhost that is valid for a hundred years, and its key, for tests only."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class TlsServer:
    """Answers each request over TLS, and keeps what it was sent.

    Args:
        context: The server's certificate and key.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.received: list[bytes] = []
        self._context = context
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


class Server(TlsServer):
    """One whose certificate is in this folder."""

    ca_file = CERTIFICATE / "localhost.pem"
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca_file.read_text())).hexdigest()

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, CERTIFICATE / "localhost-key.pem")
        super().__init__(context)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with contextlib.closing(Server()) as made:
        yield made


@contextlib.contextmanager
def serving(certificate: Certificate, folder: Path) -> Iterator[TlsServer]:
    """Serves with a certificate of the test's for the length of a block."""
    with contextlib.closing(TlsServer(certificate.server(folder))) as made:
        yield made


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
    ("trust", "message"),
    [
        pytest.param(Trust(), "self-signed certificate", id="the system's authorities"),
        pytest.param(Trust(thumbprint="AB" * 32), "not the expected one", id="another fingerprint"),
        pytest.param(
            Trust(thumbprint="AB" * 32, allow_unverified_ssl=True), "not the expected one", id="a fingerprint decides"
        ),
    ],
)
def test_a_server_that_is_not_trusted_receives_nothing(ask: object, trust: Trust, message: str, server: Server) -> None:
    """The connection ends with the handshake, before a request is sent, and the error says why."""
    assert callable(ask)
    before = len(server.received)
    with pytest.raises((OSError, requests.RequestException)) as refusal:
        ask(trust, server.port)
    assert message in distrust(refusal.value).replace("self signed", "self-signed")
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


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 and newer verify strictly by default; so does any Python here."""
    default = ssl.create_default_context

    def strictly(*args: object, **options: object) -> ssl.SSLContext:
        context = default(*args, **options)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strictly)


FLAWED = [
    pytest.param(authority(is_critical=False), True, id="basic constraints not critical"),
    pytest.param(authority(), False, id="no authority key identifier"),
]


@pytest.mark.parametrize("ask", CLIENTS)
@pytest.mark.parametrize(("company", "names_issuer_key"), FLAWED)
@pytest.mark.usefixtures("strict")
def test_an_authority_that_the_user_names_is_trusted_as_it_is(
    ask: object, company: Certificate, names_issuer_key: bool, tmp_path: Path
) -> None:
    """Authorities of companies lack what RFC 5280 requires; caFile names one of them all the same."""
    assert callable(ask)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(company.pem)
    with serving(leaf(company, names_issuer_key=names_issuer_key), tmp_path) as server:
        assert ask(Trust(ca_file=str(ca_file)), server.port) == 200


@pytest.mark.parametrize(("company", "names_issuer_key"), FLAWED)
@pytest.mark.usefixtures("strict")
def test_an_authority_of_the_system_is_refused_with_the_requirement(
    company: Certificate, names_issuer_key: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without caFile Python's own rules count, and the message says which Python has them and what to set."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(company.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    with (
        serving(leaf(company, names_issuer_key=names_issuer_key), tmp_path) as server,
        pytest.raises(ssl.SSLCertVerificationError) as refusal,
    ):
        by_http_client(Trust(), server.port)
    message = str(untrusted("vc.example.com", CALLED, refusal.value))
    assert ", which Python 3.13 and newer require (RFC 5280) of an authority that only the system trusts." in message
    assert "Set `a:caFile` to the PEM file" in message


@pytest.mark.parametrize("ask", CLIENTS)
@pytest.mark.usefixtures("strict")
def test_a_pinned_certificate_counts_by_its_bytes(ask: object, tmp_path: Path) -> None:
    """Neither its age, nor its names, nor who signed it count."""
    assert callable(ask)
    expired = leaf(authority(is_critical=False), "other.example.com", days=(-30, -10), names_issuer_key=False)
    with serving(expired, tmp_path) as server:
        assert ask(Trust(thumbprint=expired.fingerprint), server.port) == 200


@pytest.mark.parametrize("ask", CLIENTS)
def test_an_expired_certificate_of_a_named_authority_is_refused(ask: object, tmp_path: Path) -> None:
    """To name an authority is not to pin what it signed."""
    assert callable(ask)
    company = authority()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(company.pem)
    with (
        serving(leaf(company, days=(-30, -10)), tmp_path) as server,
        pytest.raises((OSError, requests.RequestException)) as refusal,
    ):
        ask(Trust(ca_file=str(ca_file)), server.port)
    assert distrust(refusal.value) == "certificate has expired"


def test_macos_and_windows_keep_their_own_authorities(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """There truststore asks the system; a certificate that it does not trust is refused by name."""
    monkeypatch.setattr(tls, "_HAS_OWN_STORE", True)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(Trust().context(CALLED), truststore.SSLContext)
    for ask in (by_http_client, by_requests):
        with pytest.raises((OSError, requests.RequestException)) as refusal:
            ask(Trust(), server.port)
        assert "self-signed" in distrust(refusal.value).replace("self signed", "self-signed")


def test_ssl_cert_file_counts_on_every_system(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Who sets it means it, also where the system has a store of its own."""
    monkeypatch.setattr(tls, "_HAS_OWN_STORE", True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
    assert by_http_client(Trust(), server.port) == 200


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
