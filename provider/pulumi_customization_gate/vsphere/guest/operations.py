"""Files and programs in one guest, by VMware Tools: what may be asked again is, until the deadline."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    GateError,
    ServerError,
)
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import TRANSIENT
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestError,
    GuestExistsError,
    GuestNotFoundError,
    GuestNotReadyError,
    translated,
)
from pulumi_customization_gate.vsphere.guest.transfer import Transfers
from pulumi_customization_gate.vsphere.properties import retrieve, values_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pulumi_customization_gate.vsphere.guest.deadline import Deadline
    from pulumi_customization_gate.vsphere.session import Session

T = TypeVar("T")

_log = logging.getLogger(__name__)

_UNSENT = (ConnectionRefusedError, socket.gaierror)
"""Failures of a call that cannot have reached the server."""
_MOVES = 2
"""How often a transfer follows a VM that moves to another host meanwhile."""
_PROPERTIES = ("name", "guest.guestFamily", "config.guestId", "config.instanceUuid", "runtime.powerState")
_PRIVATE = 0o700
_PAGE = 1000
"""Files that one answer lists at most."""
_CALLS = Background("guest-call", threads=256)
"""Where calls are made: a server that does not answer must not hold up a deadline, or the user's Ctrl-C."""


@dataclass(frozen=True)
class GuestCredentials:
    """Who works in a guest. The password goes nowhere but into the API's own object for it."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class FileEntry:
    """A file or directory in a guest."""

    name: str
    is_directory: bool
    size: int
    permissions: int | None
    """The mode; None on Windows."""
    owner: int | None
    """The user's number; None on Windows."""
    group: int | None = None
    """The group's number; None on Windows."""

    @classmethod
    def of(cls, file: Any) -> FileEntry:
        """Returns the entry for one of the API's."""
        mode = getattr(file.attributes, "permissions", None)
        return cls(
            name=str(file.path),
            is_directory=file.type == "directory",
            size=int(file.size or 0),
            permissions=None if mode is None else int(mode) & 0o777,
            owner=getattr(file.attributes, "ownerId", None),
            group=getattr(file.attributes, "groupId", None),
        )


@dataclass(frozen=True)
class Owner:
    """Whose a file is: the numbers of the user and of the group."""

    user: int
    group: int | None = None
    """None leaves the group as it is."""


