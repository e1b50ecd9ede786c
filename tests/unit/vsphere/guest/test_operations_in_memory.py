"""Files, waiting and refusals in a guest in memory."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError, CertificateError, GateError
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestCancelledError,
    GuestError,
    GuestExistsError,
    GuestGoneError,
    GuestLoginError,
    GuestNotFoundError,
    GuestTimeoutError,
)
from tests import certificates
from tests.unit.vsphere.guest.fake_guest import (
    GUEST_PASSWORD,
    HOME,
    TOKEN,
    VM,
    FakeFile,
    FakeGuest,
    opened,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_customization_gate.vsphere.guest.operations import Guest


def test_a_file_goes_in_and_comes_out(fake: FakeGuest, guest: Guest, tmp_path: Path) -> None:
    """Bytes and files of this computer are carried as they are, an empty one too."""
    content = bytes(range(256)) * 1000
    (tmp_path / "large").write_bytes(content)

    guest.upload("/tmp/large", tmp_path / "large", 0o640)  # noqa: S108 -- the guest's
    guest.upload("/etc/empty", b"")

    assert guest.download("/tmp/large", len(content)) == content  # noqa: S108 -- the guest's
    assert guest.download("/tmp/large", 1000, keeps_end=True) == content[-1000:]  # noqa: S108 -- the guest's
    assert (fake.files["/tmp/large"].permissions, fake.files["/etc/empty"].permissions) == (0o640, 0o600)  # noqa: S108 -- the guest's
    assert guest.download("/etc/empty", 0) == b""


def test_a_file_that_is_too_long_is_not_read_to_its_end(fake: FakeGuest, guest: Guest) -> None:
    """What is read of a guest has a limit: its files may be of any length."""
    fake.files["/etc/long"] = FakeFile(b"x" * 11)
    with pytest.raises(GuestTimeoutError, match="expected at most 10 bytes of a guest file, got more"):
        guest.download("/etc/long", 10)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        pytest.param([requests.ConnectionError(f"at {TOKEN}")], 2, id="connection lost"),
        pytest.param([requests.Timeout(), requests.ConnectionError()], 3, id="twice"),
    ],
)
def test_a_transfer_is_made_again_with_a_new_address(
    fake: FakeGuest, guest: Guest, faults: list[BaseException], expected: int
) -> None:
    """An address holds for one transfer; what went wrong on the way is overcome."""
    fake.vcenter.failures["PUT"] = faults
    guest.upload("/etc/motd", b"hello")

    assert fake.text("/etc/motd") == "hello"
    assert fake.vcenter.calls["InitiateFileTransferToGuest"] == expected


def test_a_transfer_that_never_succeeds_names_its_way_and_no_token(fake: FakeGuest, guest: Guest) -> None:
    """The error has the host and the kind of fault."""
    fake.vcenter.failures["PUT"] = [requests.ConnectionError(f"at {TOKEN}") for _ in range(100)]
    with pytest.raises(GuestTimeoutError) as caught:
        guest.upload("/etc/motd", b"hello")
    assert str(caught.value) == (
        "timed out after 1 min (the transfer of a guest file over esx-1.example.com failed: ConnectionError)"
    )


def test_a_host_that_refuses_a_transfer_is_named(
    fake: FakeGuest, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is in the error."""
    answered = fake.send

    def refuse(request: Any, **options: Any) -> requests.Response:
        response = answered(request, **options)
        response.status_code = 503
        return response

    monkeypatch.setattr(fake, "send", refuse)
    with pytest.raises(GuestTimeoutError, match=r"esx-1\.example\.com answered 503 to a PUT of a guest file"):
        guest.upload("/etc/motd", b"hello")


def test_ctrl_c_ends_an_upload(fake: FakeGuest) -> None:
    """It is asked before each block."""
    arrived: list[int] = []
    fake.on_block = arrived.append
    with contextlib.ExitStack() as held:
        guest = opened(held, cancelled=lambda: bool(arrived))
        with pytest.raises(GuestCancelledError):
            guest.upload("/etc/motd", b"x" * 200_000)
    assert len(arrived) == 1
    assert "/etc/motd" not in fake.files


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("*", "vc.example.com:443", id="vCenter itself"),
        pytest.param("esx-2.example.com:902", "esx-2.example.com:902", id="another port"),
    ],
)
def test_a_star_in_the_address_represents_the_vcenter(fake: FakeGuest, guest: Guest, host: str, expected: str) -> None:
    """The API's documentation says so; every other address is taken as it is."""
    fake.host = host
    guest.upload("/etc/motd", b"hello")
    assert fake.addresses == [expected]


