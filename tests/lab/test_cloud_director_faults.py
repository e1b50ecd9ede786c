"""The source for Cloud Director under faults, on real sockets."""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director import api
from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, Plan, SimulatedVm
from lab.cloud_director.faults import Fault
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director import answers, connection, refused_logins, tracked_vm
from pulumi_customization_gate.cloud_director.answers import BusyError
from pulumi_customization_gate.cloud_director.session import acquire
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    ConfigurationError,
    ServerError,
)
from pulumi_customization_gate.core.model import GateReport, Snapshot, VmRef
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait as wait_for_all
from tests.certificates import authority
from tests.lab.sources import cloud_director_source, shorten_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulumi_customization_gate.cloud_director.source import CloudDirectorSource

STATUS = "guestcustomizationstatus"
SECRETS = ("s3cret", "wr0ng")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(Cloud("acme", "ann", "s3cret"), certificate(Home())) as running:
        yield running


@pytest.fixture
def lab(server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    server.cloud.clear()
    server.cloud.org, server.cloud.password, server.cloud.token_life = "acme", "s3cret", 86400.0
    shorten_intervals(monkeypatch)
    # A credential that was refused in one test does not affect the next.
    monkeypatch.setattr(refused_logins, "_refused", {})
    yield server
    server.faults.clear()
    # What hung must not count in the next test.
    deadline = time.monotonic() + 10
    while server.cloud.under_way:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settings(lab: Running, **changes: str | bool) -> CloudDirectorSettings:
    ca_file = str(certificate(Home()) / "ca.pem")
    good = CloudDirectorSettings(lab.url, lab.cloud.org, lab.cloud.user, lab.cloud.password, ca_file=ca_file)
    return replace(good, **changes)  # type: ignore[arg-type]


def wait(lab: Running, vm: SimulatedVm, timeout: float = 20.0) -> GateReport:
    return wait_for_all(cloud_director_source(settings(lab), {vm.name: vm.urn}), WaitRules(timeout=timeout))


@contextmanager
def started(
    lab: Running, *vms: SimulatedVm, using: CloudDirectorSettings | None = None
) -> Iterator[CloudDirectorSource]:
    source = cloud_director_source(using or settings(lab), {vm.name: vm.urn for vm in vms})
    try:
        source.start()
        source.poll(0)
        yield source
    finally:
        source.close()


def observed(source: CloudDirectorSource, state: str, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(isinstance(each, Snapshot) and each.state == state for each in source.poll(0.2)):
            return True
    return False


# ---- logging in


@pytest.mark.parametrize("kind", ["password", "api_token"])
def test_a_refused_login_is_sent_once_by_the_whole_process(lab: Running, kind: str) -> None:
    """64 gates with a wrong secret make one attempt, and each of them says why without the secret."""
    vm = lab.cloud.add("web-0")
    wrong = settings(lab, **{kind: "wr0ng"})
    errors: list[str] = []

    def gate() -> None:
        source = cloud_director_source(wrong, {"web-0": vm.urn})
        with pytest.raises(AuthenticationError) as refusal:
            wait_for_all(source, WaitRules(timeout=20))
        errors.append(str(refusal.value))

    threads = [threading.Thread(target=gate) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate()
    assert lab.cloud.logins == {"failed": 1}
    assert (len(errors), len(set(errors))) == (65, 1)
    assert "not sent again" in errors[0]
    assert [secret for secret in SECRETS if secret in errors[0]] == []


def test_another_credential_is_not_held_against(lab: Running) -> None:
    """After a refusal, the right password is still tried."""
    vm = lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=0))
    with pytest.raises(AuthenticationError), started(lab, vm, using=settings(lab, password="wr0ng")):
        pass
    assert wait(lab, vm).ready


@pytest.mark.parametrize(
    ("org", "kind", "address"),
    [
        ("acme", "password", "POST /cloudapi/1.0.0/sessions"),
        ("System", "password", "POST /cloudapi/1.0.0/sessions/provider"),
        ("acme", "api_token", "POST /oauth/tenant/token"),
        ("System", "api_token", "POST /oauth/provider/token"),
    ],
)
def test_every_kind_of_login_uses_its_own_address(lab: Running, org: str, kind: str, address: str) -> None:
    """Tenants and providers log in, by password or API token, read, and log out."""
    lab.cloud.org = org
    vm = lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=0))
    api_token = lab.cloud.api_token if kind == "api_token" else ""
    source = cloud_director_source(settings(lab, api_token=api_token), {"web-0": vm.urn})
    assert wait_for_all(source, WaitRules(timeout=20)).ready
    assert [call for call in lab.cloud.calls if call.startswith("POST")] == [address]
    assert lab.cloud.stats()["sessions"] == 0


