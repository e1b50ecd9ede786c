"""Cloud Director's logins and malformed answers: what is sent, how often, and what the user is shown."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, Plan, SimulatedVm, vapp_uuid
from lab.cloud_director.faults import Fault
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director import connection, refused_logins
from pulumi_customization_gate.cloud_director.answers import UnusableAnswerError
from pulumi_customization_gate.cloud_director.connection import UnreachableError
from pulumi_customization_gate.cloud_director.login import LOGINS_IN_A_ROW
from pulumi_customization_gate.cloud_director.session import acquire
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import AuthenticationError, ServerError
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from tests.lab.misbehaving import MisbehavingServer, Reply, answer, compressed, head, raw
from tests.lab.sources import cloud_director_source, shorten_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.cloud_director.source import CloudDirectorSource

LOGIN, TOKEN, STATUS = "POST /cloudapi", "POST /oauth", "GET /api/vApp/vm-"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body>Back at noon, s3cret</body></html>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    b"<Section><AdminPassword>pw1</AdminPassword></Section>"
)
PASSWORD = "s3cret"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(Cloud("acme", "ann", PASSWORD), certificate(Home())) as lab:
        yield lab


@pytest.fixture
def lab(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    running.cloud.clear()
    shorten_intervals(monkeypatch)
    monkeypatch.setattr(refused_logins, "_refused", {})
    yield running
    running.faults.clear()


@pytest.fixture
def server(lab: Running) -> Iterator[MisbehavingServer]:
    with MisbehavingServer(lab.url).serving(certificate(Home())) as misbehaving:
        yield misbehaving


def settings(
    server: MisbehavingServer | Running, password: str = PASSWORD, api_token: str = ""
) -> CloudDirectorSettings:
    ca_file = str(certificate(Home()) / "ca.pem")
    return CloudDirectorSettings(server.url, "acme", "ann", password, api_token, ca_file=ca_file)


def source(server: MisbehavingServer | Running, vm: SimulatedVm, **changes: str) -> CloudDirectorSource:
    return cloud_director_source(settings(server, **changes), {vm.name: vm.urn})


# ---- a refused login is sent once

_REFUSALS = [
    pytest.param(raw(head(401, "Content-Length: 5000"), b"<Error"), id="body cut off"),
    pytest.param(raw(head(401, "Content-Length: 9437184"), b" " * 9437184), id="body of 9 MB"),
    pytest.param(raw(head(401), endless=b" "), id="body without an end"),
    pytest.param(raw(head(401, CHUNKED), b"no such length\r\nnonsense"), id="chunks that are malformed"),
    pytest.param(raw(head(401, CHUNKED), b"5\r\nno", endless=b""), id="chunk cut off"),
    pytest.param(raw(head(401, CHUNKED), endless=b"0"), id="chunk length without an end"),
    pytest.param(answer(401, b"nonsense", "Content-Encoding: gzip"), id="compression that is malformed"),
    pytest.param(compressed(401, bytes(50_000_000), "gzip"), id="body of 50 MB once decompressed"),
    pytest.param(answer(401, BOMB), id="entities"),
    pytest.param(answer(401, PAGE), id="web page"),
    pytest.param(raw(b"HTTP/1.1 401 Unauthorized\r\n"), id="headers cut off"),
    pytest.param(raw(b"HTTP/1.1 401\r\n"), id="no reason and no headers"),
    pytest.param(raw(head(401, *[f"X-Header-{n}: 1" for n in range(200)]), b""), id="200 headers"),
    pytest.param(raw(head(401, "X-Header: " + "x" * 70_000), b""), id="a header of 70 kB"),
    pytest.param(raw(b"HTTP/1.1 401 Unauthorized\r\nX: ", endless=b"x", pause=0.01), id="header without an end"),
    pytest.param(answer(403, b""), id="403"),
    pytest.param(raw(head(400, "Content-Length: 10"), b"{"), id="400, cut off"),
]


@pytest.mark.parametrize("kind", ["password", "api_token"])
@pytest.mark.parametrize("refusal", _REFUSALS)
def test_a_refused_login_is_sent_once_whatever_the_refusal_looks_like(
    lab: Running, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch, refusal: Reply, kind: str
) -> None:
    """The status line decides: neither the body nor the headers after it make the gate send the secret again."""
    monkeypatch.setattr(connection, "ERROR_BODY_TIMEOUT", 0.3)
    monkeypatch.setattr(connection.Connection.exchange, "__kwdefaults__", _limits(total=1.5))
    request = LOGIN if kind == "password" else TOKEN
    server.reply(request, refusal)
    gate = source(server, lab.cloud.add("web-0"), **{kind: "wr0ng"})
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="not sent again") as refused:
            wait(gate, WaitRules(timeout=20))
        gate = source(server, lab.cloud.vms()[0], **{kind: "wr0ng"})
    assert server.count(request) == 1
    assert "wr0ng" not in str(refused.value)


def _limits(total: float) -> dict[str, object]:
    return {"form": None, "largest": connection.LARGEST_ANSWER, "total": total}


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(raw(), id="connection closed"),
        pytest.param(raw(b"220 ready\r\n"), id="another protocol"),
        pytest.param(raw(b"", endless=b"\r"), id="no status line"),
        pytest.param(raw(head(200, "Content-Length: 500"), b"{"), id="good answer cut off"),
    ],
)
def test_a_login_without_a_known_outcome_is_sent_three_times(
    lab: Running, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    """A login that was sent and got no usable answer may have been refused: it is not sent for the whole wait."""
    monkeypatch.setattr(connection.Connection.exchange, "__kwdefaults__", _limits(total=0.5))
    server.reply(LOGIN, reply)
    with pytest.raises(AuthenticationError, match="3 times in a row"):
        wait(source(server, lab.cloud.add("web-0")), WaitRules(timeout=30))
    assert server.count(LOGIN) == LOGINS_IN_A_ROW


def test_a_server_that_cannot_be_reached_is_not_a_refused_login(
    lab: Running, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that are refused never carried the password: a later login is still sent."""
    with acquire(settings(server)) as session:
        monkeypatch.setattr(session._connection, "_address", "https://127.0.0.1:9")
        session._login.version = "38.1"
        for _ in range(2 * LOGINS_IN_A_ROW):
            with pytest.raises(UnreachableError):
                session.open()
        monkeypatch.setattr(session._connection, "_address", server.url)
        session.open()
    assert lab.cloud.logins == {"ok": 1}


