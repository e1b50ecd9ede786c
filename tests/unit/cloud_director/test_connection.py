"""One exchange with Cloud Director, over an adapter in memory; its bounds over a response in memory."""

from __future__ import annotations

import io
import socket
import ssl
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter

from pulumi_customization_gate.cloud_director import bounded_http, connection
from pulumi_customization_gate.cloud_director.bounded_http import HeadersError, current_exchange
from pulumi_customization_gate.cloud_director.connection import Answer, Connection, UnreachableError
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SETTINGS = CloudDirectorSettings("https://vcd.example.com", "acme", "ann", "s3cret", allow_unverified_ssl=True)


class Adapter(BaseAdapter):
    """Answers each request with what a function makes of it."""

    def __init__(self, reply: Callable[[requests.PreparedRequest], urllib3.HTTPResponse]) -> None:
        super().__init__()
        self._reply = reply
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.sent.append(request)
        current_exchange.is_sent = True
        raw = self._reply(request)
        response = requests.Response()
        response.status_code, response.raw, response.url = raw.status, raw, request.url or ""
        response.request = request
        response.headers.update(raw.headers)
        return response

    def close(self) -> None:
        """Has nothing to close."""


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(io.BytesIO(body), status=status, headers=headers or {}, preload_content=False)


def exchange(answer: urllib3.HTTPResponse | Exception, **options: Any) -> tuple[Answer, Adapter]:
    def make(_: requests.PreparedRequest) -> urllib3.HTTPResponse:
        if isinstance(answer, Exception):
            raise answer
        return answer

    made, adapter = Connection(SETTINGS, 1), Adapter(make)
    made._http.mount("https://", adapter)
    try:
        return made.exchange("GET", "/api/org?filter=secret", {"Accept": "x"}, **options), adapter
    finally:
        made.close()


def test_an_answer_holds_status_headers_body_and_the_servers_time() -> None:
    """Only the headers that are used leave the exchange."""
    headers = {
        "Date": "Thu, 01 Jan 2026 12:00:00 GMT",
        "X-VMWARE-VCLOUD-REQUEST-ID": "r-1",
        "Set-Cookie": "token=s3cret",
    }
    answer, adapter = exchange(reply(200, b"<Org/>", headers))
    assert (answer.status, answer.body, answer.at) == (200, b"<Org/>", datetime(2026, 1, 1, 12, tzinfo=timezone.utc))
    assert (answer.headers, answer.number) == ({"X-VMWARE-VCLOUD-REQUEST-ID": "r-1"}, " (request r-1)")
    assert adapter.sent[0].headers["X-VMWARE-VCLOUD-CLIENT-REQUEST-ID"].startswith("customization-gate-")
    assert "s3cret" not in repr(answer)


@pytest.mark.parametrize("date", ["", "soon"])
def test_without_a_date_our_time_is_used(date: str) -> None:
    """A response without a usable Date header is still read."""
    before = datetime.now(timezone.utc)
    assert exchange(reply(headers={"Date": date}))[0].at >= before


def test_a_compressed_answer_is_read() -> None:
    """Compression that was not requested, for example by a proxy, is decoded."""
    answer, _ = exchange(reply(200, zlib.compress(b"<Org/>"), {"Content-Encoding": "deflate"}))
    assert answer.body == b"<Org/>"


def test_a_good_answer_that_is_too_large_is_a_fault() -> None:
    """The body is read up to its limit."""
    with pytest.raises(UnreachableError, match=r"answered GET /api/org with more than 100000 bytes") as fault:
        exchange(reply(200, b"x" * 200_000), largest=100_000)
    assert fault.value.was_sent


def test_the_status_of_an_error_counts_whatever_its_body_is() -> None:
    """Of an error's body the beginning is read, and a fault in it does not hide the status."""
    assert exchange(reply(503, b"x" * 200_000))[0].body == b"x" * connection.LARGEST_ERROR_BODY
    assert exchange(reply(503, b"no zlib", {"Content-Encoding": "deflate"}))[0].status == 503