CERTIFICATE = certificates.leaf().der
PEM = ssl.DER_cert_to_PEM_cert(CERTIFICATE).encode()


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        pytest.param([b - 256 if b > 127 else b for b in CERTIFICATE], CERTIFICATE, id="signed bytes"),
        pytest.param(CERTIFICATE, CERTIFICATE, id="bytes"),
        pytest.param(PEM, CERTIFICATE, id="PEM"),
        pytest.param(PEM + b"\0", CERTIFICATE, id="PEM and a NUL"),
        pytest.param(b"\n" + PEM + certificates.authority().pem, CERTIFICATE, id="PEM and an intermediate"),
        pytest.param(CERTIFICATE + b"\0", CERTIFICATE, id="DER and a NUL"),
        pytest.param(CERTIFICATE + certificates.authority().der, CERTIFICATE, id="DER and an intermediate"),
        pytest.param(CERTIFICATE[:-1], None, id="cut off"),
        pytest.param(PEM[:-30], None, id="PEM without an end"),
        pytest.param(b"none", None, id="something else"),
        pytest.param(None, None, id="not reported"),
    ],
)
def test_a_host_is_known_by_the_certificate_that_vcenter_reports(
    fake: FakeGuest, guest: Guest, reported: Any, expected: bytes | None
) -> None:
    """Without one, the host's certificate is verified by its authority."""
    fake.vcenter.state.entities["host-1"]["config.certificate"] = reported

    guest.upload("/etc/motd", b"hello")

    fingerprint = "" if expected is None else hashlib.sha256(expected).hexdigest()
    assert [trust.thumbprint for trust in fake.trusted] == [fingerprint]


@pytest.mark.parametrize("times", [2, 3])
def test_a_vm_that_moves_is_followed_twice(fake: FakeGuest, guest: Guest, times: int) -> None:
    """Another host has another certificate: the address is asked for anew; one that is never trusted is an error."""
    fake.vcenter.failures["PUT"] = [
        requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")) for _ in range(times)
    ]
    if times == 2:
        guest.upload("/etc/motd", b"hello")
        assert fake.text("/etc/motd") == "hello"
    else:
        with pytest.raises(CertificateError, match=r"certificate of esx-1\.example\.com, over which guest files go"):
            guest.upload("/etc/motd", b"hello")


def test_a_missing_file_and_an_existing_directory_are_distinguished(guest: Guest) -> None:
    """Each has its error; what is to be removed may be missing."""
    with pytest.raises(GuestNotFoundError, match=r"name of vm-1 \(vm-1\) answers FileNotFound about /etc/none"):
        guest.download("/etc/none", 10)
    with pytest.raises(GuestExistsError, match="FileAlreadyExists about /etc"):
        guest.make_directory("/etc")
    guest.make_directory("/etc", exist_ok=True)
    guest.remove_file("/etc/none")
    guest.remove_directory("/etc/none")


def test_a_long_directory_is_listed_page_by_page(fake: FakeGuest, guest: Guest) -> None:
    """No file is listed twice or left out."""
    fake.files |= {f"/etc/{number:04}": FakeFile(b"x" * number) for number in range(2500)}

    listed = guest.list_files("/etc", "^[0-9]+$")

    assert [(entry.name, entry.size) for entry in listed] == [(f"{number:04}", number) for number in range(2500)]
    assert fake.vcenter.calls["ListFilesInGuest"] == 3


@pytest.mark.parametrize(
    ("error", "is_there"),
    [
        pytest.param(ConnectionResetError(), True, id="vCenter's answer lost"),
        pytest.param(vmodl.fault.HostCommunication(), True, id="the host's answer lost"),
        pytest.param(ConnectionResetError(), False, id="and the file is another one"),
    ],
)
def test_a_rename_whose_answer_was_lost_is_looked_up(
    fake: FakeGuest, guest: Guest, error: Exception, is_there: bool
) -> None:
    """The second request finds no source: the target of the right size says that the first was carried out."""
    fake.files["/etc/new"] = FakeFile(b"hello")
    fake.vcenter.lost_answers["MoveFileInGuest"] = [error]
    if is_there:
        guest.move_file("/etc/new", "/etc/motd", 5)
    else:
        with pytest.raises(GuestNotFoundError):
            guest.move_file("/etc/new", "/etc/motd", 6)
    assert fake.text("/etc/motd") == "hello"


def test_a_rename_of_nothing_is_an_error(fake: FakeGuest, guest: Guest) -> None:
    """No answer was lost, so the source was never there: a target of the same size is another file."""
    fake.files["/etc/motd"] = FakeFile(b"other")
    with pytest.raises(GuestNotFoundError):
        guest.move_file("/etc/none", "/etc/motd", 5)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(vim.fault.GuestOperationsUnavailable(), id="Tools not running"),
        pytest.param(vim.fault.InvalidPowerState(), id="powered off"),
        pytest.param(vim.fault.TaskInProgress(), id="busy"),
        pytest.param(vmodl.fault.SystemError(), id="general system error"),
    ],
)
def test_a_guest_that_is_not_ready_is_waited_for(fake: FakeGuest, fault: Any) -> None:
    """The reason is shown while it lasts."""
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [fault] * 4
    reported: list[str] = []
    with contextlib.ExitStack() as held:
        guest = opened(held)
        guest._notify = reported.append
        guest.check_login()

    name = type(fault).__name__.rpartition(".")[2]
    assert reported == [f"waiting for the guest: name of vm-1 (vm-1) answers {name}"] * 4


