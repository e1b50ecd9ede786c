"""A guest in memory, behind the vCenter in memory: files and processes that pyVmomi's guest operations work on.

Scripts do not run. `FakeProgram` says what a script prints and how it ends, and the guest does with it what the wrapper
(program.sh) does: claim a run, write its outcome, end it, settle one that died. The wrapper itself has its own tests.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import requests
from pyVmomi import vim
from requests.adapters import BaseAdapter

from pulumi_customization_gate.vsphere.guest import directory, refused_logins, run, transfer
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.guest.program import CANNOT_CLAIM, CANNOT_FINISH
from pulumi_customization_gate.vsphere.session import acquire
from tests.unit.vsphere.fake_vcenter import NOON, SETTINGS, FakeVcenter, connected

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterator

    import pytest

    from pulumi_customization_gate.tls import Trust

GUEST_PASSWORD = "canary-guest-password"
LOGIN = GuestCredentials("deploy", GUEST_PASSWORD)
TOKEN = "canary-token"
"""Part of each address that files are carried to."""
HOME = "/home/deploy"
PRIVATE = f"{HOME}/.customization-gate"
VM = "vm-1"


class Clock:
    """A clock that advances by itself, and by pauses that take no real time."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._actions: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        self._skipped += seconds
        due = [action for action in self._actions if action[0] <= self.monotonic()]
        self._actions = [action for action in self._actions if action not in due]
        for _, action in due:
            action()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Does something in the pause after some seconds."""
        self._actions.append((self.monotonic() + seconds, action))


@dataclass(frozen=True)
class FakeProgram:
    """What the script of a test does."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    seconds: float = 0


@dataclass
class FakeFile:
    """A file or directory."""

    content: bytes | None
    """None for a directory."""
    permissions: int = 0o644
    owner: int = 1000


@dataclass
class _Process:
    pid: int
    started: float
    directory: str = ""
    program: FakeProgram | None = None
    """The script that it runs."""
    exit_code: int | None = None


