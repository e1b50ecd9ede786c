"""The lab's guest operations: real processes and files, behind the API's own faults and phases."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from pyVmomi import vim, vmodl

from tests.lab.vcenter_fixture import TEST_TIMEOUT, VCenter, finish, linux, running, status, until

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "deploy"
PASSWORD = "only in the lab"
PLAN = {"guestUser": USER, "guestPassword": PASSWORD}


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
        yield vcenter


class Guest:
    """One VM's guest operations, by the user that it knows."""

    def __init__(self, vcenter: VCenter, vm: Any) -> None:
        operations = vcenter.content.guestOperationsManager
        self.vcenter = vcenter
        self.vm = vm
        self.login = vim.vm.guest.NamePasswordAuthentication(username=USER, password=PASSWORD)
        self.auth = operations.authManager
        self.files = operations.fileManager
        self.processes = operations.processManager

    def ready(self) -> Guest:
        until(lambda: self.vm.guest.guestOperationsReady)
        return self

    def folder(self) -> str:
        return str(self.files.CreateTemporaryDirectoryInGuest(self.vm, self.login, "test-", ".d"))

    def start(self, program: str, arguments: str = "", **spec: Any) -> int:
        program_spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath=program, arguments=arguments, **spec)
        return int(self.processes.StartProgramInGuest(self.vm, self.login, program_spec))

    def shell(self, script: str, **spec: Any) -> int:
        return self.start("/bin/sh", f"-c '{script}'", **spec)

    def process(self, pid: int) -> Any:
        found = self.processes.ListProcessesInGuest(self.vm, self.login, [pid])
        return found[0] if found else None

    def ended(self, pid: int) -> Any:
        return until(lambda: (process := self.process(pid)).endTime and process)

    def upload(
        self, path: str, content: bytes, *, size: int | None = None, mode: int = 0, overwrite: bool = False
    ) -> Any:
        attributes = vim.vm.guest.FileManager.PosixFileAttributes(permissions=mode or None)
        url = self.files.InitiateFileTransferToGuest(
            self.vm, self.login, path, attributes, len(content) if size is None else size, overwrite
        )
        return self.send(url, content)

    def send(self, url: str, content: bytes) -> Any:
        return requests.put(url, data=content, verify=self.vcenter.lab.ca_file, timeout=TEST_TIMEOUT)

    def download(self, path: str) -> bytes:
        transfer = self.files.InitiateFileTransferFromGuest(self.vm, self.login, path)
        answer = requests.get(transfer.url, verify=self.vcenter.lab.ca_file, timeout=TEST_TIMEOUT)
        assert answer.ok
        assert len(answer.content) == transfer.size
        return answer.content


@pytest.fixture
def guest(vcenter: VCenter) -> Iterator[Guest]:
    """A VM of the test's own, whose guest takes operations."""
    vm = vcenter.clone(plan={"startDelay": "10ms", **PLAN})
    yield Guest(vcenter, vm).ready()
    if vm.runtime.powerState == "poweredOn":
        finish(vm.PowerOffVM_Task())
    finish(vm.Destroy_Task())


# ---- who and when


def test_the_guest_checks_user_and_password(guest: Guest) -> None:
    """The right pair is let in; a wrong password or user is InvalidGuestLogin."""
    guest.auth.ValidateCredentialsInGuest(guest.vm, guest.login)

    for user, password in ((USER, "wrong"), ("root", PASSWORD)):
        login = vim.vm.guest.NamePasswordAuthentication(username=user, password=password)
        with pytest.raises(vim.fault.InvalidGuestLogin):
            guest.auth.ValidateCredentialsInGuest(guest.vm, login)


