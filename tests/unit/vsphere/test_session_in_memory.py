"""A session from its login to its logout, against a vCenter in memory."""

from __future__ import annotations

import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    ServerError,
)
from pulumi_customization_gate.vsphere import login
from pulumi_customization_gate.vsphere import session as module
from pulumi_customization_gate.vsphere.session import CALL_TIMEOUT, Session, acquire
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests.unit.vsphere.fake_vcenter import PASSWORD, SETTINGS, FakeVcenter, connected, until

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    return connected(monkeypatch)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has nothing tried twice."""
    monkeypatch.setattr(module, "START_TIMEOUT", CALL_TIMEOUT)


def test_a_session_makes_no_call_before_it_is_started(vcenter: FakeVcenter) -> None:
    """The constructor only assigns."""
    session = Session(SETTINGS)

    assert (vcenter.stubs, session.generation) == ([], 0)


def test_users_of_the_same_settings_share_a_session(vcenter: FakeVcenter) -> None:
    """The first logs in, the last logs out, and the connection is closed."""
    with acquire(SETTINGS) as first, acquire(SETTINGS) as second:
        held = set(vcenter.sessions)
        assert first is second
        assert first.version == "vim.version.v8_0_3_0"
        assert first.reports_customization_info
        assert first.current_time() == vcenter.now
        assert first.stub_for_long_polls(60).timeout == 60 + CALL_TIMEOUT
    assert (held, vcenter.sessions, first.stub.is_retired) == ({"session-1"}, set(), True)
    assert (vcenter.calls["Login"], vcenter.calls["Logout"]) == (1, 1)


def test_an_esxi_host_is_refused_before_the_log_in(vcenter: FakeVcenter) -> None:
    """The message says what the server is, and which setting to change."""
    vcenter.about.apiType = "HostAgent"
    with pytest.raises(ServerError, match=r"^vc\.example\.com is fake vCenter, not a vCenter: .*vsphereServer"):
        Session(SETTINGS).start()
    assert vcenter.calls["Login"] == 0


def test_a_refused_password_is_sent_once(vcenter: FakeVcenter) -> None:
    """A second session with the same password does not connect at all."""
    vcenter.password = "another"
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="refused the user name or password of ann"):
            Session(SETTINGS).start()
    assert (vcenter.calls["Login"], len(vcenter.stubs)) == (1, 4)


def test_a_user_without_any_role_is_named(vcenter: FakeVcenter) -> None:
    """A vCenter that grants nothing refuses the login by NoPermission."""
    vcenter.failures["Login"] = [vim.fault.NoPermission()]
    with pytest.raises(AuthenticationError, match=r"grants no permission at all\. Grant the role Read-only"):
        Session(SETTINGS).start()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        pytest.param(
            ConnectionRefusedError(111, "refused"),
            ServerError,
            r"did not respond within .*: connection refused \(ConnectionRefusedError: \[Errno 111\] refused\)\.$",
            id="refused",
        ),
        pytest.param(vmodl.fault.NotSupported(), ApiError, r" returned NotSupported\.$", id="fault"),
        pytest.param(
            ssl.SSLCertVerificationError(1, "self-signed"), CertificateError, "is not trusted", id="certificate"
        ),
    ],
)
def test_a_call_that_fails_for_good(
    vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: type[Exception], message: str
) -> None:
    """What the network, the server or TLS says becomes an error of the library, and the connection is closed."""
    impatient(monkeypatch)
    vcenter.failures["Login"] = [error]
    with pytest.raises(kind, match=message):
        Session(SETTINGS).start()
    assert all(stub.is_retired for stub in vcenter.stubs[1:])


def test_a_call_is_retried_and_that_is_noted(vcenter: FakeVcenter) -> None:
    """One lost connection costs a second attempt; two notes say why, and that the server responded."""
    vcenter.failures["RetrieveServiceContent"] = [ConnectionResetError(104, "reset")]
    with acquire(SETTINGS) as session:
        retried, responded = session.retries_since(0)
    assert retried == "vc.example.com: connection lost (ConnectionResetError: [Errno 104] reset); retrying"
    assert responded.startswith("vc.example.com: responded after ")


def test_a_session_that_ended_is_replaced_once(vcenter: FakeVcenter) -> None:
    """Whoever meets the end logs in again; who comes later uses the new session."""
    with acquire(SETTINGS) as session:
        vcenter.end_sessions()
        query = session.content.searchIndex.FindByInventoryPath
        assert session.with_retries(lambda: query("nothing")) is None
        session.log_in_again(1)
        assert (session.generation, vcenter.calls["Login"]) == (2, 2)


def test_no_log_in_follows_the_end(vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last user leaves during the pause before a login: a new session would have no user."""
    monkeypatch.setattr(login, "FIRST_PAUSE", 60.0)
    with acquire(SETTINGS) as session, ThreadPoolExecutor() as threads:
        vcenter.end_sessions()
        replacing = threads.submit(session.log_in_again, session.generation)
        until(lambda: bool(session._pace._short_sessions))
        session.log_out()
        replacing.result(10)
    assert (vcenter.calls["Login"], vcenter.sessions) == (1, set())


def test_no_retry_follows_the_end(vcenter: FakeVcenter) -> None:
    """The last user leaves while a call is retried: nobody waits for its response, so it is not sent again."""
    with acquire(SETTINGS) as session, ThreadPoolExecutor() as threads:
        vcenter.failures["FindByInventoryPath"] = [ConnectionResetError()] * 100
        query = session.content.searchIndex.FindByInventoryPath
        reading = threads.submit(session.with_retries, lambda: query("nothing"))
        until(lambda: bool(session.retries_since(0)))
        session.log_out()
        assert isinstance(reading.exception(10), ServerError)


def test_a_log_out_that_is_lost_is_sent_again(vcenter: FakeVcenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network error does not leave a session behind; a server that is gone does not hold up the end."""
    with acquire(SETTINGS):
        vcenter.failures["Logout"] = [ConnectionResetError()]
    left = set(vcenter.sessions)
    monkeypatch.setattr(module, "LOGOUT_TIMEOUT", 0)
    with acquire(SETTINGS):
        vcenter.failures["Logout"] = [ConnectionResetError()]
    assert (left, vcenter.sessions) == (set(), {"session-2"})


def lines(caplog: pytest.LogCaptureFixture) -> Iterable[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_log_shows_what_was_done_and_no_secret(vcenter: FakeVcenter, caplog: pytest.LogCaptureFixture) -> None:
    """Connection, login, retries with their reason and logout are logged; a password is not, also in an error."""
    caplog.set_level(logging.DEBUG, logger="pulumi_customization_gate")
    vcenter.state.add("vm-1")
    vcenter.failures["Login"] = [ConnectionResetError(f"reset after {PASSWORD}")]
    with acquire(SETTINGS) as session, subscribe(session, ["vm-1"], lambda _: None) as feed:
        vcenter.end_sessions()
        feed.read({"vm-1": None})
        feed.listen()
        until(lambda: vcenter.calls["WaitForUpdatesEx"] > 0)
    text = "\n".join([*lines(caplog), *session.retries_since(0)])

    expected = [
        "is fake vCenter",
        "attempt 1 failed: connection lost",
        "logged in to vc.example.com as ann",
        "logged out",
    ]
    assert [part for part in [*expected, "event collector for", "long poll"] if part not in text] == []
    assert PASSWORD not in text