def test_a_redirect_is_returned_and_not_followed() -> None:
    """The token goes to the configured server only."""
    answer, adapter = exchange(reply(302, b"", {"Location": "https://elsewhere.example.com/"}))
    assert (answer.status, answer.headers) == (302, {"Location": "https://elsewhere.example.com/"})
    assert len(adapter.sent) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(requests.ReadTimeout("<object at 0x7f>"), "timed out after 0 s", id="read"),
        pytest.param(
            requests.ConnectionError(socket.gaierror(-2, "x")), "host name could not be resolved", id="unknown-host"
        ),
        pytest.param(requests.ConnectionError(TimeoutError("x")), "timed out", id="socket"),
        pytest.param(requests.ConnectionError(ConnectionRefusedError(111, "Connection refused")), "refused", id="port"),
        pytest.param(urllib3.exceptions.DecodeError("x"), "the compressed response is malformed", id="compression"),
        pytest.param(requests.ConnectionError("x"), "ConnectionError", id="without-a-cause"),
    ],
)
def test_a_fault_names_its_cause(fault: Exception, reason: str) -> None:
    """What went wrong at the bottom is said, without addresses of objects and without the query."""
    with pytest.raises(UnreachableError) as error:
        exchange(fault)
    assert str(error.value).startswith("https://vcd.example.com did not answer GET /api/org: ")
    assert reason in str(error.value)
    assert "0x" not in str(error.value)
    assert "secret" not in str(error.value)


def test_an_untrusted_certificate_is_an_error_of_its_own() -> None:
    """It does not pass with time, so it is not reported as an unreachable server."""
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "self-signed certificate"
    with pytest.raises(CertificateError, match=r"vcd\.example\.com"):
        exchange(requests.exceptions.SSLError(urllib3.exceptions.SSLError(error)))


def test_headers_that_cannot_be_read_do_not_hide_an_errors_status() -> None:
    """A 401 or a 503 counts although its headers are malformed; a 200 does not."""
    assert exchange(urllib3.exceptions.ProtocolError("x", HeadersError(503)))[0].status == 503
    with pytest.raises(UnreachableError):
        exchange(urllib3.exceptions.ProtocolError("x", HeadersError(200)))


# ---- the bounds of a response


class Wire:
    """A socket that holds a whole response."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._data))


@pytest.fixture
def _exchange() -> Any:
    current_exchange.deadline = float("inf")
    yield
    current_exchange.deadline = float("inf")


def response(data: bytes) -> Any:
    made = bounded_http._Response(Wire(data), method="GET")
    made.begin()
    return made


@pytest.mark.usefixtures("_exchange")
def test_a_response_is_read_until_its_deadline() -> None:
    """A server that sends a byte now and then does not hold a request for ever."""
    made = response(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
    assert made.read1(10) == b"x" * 10
    current_exchange.deadline = 0.0
    with pytest.raises(TimeoutError, match="did not end in time"):
        made.read()
    made.close()


@pytest.mark.usefixtures("_exchange")
def test_malformed_headers_keep_the_status_line() -> None:
    """The status is known before the headers are."""
    with pytest.raises(HeadersError) as error:
        response(b"HTTP/1.1 401 Unauthorized\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n")
    assert error.value.status == 401


@pytest.mark.usefixtures("_exchange")
def test_a_status_line_that_cannot_be_read_is_its_own_fault() -> None:
    """Without a status there is nothing to keep."""
    with pytest.raises(Exception, match="not HTTP") as error:
        response(b"not HTTP\r\n\r\n")
    assert not isinstance(error.value, HeadersError)


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        pytest.param("https://vcd.example.com", True, id="elsewhere"),
        pytest.param("https://vcd.example.org", False, id="an exception"),
        pytest.param("https://127.0.0.1:8443", False, id="loopback"),
        pytest.param("https://lab.localhost", False, id="localhost"),
    ],
)
def test_the_environments_proxy_is_used_for_servers_elsewhere(
    monkeypatch: pytest.MonkeyPatch, url: str, proxied: bool
) -> None:
    """HTTPS_PROXY counts unless NO_PROXY names the server, or it is on this computer."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "vcd.example.org")
    made = Connection(CloudDirectorSettings(url, "acme", "ann", "s3cret", allow_unverified_ssl=True), 1)
    adapter = made._http.get_adapter("https://")
    assert isinstance(adapter, bounded_http.BoundedAdapter)
    pool = adapter.proxy_manager_for("http://proxy.example.com:3128")
    assert pool.pool_classes_by_scheme["https"] is bounded_http._Pool
    assert bool(made._http.proxies) == proxied
    made.close()