def test_an_expired_token_is_renewed_once_for_all(lab: Running) -> None:
    """When all sessions end during the wait, one new login serves every VM, and the verdicts are right."""
    vms = [lab.cloud.add(f"web-{number}", plan=Plan(start_delay=0, duration=1.5)) for number in range(20)]
    timer = threading.Timer(0.5, lab.cloud.end_sessions)
    timer.start()
    source = cloud_director_source(settings(lab), {vm.name: vm.urn for vm in vms})
    report = wait_for_all(source, WaitRules(timeout=20))
    timer.join()
    assert (report.ready, lab.cloud.logins) == (True, {"ok": 2})


def test_an_api_tokens_session_is_renewed_before_it_ends(lab: Running) -> None:
    """A token whose lifetime is known is renewed before it expires: no request is refused."""
    lab.cloud.token_life = 2.0
    vm = lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=4.0))
    source = cloud_director_source(settings(lab, api_token=lab.cloud.api_token), {"web-0": vm.urn})
    report = wait_for_all(source, WaitRules(timeout=20))
    assert (report.ready, lab.cloud.answers[401]) == (True, 0)
    assert lab.cloud.logins["ok"] > 1


def test_sessions_that_end_again_and_again_do_not_end_the_wait(lab: Running) -> None:
    """A server that ends the session after every third call slows the wait down and does not break it."""
    for after in (3, 6, 9):
        lab.faults.add(Fault("expire", STATUS, after=after, times=1))
    assert wait(lab, lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=1.5))).ready


def test_a_password_that_changes_during_the_wait_ends_it(lab: Running) -> None:
    """When the new login is refused, waiting on cannot help: the wait ends, after one attempt."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    with started(lab, vm) as source:
        lab.cloud.password = "an0ther"
        lab.cloud.end_sessions()
        with pytest.raises(AuthenticationError):
            observed(source, "GC_COMPLETE")
    assert lab.cloud.logins == {"ok": 1, "failed": 1}


def test_a_server_without_a_known_version_is_refused(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is too old or too new is refused before any login."""
    monkeypatch.setattr(api, "VERSIONS", ("29.0", "40.0"))
    with pytest.raises(ApiError, match=r"offers the API versions 29\.0, 40\.0"), started(lab):
        pass
    assert lab.cloud.logins == {}


# ---- trust


def test_an_untrusted_certificate_names_the_three_ways_out(lab: Running) -> None:
    """A certificate of an unknown authority is refused, before any secret is sent, with what can be done."""
    with pytest.raises(CertificateError) as refusal, started(lab, using=settings(lab, ca_file="")):
        pass
    ways = ("`customization:caFile`", "VCD_THUMBPRINT", "`vcd:allowUnverifiedSsl`")
    assert [way for way in ways if way not in str(refusal.value)] == []
    assert lab.cloud.calls == {}


def test_a_pinned_certificate_is_trusted_alone(lab: Running) -> None:
    """The right thumbprint suffices, with or without colons; a wrong one is refused even beside allowUnverifiedSsl."""
    vm = lab.cloud.add("web-0")
    digits = thumbprint()
    for text in (digits, ":".join(digits[i : i + 2] for i in range(0, 64, 2)).upper()):
        with started(lab, vm, using=settings(lab, ca_file="", thumbprint=text)):
            pass
    lab.cloud.reset_stats()
    wrong = settings(lab, ca_file="", thumbprint="0" * 64, allow_unverified_ssl=True)
    with pytest.raises(CertificateError, match="thumbprint"), started(lab, vm, using=wrong):
        pass
    assert lab.cloud.calls == {}