def test_the_default_password_comes_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest without a plan knows the flag's user and the environment's password."""
    monkeypatch.setenv("LAB_GUEST_PASSWORD", PASSWORD)
    with running(tmp_path, "-vms", "2", "-autostart", "-guest-user", USER) as vcenter:
        guest = Guest(vcenter, vcenter.find("vm-0")).ready()
        guest.auth.ValidateCredentialsInGuest(guest.vm, guest.login)

        assert guest.ended(guest.shell("exit 0")).exitCode == 0


def test_a_guest_takes_operations_only_while_its_tools_run(vcenter: VCenter) -> None:
    """Off is InvalidPowerState, booting is GuestOperationsUnavailable, and the lag after ready is the same again."""
    vm = vcenter.clone(on=False, plan={"startDelay": "300ms", "guestOperationsLag": "300ms", **PLAN})
    guest = Guest(vcenter, vm)
    seen = []

    def outcome() -> str:
        try:
            guest.auth.ValidateCredentialsInGuest(vm, guest.login)
        except (vim.fault.InvalidPowerState, vim.fault.GuestOperationsUnavailable) as fault:
            return type(fault).__name__.rpartition(".")[2]
        return "ready"

    seen.append(outcome())
    finish(vm.PowerOnVM_Task())
    seen.append(outcome())
    guest.ready()
    seen.append(outcome())
    until(lambda: outcome() == "ready")

    assert seen == ["InvalidPowerState", "GuestOperationsUnavailable", "GuestOperationsUnavailable"]


def test_a_reboot_ends_operations_and_processes(vcenter: VCenter) -> None:
    """The reboot after success takes guest operations away, and with it every process and what was known of it."""
    plan = {"rebootAfter": "600ms", "rebootDuration": "300ms", "startDelay": "10ms", "duration": "10ms", **PLAN}
    vm = vcenter.clone(custom=linux(), plan=plan)
    guest = Guest(vcenter, vm)
    until(lambda: status(vm) == "SUCCEEDED")
    pid = guest.shell("sleep 1000")
    until(lambda: not vm.guest.guestOperationsReady)
    with pytest.raises(vim.fault.GuestOperationsUnavailable):
        guest.process(pid)
    guest.ready()

    assert guest.process(pid) is None
    assert until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_power_off_ends_what_has_left_its_group(guest: Guest) -> None:
    """A process in a session of its own does not outlive its guest's power."""
    folder = guest.folder()
    guest.ended(guest.shell(f'setsid sh -c "echo \\$\\$ >{folder}/pid; exec sleep 1000" &'))
    pid = int(until(lambda: Path(folder, "pid").read_text() if Path(folder, "pid").exists() else ""))
    before = alive(pid)
    finish(guest.vm.PowerOffVM_Task())

    assert before
    assert until(lambda: not alive(pid))


# ---- programs


@pytest.mark.parametrize("code", [0, 7, 255])
def test_a_program_ends_with_its_exit_code(guest: Guest, code: int) -> None:
    """The exit code comes with the end of the program, an exit code of 0 as 0."""
    process = guest.ended(guest.shell(f"exit {code}"))

    assert (process.exitCode, process.owner, process.name) == (code, USER, "sh")
    assert process.startTime <= process.endTime


def test_a_running_program_has_no_end(guest: Guest) -> None:
    """While a program runs it has neither an end nor an exit code; ended by force it has an end."""
    pid = guest.start("/bin/sleep", "1000")
    process = guest.process(pid)
    guest.processes.TerminateProcessInGuest(guest.vm, guest.login, pid)
    killed = guest.ended(pid)

    assert (process.endTime, process.exitCode) == (None, None)
    assert killed.exitCode != 0
    with pytest.raises(vim.fault.GuestProcessNotFound):
        guest.processes.TerminateProcessInGuest(guest.vm, guest.login, pid)


def test_terminating_a_program_leaves_its_children(guest: Guest) -> None:
    """To end a program ends no child of it, as in a real guest."""
    folder = guest.folder()
    pid = guest.shell(f"sleep 1000 & echo $! >{folder}/pid; wait")
    child = int(until(lambda: Path(folder, "pid").read_text().strip() if Path(folder, "pid").exists() else ""))
    guest.processes.TerminateProcessInGuest(guest.vm, guest.login, pid)
    guest.ended(pid)
    left = alive(child)
    os.kill(child, signal.SIGKILL)

    assert left


def test_an_ended_program_is_forgotten(vcenter: VCenter) -> None:
    """A guest removes an ended process from its list after a time, as a real one does after minutes."""
    vm = vcenter.clone(plan={"processMemory": "200ms", **PLAN})
    guest = Guest(vcenter, vm).ready()
    pid = guest.shell("exit 3")

    assert until(lambda: guest.process(pid) is None)
    assert list(guest.processes.ListProcessesInGuest(vm, guest.login, None)) == []