class Guest:
    """The guest of one virtual machine, for one user.

    Args:
        session: The vCenter's session.
        moid: The VM's managed object ID.
        credentials: Who works in the guest.
        deadline: How long the work may take.
        tell: Takes a sentence about what the work waits for.

    Raises:
        GuestGoneError: If the VM is not in the inventory.
    """

    def __init__(
        self,
        session: Session,
        moid: str,
        credentials: GuestCredentials,
        deadline: Deadline,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.session, self.deadline, self._tell = session, deadline, tell
        self._user, self._label = credentials.user, moid
        self._managers: dict[str, Any] = {}
        self._vm = vim.VirtualMachine(moid, session.stub)
        self._login = vim.vm.guest.NamePasswordAuthentication(
            username=credentials.user, password=credentials.password, interactiveSession=False
        )
        known = self.ask(lambda: self._read(*_PROPERTIES), "RetrievePropertiesEx")
        self._label = f"{sanitize(str(known.get('name') or moid))} ({moid})"
        family = str(known.get("guest.guestFamily") or "")
        self.is_windows = family == "windowsGuest" or (
            not family and str(known.get("config.guestId")).startswith("win")
        )
        """Whether the guest runs Windows, by its VMware Tools, or by the VM's settings while those do not run."""
        self.id = f"{session.about.instanceUuid}/{moid}/{known.get('config.instanceUuid') or ''}"
        """The identity of the VM: its vCenter, its managed object ID and its instance UUID."""
        self.is_powered_on = known.get("runtime.powerState") == "poweredOn"
        self._transfers = Transfers(session)

    def __str__(self) -> str:
        return self._label

    def _read(self, *paths: str) -> dict[str, Any]:
        found = retrieve(self.session, [self._vm], {vim.VirtualMachine: paths})
        if not found:
            raise vmodl.fault.ManagedObjectNotFound(obj=self._vm)
        return values_of(found[0])

    def with_deadline(self, deadline: Deadline) -> Guest:
        """Returns the same guest for work that has its own time, for example to tidy up."""
        other = object.__new__(Guest)
        other.__dict__.update(self.__dict__, deadline=deadline)
        return other

    def ask(self, call: Callable[[], T], name: str) -> T:
        """Makes a call that may be made twice, again while network or guest are not ready for it.

        Args:
            call: The call.
            name: The API's name of what it calls, for the log.

        Raises:
            GuestTimeoutError: If they never were.
            GuestCancelledError: If the user cancelled the work.
            GuestError: If the guest refused.
            ServerError: If vCenter refused.
        """
        reason = ""
        for pause in backoff(0.5, 5.0):
            self.deadline.check(reason)
            _log.debug("%s: calling %s", self, name)
            try:
                return self._within_deadline(lambda: self.session.with_retries(lambda: self._translated(call)))
            except (AuthenticationError, CertificateError, ApiError):
                raise
            except (GuestNotReadyError, ServerError) as error:
                reason = str(error)
            _log.debug("%s: %s failed and is repeated: %s", self, name, reason)
            self._tell(f"waiting for the guest: {reason}")
            self.deadline.pause(pause, reason)
        raise AssertionError("the pauses never end")

    def _within_deadline(self, call: Callable[[], T]) -> T:
        """Makes a call that may block; one that does not return in time is left to itself."""
        future = _CALLS.submit(call)
        if not wait_until_done(future, self.deadline.at, cancelled=self.deadline.cancelled):
            self.deadline.check(f"{self.session.settings.server} does not answer")
        return future.result()

    def _translated(self, call: Callable[[], T]) -> T:
        self.deadline.check()  # a call that was left to itself ends here
        try:
            return call()
        except vim.fault.NotAuthenticated:
            raise
        except vmodl.MethodFault as fault:
            raise self._error(fault) from None

    def _error(self, fault: Any) -> GateError:
        return translated(fault, str(self), self._user, self._login.password)

    def check_login(self) -> None:
        """Waits until the guest is ready, and has it check user and password."""
        self.ask(lambda: self._logins.ValidateCredentials(self._vm, self._login), "ValidateCredentials")

    # Files

    def private_directory(self) -> str:
        """Returns the directory under the guest user's home that no other user can read; makes it where it is missing.

        Raises:
            GuestError: If what is there belongs to another user, or is not a directory.
        """
        variable, name = ("LOCALAPPDATA", "customization-gate") if self.is_windows else ("HOME", ".customization-gate")
        home = self.environment_variable(variable)
        if not home:
            raise GuestError(f"the guest of {self} has no {variable} for {sanitize(self._user)}: scripts need a home")
        path = self.join(home, name)
        wanted = f"^({re.escape(name)}|[.])$"
        found = {entry.name: entry for entry in self.list_files(home, wanted)}
        if name not in found:
            self.make_directory(path, exist_ok=True)
            found = {entry.name: entry for entry in self.list_files(home, wanted)}
        entry = found.get(name)
        if entry is None or not entry.is_directory:
            raise GuestError(f"expected {path} in {self} to be a directory, got another kind of file: remove it")
        if "." in found and entry.owner != found["."].owner:
            raise GuestError(f"{path} in {self} belongs to another user than {home}: remove it")
        self.make_private(path, entry)
        return path

    def make_private(self, path: str, entry: FileEntry | None = None) -> None:
        """Takes all rights on a directory away from other users; `entry` is what is known of it."""
        if entry is None or entry.permissions != _PRIVATE:
            self.change_attributes(path, _PRIVATE)

    def change_attributes(self, path: str, permissions: int, owner: Owner | None = None) -> None:
        """Sets the mode of a file or directory, and its owner; does nothing on Windows."""
        if not self.is_windows:
            attributes = self._attributes(permissions, owner)
            self.ask(
                lambda: self._files.ChangeFileAttributes(self._vm, self._login, path, attributes),
                "ChangeFileAttributes",
            )

    def _attributes(self, permissions: int, owner: Owner | None) -> Any:
        if self.is_windows:
            return vim.vm.guest.FileManager.WindowsFileAttributes()
        owner_id, group_id = (owner.user, owner.group) if owner else (None, None)
        return vim.vm.guest.FileManager.PosixFileAttributes(permissions=permissions, ownerId=owner_id, groupId=group_id)

    def join(self, directory: str, name: str) -> str:
        """Returns the path of a name in a directory."""
        separator = "\\" if self.is_windows else "/"
        return f"{directory.rstrip(separator)}{separator}{name}"

    def environment_variable(self, name: str) -> str:
        """Returns a variable of the user's environment; empty if there is none."""
        found = self.ask(
            lambda: self._processes.ReadEnvironmentVariable(self._vm, self._login, [name]), "ReadEnvironmentVariable"
        )
        return next((str(pair).partition("=")[2] for pair in found or () if str(pair).startswith(f"{name}=")), "")

    def list_files(self, path: str, pattern: str = "") -> list[FileEntry]:
        """Returns what is in a directory, or the one file.

        Args:
            path: The directory, or the file.
            pattern: A regular expression that the names match.

        Raises:
            GuestNotFoundError: If there is no such path.
        """
        entries: list[FileEntry] = []
        while True:
            index = len(entries)
            page = self.ask(
                lambda index=index: self._files.ListFiles(self._vm, self._login, path, index, _PAGE, pattern or None),  # type: ignore[misc]
                "ListFiles",
            )
            entries += [FileEntry.of(file) for file in page.files or ()]
            if not page.remaining or len(entries) == index:
                return entries

    def make_directory(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes a directory.

        Raises:
            GuestExistsError: If there is such a path already.
        """
        try:
            self.ask(lambda: self._files.MakeDirectory(self._vm, self._login, path, parents), "MakeDirectory")
        except GuestExistsError:
            if not exist_ok:
                raise

    def remove_directory(self, path: str, *, recursive: bool = True) -> None:
        """Removes a directory, with all that is in it unless `recursive` is false; one that is missing is not an error.

        Raises:
            GuestNotEmptyError: If it is not empty, and `recursive` is false.
        """
        self._remove(
            lambda: self._files.DeleteDirectory(self._vm, self._login, path, recursive),
            "DeleteDirectory",
        )

    def remove_file(self, path: str) -> None:
        """Removes a file; one that is missing is not an error."""
        self._remove(lambda: self._files.DeleteFile(self._vm, self._login, path), "DeleteFile")

    def _remove(self, call: Callable[[], None], name: str) -> None:
        # A request whose first answer was lost finds nothing either.
        with contextlib.suppress(GuestNotFoundError):
            self.ask(call, name)

    def upload(self, path: str, content: bytes | Path, permissions: int = 0o600, owner: Owner | None = None) -> None:
        """Writes a file, over one that is there.

        Args:
            path: Where in the guest.
            content: Bytes, or a file of this computer.
            permissions: The mode; for POSIX systems only.
            owner: Whose it is; None for the user who works in the guest. For POSIX systems only.
        """
        attributes = self._attributes(permissions, owner)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size

        def transfer() -> None:
            url = self._files.InitiateFileTransferToGuest(self._vm, self._login, path, attributes, size, True)  # noqa: FBT003 -- the API's
            self._transfers.put(url, self._host(), content if size else b"", self.deadline.check)

        self.ask(lambda: self._on_the_right_host(transfer), "InitiateFileTransferToGuest, upload")

    def download(self, path: str, largest: int, *, keeps_end: bool = False) -> bytes:
        """Reads a file of at most `largest` bytes, or the end of a longer one.

        Raises:
            GuestNotFoundError: If there is none.
        """

        def transfer() -> bytes:
            found = self._files.InitiateFileTransferFromGuest(self._vm, self._login, path)
            check, host = self.deadline.check, self._host()
            return self._transfers.get(found.url, host, largest, check, keeps_end=keeps_end)

        return self.ask(lambda: self._on_the_right_host(transfer), "InitiateFileTransferFromGuest, download")

    def _on_the_right_host(self, transfer: Callable[[], T]) -> T:
        """Makes a transfer anew where the VM has moved to another host since its address was given out."""
        for _ in range(_MOVES):
            with contextlib.suppress(CertificateError):
                return transfer()
        return transfer()

    def _host(self) -> Any:
        """Returns the host on which the VM runs now; None where vCenter does not report it."""
        return self._read("runtime.host").get("runtime.host")

    def move_file(self, source: str, target: str, size: int) -> None:
        """Renames a file of this size, over one that is there.

        Raises:
            GuestNotFoundError: If there is no such file.
        """
        lost_answers: list[Exception] = []

        def move() -> None:
            try:
                self._files.MoveFile(self._vm, self._login, source, target, True)  # noqa: FBT003 -- the API's
            except vim.fault.FileNotFound:
                # An earlier request may have been carried out.
                if not lost_answers or not self._is_there(target, size):
                    raise
            except (*TRANSIENT, vmodl.fault.SystemError, vmodl.fault.HostCommunication) as error:
                lost_answers.append(error)
                raise

        self.ask(move, "MoveFile")

    def _is_there(self, path: str, size: int) -> bool:
        found = self._files.ListFiles(self._vm, self._login, path, 0, _PAGE, None)
        return [file.size for file in found.files or ()] == [size]

    # Programs

    def start(self, path: str, arguments: str, requested: Callable[[int], None] = lambda _: None) -> int:
        """Starts a program, and asks again where the answer was lost: the program has to bear a second start.

        Args:
            path: The program.
            arguments: Its arguments, as the guest's shell takes them.
            requested: Takes 1 before each request, and -1 once it is certain that the request started nothing.

        Returns:
            The process of the last request.
        """
        spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath=path, arguments=arguments)

        def call() -> int:
            requested(1)
            try:
                return int(self._processes.StartProgram(self._vm, self._login, spec))
            except (vmodl.fault.SystemError, vmodl.fault.HostCommunication):
                raise
            except (*_UNSENT, vmodl.MethodFault):
                requested(-1)
                raise

        return self.ask(call, "StartProgram")

    def processes(self, pid: int) -> list[Any]:
        """Returns what vCenter knows of a process, an ended one included: no entry, or one."""
        return list(
            self.ask(lambda: self._processes.ListProcesses(self._vm, self._login, [pid]), "ListProcesses") or ()
        )

    @property
    def _files(self) -> Any:
        return self._service("fileManager", vim.vm.guest.FileManager)

    @property
    def _processes(self) -> Any:
        return self._service("processManager", vim.vm.guest.ProcessManager)

    @property
    def _logins(self) -> Any:
        return self._service("authManager", vim.vm.guest.AuthManager)

    def _service(self, name: str, kind: Any) -> Any:
        """Returns one of the managers of guest operations; vCenter is asked once which they are."""
        if name not in self._managers:
            known = self.session.content.guestOperationsManager
            self._managers[name] = kind(moid_of(getattr(known, name)), self.session.stub)
        return self._managers[name]
