"""Logins and session cookies, with a vCenter that is slow, restarts or refuses: on real sockets."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ServerError
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere import history, inventory, login, refused_logins
from pulumi_customization_gate.vsphere import session as module
from pulumi_customization_gate.vsphere.events import event_filter
from pulumi_customization_gate.vsphere.session import Session, acquire
from tests.lab.misbehaving import Reply, delayed
from tests.lab.soap_server import CERTIFICATE, SoapServer
from tests.lab.sources import vsphere_source
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulumi_customization_gate.core.model import Event
    from pulumi_customization_gate.core.progress import Update
    from pulumi_customization_gate.vsphere.settings import VsphereSettings
    from tests.lab.misbehaving import Request

CALL_TIMEOUT = 0.5


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoapServer]:
    for target, name, seconds in [
        (module, "CALL_TIMEOUT", CALL_TIMEOUT),
        (module, "START_TIMEOUT", 2 * CALL_TIMEOUT),
        (login, "LOGIN_TIMEOUT", 30.0),
        (login, "SLOW_LOGIN", CALL_TIMEOUT),
        (login, "FIRST_PAUSE", 0.001),
        (refused_logins, "RETRY_INTERVAL", 0.3),
    ]:
        monkeypatch.setattr(target, name, seconds)
    monkeypatch.setattr(refused_logins, "_accepted", set())
    monkeypatch.setattr(refused_logins, "_refusals", {})
    monkeypatch.setattr(refused_logins, "_unanswered", {})
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1")
    with SoapServer(vcenter).serving() as server:
        yield server


def find(session: Session) -> object:
    return session.with_retries(lambda: session.content.searchIndex.FindByInventoryPath("nothing"))


# ---- a slow login


def test_a_log_in_may_take_longer_than_other_calls(server: SoapServer) -> None:
    """A directory that takes four times the time-out of a call costs one login, and a note says so."""
    server.delays["Login"] = 4 * CALL_TIMEOUT
    with acquire(server.settings()) as session:
        notes = session.retries_since(0)
        assert find(session) is None
    assert (server.count("Login"), server.vcenter.sessions) == (1, set())
    assert "the login took 2" in notes[-1]


def test_a_log_in_that_is_answered_too_late_is_logged_out(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the login; the session that comes after it does not stay on the server."""
    monkeypatch.setattr(login, "LOGIN_TIMEOUT", CALL_TIMEOUT)
    server.delays["Login"] = 4 * CALL_TIMEOUT
    with pytest.raises(ServerError, match=r"has not answered the login of ann for .*Active Directory"):
        Session(server.settings()).start()
    assert server.vcenter.sessions == {"session-1"}
    until(lambda: not server.vcenter.sessions)
    assert (server.count("Login"), server.count("Logout")) == (1, 1)