def test_a_program_starts_where_and_with_what_is_given(guest: Guest) -> None:
    """The working directory holds, and variables that are given are all that there are."""
    folder = guest.folder()
    guest.ended(guest.start("/bin/pwd", f">{folder}/where", workingDirectory=folder))
    guest.ended(guest.start("/usr/bin/env", f">{folder}/given", envVariables=["COLOUR=blue"]))
    guest.ended(guest.start("/usr/bin/env", f">{folder}/default"))
    given = guest.download(f"{folder}/given").decode()
    default = dict(line.split("=", 1) for line in guest.download(f"{folder}/default").decode().splitlines())

    assert guest.download(f"{folder}/where").decode().strip() == folder
    assert "COLOUR=blue" in given
    assert "HOME=" not in given
    assert default["USER"] == USER
    assert default["TMPDIR"] == str(Path(folder).parent)


def test_a_program_that_is_not_there_does_not_start(guest: Guest) -> None:
    """A missing program or working directory is FileNotFound, and nothing starts."""
    with pytest.raises(vim.fault.FileNotFound):
        guest.start("/bin/no-such-program")
    with pytest.raises(vim.fault.FileNotFound):
        guest.start("sh")
    with pytest.raises(vim.fault.FileNotFound):
        guest.start("/bin/sh", workingDirectory="/no/such/folder")

    assert list(guest.processes.ListProcessesInGuest(guest.vm, guest.login, None)) == []


# ---- files


def test_a_file_goes_in_and_comes_out(guest: Guest) -> None:
    """A file of every byte comes out as it went in, with the permissions it was given."""
    content = bytes(range(256)) * 4096
    path = f"{guest.folder()}/data"
    answer = guest.upload(path, content, mode=0o600)
    attributes = guest.files.InitiateFileTransferFromGuest(guest.vm, guest.login, path).attributes

    assert answer.status_code == 200
    assert guest.download(path) == content
    assert attributes.permissions == 0o600
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_an_uploaded_script_runs(guest: Guest) -> None:
    """A script that was uploaded runs, and its output can be fetched."""
    folder = guest.folder()
    guest.upload(f"{folder}/script", "#!/bin/sh\necho grüß $1; echo oops >&2; exit 4\n".encode(), mode=0o700)
    process = guest.ended(guest.start(f"{folder}/script", f"Gott >{folder}/out 2>{folder}/err"))

    assert process.exitCode == 4
    assert guest.download(f"{folder}/out").decode() == "grüß Gott\n"
    assert guest.download(f"{folder}/err") == b"oops\n"


def test_paths_lie_in_the_guest(guest: Guest, vcenter: VCenter) -> None:
    """A path belongs to the guest: another guest does not see the file, and neither does this computer."""
    guest.upload("/etc/lab-test.conf", b"mine")
    other = Guest(vcenter, vcenter.clone(plan=PLAN)).ready()

    assert guest.download("/etc/lab-test.conf") == b"mine"
    assert not Path("/etc/lab-test.conf").exists()
    with pytest.raises(vim.fault.FileNotFound):
        other.download("/etc/lab-test.conf")
    with pytest.raises(vim.fault.FileNotFound):
        guest.download("/../../../../../../../../../etc/passwd")


def test_an_existing_file_is_overwritten_only_on_request(guest: Guest) -> None:
    """Without `overwrite` an existing file is FileAlreadyExists; with it the content is new."""
    guest.upload("/tmp/x", b"old")  # noqa: S108 -- a path in the guest

    with pytest.raises(vim.fault.FileAlreadyExists):
        guest.upload("/tmp/x", b"new")  # noqa: S108 -- the same
    guest.upload("/tmp/x", b"new", overwrite=True)  # noqa: S108 -- the same
    assert guest.download("/tmp/x") == b"new"  # noqa: S108 -- the same


def test_a_transfer_holds_once_and_for_its_size(guest: Guest) -> None:
    """A transfer's URL works once, one way, and for the announced number of bytes; else nothing is written."""
    path = f"{guest.folder()}/x"
    short = guest.upload(path, b"123", size=4)
    attributes = vim.vm.guest.FileManager.FileAttributes()
    url = guest.files.InitiateFileTransferToGuest(guest.vm, guest.login, path, attributes, 3, overwrite=False)
    backwards = requests.get(url, verify=guest.vcenter.lab.ca_file, timeout=TEST_TIMEOUT)
    first, second = guest.send(url, b"abc"), guest.send(url, b"def")

    assert [answer.status_code for answer in (short, backwards, first, second)] == [400, 404, 200, 404]
    assert guest.download(path) == b"abc"
    assert [file.name for file in Path(path).parent.iterdir()] == ["x"]


