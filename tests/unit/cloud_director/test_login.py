"""Tokens, and how often a login is sent: without a server."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.cloud_director import refused_logins, representations, tokens
from pulumi_customization_gate.cloud_director.answers import Answers, UnusableAnswerError
from pulumi_customization_gate.cloud_director.connection import Answer, UnreachableError
from pulumi_customization_gate.cloud_director.login import LOGINS_IN_A_ROW, Login
from pulumi_customization_gate.cloud_director.representations import MalformedError
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SETTINGS = CloudDirectorSettings("https://vcd.example.com", "acme", "ann", "s3cret")
WHAT = "GET /api/org"


def answer(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, headers or {}, body, datetime.now(timezone.utc))


@pytest.fixture(autouse=True)
def _nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_logins, "_refused", {})


# ---- tokens


@pytest.mark.parametrize(
    ("expires_in", "renew_at"),
    [
        pytest.param(b"3600", 100 + 3600 - 30, id="an hour"),
        pytest.param(b'"3600"', 100 + 3600 - 30, id="an hour as a text"),
        pytest.param(b"20", 100 + 20 - 2, id="a short life"),
        pytest.param(b"1", 100 + 0.9, id="the shortest"),
        pytest.param(b"0.5", math.inf, id="too short"),
        pytest.param(b"0", math.inf, id="0"),
        pytest.param(b"-5", math.inf, id="negative"),
        pytest.param(b"null", math.inf, id="null"),
        pytest.param(b'"abc"', math.inf, id="a word"),
        pytest.param(b"true", math.inf, id="true"),
        pytest.param(b"NaN", math.inf, id="NaN"),
        pytest.param(b"1e999", math.inf, id="infinite"),
        pytest.param(b"1" + b"0" * 400, math.inf, id="400 digits"),
        pytest.param(b"{}", math.inf, id="an object"),
    ],
)
def test_a_token_is_renewed_ahead_of_its_end_where_that_is_known(expires_in: bytes, renew_at: float) -> None:
    """With a lifetime that is not a usable number, the token is used until a 401."""
    token = tokens.of_exchange(b'{"access_token": "t0ken", "expires_in": %s}' % expires_in, asked=100.0)
    assert token == tokens.Token("t0ken", renew_at)
    assert "t0ken" not in repr(token)


def test_a_token_without_a_lifetime_is_used_until_a_401() -> None:
    """`expires_in` may be missing, and the answer to a password never has one."""
    assert tokens.of_exchange(b'{"access_token": "t0ken"}', asked=100.0).renew_at == math.inf
    assert tokens.of_login({tokens.HEADER: "t0ken"}) == tokens.Token("t0ken")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"t0ken"', b'{"access_token": null}', b'{"access_token": ""}'])
def test_an_answer_without_a_token_is_malformed(body: bytes) -> None:
    """Any other answer of the server is not a token."""
    with pytest.raises(MalformedError, match="no access token"):
        tokens.of_exchange(body, asked=0.0)


# ---- how often a login is sent


class Server:
    """Replaces the connection: gives a test's answers to the logins, and counts them."""

    def __init__(self, *answers: Callable[[], Answer]) -> None:
        self.answers, self.logins = list(answers), 0

    def exchange(self, method: str, path: str, headers: object, **_: object) -> Answer:
        del headers
        if method == "GET":
            assert path == "/api/versions"
            return answer(
                body=b"<SupportedVersions><VersionInfo><Version>38.1</Version></VersionInfo></SupportedVersions>"
            )
        self.logins += 1
        return self.answers.pop(0)() if self.answers else good()


def good() -> Answer:
    return answer(headers={tokens.HEADER: "t0ken"})


def lost() -> Answer:
    raise UnreachableError("no answer", was_sent=True)


def not_sent() -> Answer:
    raise UnreachableError("connection refused")


def login_at(server: Any) -> Login:
    return Login(SETTINGS, server, Answers(SETTINGS))


def test_tokens_that_work_are_renewed_for_ever() -> None:
    """A login whose token is accepted starts the count again."""
    server = Server()
    login = login_at(server)
    for _ in range(20):
        assert login.new_token().value == "t0ken"
        login.accepted(is_renewed=False)
    assert server.logins == 20


