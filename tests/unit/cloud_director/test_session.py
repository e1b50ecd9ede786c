"""The session: tokens that end, a login that outlives it, retries, and what reaches a log; in memory."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask import Response, request

from lab.cloud_director import documents
from lab.cloud_director.faults import Fault
from pulumi_customization_gate.cloud_director import refused_logins
from pulumi_customization_gate.cloud_director.answers import BusyError
from pulumi_customization_gate.cloud_director.connection import UnreachableError
from pulumi_customization_gate.cloud_director.retries import with_retries
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ServerError
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from tests.unit.cloud_director.in_memory import SETTINGS, START, Clock, InMemory

if TYPE_CHECKING:
    from collections.abc import Callable

ORGS = "/api/org/"


def with_api_token(lab: InMemory) -> None:
    lab.settings = replace(SETTINGS, user="", password="", api_token=lab.cloud.api_token)


# ---- tokens


def test_one_login_serves_all_requests(lab: InMemory) -> None:
    """The session logs in at its first request, and logs out once."""
    session = lab.session()
    for _ in range(3):
        session.get(ORGS)
    session.close()
    assert (lab.server.count("POST"), lab.server.count("DELETE"), lab.server.is_closed) == (1, 1, True)


def test_a_token_that_ended_is_replaced_once(lab: InMemory) -> None:
    """A 401 leads to one new login, and the request is sent again."""
    session = lab.session()
    session.get(ORGS)
    lab.cloud.end_sessions()
    session.get(ORGS)
    assert lab.server.log[-3:] == [f"GET {ORGS}", "POST /cloudapi/1.0.0/sessions", f"GET {ORGS}"]


def test_an_api_tokens_session_is_renewed_before_it_ends(lab: InMemory) -> None:
    """A token that names its lifetime is replaced half a minute before the end of it."""
    lab.cloud.token_life = 3600.0
    with_api_token(lab)
    session = lab.session()
    session.get(ORGS)
    lab.clock.now += 3500
    session.get(ORGS)
    assert lab.server.count("POST /oauth") == 1
    lab.clock.now += 80
    session.get(ORGS)
    assert lab.server.count("POST /oauth") == 2


def test_tokens_that_are_never_good_end_the_wait(lab: InMemory) -> None:
    """A server that answers every token with 401 gets three logins and no more."""
    session = lab.session()
    lab.faults.add(Fault("status", "/api/org", status=401))
    with pytest.raises(
        AuthenticationError, match="3 times in a row, and each time GET /api/org/ was answered with 401"
    ):
        session.get(ORGS)
    with pytest.raises(AuthenticationError, match="not sent again by this process"):
        lab.session().get(ORGS)
    assert lab.server.count("POST") == 3


def test_a_closed_session_logs_in_no_more(lab: InMemory) -> None:
    """A request after the end is an error that may pass: another session can be opened."""
    session = lab.session()
    session.close()
    with pytest.raises(UnreachableError, match="is closed"):
        session.get(ORGS)
    assert lab.server.log == []


def test_a_login_that_ends_after_the_session_is_logged_out(lab: InMemory) -> None:
    """A login that was under way when the session was closed leaves nothing on the server."""
    session = lab.session()
    log_in = session._login._log_in_by_password

    def slow() -> object:
        token = log_in()
        session.close()
        return token

    session._login._log_in_by_password = slow  # type: ignore[method-assign, assignment]
    with pytest.raises(UnreachableError, match="is closed"):
        session.open()
    assert lab.cloud.stats()["sessions"] == 0


def test_the_servers_time_is_that_of_its_newest_answer(lab: InMemory) -> None:
    """Judgements use the server's clock, also where an answer is an error."""
    session = lab.session()
    session.get(ORGS)
    lab.clock.now += 60
    lab.faults.add(Fault("no-right", "/api/org"))
    with pytest.raises(ApiError):
        session.get(ORGS)
    assert session.server_time == START + timedelta(seconds=1060)


@pytest.mark.parametrize("org", ["acme", "System"])
@pytest.mark.parametrize("kind", ["password", "api_token"])
def test_every_kind_of_login_has_its_own_address(lab: InMemory, org: str, kind: str) -> None:
    """Tenants and providers log in by password or API token, at four addresses."""
    lab.cloud.org = org
    if kind == "api_token":
        with_api_token(lab)
    lab.settings = replace(lab.settings, org=org)
    session = lab.session()
    session.open()
    address = {
        ("acme", "password"): "/cloudapi/1.0.0/sessions",
        ("System", "password"): "/cloudapi/1.0.0/sessions/provider",
        ("acme", "api_token"): "/oauth/tenant/acme/token",
        ("System", "api_token"): "/oauth/provider/token",
    }[org, kind]
    assert (lab.server.log[-1], session.is_provider) == (f"POST {address}", org == "System")


# ---- a service account's API token


def test_a_token_that_the_server_replaces_is_reported_and_followed(lab: InMemory) -> None:
    """The session continues with the newest token, and says that the configured one has been consumed."""
    lab.cloud.rotates_api_token, lab.cloud.token_life = True, 100.0
    with_api_token(lab)
    session = lab.session()
    assert not session.notes
    for _ in range(3):
        session.get(ORGS)
        lab.clock.now += 100
    assert lab.cloud.logins == {"ok": 3}
    texts = [text for _, text in session.notes]
    assert len(texts) == 1
    assert "has been consumed, and the next run will be refused" in texts[0]