def test_a_login_that_is_busy_is_sent_again(lab: Running) -> None:
    """With 503 the server has not checked the password: the start continues after three of them."""
    lab.faults.add(Fault("status", "/cloudapi/1.0.0/sessions", times=4, status=503, retry_after="0"))
    gate = source(lab, lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=0)))
    assert wait(gate, WaitRules(timeout=30)).ready
    assert lab.cloud.logins == {"ok": 1}


# ---- the lifetime of a token


@pytest.mark.parametrize(
    "expires_in",
    [
        pytest.param('"expires_in": null', id="null"),
        pytest.param('"expires_in": "abc"', id="a word"),
        pytest.param('"expires_in": 0', id="0"),
        pytest.param('"expires_in": -5', id="negative"),
        pytest.param('"expires_in": NaN', id="NaN"),
        pytest.param('"expires_in": 1e-9', id="a nanosecond"),
        pytest.param('"expires_in": true', id="true"),
        pytest.param('"expires_in": [3600]', id="a list"),
        pytest.param(f'"expires_in": 1{"0" * 400}', id="a number of 400 digits"),
        pytest.param('"expires_in": 1e999', id="infinite"),
        pytest.param('"scope": ""', id="missing"),
    ],
)
def test_a_token_of_unknown_lifetime_is_used_until_a_401(
    lab: Running, server: MisbehavingServer, expires_in: str
) -> None:
    """Where `expires_in` is not a usable number, one login serves the wait, and a 401 leads to exactly one more."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    gate = source(server, vm, api_token=lab.cloud.api_token)

    def token(connection: object, released: object) -> None:
        value = lab.cloud.exchange(lab.cloud.api_token)
        answer(200, f'{{"access_token": "{value}", {expires_in}}}'.encode())(connection, released)  # type: ignore[arg-type]

    server.reply(TOKEN, token)
    try:
        gate.start()
        _poll(gate, 1.0)
        assert server.count(TOKEN) == 1
        lab.cloud.end_sessions()
        _poll(gate, 1.0)
        assert server.count(TOKEN) == 2
    finally:
        gate.close()


def _poll(gate: CloudDirectorSource, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        gate.poll(0.1)


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(("/api/query", "/api/vApp"), id="every path"),
        pytest.param(("guestcustomizationstatus",), id="the status alone"),
    ],
)
@pytest.mark.parametrize("kind", ["password", "api_token"])
def test_a_permanent_401_ends_the_wait_after_three_logins(lab: Running, paths: tuple[str, ...], kind: str) -> None:
    """A server that accepts the login and refuses each of its tokens is not logged in to for the whole wait."""
    for path in paths:
        lab.faults.add(Fault("status", path, status=401))
    vms = [lab.cloud.add(f"web-{number}", plan=Plan("never-ends")) for number in range(5)]
    chosen = settings(lab, **({"api_token": lab.cloud.api_token} if kind == "api_token" else {}))
    with pytest.raises(AuthenticationError, match=r"3 times in a row, and each time GET .* was answered with 401"):
        wait(cloud_director_source(chosen, {each.name: each.urn for each in vms}), WaitRules(timeout=20))
    assert lab.cloud.logins == {"ok": LOGINS_IN_A_ROW}


def test_a_401_that_becomes_permanent_ends_the_wait(lab: Running) -> None:
    """Tokens that are refused from some moment of the wait on cost two more logins; an earlier expiry costs one."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    gate = source(lab, vm)
    try:
        gate.start()
        lab.cloud.end_sessions()
        _poll(gate, 0.5)
        assert lab.cloud.logins == {"ok": 2}
        lab.faults.add(Fault("status", "guestcustomizationstatus", status=401))
        with pytest.raises(AuthenticationError):
            _poll(gate, 10)
        assert lab.cloud.logins == {"ok": 1 + LOGINS_IN_A_ROW}
    finally:
        gate.close()