def test_tokens_that_expire_one_after_the_other_are_renewed_for_ever() -> None:
    """A 401 that a new token cures starts the count again, too."""
    server = Server()
    login = login_at(server)
    for _ in range(20):
        login.new_token()
        login.rejected(WHAT)
        login.new_token()
        login.accepted(is_renewed=True)
    assert server.logins == 40


def test_a_path_that_rejects_every_token_costs_three_logins() -> None:
    """Good answers to other paths do not hide that one path answers each new token with a 401."""
    server = Server()
    login = login_at(server)
    login.new_token()
    login.accepted(is_renewed=False)

    def ask() -> None:
        login.rejected(WHAT)
        login.new_token()
        login.accepted(is_renewed=False)

    for _ in range(LOGINS_IN_A_ROW - 1):
        ask()
    with pytest.raises(AuthenticationError, match="GET /api/org was answered with 401"):
        ask()
    assert server.logins == LOGINS_IN_A_ROW


@pytest.mark.parametrize(
    ("outcome", "logins"),
    [
        pytest.param(lost, LOGINS_IN_A_ROW, id="sent, without an answer"),
        pytest.param(lambda: answer(302), LOGINS_IN_A_ROW, id="a redirect"),
        pytest.param(lambda: answer(404), LOGINS_IN_A_ROW, id="404"),
        pytest.param(lambda: answer(401), 1, id="401"),
        pytest.param(lambda: answer(403), 1, id="403"),
        pytest.param(lambda: answer(400), 1, id="400"),
        pytest.param(not_sent, 10, id="not sent"),
        pytest.param(lambda: answer(503), 10, id="503"),
        pytest.param(lambda: answer(502), 10, id="502"),
    ],
)
def test_a_login_is_sent_as_often_as_its_outcome_allows(outcome: Callable[[], Answer], logins: int) -> None:
    """Once if it is refused, three times if it may have been, and on where the server did not look at it."""
    server = Server(*[outcome] * 10)
    login = login_at(server)
    for _ in range(10):
        with pytest.raises(ServerError):
            login.new_token()
    assert server.logins == logins


# ---- answers that cannot become right


def unusable() -> None:
    raise MalformedError("it is a web page", is_final=True)


def test_the_second_answer_that_cannot_become_right_is_an_error() -> None:
    """The first may be requested again; each request is counted separately."""
    answers = Answers(SETTINGS)
    page = answer(body=b"<html>s3cret</html>", headers={"Content-Type": "text/html"})
    codes = []
    for what in (WHAT, "GET /api/query", WHAT):
        with pytest.raises(ApiError) as error:
            answers.understand(what, page, unusable)
        codes.append(error.value.code)
    assert codes == ["MALFORMED", "MALFORMED", "UNUSABLE"]
    assert isinstance(error.value, UnusableAnswerError)
    assert "received 19 bytes, text/html, '<html>[secret]</html>', 2 times" in str(error.value)


def test_a_request_that_was_answered_well_is_asked_again() -> None:
    """After one good answer a web page may be that of a load balancer, which passes."""
    answers = Answers(SETTINGS)
    assert answers.understand(WHAT, answer(), lambda: "good") == "good"
    for _ in range(5):
        with pytest.raises(ApiError) as error:
            answers.understand(WHAT, answer(), unusable)
        assert error.value.code == "MALFORMED"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param(b"<html><b>Maintenance</b></html>", "<html><b>Maintenance</b></html>", id="a web page"),
        pytest.param(
            b"<?xml version='1.0'?><!DOCTYPE a><s><pw>x</pw></s>", "<?xml version='1.0'?><!DOCTYPE a>", id="XML"
        ),
        pytest.param(b'{"access_token": "x"}', "", id="JSON"),
        pytest.param(b"\x1f\x8b\x00nonsense", "", id="bytes"),
        pytest.param(b"<html>\x1b[31m\x00red", "<html>red", id="control characters"),
    ],
)
def test_an_excerpt_holds_no_value_of_a_document(body: bytes, shown: str) -> None:
    """A web page is shown; of XML only what comes before the first element; of anything else nothing."""
    assert representations.excerpt(body) == shown