def test_the_transfer_host_can_be_a_star(tmp_path: Path) -> None:
    """A real vCenter may answer with * for its own host; the lab does so on demand."""
    with running(tmp_path, "-transfer-host", "*") as vcenter:
        guest = Guest(vcenter, vcenter.clone(plan=PLAN)).ready()
        attributes = vim.vm.guest.FileManager.FileAttributes()
        url = guest.files.InitiateFileTransferToGuest(guest.vm, guest.login, "/tmp/x", attributes, 1, overwrite=False)  # noqa: S108 -- a path in the guest
        parts = urlsplit(url)
        answer = guest.send(url.replace("*", vcenter.lab.server.partition(":")[0], 1), b"1")

    assert parts.netloc.startswith("*:")
    assert answer.status_code == 200


def test_directories_are_made_private_and_removed(guest: Guest) -> None:
    """Only its owner can access a temporary directory; it is removed with its content on request."""
    folder = guest.folder()
    mode = stat.S_IMODE(Path(folder).stat().st_mode)
    guest.files.MakeDirectoryInGuest(guest.vm, guest.login, f"{folder}/a/b", createParentDirectories=True)
    with pytest.raises(vim.fault.FileNotFound):
        guest.files.MakeDirectoryInGuest(guest.vm, guest.login, f"{folder}/c/d", createParentDirectories=False)
    with pytest.raises(vim.fault.DirectoryNotEmpty):
        guest.files.DeleteDirectoryInGuest(guest.vm, guest.login, folder, recursive=False)
    guest.files.DeleteDirectoryInGuest(guest.vm, guest.login, folder, recursive=True)

    assert Path(folder).name.startswith("test-")
    assert Path(folder).name.endswith(".d")
    assert oct(mode) == "0o700"
    assert not Path(folder).exists()


def test_files_are_listed_changed_moved_and_deleted(guest: Guest) -> None:
    """The file manager lists by name, a page at a time, changes permissions, moves and deletes."""
    folder = guest.folder()
    for name in ("one", "two", "three"):
        guest.upload(f"{folder}/{name}", name.encode())
    attributes = vim.vm.guest.FileManager.PosixFileAttributes(permissions=0o640)
    guest.files.ChangeFileAttributesInGuest(guest.vm, guest.login, f"{folder}/one", attributes)
    guest.files.MoveFileInGuest(guest.vm, guest.login, f"{folder}/two", f"{folder}/zwei", overwrite=False)
    guest.files.DeleteFileInGuest(guest.vm, guest.login, f"{folder}/three")
    page = guest.files.ListFilesInGuest(guest.vm, guest.login, folder, 0, 3, None)
    rest = guest.files.ListFilesInGuest(guest.vm, guest.login, folder, 3, 3, None)
    only = guest.files.ListFilesInGuest(guest.vm, guest.login, folder, 0, 50, "^one$").files

    assert [file.path for file in page.files] == [".", "..", "one"]
    assert (page.remaining, rest.remaining, [file.path for file in rest.files]) == (1, 0, ["zwei"])
    assert [(file.path, file.type, file.size, file.attributes.permissions) for file in only] == [
        ("one", "file", 3, 0o640)
    ]
    with pytest.raises(vim.fault.FileNotFound):
        guest.files.DeleteFileInGuest(guest.vm, guest.login, f"{folder}/three")
    with pytest.raises(vim.fault.NotAFile):
        guest.files.DeleteFileInGuest(guest.vm, guest.login, folder)


def test_a_removed_vm_leaves_no_files(guest: Guest) -> None:
    """What was in a guest goes with its VM."""
    folder = Path(guest.folder())
    vm = guest.vcenter.clone(plan=PLAN)
    other = Guest(guest.vcenter, vm).ready()
    other_folder = Path(other.folder())
    finish(vm.PowerOffVM_Task())
    finish(vm.Destroy_Task())

    assert folder.exists()
    assert not other_folder.exists()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        other.folder()


def test_adapters_can_stay_disconnected_after_success(vcenter: VCenter) -> None:
    """A customization may succeed and leave the network adapter without a link."""
    vm = vcenter.clone(custom=linux(), plan={"adaptersConnected": "false"})
    until(lambda: status(vm) == "SUCCEEDED")
    adapters = [device for device in vm.config.hardware.device if hasattr(device, "macAddress")]

    assert [card.connectable.connected for card in adapters] == [False]
    assert [card.connected for card in vm.guest.net] == [False]