def test_verification_is_off_only_where_nothing_else_is_configured(lab: Running, tmp_path: Path) -> None:
    """AllowUnverifiedSsl trusts anyone; beside a caFile it is the file that decides."""
    with started(lab, lab.cloud.add("web-0"), using=settings(lab, ca_file="", allow_unverified_ssl=True)):
        pass
    other = tmp_path / "other.pem"
    other.write_bytes(authority().pem)
    with (
        pytest.raises(CertificateError),
        started(lab, using=settings(lab, ca_file=str(other), allow_unverified_ssl=True)),
    ):
        pass


def test_a_ca_file_that_cannot_be_used_is_named(lab: Running, tmp_path: Path) -> None:
    """A missing or broken caFile is a mistake in the configuration."""
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match=path.name), started(lab, using=settings(lab, ca_file=str(path))):
            pass


def thumbprint() -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((certificate(Home()) / "server.pem").read_text())).hexdigest()


def test_the_environments_proxy_and_netrc_are_not_used_on_loopback(
    lab: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor a .netrc of the environment comes between the gate and a server on this VM."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password wr0ng\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with started(lab, lab.cloud.add("web-0")):
        pass
    assert lab.cloud.logins == {"ok": 1}


def test_the_environments_proxy_is_used_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server elsewhere is reached through the environment's proxy, unless that names it as an exception."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "vcd.example.org")

    def proxies(url: str) -> dict[str, str]:
        made = connection.Connection(CloudDirectorSettings(url, "acme", "ann", "s3cret"), 1)
        try:
            return dict(made._http.proxies)
        finally:
            made.close()

    assert proxies("https://vcd.example.com")["https"] == "http://proxy.example.com:3128"
    assert proxies("https://vcd.example.org") == {}


def test_a_redirect_is_never_followed(lab: Running) -> None:
    """A redirect ends the start with where it led to, and nothing at all is sent there."""
    with serve(Cloud("acme", "ann", "s3cret"), certificate(Home())) as elsewhere:
        for path in ("/api/versions", "/cloudapi", "/api/query"):
            lab.faults.clear()
            lab.faults.add(Fault("redirect", path, location=f"{elsewhere.url}/api/versions"))
            if path == "/api/query":
                with started(lab, lab.cloud.add("web-0")) as source:
                    assert any("redirects" in note for note in source.notes())
                continue
            with pytest.raises(ApiError, match="where the token is not sent") as refusal, started(lab):
                pass
            assert refusal.value.code == "REDIRECT"
        assert elsewhere.cloud.calls == {}


# ---- faults during the wait


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("status", STATUS, status=500), id="500"),
        pytest.param(Fault("status", STATUS, status=502), id="502"),
        pytest.param(Fault("status", STATUS, status=503), id="503"),
        pytest.param(Fault("status", STATUS, status=429), id="429"),
        pytest.param(Fault("status", STATUS, status=400), id="400"),
        pytest.param(Fault("forbidden-page", STATUS), id="a-firewalls-page"),
        pytest.param(Fault("broken-xml", STATUS), id="broken-xml"),
        pytest.param(Fault("other-xml", STATUS), id="another-document"),
        pytest.param(Fault("entity-bomb", STATUS, after=1), id="entity-bomb"),
        pytest.param(Fault("huge", STATUS), id="10-MB"),
        pytest.param(Fault("drip", STATUS), id="an-answer-that-never-ends"),
        pytest.param(Fault("hang", STATUS), id="no-answer"),
        pytest.param(Fault("redirect", STATUS, location="https://127.0.0.1:9/"), id="redirect"),
    ],
)
def test_a_transient_fault_is_retried_and_noted(lab: Running, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Each fault of the status is retried: the verdict is right, and the notes say what happened, once."""
    monkeypatch.setattr(connection, "READ_TIMEOUT", 0.4)
    monkeypatch.setattr(
        connection.Connection.exchange,
        "__kwdefaults__",
        {"form": None, "largest": connection.LARGEST_ANSWER, "total": 0.5},
    )
    vm = lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=0.3))
    lab.faults.add(replace(fault, times=3))
    report = wait(lab, vm)
    assert (report.ready, len(report.notes)) == (True, 1), report.notes
    assert STATUS in report.notes[0]


def test_a_fault_is_retried_soon(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that failed, at the start or after a hint, is sent again at the short pace."""
    monkeypatch.setattr(tracked_vm, "RECONCILE_INTERVAL", 60.0)
    lab.faults.add(Fault("status", STATUS, times=1, status=503))
    lab.faults.add(Fault("status", STATUS, after=1, times=1, status=503))
    began = time.monotonic()
    assert wait(lab, lab.cloud.add("web-0", plan=Plan(start_delay=0, duration=0.5))).ready
    assert (lab.cloud.answers[503], time.monotonic() - began < 5) == (2, True)


@pytest.mark.parametrize("kind", ["slow", "hang", "drip"])
def test_a_server_that_hangs_delays_nothing(lab: Running, kind: str) -> None:
    """With every request hanging, poll, refresh and close still return in time."""
    vms = [lab.cloud.add(f"web-{number}", plan=Plan("never-ends")) for number in range(30)]
    with ExitStack() as stack:
        source = stack.enter_context(started(lab, *vms))
        lab.faults.add(Fault(kind, "/api/", seconds=30))
        observed(source, "no such state", 0.5)
        took = [timed(source.poll, 0.3), timed(source.refresh, 0.3), timed(source.poll, 0.0)]
        began = time.monotonic()
    assert [seconds for seconds in took if seconds > 0.6] == []
    assert time.monotonic() - began < 3


def test_a_login_that_hangs_past_the_end_leaves_no_session(lab: Running) -> None:
    """A login that is answered only after the source was closed is logged out again."""
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    with started(lab, vm) as source:
        lab.faults.add(Fault("slow", "/cloudapi/1.0.0/sessions", times=1, seconds=1.0))
        lab.cloud.end_sessions()
        observed(source, "no such state", 0.3)
    deadline = time.monotonic() + 5
    while lab.cloud.logouts < 1:
        assert time.monotonic() < deadline, lab.cloud.stats()
        time.sleep(0.05)
    assert (lab.cloud.logins["ok"], lab.cloud.stats()["sessions"]) == (2, 0)


def timed(call: object, timeout: float) -> float:
    began = time.monotonic()
    call(timeout)  # type: ignore[operator]
    return time.monotonic() - began


def test_a_pause_that_the_server_requests_is_kept(lab: Running) -> None:
    """After a 429 with Retry-After no request is sent until that time has passed."""
    vms = [lab.cloud.add(f"web-{number}", plan=Plan("never-ends")) for number in range(5)]
    with started(lab, *vms) as source:
        lab.faults.add(Fault("status", STATUS, times=1, status=429, retry_after="2"))
        deadline = time.monotonic() + 5
        while not lab.cloud.answers[429]:
            assert time.monotonic() < deadline
            source.poll(0.05)
        observed(source, "no such state", 0.4)
        asked = sum(lab.cloud.calls.values())
        observed(source, "no such state", 1.0)
        assert sum(lab.cloud.calls.values()) == asked
        observed(source, "no such state", 1.0)
        assert sum(lab.cloud.calls.values()) > asked


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("86400", answers.LONGEST_PAUSE, id="a-day"),
        pytest.param("Wed, 21 Oct 2150 07:28:00 GMT", answers.LONGEST_PAUSE, id="a-date"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="a-date-that-has-passed"),
        pytest.param("soon", 0.0, id="nonsense"),
        pytest.param("", 0.0, id="none"),
    ],
)
def test_a_retry_after_is_understood_and_bounded(lab: Running, text: str, seconds: float) -> None:
    """Retry-After is a number of seconds or a date; a minute is the longest that is obeyed."""
    with acquire(settings(lab)) as login:
        login.open()
        lab.faults.add(Fault("status", "/api/org", status=503, retry_after=text))
        with pytest.raises(BusyError) as busy:
            login.get("/api/org")
    assert busy.value.retry_after == seconds
    assert busy.value.request_id.startswith("customization-gate-")


def test_the_start_retries_a_server_that_has_just_started(lab: Running) -> None:
    """503 and 502 at the start are retried and noted."""
    lab.faults.add(Fault("status", "/api/versions", times=2, status=503, retry_after="1"))
    lab.faults.add(Fault("status", "/cloudapi", times=1, status=502))
    with started(lab, lab.cloud.add("web-0")) as source:
        assert len(source.notes()) == 2


def test_the_start_gives_up_at_its_time_out(lab: Running) -> None:
    """A server that stays broken is an error with its status and the request's number."""
    lab.faults.add(Fault("status", "/api/versions", status=503))
    source = cloud_director_source(settings(lab), {}, retry_timeout=0.5)
    with pytest.raises(ApiError) as broken:
        source.start()
    source.close()
    assert (broken.value.status, broken.value.request_id[:19]) == (503, "customization-gate-")


def test_a_refused_connection_is_an_error_at_the_time_out() -> None:
    """A refused connection is an error that names the address."""
    source = cloud_director_source(
        CloudDirectorSettings("https://127.0.0.1:9", "acme", "ann", "s3cret"), {}, retry_timeout=0.5
    )
    with pytest.raises(ServerError, match=r"https://127\.0\.0\.1:9 did not answer GET /api/versions"):
        source.start()
    source.close()


@pytest.mark.usefixtures("lab")
def test_a_server_that_restarts_is_waited_for() -> None:
    """A server that goes away during the wait and comes back without its sessions is retried."""
    cloud = Cloud("acme", "ann", "s3cret")
    vm = cloud.add("web-0", plan=Plan("never-ends"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = free.getsockname()
    with ExitStack() as first:
        running = first.enter_context(serve(cloud, certificate(Home()), place))
        with started(running, vm) as source:
            first.close()
            cloud.end_sessions()
            vm.set_state = "GC_COMPLETE"
            assert not observed(source, "GC_COMPLETE", 0.5)
            with serve(cloud, certificate(Home()), place):
                assert observed(source, "GC_COMPLETE")
                assert any("did not answer" in note for note in source.notes())


def test_a_server_that_stops_answering_is_the_cause(lab: Running) -> None:
    """A VM whose start is overdue, by a state that could not be read again, is not called stuck."""
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 0.0))
    lab.faults.add(Fault("status", "guestcustomizationstatus", after=1, times=1000, status=503))
    rules = WaitRules(timeout=10.0, start_timeout=1.0)
    (outcome,) = wait_for_all(cloud_director_source(settings(lab), {"web-0": vm.urn}), rules).outcomes
    assert outcome.failure is not None
    assert outcome.failure.name == "StartTimeout"
    assert "has not reported the VM's state for" in outcome.failure.diagnosis[0]
    assert "503" in outcome.failure.diagnosis[0]
    assert [line for line in outcome.failure.diagnosis if "forceCustomization" in line] == []


def test_a_server_that_refuses_queries_reports_power_by_vm(lab: Running) -> None:
    """Where the user may not use the query service, name and power state come from each VM's own representation."""
    lab.faults.add(Fault("forbidden-page", "/api/query"))
    vm = lab.cloud.add("web-0", plan=Plan("never-ends"))
    source = cloud_director_source(settings(lab), {"key": vm.urn})
    try:
        (ref,) = source.start()
        snapshot = source.poll(0)[-1]
    finally:
        source.close()
    assert isinstance(snapshot, Snapshot)
    assert (ref.name, snapshot.power.is_on, snapshot.tools_running) == ("web-0", True, False)


def test_nothing_secret_reaches_a_log(lab: Running, caplog: pytest.LogCaptureFixture) -> None:
    """At the lowest log level neither password, token nor any text of the customization section is written."""
    caplog.set_level(logging.DEBUG)
    vm = lab.cloud.add("web-0", plan=Plan("never-starts", 0.0))
    with started(lab, vm) as source:
        tokens = list(lab.cloud._tokens)
        source.refresh(2.0)
        message = source.diagnose(VmRef("web-0", f"vm-{vm.uuid}", "web-0"), 0.5)
    assert lab.cloud.calls["GET /api/vApp/vm/guestCustomizationSection"] > 0
    text = caplog.text + "".join(message)
    assert len(tokens) == 1
    assert [s for s in (vm.admin_password, "s3cret", lab.cloud.api_token, *tokens) if s in text] == []