def test_a_log_in_may_take_as_long_as_the_wait_has(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait says once that it waits for a login, and gives it up at its own end, which then names it."""
    monkeypatch.setattr(login, "LOGIN_TIMEOUT", CALL_TIMEOUT)
    server.delays["Login"] = 4 * CALL_TIMEOUT
    notes: list[str] = []
    report = wait(
        vsphere_source(server.settings(), {"web": "vm-1"}),
        WaitRules(timeout=20.0, start_timeout=20.0),
        listener=lambda update: notes.extend(update.notes),
    )
    (note,) = [note for note in notes if note.endswith("waiting for it until the time-out of 20 s")]
    assert re.match(rf"{re.escape(server.settings().server)} has not answered the login of ann for \d", note)
    with pytest.raises(ServerError, match=r"within 1 s.* has not answered the login of ann for"):
        wait(vsphere_source(server.settings(), {"web": "vm-1"}), WaitRules(timeout=1.0, start_timeout=1.0))
    until(lambda: server.count("Logout") == server.count("Login"))
    assert ([one.key for one in report.outcomes], server.vcenter.sessions) == (["web"], set())


RUNNING = {"guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_RUNNING"}


def test_a_log_in_that_is_slow_during_the_wait_is_named(server: SoapServer) -> None:
    """A wait whose session ended says once what it waits for, and its time-out does not wait for the answer."""
    server.vcenter.state.add("vm-1", **RUNNING)
    server.delays["Login"] = 0.0

    def listen(_: Update) -> None:
        if not server.delays["Login"]:
            server.delays["Login"] = 5.0
            server.vcenter.end_sessions()

    source = vsphere_source(server.settings(), {"web": "vm-1"})
    report = wait(source, WaitRules(timeout=3.0, start_timeout=3.0), listener=listen)
    assert len([note for note in report.notes if "has not answered the login of ann for" in note]) == 1
    assert report.wait_seconds < 4
    until(lambda: server.count("Logout") >= 2 and not server.vcenter.sessions)


@pytest.mark.parametrize("moment", ["at the start", "while a refused password waits"])
def test_a_wait_that_is_cancelled_does_not_wait_for_a_log_in(
    server: SoapServer, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C ends it within two seconds; no session stays on the server, and no password is sent any more."""
    monkeypatch.setattr(refused_logins, "RETRY_INTERVAL", 30.0)
    server.vcenter.state.add("vm-1", **RUNNING)
    is_first = moment == "at the start"
    if is_first:
        server.delays["Login"] = 4.0
    cancelled_at: list[float] = []

    def cancelled() -> bool:
        if not cancelled_at and server.count("Login") == (1 if is_first else 2):
            cancelled_at.append(time.monotonic())
        return bool(cancelled_at)

    def listen(_: Update) -> None:
        if not server.vcenter.password.startswith("changed"):
            server.vcenter.password = "changed"
            server.vcenter.end_sessions()

    source = vsphere_source(server.settings(), {"web": "vm-1"})
    rules = WaitRules(timeout=60.0, start_timeout=60.0)
    if is_first:
        with pytest.raises(ServerError, match="the wait was cancelled before the server responded"):
            wait(source, rules, cancelled=cancelled)
    else:
        assert wait(source, rules, listener=listen, cancelled=cancelled).cancelled
    assert time.monotonic() - cancelled_at[0] < 2
    until(lambda: server.count("Logout") and not server.vcenter.sessions)
    until(lambda: "customization-gate-events" not in {thread.name for thread in threading.enumerate()})


# ---- a slow query of events


def slow(server: SoapServer, seconds: float) -> Reply:
    """Returns the usual reply, with one event of `vm-1`, that comes late."""
    happened = server.vcenter.events.query(None, event_filter(None))
    return delayed(seconds, server.answering("QueryEvents", happened))


def test_a_query_of_events_that_takes_too_long_is_narrowed(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query may take longer than other calls; one for many VMs that takes longer still becomes one for each."""
    moids = [server.vcenter.state.add(f"vm-{number}", **RUNNING) for number in range(1, 1 + 2 * history.FEW)]
    server.vcenter.events.happen(vim.event.CustomizationSucceeded, moids[0], NOON)
    with acquire(server.settings()) as session:
        snapshots = inventory.read(session, moids, details=False)
        server.reply("QueryEvents", slow(server, 2 * CALL_TIMEOUT), None)
        whole = session.with_retries(lambda: history.read(session, snapshots, {}).events)
        queries = server.count("QueryEvents")
    monkeypatch.setattr(module, "EVENT_QUERY_TIMEOUT", CALL_TIMEOUT)
    with acquire(server.settings()) as session:
        server.reply("QueryEvents", slow(server, 2 * CALL_TIMEOUT), None)
        each = session.with_retries(lambda: history.read(session, snapshots, {}).events)
    assert [event.vm for event in whole[moids[0]]] == [event.vm for event in each[moids[0]]] == [moids[0]]
    assert (queries, server.count("QueryEvents")) == (1, 2 + len(moids))


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda session: history.read_all(session, ["vm-1"])[0], id="of one VM"),
        pytest.param(lambda session: history.since(session, NOON), id="of the inventory"),
    ],
)
def test_a_query_that_cannot_be_split_by_vm_asks_for_fewer_events(
    server: SoapServer, monkeypatch: pytest.MonkeyPatch, read: Callable[[Session], list[Event]]
) -> None:
    """After a query that took too long, a hundred events at a time are read, and none is left out."""
    monkeypatch.setattr(module, "EVENT_QUERY_TIMEOUT", CALL_TIMEOUT)
    events = server.vcenter.events
    keys = [
        events.happen(vim.event.VmPoweredOffEvent, "vm-1", NOON + timedelta(seconds=second)) for second in range(150)
    ]
    with acquire(server.settings()) as session:
        server.reply("QueryEvents", slow(server, 2 * CALL_TIMEOUT), None)
        found = session.with_retries(lambda: read(session))
    assert sorted({event.key for event in found}) == keys
    assert server.count("QueryEvents") > 2


# ---- cookies


def test_a_late_refusal_does_not_replace_the_cookie_of_a_new_session(server: SoapServer) -> None:
    """A call of the old session that is refused after another thread has logged in is made again in the new one."""
    refusal = server.refusal(vim.fault.NotAuthenticated(), cookie="of-nobody")
    arrived = threading.Event()

    def late(connection: object, released: threading.Event) -> None:
        arrived.set()
        delayed(2 * CALL_TIMEOUT / 3, refusal)(connection, released)  # type: ignore[arg-type]

    with acquire(server.settings()) as session, ThreadPoolExecutor(1) as pool:
        server.reply("CurrentTime", late, None)
        asking = pool.submit(lambda: session.with_retries(session.current_time))
        assert arrived.wait(10)
        server.vcenter.end_sessions()
        assert find(session) is None
        assert asking.result(10) == server.vcenter.now
        assert find(session) is None
    assert (server.count("Login"), server.vcenter.sessions) == (2, set())


def test_a_session_that_moves_is_followed(server: SoapServer) -> None:
    """A call that is refused in two sessions in succession is made again in the third."""
    refusal = server.refusal(vim.fault.NotAuthenticated(), cookie="of-nobody")
    with acquire(server.settings()) as session:
        server.reply("FindByInventoryPath", refusal, refusal, None)
        assert find(session) is None
    assert (server.count("Login"), server.vcenter.sessions) == (3, set())


@pytest.mark.parametrize(
    "method",
    [
        "CurrentTime",
        "CreateCollectorForEvents",
        "SetCollectorPageSize",
        "CreatePropertyCollector",
        "CreateFilter",
        "RetrievePropertiesEx",
        "QueryEvents",
        "WaitForUpdatesEx",
        "ReadNextEvents",
    ],
)
def test_a_gate_starts_although_its_session_ends(server: SoapServer, method: str) -> None:
    """Whichever call is refused first, with a cookie of another session: one more login, and nothing is left."""
    server.vcenter.state.add("vm-1", **RUNNING)
    server.reply(method, server.refusal(vim.fault.NotAuthenticated(), cookie="of-nobody"), None)
    updates: list[Update] = []

    def listen(update: Update) -> None:
        if not updates:
            server.vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
            server.vcenter.events.happen(vim.event.CustomizationSucceeded, "vm-1", NOON)
        updates.append(update)

    source = vsphere_source(server.settings(), {"web": "vm-1"})
    report = wait(source, WaitRules(timeout=20.0, start_timeout=20.0), listener=listen)
    assert report.ready
    assert (server.count("Login"), server.vcenter.sessions) == (2, set())


def test_a_log_in_that_fails_is_not_a_session_that_ended(server: SoapServer) -> None:
    """While vCenter restarts, logins may fail for longer than sessions may end: the bound does not count them."""
    starting = server.refusal(vmodl.fault.SystemError())

    def failure() -> str:
        try:
            find(session)
        except ApiError as error:
            return error.code
        return ""

    with acquire(server.settings()) as session:
        server.reply("Login", *[starting] * (login.MAX_SHORT_SESSIONS + 3), None)
        server.vcenter.end_sessions()
        assert set(iter(failure, "")) == {vmodl.fault.SystemError.__name__}
    assert (server.count("Login"), server.vcenter.sessions) == (login.MAX_SHORT_SESSIONS + 5, set())


def test_a_server_that_ends_each_session_at_once_gets_few_log_ins(server: SoapServer) -> None:
    """The logins have a bound, and the error says what may end the sessions."""
    with acquire(server.settings()) as session:
        server.reply("FindByInventoryPath", server.refusal(vim.fault.NotAuthenticated()))
        with pytest.raises(ApiError, match=r"accepts the login of ann, but 12 sessions in succession ended at once"):
            find(session)
    assert (server.count("Login"), server.vcenter.sessions) == (1 + login.MAX_SHORT_SESSIONS, set())


# ---- a password that is refused


def timed(reply: Reply, times: list[float]) -> Reply:
    """Returns a reply to a login that records when it was asked for."""

    def write(connection: object, released: threading.Event) -> None:
        times.append(time.monotonic())
        reply(connection, released)  # type: ignore[arg-type]

    return write


def test_a_password_that_worked_is_sent_again_after_a_pause(server: SoapServer) -> None:
    """Single sign-on that starts later than the rest of vCenter does not end a wait."""
    refusal, times = server.refusal(vim.fault.InvalidLogin()), list[float]()
    with acquire(server.settings()) as session:
        server.reply("Login", *[timed(refusal, times)] * 3, None)
        server.vcenter.end_sessions()
        assert find(session) is None
    assert (server.count("Login"), server.vcenter.sessions) == (5, set())
    assert all(later - earlier >= refused_logins.RETRY_INTERVAL for earlier, later in pairwise(times))


def test_the_pause_after_a_refusal_outlasts_the_session(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that starts when another one ended during the pause waits for the rest of it."""
    monkeypatch.setattr(refused_logins, "RETRY_INTERVAL", 2.0)
    times = list[float]()
    with ThreadPoolExecutor(1) as pool:
        with acquire(server.settings()) as session:
            refused = timed(server.refusal(vim.fault.InvalidLogin()), times)
            server.reply("Login", refused, refused, None)
            server.vcenter.end_sessions()
            asking = pool.submit(find, session)
            until(lambda: times)
        with pytest.raises(ServerError, match="was cancelled"):
            asking.result(10)
    with acquire(server.settings()) as session:
        assert find(session) is None
    assert len(times) == 2
    assert times[1] - times[0] >= refused_logins.RETRY_INTERVAL


def test_a_password_that_worked_is_refused_for_good_after_three_more(server: SoapServer) -> None:
    """An account whose password was changed is not locked: it is sent four times in all, then no more."""
    with acquire(server.settings()) as session:
        server.vcenter.password = "changed"
        server.vcenter.end_sessions()
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="worked earlier in this run and have been refused 4 times"):
                find(session)
    assert server.count("Login") == 1 + 4


def test_a_password_that_never_worked_is_sent_once(server: SoapServer) -> None:
    """No second login, whoever asks."""
    server.vcenter.password = "another"
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="They were sent once and are not sent again"):
            Session(server.settings()).start()
    assert server.count("Login") == 1


@pytest.fixture
def may_answer(server: SoapServer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event before which no login is answered."""
    event, usual = threading.Event(), server.usual

    def held(request: Request) -> Reply:
        reply = usual(request)

        def write(connection: ssl.SSLSocket, released: threading.Event) -> None:
            while not event.wait(0.01) and not released.is_set():
                pass
            reply(connection, released)

        return write if server.name(request) == "Login" else reply

    monkeypatch.setattr(server, "usual", held)
    return event


def other_settings(server: SoapServer) -> VsphereSettings:
    """Returns other settings with the same server, user and password."""
    certificate = ssl.PEM_cert_to_DER_cert((CERTIFICATE / "localhost.pem").read_text(encoding="utf-8"))
    return replace(server.settings(), thumbprint=hashlib.sha256(certificate).hexdigest())


def waits(server: SoapServer, settings: VsphereSettings) -> Callable[[], bool]:
    """Returns whether a session with these settings waits for a login; fails if it sends one."""

    def check() -> bool:
        assert server.count("Login") == 1
        return settings in login._pending

    return check


def has_login() -> bool:
    """Whether a login is under way, also one for which nobody waits."""
    return any(thread.name.startswith("customization-gate-login") for thread in threading.enumerate())


def test_a_password_whose_refusal_comes_too_late_is_not_sent_again(
    server: SoapServer, may_answer: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first session gave up before the directory had refused the password; the next one knows the refusal."""
    monkeypatch.setattr(login, "LOGIN_TIMEOUT", CALL_TIMEOUT)
    server.vcenter.password = "another"
    with pytest.raises(ServerError, match="has not answered the login of ann"):
        Session(server.settings()).start()
    may_answer.set()
    until(lambda: not has_login())

    with pytest.raises(AuthenticationError, match="They were sent once and are not sent again"):
        Session(server.settings()).start()

    assert server.count("Login") == 1


@pytest.mark.parametrize("is_right", [pytest.param(True, id="right"), pytest.param(False, id="wrong")])
def test_a_password_is_sent_alone_until_it_has_worked(
    server: SoapServer, may_answer: threading.Event, *, is_right: bool
) -> None:
    """Of two sessions that begin at the same time, the second waits for the answer to the first."""
    if not is_right:
        server.vcenter.password = "another"
    first, second = Session(server.settings()), Session(other_settings(server))
    with ThreadPoolExecutor(2) as pool:
        try:
            starting = [pool.submit(first.start)]
            until(lambda: server.count("Login") == 1)
            starting.append(pool.submit(second.start))
            until(waits(server, second.settings))
        finally:
            may_answer.set()
        errors = [type(one.exception(20)) for one in starting]
    if is_right:
        first.log_out()
        second.log_out()

    assert errors == [type(None) if is_right else AuthenticationError] * 2
    assert (server.count("Login"), server.vcenter.sessions) == (2 if is_right else 1, set())


@pytest.mark.parametrize("ending", ["time-out", "cancellation"])
def test_a_login_that_waits_for_another_one_has_its_own_end(
    server: SoapServer, may_answer: threading.Event, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """It ends although the first one, which was abandoned, has no answer; once that has one, the next login works."""
    first, second = Session(server.settings()), Session(other_settings(server))
    with ThreadPoolExecutor(2) as pool:
        starting = pool.submit(first.start)
        until(lambda: server.count("Login") == 1)
        first._is_closed.set()
        with pytest.raises(ServerError, match="has not answered the login of ann"):
            starting.result(20)
        waiting = pool.submit(second.start)
        until(waits(server, second.settings))
        if ending == "time-out":
            monkeypatch.setattr(login, "LOGIN_TIMEOUT", 0.0)
        else:
            second._is_closed.set()
        with pytest.raises(ServerError, match="has not answered the login of ann"):
            waiting.result(20)
    assert server.count("Login") == 1

    monkeypatch.setattr(login, "LOGIN_TIMEOUT", 30.0)
    may_answer.set()
    with acquire(other_settings(server)) as session:
        assert find(session) is None
    until(lambda: not server.vcenter.sessions)
    assert server.count("Login") == 2


# ---- another address


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this computer has no IPv6")
def test_a_vcenter_is_reached_by_its_ipv6_address() -> None:
    """The login, the long poll and the queries go there, and nothing is left."""
    vcenter = FakeVcenter()
    vcenter.state.add("vm-1", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    with SoapServer(vcenter).serving("::1") as server:
        assert server.settings().server.startswith("[::1]:")
        report = wait(vsphere_source(server.settings(), ["vm-1"]), WaitRules(timeout=20.0))
    assert report.ready
    assert (server.count("Login"), vcenter.sessions) == (1, set())


# ---- an old server


class OldServer(SoapServer):
    """A vCenter 6.5: it answers no call in a version that it does not know."""

    def usual(self, request: Request) -> Reply:
        if "6.7" in request.headers["SOAPAction"]:
            return self.refusal(vmodl.fault.InvalidRequest(msg='Unsupported version URI "urn:vim25/6.7"'))
        return super().usual(request)


def test_a_vcenter_older_than_6_7_is_named() -> None:
    """The message says which version the server has and which is needed, not the fault of the first call."""
    vcenter = FakeVcenter()
    vcenter.about.apiVersion, vcenter.about.fullName = "6.5", "VMware vCenter Server 6.5.0 build-4602587"
    with (
        OldServer(vcenter).serving() as server,
        pytest.raises(ServerError, match=r"is VMware vCenter Server 6\.5\.0 .*, which is older than 6\.7"),
    ):
        Session(server.settings()).start()