def test_a_refused_api_token_names_the_service_account_as_a_cause(lab: InMemory) -> None:
    """A run after the one that consumed the token says why it may be refused."""
    with_api_token(lab)
    lab.cloud.api_token = "another"
    with pytest.raises(AuthenticationError, match="A service account's API token is replaced at each use"):
        lab.session().open()


# ---- retries


def test_retries_stop_at_the_time_out() -> None:
    """The last fault is raised once the next attempt would be too late."""
    clock = Clock()
    faults: list[Exception] = []

    def fail() -> None:
        raise UnreachableError("connection refused")

    with pytest.raises(UnreachableError):
        with_retries(fail, timeout=20.0, on_retry=faults.append, clock=clock, sleep=clock.sleep)
    assert len(faults) > 5
    assert clock.now <= 1020.0


def test_a_retry_keeps_the_pause_that_the_server_requests() -> None:
    """A Retry-After is longer than the pause would be."""
    clock, answers = Clock(), [BusyError("busy", 503, "", "", 7.0)]

    def once() -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert with_retries(once, timeout=20.0, on_retry=lambda _: None, clock=clock, sleep=clock.sleep) == "done"
    assert clock.now == 1007.0


@pytest.mark.parametrize(
    ("error", "sleep"),
    [
        pytest.param(ApiError("no", 400, "BAD_REQUEST", ""), lambda _: False, id="what cannot pass"),
        pytest.param(UnreachableError("timed out"), lambda _: True, id="a caller that has given up"),
    ],
)
def test_a_retry_that_cannot_help_is_not_made(error: ServerError, sleep: Callable[[float], bool]) -> None:
    """An error that stays, or a source that was closed, ends the retries."""
    attempts = []

    def fail() -> None:
        attempts.append(1)
        raise error

    with pytest.raises(type(error)):
        with_retries(fail, timeout=20.0, on_retry=lambda _: None, clock=Clock(), sleep=sleep)
    assert attempts == [1]


# ---- logging


@pytest.mark.parametrize("kind", ["password", "api_token"])
def test_a_log_shows_the_course_of_a_wait(lab: InMemory, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Login, renewal, retry with its reason, status changes, refusals and logout are there at DEBUG."""
    caplog.set_level(logging.DEBUG, "pulumi_customization_gate.cloud_director")
    if kind == "api_token":
        lab.cloud.rotates_api_token, lab.cloud.token_life = True, 40.0
        with_api_token(lab)
    vm, hidden = lab.vm("web-0"), lab.vm("web-1")
    lab.faults.add(Fault("status", "/api/versions", times=1, status=503, retry_after="1"))
    lab.faults.add(Fault("no-right", hidden.uuid))
    source = lab.source({"web-0": vm.urn, "web-1": hidden.urn})
    source.start()
    source.poll(0)
    lab.clock.now += 60
    lab.cloud.end_sessions()
    vm.set_state = "GC_COMPLETE"
    source.poll(0)
    source.close()
    wanted = [
        "asks for a pause of 1 s (503)",
        "retrying: https://vcd.example.com answered GET /api/versions with 503",
        f"logged in by {'an API token' if kind == 'api_token' else 'a password'} to acme",
        "renewing the access token" if kind == "api_token" else "was answered with 401, logging in again",
        f"vm-{vm.uuid}: GC_COMPLETE, was GC_PENDING",
        f"vm-{hidden.uuid}: read refused, NoPermission",
        "logged out",
    ]
    assert [text for text in wanted if text not in caplog.text] == []


@pytest.mark.parametrize("kind", ["password", "api_token"])
def test_nothing_secret_reaches_a_log_or_a_message(
    lab: InMemory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither credentials, tokens nor a guest's password are written, even where the server repeats the request."""
    caplog.set_level(logging.DEBUG)
    if kind == "api_token":
        lab.cloud.rotates_api_token = True
        with_api_token(lab)
    credential = lab.cloud.api_token if kind == "api_token" else SETTINGS.password
    secrets = {SETTINGS.password, credential}

    def repeat(*_: object) -> Response:
        message = f"no right for {credential}, Authorization: {request.headers.get('Authorization')}"
        return Response(documents.as_xml(documents.error(403, "FORBIDDEN", message)), 403)

    monkeypatch.setattr("lab.cloud_director.faults._forbidden", repeat)
    vm = lab.vm("web-0")
    lab.faults.add(Fault("no-right", "/guestcustomizationstatus", after=2, times=3))
    lab.faults.add(Fault("other-xml", "/api/query", times=1))
    report = wait(lab.source({"web-0": vm.urn}), WaitRules(timeout=60), clock=lab.clock)
    secrets |= {vm.admin_password, lab.cloud.api_token, *lab.cloud._tokens}
    lab.cloud.end_sessions()
    lab.cloud.password = lab.cloud.api_token = "another"
    with pytest.raises(AuthenticationError) as refusal:
        lab.session().open()
    (outcome,) = report.outcomes
    assert "no right for [secret]" in caplog.text
    assert lab.server.count("guestCustomizationSection") > 0
    texts = [
        caplog.text,
        repr(outcome),
        *report.notes,
        str(refusal.value),
        repr(lab.settings),
        str(refused_logins._refused),
    ]
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []
