"""Servers behind an HTTP proxy, and ESXi hosts whose name cannot be resolved, on real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import re
import socket
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud
from lab.cloud_director.server import serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director.connection import Connection, UnreachableError
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import AuthenticationError, CertificateError, ServerError
from pulumi_customization_gate.vsphere import session as sessions
from pulumi_customization_gate.vsphere.guest import hosts
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import HostUnreachableError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from pulumi_customization_gate.vsphere.shared_feed import subscribe
from tests import certificates
from tests.lab.connect_proxy import ConnectProxy
from tests.lab.soap_server import CERTIFICATE, SoapServer
from tests.lab.vcenter_fixture import VCenter, running, until
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.misbehaving import Reply, Request

VCENTER = "vcenter.example.test"
HOST = "esx-1.example.test"
"""Names that are reserved for tests: no server for names knows them."""
PROXY_LOGIN = "ann:pr0xy-s3cret"
CA_FILE = CERTIFICATE / "localhost.pem"
LOGIN = GuestCredentials("deploy", "only-for-this-guest")
PLAN = {"startDelay": "10ms", "guestUser": LOGIN.user, "guestPassword": LOGIN.password}


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """A vCenter whose ESXi host has a name that is not known here."""
    with running(tmp_path_factory.mktemp("vcenter"), "-transfer-host", HOST) as vcenter:
        yield vcenter


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.contextmanager
def behind(
    monkeypatch: pytest.MonkeyPatch, servers: dict[str, str], login: str = "", status: int = 0
) -> Iterator[ConnectProxy]:
    """Puts servers behind a proxy that the environment names."""
    with ConnectProxy(servers, login, status).serving() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


def settings(vcenter: VCenter, server: str, **trust: Any) -> VsphereSettings:
    lab = vcenter.lab
    return VsphereSettings(server, lab.user, lab.password, **(trust or {"thumbprint": lab.thumbprint}))


def port(vcenter: VCenter) -> int:
    return int(vcenter.lab.server.rpartition(":")[2])


@pytest.mark.parametrize("login", [pytest.param("", id="open"), pytest.param(PROXY_LOGIN, id="with a login")])
def test_a_vcenter_is_reached_through_the_proxy(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    """Each connection asks the proxy for the vCenter's name, which need not be known here."""
    with (
        behind(monkeypatch, {f"{VCENTER}:443": vcenter.lab.server}, login) as proxy,
        acquire(settings(vcenter, VCENTER)) as session,
    ):
        assert session.current_time() is not None
    assert set(proxy.requests) == {f"{VCENTER}:443"}


def test_an_ipv6_address_is_in_brackets_for_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 3986 wants it so, also in the header of each call; the certificate has it without them."""
    hosts_called: set[str] = set()

    class Called(SoapServer):
        def usual(self, request: Request) -> Reply:
            hosts_called.add(request.headers["Host"])
            return super().usual(request)

    address = "[2001:db8::7]:8443"
    with (
        Called(FakeVcenter()).serving() as server,
        behind(monkeypatch, {address: server.settings().server}, PROXY_LOGIN) as proxy,
    ):
        with acquire(replace(server.settings(), server=address)) as session:
            assert session.current_time() == NOON
        verified = replace(server.settings(), server=address, allow_unverified_ssl=False, ca_file=str(CA_FILE))
        with pytest.raises(CertificateError, match=r"not valid for '2001:db8::7'"), acquire(verified):
            pass
    assert (set(proxy.requests), hosts_called) == ({address}, {address})


def test_a_proxy_is_not_used_for_what_no_proxy_names(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the vCenter nor for the files: the names of both are then resolved here."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host in {VCENTER, HOST} else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    vm = vcenter.clone(plan=PLAN)
    with behind(monkeypatch, {}) as proxy:
        monkeypatch.setenv("NO_PROXY", f"{VCENTER},{HOST}")
        with acquire(settings(vcenter, f"{VCENTER}:{port(vcenter)}")) as session:
            assert carried(Guest(session, vm._moId, LOGIN, Deadline(20))) == b"hello"
    assert proxy.requests == []


def test_files_go_to_the_host_through_the_proxy(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is known by the certificate that vCenter reports, whoever is on the way."""
    vm = vcenter.clone(plan=PLAN)
    host = f"{HOST}:{port(vcenter)}"
    servers = {f"{VCENTER}:443": vcenter.lab.server, host: vcenter.lab.server}
    with (
        behind(monkeypatch, servers, PROXY_LOGIN) as proxy,
        acquire(settings(vcenter, VCENTER)) as session,
    ):
        assert carried(Guest(session, vm._moId, LOGIN, Deadline(20))) == b"hello"
    assert proxy.requests.count(host) == 2


def test_a_refused_login_of_the_proxy_is_sent_once(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent again, it could lock an account. The message has the proxy's address, and no password."""
    with behind(monkeypatch, {}, PROXY_LOGIN) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("pr0xy-s3cret", "wr0ng"))
        with pytest.raises(AuthenticationError) as refusal, acquire(settings(vcenter, VCENTER)):
            pass
    assert str(refusal.value).startswith(
        f"the proxy http://127.0.0.1:{proxy.port} refused the user name or password in HTTPS_PROXY (407"
    )
    assert "wr0ng" not in str(refusal.value)
    assert proxy.requests == [f"{VCENTER}:443"]


def test_a_proxy_that_cannot_connect_is_named(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the proxy answered, and which proxy it was, is in the error."""
    monkeypatch.setattr(sessions, "START_TIMEOUT", sessions.CALL_TIMEOUT)
    with (
        behind(monkeypatch, {}, PROXY_LOGIN) as proxy,
        pytest.raises(ServerError) as refusal,
        acquire(settings(vcenter, VCENTER)),
    ):
        pass
    message = str(refusal.value)
    assert message.startswith(f"{VCENTER} did not respond within ")
    assert message.endswith(
        f"Tunnel connection failed: 502 Bad Gateway, through the proxy http://127.0.0.1:{proxy.port}."
    )


def test_a_certificate_that_is_not_trusted_names_the_proxy(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that opens TLS shows a certificate of its own."""
    with (
        behind(monkeypatch, {f"{VCENTER}:443": vcenter.lab.server}) as proxy,
        pytest.raises(
            CertificateError, match=rf"^the certificate of {VCENTER} through the proxy http://127"
        ) as refusal,
        acquire(settings(vcenter, VCENTER, thumbprint="AB" * 32)),
    ):
        pass
    assert f"http://127.0.0.1:{proxy.port} is not trusted" in str(refusal.value)


def test_a_certificate_that_changes_during_the_wait_names_the_proxy(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends with the message that its start would have had."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    address = f"{VCENTER}:443"
    servers = {address: vcenter.lab.server}
    moid = vcenter.clone(on=False)._moId
    with (
        SoapServer(FakeVcenter()).serving() as other,
        behind(monkeypatch, servers) as proxy,
        acquire(settings(vcenter, VCENTER)) as session,
        subscribe(session, [moid], items.put) as feed,
    ):
        polls = vcenter.lab.stats()["calls"].get("WaitForUpdatesEx", 0)
        feed.listen()
        until(lambda: vcenter.lab.stats()["calls"].get("WaitForUpdatesEx", 0) > polls)
        servers[address] = other.settings().server
        vcenter.lab.reset_connections()
        while not isinstance(error := items.get(timeout=10), CertificateError):
            pass
        servers[address] = vcenter.lab.server
    vcenter.service._stub.DropConnections()
    name = f"{VCENTER} through the proxy http://127.0.0.1:{proxy.port}"
    assert str(error).startswith(f"the certificate of {name} is not trusted: its SHA-256 fingerprint is ")


def exchange(connection: Connection) -> int:
    return connection.exchange("GET", "/api/versions", {}).status


def test_a_cloud_director_is_reached_through_the_proxy_that_its_errors_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that the proxy refuses is final there, too; what it cannot connect is said."""
    pem = (certificate(Home()) / "server.pem").read_text()
    trusted = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    where = CloudDirectorSettings("https://vcd.example.test", "acme", "ann", "s3cret", thumbprint=trusted)
    with serve(Cloud("acme", "ann", "s3cret"), certificate(Home())) as cloud:
        server = cloud.url.removeprefix("https://")
        with behind(monkeypatch, {"vcd.example.test:443": server}, PROXY_LOGIN) as proxy:
            assert attempt(where, exchange) == 200
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("pr0xy-s3cret", "wr0ng"))
            with pytest.raises(AuthenticationError, match=rf"^the proxy http://127\.0\.0\.1:{proxy.port} refused"):
                attempt(where, exchange)
    with behind(monkeypatch, {}) as proxy, pytest.raises(UnreachableError) as refusal:
        attempt(where, exchange)
    assert str(refusal.value) == (
        f"https://vcd.example.test through the proxy http://127.0.0.1:{proxy.port} did not answer GET /api/versions: "
        "Tunnel connection failed: 502 Bad Gateway"
    )


def attempt(where: CloudDirectorSettings, call: Callable[[Connection], int]) -> int:
    connection = Connection(where, 1)
    try:
        return call(connection)
    finally:
        connection.close()


# ---- hosts whose name cannot be resolved


def carried(guest: Guest) -> bytes:
    """Carries a file to the guest and back."""
    path = f"{guest.private_directory()}/carried"
    guest.upload(path, b"hello")
    return guest.download(path, 100)


@pytest.mark.parametrize("is_reported", [pytest.param(True, id="pinned"), pytest.param(False, id="by its authority")])
def test_a_host_without_a_name_is_reached_by_its_management_address(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, is_reported: bool
) -> None:
    """VCenter reports the address, and the certificate still has to be the host's: pinned, or for its name."""
    reported: list[str] = []
    vm = vcenter.clone(plan=PLAN)
    if not is_reported:
        monkeypatch.setattr(hosts, "fingerprint", lambda *_: "")
    with acquire(settings(vcenter, vcenter.lab.server, ca_file=vcenter.lab.ca_file)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(20), reported.append)
        if is_reported:
            assert carried(guest) == b"hello"
        else:
            # The lab's certificate has other names than the host's.
            with pytest.raises(CertificateError, match=rf"Hostname mismatch.*{HOST}"):
                carried(guest)
    assert reported[0].startswith(
        f"the transfer of a guest file over {HOST}:{port(vcenter)} failed: host name could not be"
    )
    assert reported[0].endswith("; trying the host's management address, 127.0.0.1")


@pytest.mark.parametrize("management", ["192.0.2.7", "2001:db8::7"])
def test_a_host_that_the_proxy_does_not_know_is_reached_by_its_management_address(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, management: str
) -> None:
    """The proxy resolves names, and says only that it did not connect: the address goes through it as well."""
    reported: list[str] = []
    vm = vcenter.clone(plan=PLAN)
    address = f"{f'[{management}]' if ':' in management else management}:{port(vcenter)}"
    monkeypatch.setattr(hosts, "management_address", lambda *_: management)
    with (
        behind(monkeypatch, {f"{VCENTER}:443": vcenter.lab.server, address: vcenter.lab.server}) as proxy,
        acquire(settings(vcenter, VCENTER)) as session,
    ):
        assert carried(Guest(session, vm._moId, LOGIN, Deadline(20), reported.append)) == b"hello"
    to_host = [request for request in proxy.requests if request != f"{VCENTER}:443"]
    assert to_host == [f"{HOST}:{port(vcenter)}", address] * 2
    assert reported[0].startswith(f"the transfer of a guest file over {HOST}:{port(vcenter)} through the proxy http://")
    assert reported[0].endswith(f"502 Bad Gateway; trying the host's management address, {management}")


def test_a_host_that_cannot_be_reached_at_all_is_said_at_once(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be reached by name or address: the error has both, and what must be open, and no deadline passes."""
    vm = vcenter.clone(plan=PLAN)
    monkeypatch.setattr(hosts, "management_address", lambda *_: "127.0.0.2")
    began = time.monotonic()
    with acquire(settings(vcenter, vcenter.lab.server)) as session:
        guest = Guest(session, vm._moId, LOGIN, Deadline(120))
        with pytest.raises(HostUnreachableError) as failure:
            carried(guest)
    assert time.monotonic() - began < 30
    over = "the transfer of a guest file over"
    assert re.fullmatch(
        rf"{over} {HOST}:\d+ failed: host name could not be resolved \(.*\); "
        rf"{over} 127\.0\.0\.2:\d+ failed: connection refused \(.*\)\. Guest files go to the ESXi host .* port 443\.",
        str(failure.value),
    ), str(failure.value)


def test_the_host_is_asked_for_each_transfer(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VM moves between two transfers: the certificate of the host that it is on then counts."""
    vm = vcenter.clone(plan=PLAN)
    asked: list[str] = []
    real = hosts.fingerprint

    def fingerprint(session: Any, host: Any) -> str:
        asked.append(host._moId)
        return real(session, host)

    monkeypatch.setattr(hosts, "fingerprint", fingerprint)
    with acquire(settings(vcenter, vcenter.lab.server)) as session:
        carried(Guest(session, vm._moId, LOGIN, Deadline(20)))
    assert asked == [vm.runtime.host._moId] * 2


@pytest.mark.parametrize("rest", [b"\0", certificates.authority().pem], ids=["a NUL", "an intermediate"])
def test_what_follows_the_certificate_of_a_host_does_not_count(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """A vCenter reports more than the host's own certificate; the host is still known by that one."""
    vm = vcenter.clone(plan=PLAN)
    real = hosts._property

    def reported(session: Any, host: Any, name: str) -> Any:
        value = real(session, host, name)
        if name != hosts._CERTIFICATE:
            return value
        return ssl.DER_cert_to_PEM_cert(hosts.first_certificate(hosts._bytes(value))).encode() + rest

    monkeypatch.setattr(hosts, "_property", reported)
    with acquire(settings(vcenter, vcenter.lab.server)) as session:
        assert carried(Guest(session, vm._moId, LOGIN, Deadline(20))) == b"hello"