def test_a_guest_that_is_never_ready_is_a_time_out_with_its_reason(fake: FakeGuest, guest: Guest) -> None:
    """The last answer is in the error."""
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [vim.fault.GuestOperationsUnavailable()] * 100
    with pytest.raises(
        GuestTimeoutError, match=r"timed out after 1 min \(name of vm-1 .* GuestOperationsUnavailable\)"
    ):
        guest.check_login()


@pytest.mark.parametrize(
    ("fault", "kind", "expected"),
    [
        pytest.param(
            vim.fault.InvalidGuestLogin(), GuestLoginError, "refuses the user name or password of deploy", id="login"
        ),
        pytest.param(vim.fault.GuestPermissionDenied(), GuestError, "does not allow deploy to do this", id="guest"),
        pytest.param(
            vim.fault.NoPermission(privilegeId="VirtualMachine.GuestOperations.Query"),
            ApiError,
            r"grant the privilege VirtualMachine\.GuestOperations\.Query on name of vm-1",
            id="vCenter",
        ),
        pytest.param(vmodl.fault.ManagedObjectNotFound(), GuestGoneError, "is not in the inventory", id="VM gone"),
        pytest.param(vmodl.fault.NotSupported(), GuestError, "answers NotSupported", id="another fault"),
    ],
)
def test_a_refusal_is_not_repeated(
    fake: FakeGuest, guest: Guest, fault: Any, kind: type[GateError], expected: str
) -> None:
    """A password that is sent again and again locks the account."""
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [fault]
    with pytest.raises(kind, match=expected):
        guest.check_login()
    assert fake.vcenter.calls["ValidateCredentialsInGuest"] == 1


def test_the_guest_password_is_in_no_error(fake: FakeGuest, guest: Guest) -> None:
    """A server may repeat what it was sent."""
    fake.vcenter.failures["ValidateCredentialsInGuest"] = [vmodl.fault.NotSupported(msg=f"got {GUEST_PASSWORD}")]
    with pytest.raises(GuestError) as caught:
        guest.check_login()
    assert str(caught.value) == "name of vm-1 (vm-1) answers NotSupported: got [secret]"


def test_a_session_that_expired_is_renewed(fake: FakeGuest, guest: Guest) -> None:
    """The work in the guest goes on with the new one."""
    fake.vcenter.end_sessions()
    guest.check_login()
    assert fake.vcenter.calls["Login"] == 2


def test_a_call_that_never_returns_does_not_hold_up_the_deadline(fake: FakeGuest) -> None:
    """It is left to itself."""
    release = threading.Event()
    fake.vcenter.methods["ValidateCredentialsInGuest"] = lambda *_: release.wait(10) and None
    with contextlib.ExitStack() as held:
        held.callback(release.set)
        guest = opened(held)
        with pytest.raises(GuestTimeoutError, match=r"timed out after 0\.1 s \(vc\.example\.com does not answer\)"):
            guest.with_deadline(Deadline(0.1)).check_login()


def test_a_vm_is_named_and_distinguished_from_every_other(fake: FakeGuest, guest: Guest) -> None:
    """By its vCenter, its managed object ID and its instance UUID."""
    assert guest.id == f"{fake.vcenter.about.instanceUuid}/{VM}/5000"
    assert guest.is_powered_on
    assert not guest.is_windows
    assert GUEST_PASSWORD not in repr(GuestCredentials("a", GUEST_PASSWORD))


@pytest.mark.parametrize(
    ("family", "guest_id", "expected"),
    [
        pytest.param("windowsGuest", "otherGuest", True, id="by Tools"),
        pytest.param("linuxGuest", "windows2022srvNext_64Guest", False, id="Tools know better"),
        pytest.param(None, "windows2022srvNext_64Guest", True, id="by the VM's settings"),
    ],
)
def test_windows_is_known_from_tools_or_by_settings(
    fake: FakeGuest, family: str | None, guest_id: str, expected: bool
) -> None:
    """The settings count while Tools do not run; the private directory is where the system has it."""
    fake.vcenter.state.entities[VM] |= {"guest.guestFamily": family, "config.guestId": guest_id}
    local = "C:\\Users\\deploy\\AppData\\Local"
    fake.environment["LOCALAPPDATA"] = local
    with contextlib.ExitStack() as held:
        guest = opened(held)
        assert guest.is_windows == expected
        assert guest.join(local if expected else HOME, "x") == (f"{local}\\x" if expected else f"{HOME}/x")


def test_a_transfer_needs_no_report_of_the_host(fake: FakeGuest, guest: Guest) -> None:
    """A user who may not read the host still has its files carried: the authority is asked instead."""
    fake.vcenter.state.private.add("host-1")
    guest.upload("/etc/motd", b"hello")
    assert fake.text("/etc/motd") == "hello"
    assert [trust.thumbprint for trust in fake.trusted] == [""]