# ---- compressed answers, and answers that cannot become right


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
def test_a_compressed_answer_is_read(server: MisbehavingServer, encoding: str) -> None:
    """A server that compresses without being asked is understood."""
    body = b'<QueryResultRecords xmlns="http://www.vmware.com/vcloud/v1.5"></QueryResultRecords>'
    server.reply("GET /api/query", compressed(200, body, encoding))
    with acquire(settings(server)) as session:
        assert session.get("/api/query").body == body


def test_a_compressed_answer_is_bounded_by_its_decompressed_size(server: MisbehavingServer) -> None:
    """An answer of 100 kB that decompresses to 100 MB is refused without being held."""
    server.reply("GET /api/query", compressed(200, bytes(100_000_000), "gzip"))
    with acquire(settings(server)) as session, pytest.raises(UnreachableError, match="more than 8388608 bytes"):
        session.get("/api/query")


_UNUSABLE = [
    pytest.param(PAGE, "<!DOCTYPE html> <html><head><title>Maintenance</title>", id="web page"),
    pytest.param(b"\xef\xbb\xbf  <HTML><br>", "<HTML><br>", id="web page that is not XML"),
    pytest.param(BOMB, '<!DOCTYPE b [<!ENTITY a "aaaa">', id="entities"),
]


@pytest.mark.parametrize("request_", ["GET /api/versions", LOGIN, TOKEN, "GET /api/vApp/vapp-"])
@pytest.mark.parametrize(("body", "shown"), _UNUSABLE)
def test_an_answer_that_cannot_become_right_is_an_error_after_two_tries(
    lab: Running, server: MisbehavingServer, request_: str, body: bytes, shown: str
) -> None:
    """The start ends after the second try, with what was received and without a secret in it."""
    vm = lab.cloud.add("web-0", vapp="shop")
    server.reply(request_, answer(200, body, "Content-Type: text/html"))
    reference = f"urn:vcloud:vapp:{vapp_uuid('shop')}" if "vapp" in request_ else vm.urn
    chosen = settings(server, **({"api_token": lab.cloud.api_token} if request_ == TOKEN else {}))
    with pytest.raises(UnusableAnswerError) as unusable:
        wait(cloud_director_source(chosen, {"web": reference}), WaitRules(timeout=20))
    assert server.count(request_) == 2
    assert f"received {len(body)} bytes, text/html" in str(unusable.value)
    assert shown in str(unusable.value)
    assert [secret for secret in ("s3cret", "pw1") if secret in str(unusable.value)] == []


@pytest.mark.parametrize(("body", "shown"), _UNUSABLE)
def test_a_state_that_cannot_become_right_ends_the_wait(
    lab: Running, server: MisbehavingServer, body: bytes, shown: str
) -> None:
    """The wait ends after two tries where the state was never reported, and shows what was received."""
    server.reply(STATUS, answer(200, body, "Content-Type: text/html"))
    report = wait(source(server, lab.cloud.add("web-0")), WaitRules(timeout=20))
    assert isinstance(report.fatal_error, UnusableAnswerError)
    assert shown in str(report.fatal_error)
    assert server.count(STATUS) == 2


def test_a_web_page_during_the_wait_passes(lab: Running, server: MisbehavingServer) -> None:
    """A path that was answered well before may be so again: a page of the load balancer's does not end the wait."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    gate = source(server, vm)
    try:
        gate.start()
        server.reply(STATUS, answer(200, PAGE, "Content-Type: text/html"))
        _poll(gate, 0.5)
        assert server.count(STATUS) > 3
        assert any("web page" in note for note in gate.notes())
    finally:
        gate.close()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({"access_token": None}).encode(), id="null"),
        pytest.param(json.dumps({"access_token": ""}).encode(), id="empty"),
        pytest.param(json.dumps({"access_token": 5}).encode(), id="a number"),
        pytest.param(b'["access_token"]', id="a list"),
        pytest.param(b"[" * 100_000, id="nested 100,000 deep"),
        pytest.param(b'{"access_token": "t0ken", ', id="cut off"),
    ],
)
def test_an_answer_without_a_token_is_an_error_after_two_tries(
    lab: Running, server: MisbehavingServer, body: bytes
) -> None:
    """An API token whose answer holds no access token is sent twice, and no part of the answer is shown."""
    server.reply(TOKEN, answer(200, body, "Content-Type: application/json"))
    with pytest.raises(ServerError, match="it has no access token: received") as broken:
        wait(source(server, lab.cloud.add("web-0"), api_token="refresh-me"), WaitRules(timeout=20))
    assert server.count(TOKEN) == 2
    assert [secret for secret in ("t0ken", "refresh-me") if secret in str(broken.value)] == []