class FakeGuest(BaseAdapter):
    """Replaces the guest of one VM, and the host that transfers its files."""

    def __init__(self, vcenter: FakeVcenter, clock: Clock) -> None:
        super().__init__()
        self.vcenter, self.clock = vcenter, clock
        self.files = {path: FakeFile(None) for path in ("/etc", "/tmp", "/home", HOME)}  # noqa: S108 -- the guest's
        self.program = FakeProgram()
        self.runs: list[dict[str, bytes]] = []
        """The files of the directory that each script was started from."""
        self.password = GUEST_PASSWORD
        self.environment = {"HOME": HOME}
        self.users = {"www": 33}
        """The numbers of the users that the guest knows, by name."""
        self.is_full = False
        """Whether the wrapper can write nothing."""
        self.addresses: list[str] = []
        """The servers that files were carried over."""
        self.on_block: Callable[[int], None] = lambda _: None
        """Takes how many bytes of an upload have arrived."""
        self.trusted: list[Trust] = []
        """How each server's certificate was verified."""
        self.host = "esx-1.example.com"
        self._processes: dict[int, _Process] = {}
        vcenter.state.add(
            VM,
            guest__guestFamily="linuxGuest",
            config__instanceUuid="5000",
            runtime__host=vim.HostSystem("host-1"),
        )
        vcenter.state.entities["host-1"] = {"name": self.host}
        vcenter.methods.update(
            {
                "ValidateCredentialsInGuest": self._logged_in(lambda: None),
                "ReadEnvironmentVariableInGuest": self._logged_in(
                    lambda names: [f"{name}={self.environment[name]}" for name in names if name in self.environment]
                ),
                "ListFilesInGuest": self._logged_in(self._list),
                "MakeDirectoryInGuest": self._logged_in(self._make_directory),
                "DeleteDirectoryInGuest": self._logged_in(self._delete),
                "DeleteFileInGuest": self._logged_in(self._delete),
                "MoveFileInGuest": self._logged_in(self._move),
                "ChangeFileAttributesInGuest": self._logged_in(self._change),
                "InitiateFileTransferToGuest": self._logged_in(self._put_address),
                "InitiateFileTransferFromGuest": self._logged_in(self._get_address),
                "StartProgramInGuest": self._logged_in(self._start),
                "ListProcessesInGuest": self._logged_in(self._list_processes),
            }
        )

    def text(self, path: str) -> str:
        """Returns what a file holds."""
        return (self.files[path].content or b"").decode()

    def below(self, path: str) -> set[str]:
        """Returns the paths below a directory, without it."""
        return {known[len(path) + 1 :] for known in self.files if known.startswith(f"{path}/")}

    def reboot(self) -> None:
        """Ends all processes; nothing is written by them."""
        self._processes.clear()

    def _logged_in(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(_mo: Any, _vm: Any, login: Any, *args: Any) -> Any:
            if (login.username, login.password) != (LOGIN.user, self.password):
                raise vim.fault.InvalidGuestLogin
            self._end_what_is_due()
            # To the guest, a folder has one name with a slash at its end and without.
            return call(*(_without_slash(arg) if isinstance(arg, str) else arg for arg in args))

        return checked

    # Files

    def _list(self, path: str, index: int, most: int, pattern: str | None) -> Any:
        file = self._file(path)
        found = {path.rpartition("/")[2]: file}
        if file.content is None:
            children = {name: self.files[f"{path}/{name}"] for name in self.below(path) if "/" not in name}
            found = {".": file, "..": FakeFile(None, owner=0), **children}
        matching = [name for name in sorted(found) if re.search(pattern or "", name)]
        page = matching[index : index + most]
        return SimpleNamespace(files=[_info(n, found[n]) for n in page], remaining=len(matching) - index - len(page))

    def _make_directory(self, path: str, parents: bool) -> None:
        if path in self.files:
            raise vim.fault.FileAlreadyExists(file=path)
        parent = path.rpartition("/")[0]
        if parent and parent not in self.files:
            if not parents:
                raise vim.fault.FileNotFound(file=parent)
            self._make_directory(parent, parents)
        self.files[path] = FakeFile(None, 0o755)

    def _delete(self, path: str, recursive: bool = False) -> None:
        self._file(path)
        if self.below(path) and not recursive:
            raise vim.fault.DirectoryNotEmpty(file=path)
        for name in [path, *(f"{path}/{name}" for name in self.below(path))]:
            del self.files[name]

    def _move(self, source: str, target: str, overwrite: bool) -> None:
        self._file(source)
        assert overwrite
        self.files[target] = self.files.pop(source)

    def _change(self, path: str, attributes: Any) -> None:
        self._file(path).permissions = attributes.permissions

    def _put_address(self, path: str, attributes: Any, size: int, overwrite: bool) -> str:
        assert overwrite
        self._file(path.rpartition("/")[0])
        given = f"mode={attributes.permissions}&owner={attributes.ownerId or 1000}&size={size}"
        return f"https://{self.host}/guestFile?id=1&token={TOKEN}&path={path}&{given}"

    def _get_address(self, path: str) -> Any:
        return SimpleNamespace(
            url=f"https://{self.host}/guestFile?id=1&token={TOKEN}&path={path}",
            size=len(self._file(path).content or b""),
        )

    def send(self, request: Any, *_args: Any, **_: Any) -> requests.Response:
        """Carries a file, as the host does."""
        if self.vcenter.failures.get(request.method):
            raise self.vcenter.failures[request.method].pop(0)
        where = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        self.addresses.append(where.netloc)
        response = requests.Response()
        response.status_code, response.request = 200, request
        if request.method == "GET":
            response.raw = _Raw(self._file(query["path"]).content or b"")
            return response
        content = b""
        for block in [request.body] if isinstance(request.body, bytes) else request.body or ():
            content += block
            self.on_block(len(content))
        assert int(request.headers["Content-Length"]) == len(content) == int(query["size"])
        self.files[query["path"]] = FakeFile(content, int(query["mode"]), int(query["owner"]))
        response.raw = _Raw(b"")
        return response

    def close(self) -> None:
        pass

    def _file(self, path: str) -> FakeFile:
        if path not in self.files:
            raise vim.fault.FileNotFound(file=path)
        return self.files[path]

    # Programs

    def _start(self, spec: Any) -> int:
        program, word = shlex.split(spec.arguments)
        if program == "-c":
            return self._chown(*shlex.split(word)[2:])
        path = program.rpartition("/")[0]
        process = _Process(len(self.vcenter.calls) * 1000 + len(self._processes), self.clock.monotonic(), path)
        self._processes[process.pid] = process
        process.exit_code = {"run": self._run, "stop": self._stop, "settle": self._settle}[word](path, process)
        return process.pid

    def _chown(self, name: str, path: str) -> int:
        process = _Process(len(self._processes) + 1, self.clock.monotonic(), exit_code=int(name not in self.users))
        self._processes[process.pid] = process
        self._file(path).owner = self.users.get(name, self._file(path).owner)
        return process.pid

    def _run(self, path: str, process: _Process) -> int | None:
        if f"{path}/claim" in self.files:
            return 0
        if self.is_full:
            return CANNOT_CLAIM
        self.runs.append({name: self.files[f"{path}/{name}"].content or b"" for name in self.below(path)})
        self.files[f"{path}/claim"] = FakeFile(b"")
        process.program = self.program
        if b"progress=1" in self.runs[-1]["program.sh"]:
            stdout = self.program.stdout.encode()
            self.files[f"{path}/progress"] = FakeFile(b"%d\n%s" % (len(stdout), stdout))
        return None

    def _stop(self, path: str, _: _Process) -> int:
        if f"{path}/outcome" in self.files:
            return 0
        if f"{path}/claim" not in self.files:
            self.files[f"{path}/claim"] = FakeFile(b"")
            return self._finish(path, "never", FakeProgram())
        for process, program in self._running(path):
            process.exit_code = self._finish(path, "143", program)
        return 0

    def _settle(self, path: str, _: _Process) -> int:
        if f"{path}/claim" in self.files and not self._running(path) and f"{path}/outcome" not in self.files:
            return self._finish(path, "none", FakeProgram())
        return 0

    def _running(self, path: str) -> list[tuple[_Process, FakeProgram]]:
        """Returns the processes in a directory that run a script."""
        return [(p, program) for p, program in self.running() if p.directory == path]

    def running(self) -> list[tuple[_Process, FakeProgram]]:
        """Returns the processes that run a script."""
        return [(p, p.program) for p in self._processes.values() if p.program is not None and p.exit_code is None]

    def _end_what_is_due(self) -> None:
        for process, program in self.running():
            if self.clock.monotonic() >= process.started + program.seconds:
                process.exit_code = self._finish(process.directory, str(program.exit_code), program)

    def _finish(self, path: str, code: str, program: FakeProgram) -> int:
        if self.is_full:
            return CANNOT_FINISH
        limit = int(re.search(rb"limit=(\d+)", self.files[f"{path}/program.sh"].content or b"").group(1))  # type: ignore[union-attr]
        outputs = [program.stdout.encode(), program.stderr.encode()]
        ends = [output[max(0, len(output) - limit) :] for output in outputs]
        numbers = [number for output, end in zip(outputs, ends, strict=True) for number in (len(output), len(end))]
        began = int(NOON.timestamp())
        for name in self.below(path) - {"claim", "attempt"}:
            del self.files[f"{path}/{name}"]
        header = " ".join(map(str, [code, *numbers, began, began + int(program.seconds)]))
        self.files[f"{path}/outcome"] = FakeFile(header.encode() + b"\n" + b"".join(ends))
        return 0

    def _list_processes(self, pids: list[int]) -> list[Any]:
        return [
            SimpleNamespace(
                startTime=NOON + timedelta(seconds=process.started),
                endTime=None if process.exit_code is None else NOON,
                exitCode=process.exit_code,
            )
            for pid in pids
            if (process := self._processes.get(pid))
        ]


class _Raw:
    """The body of a response."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, size: int, decode_content: bool) -> Iterator[bytes]:
        assert decode_content
        for start in range(0, len(self._content), size):
            yield self._content[start : start + size]

    def close(self) -> None:
        pass

    release_conn = close


def _without_slash(text: str) -> str:
    return text.rstrip("/") if text.startswith("/") else text


def _info(name: str, file: FakeFile) -> Any:
    attributes = SimpleNamespace(permissions=file.permissions, ownerId=file.owner)
    kind = "directory" if file.content is None else "file"
    return SimpleNamespace(path=name, type=kind, size=len(file.content or b""), attributes=attributes)


def guest_of(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    """Returns a guest in which all guest operations of the test work; nothing waits."""
    clock = Clock()
    guest = FakeGuest(connected(monkeypatch), clock)

    def carrier(trust: Trust, *_: Any, **_options: Any) -> requests.Session:
        guest.trusted.append(trust)
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", guest)
        return session

    monkeypatch.setattr(transfer, "trusting_session", carrier)
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (lambda: False, clock.monotonic, clock.sleep))
    monkeypatch.setattr(refused_logins, "_accounts", {})
    monkeypatch.setattr(refused_logins, "_opened", {})
    monkeypatch.setattr(directory, "time", clock)
    monkeypatch.setattr(run, "time", clock)
    return guest


def opened(held: contextlib.ExitStack, seconds: float = 60, login: GuestCredentials = LOGIN, **deadline: Any) -> Guest:
    """Returns the guest as the library has it, over a session that is held."""
    return Guest(held.enter_context(acquire(SETTINGS)), VM, login, Deadline(seconds, **deadline))
