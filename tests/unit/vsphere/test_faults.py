"""What went wrong in a call, in words that help at night, whatever the server answered."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time

import pytest
from pyVmomi import SoapAdapter, vim, vmodl

from pulumi_customization_gate.vsphere.faults import (
    FAULTS,
    TRANSIENT,
    CallTimeoutError,
    InvalidXmlError,
    MalformedResponseError,
    Stub,
    describe,
)

ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
)
TIME = ENVELOPE.format(
    '<CurrentTimeResponse xmlns="urn:vim25"><returnval>2025-03-01T12:00:00Z</returnval></CurrentTimeResponse>'
)


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (
            ConnectionResetError(104, "Connection\x1b[2J reset\nby peer"),
            "connection lost (ConnectionResetError: [Errno 104] Connection reset by peer)",
        ),
        (TimeoutError(), "timed out (TimeoutError)"),
        (CallTimeoutError("timed out after 10 s"), "timed out after 10 s"),
        (ConnectionRefusedError(111, "refused"), "connection refused (ConnectionRefusedError: [Errno 111] refused)"),
        (
            http.client.RemoteDisconnected("no response"),
            "connection lost (RemoteDisconnected: no response)",
        ),
        (ssl.SSLEOFError(8, "EOF occurred"), "connection lost (SSLEOFError: EOF occurred)"),
        (socket.gaierror(-2, "Name unknown"), "host name could not be resolved (gaierror: [Errno -2] Name unknown)"),
        (http.client.HTTPException("503 Service Unavailable"), "HTTPException: 503 Service Unavailable"),
        (MalformedResponseError("syntax error"), "malformed response (MalformedResponseError: syntax error)"),
        (
            vim.fault.NotAuthenticated(msg="not logged in"),
            "session not authenticated (NotAuthenticated: not logged in)",
        ),
        (vmodl.fault.HostCommunication(), "HostCommunication"),
        (vim.fault.NoPermission(msg="denied"), "NoPermission: denied"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_in_words(error: BaseException, reported: str) -> None:
    """An error is one line: its meaning where its name does not say it, then its class and its own message."""
    assert reported == describe(error)


class Connection:
    """Answers every request with the same page."""

    sock = None

    def __init__(self, status: int, page: str) -> None:
        self.status, self.reason, self.page = status, "", page

    def request(self, *_: object) -> None:
        pass

    def getresponse(self) -> Connection:
        self.body = io.BytesIO(self.page.encode())
        return self

    def getheader(self, name: str, default: str | None = None) -> str | None:
        return "identity" if name == "Content-Encoding" else default

    def read(self, size: int = -1) -> bytes:
        return self.body.read(size)

    def close(self) -> None:
        pass


def asked_for_the_time(status: int, page: str) -> object:
    stub = Stub(host="vc.example.com", version="vim.version.v8_0_3_0")
    stub.pool = [(Connection(status, page), time.time())]
    return vim.ServiceInstance("ServiceInstance", stub).CurrentTime()


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "page",
    [
        pytest.param("", id="nothing"),
        pytest.param("Internal Server Error", id="words"),
        pytest.param("<html><body>Bad gateway<br></body></html>", id="HTML"),
        pytest.param("<html><body><p>Bad gateway</p></body></html>", id="HTML that is XML"),
        pytest.param(TIME[:200], id="cut short"),
        pytest.param(ENVELOPE.format(""), id="no answer in the envelope"),
        pytest.param(TIME.replace("2025-03-01T12:00:00Z", "noon"), id="no time"),
        pytest.param(TIME.replace("<returnval>", '<returnval xsi:type="Unknown">'), id="unknown type"),
    ],
)
def test_what_is_not_an_answer_is_a_fault(status: int, page: str) -> None:
    """Whatever comes instead of the API's answer is an error that the wait knows, never one of the parser's own."""
    with pytest.raises(MalformedResponseError) as raised:
        asked_for_the_time(status, page)
    assert isinstance(raised.value, FAULTS)


@pytest.mark.parametrize(
    ("page", "is_invalid"),
    [
        pytest.param(TIME.replace("2025", "\x01"), True, id="control character"),
        pytest.param(TIME.replace("2025", "&#1;"), True, id="reference to a control character"),
        pytest.param(TIME[:200], False, id="cut short"),
        pytest.param("<html><body>Bad gateway<br></body></html>", False, id="HTML"),
        pytest.param("Service Unavailable", False, id="text"),
    ],
)
def test_text_that_is_not_xml_is_distinguished_from_a_response_that_is_damaged(page: str, is_invalid: bool) -> None:
    """The same call gets the first again each time, and the second perhaps not."""
    with pytest.raises(MalformedResponseError) as raised:
        asked_for_the_time(200, page)

    assert is_invalid == isinstance(raised.value, InvalidXmlError)


def test_a_time_out_names_its_length() -> None:
    """A call to a server that does not answer ends with the seconds that its connection waited."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stub = Stub(
            host="127.0.0.1",
            port=-silent.getsockname()[1],
            version="vim.version.v8_0_3_0",
            httpConnectionTimeout=0.05,
        )
        with pytest.raises(CallTimeoutError, match=r"^timed out after 0\.05 s$") as raised:
            vim.ServiceInstance("ServiceInstance", stub).CurrentTime()

    assert isinstance(raised.value, TRANSIENT)


def test_an_answer_is_an_answer() -> None:
    """What the server says, a fault too, goes through as it is."""
    fault = ENVELOPE.format(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>busy</faultstring><detail>"
        '<HostCommunicationFault xmlns="urn:vim25" xsi:type="HostCommunication"/></detail></soapenv:Fault>'
    )

    assert str(asked_for_the_time(200, TIME)) == "2025-03-01 12:00:00+00:00"
    with pytest.raises(vmodl.fault.HostCommunication):
        asked_for_the_time(500, fault)


def test_the_connection_is_pyvmomis() -> None:
    """A stub of this class can be used wherever pyVmomi expects one of its own."""
    assert isinstance(Stub(host="vc.example.com"), SoapAdapter.SoapStubAdapter)
