"""Files and programs in one guest, by VMware Tools: what may be asked again is, until the time is up."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    GateError,
    ServerError,
)
from pulumi_customization_gate.core.report import plain
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import TRANSIENT, describe
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestCancelledError,
    GuestError,
    GuestLoginError,
    GuestNotReadyError,
    GuestPathError,
    GuestTimeoutError,
    translated,
)
from pulumi_customization_gate.vsphere.guest.transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pulumi_customization_gate.vsphere.guest.deadline import Deadline
    from pulumi_customization_gate.vsphere.session import Session

T = TypeVar("T")

_UNSENT = (ConnectionRefusedError, socket.gaierror)
"""Failures of a call that cannot have reached the server."""


@dataclass(frozen=True)
class GuestCredentials:
    """Who works in a guest. The password goes nowhere but into the API's own object for it."""

    user: str
    password: str = field(repr=False)


class Guest:
    """The guest of one virtual machine, for one user.

    Args:
        session: The vCenter's session.
        moid: The machine's managed object ID.
        credentials: Who works in the guest.
        deadline: How long the work may take.
        tell: Takes a sentence about what is being waited for.

    Raises:
        GuestGoneError: If the machine is not in the inventory.
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
        self._vm = vim.VirtualMachine(moid, session.stub)
        self._login = vim.vm.guest.NamePasswordAuthentication(
            username=credentials.user, password=credentials.password, interactiveSession=False
        )
        known = self._read()
        self._label = f"{plain(str(known.get('name') or moid))} ({moid})"
        family = str(known.get("guest.guestFamily") or "")
        self.is_windows = family == "windowsGuest" or (
            not family and str(known.get("config.guestId")).startswith("win")
        )
        """Whether the guest is a Windows, by its VMware Tools, or by the machine's settings while those do not run."""
        self.is_powered_on = known.get("runtime.powerState") == "poweredOn"
        self._transfers = Transfers(session, known.get("runtime.host"))

    def __str__(self) -> str:
        return self._label

    def _read(self) -> dict[str, Any]:
        collector = vmodl.query.PropertyCollector
        paths = ["name", "guest.guestFamily", "config.guestId", "runtime.powerState", "runtime.host"]
        spec = collector.FilterSpec(
            propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
            objectSet=[collector.ObjectSpec(obj=self._vm)],
        )
        service = self.session.content.propertyCollector
        found = self.ask(lambda: service.RetrievePropertiesEx([spec], collector.RetrieveOptions()))
        return {change.name: change.val for content in (found.objects if found else ()) for change in content.propSet}

    def with_deadline(self, deadline: Deadline) -> Guest:
        """Returns the same guest for work that has its own time, for example to tidy up."""
        other = object.__new__(Guest)
        other.__dict__.update(self.__dict__, deadline=deadline)
        return other

    def ask(self, call: Callable[[], T]) -> T:
        """Makes a call that may be made twice, again while network or guest are not ready for it.

        Raises:
            GuestTimeoutError: If they never were.
            GuestCancelledError: If the user ended the work.
            GuestError: If the guest refused.
            ServerError: If vCenter refused.
        """
        for pause in backoff(0.5, 5.0):
            try:
                return self.session.patiently(lambda: self._translated(call))
            except (AuthenticationError, CertificateError, ApiError):
                raise
            except (GuestNotReadyError, ServerError) as error:
                reason = str(error)
            self._tell(f"waiting for the guest: {reason}")
            self.deadline.pause(pause, reason)
        raise AssertionError("the pauses never end")

    def _translated(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except vim.fault.NotAuthenticated:
            raise
        except vmodl.MethodFault as fault:
            raise self._error(fault) from None

    def _error(self, fault: Any) -> GateError:
        return translated(fault, str(self), self._user)

    def check_login(self) -> None:
        """Waits until the guest is ready, and has it check user and password."""
        service = self._service("authManager", vim.vm.guest.AuthManager)
        self.ask(lambda: service.ValidateCredentials(self._vm, self._login))

    # Files

    def make_private_directory(self, prefix: str) -> str:
        """Makes a directory of a name of its own among the guest's temporary files and returns its path."""
        made: str = self.ask(lambda: self._files.CreateTemporaryDirectory(self._vm, self._login, prefix, ""))
        if not self.is_windows:
            private = vim.vm.guest.FileManager.PosixFileAttributes(permissions=0o700)
            self.ask(lambda: self._files.ChangeFileAttributes(self._vm, self._login, made, private))
        return made

    def make_directory(self, path: str, *, parents: bool = False) -> None:
        """Makes a directory.

        Raises:
            GuestPathError: If there is one already.
        """
        self.ask(lambda: self._files.MakeDirectory(self._vm, self._login, path, parents))

    def remove_directory(self, path: str) -> None:
        """Removes a directory with all that is in it; one that is not there is fine."""
        self._remove(lambda: self._files.DeleteDirectory(self._vm, self._login, path, True))  # noqa: FBT003 -- the API's

    def remove_file(self, path: str) -> None:
        """Removes a file; one that is not there is fine."""
        self._remove(lambda: self._files.DeleteFile(self._vm, self._login, path))

    def _remove(self, call: Callable[[], None]) -> None:
        # Nothing there is what was wanted; and so answers a request whose first answer was lost.
        with contextlib.suppress(GuestPathError):
            self.ask(call)

    def upload(self, path: str, content: bytes | Path, permissions: int = 0o600) -> None:
        """Writes a file, over one that is there.

        Args:
            path: Where in the guest.
            content: Bytes, or a file of this computer.
            permissions: The mode; it counts on POSIX systems only.
        """
        attributes = (
            vim.vm.guest.FileManager.WindowsFileAttributes()
            if self.is_windows
            else vim.vm.guest.FileManager.PosixFileAttributes(permissions=permissions)
        )
        size = len(content) if isinstance(content, bytes) else content.stat().st_size

        def transfer() -> None:
            url = self._files.InitiateFileTransferToGuest(self._vm, self._login, path, attributes, size, True)  # noqa: FBT003 -- the API's
            self._transfers.put(url, content if size else b"")

        self.ask(transfer)

    def download(self, path: str, largest: int) -> bytes:
        """Reads a file of at most so many bytes.

        Raises:
            GuestPathError: If there is none.
        """

        def transfer() -> bytes:
            found = self._files.InitiateFileTransferFromGuest(self._vm, self._login, path)
            return self._transfers.get(found.url, largest, self.deadline.at)

        return self.ask(transfer)

    def move_file(self, source: str, target: str) -> None:
        """Renames a file, over one that is there."""
        self.ask(lambda: self._files.MoveFile(self._vm, self._login, source, target, True))  # noqa: FBT003 -- the API's

    # Programs

    def start(self, path: str, arguments: str) -> int | None:
        """Starts a program, and asks again only where it is certain that nothing was started.

        Returns:
            The process, or None if the answer was lost: the program may run, or not.
        """
        spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath=path, arguments=arguments)
        for pause in backoff(0.5, 5.0):
            generation = self.session.generation
            try:
                return int(self._processes.StartProgram(self._vm, self._login, spec))
            except vim.fault.NotAuthenticated:
                self.session.log_in_again(generation)
                continue
            except _UNSENT as error:
                reason = describe(error)
            except (*TRANSIENT, vmodl.fault.SystemError, vmodl.fault.HostCommunication):
                return None
            except vmodl.MethodFault as fault:
                refusal = self._error(fault)
                if not isinstance(refusal, GuestNotReadyError):
                    raise refusal from None
                reason = str(refusal)
            self._tell(f"waiting for the guest: {reason}")
            self.deadline.pause(pause, reason)
        raise AssertionError("the pauses never end")

    def processes(self, pid: int | None = None) -> list[Any]:
        """Returns the guest's processes, or what is known of the one that was started by `start`."""
        pids = [pid] if pid is not None else []
        return list(self.ask(lambda: self._processes.ListProcesses(self._vm, self._login, pids)) or ())

    def terminate(self, pid: int) -> None:
        """Ends a process; one that has ended is fine."""
        try:
            self.ask(lambda: self._processes.TerminateProcess(self._vm, self._login, pid))
        except GuestError as error:
            if isinstance(error, GuestTimeoutError | GuestCancelledError | GuestLoginError):
                raise

    @property
    def _files(self) -> Any:
        return self._service("fileManager", vim.vm.guest.FileManager)

    @property
    def _processes(self) -> Any:
        return self._service("processManager", vim.vm.guest.ProcessManager)

    def _service(self, name: str, kind: Any) -> Any:
        known = self.session.content.guestOperationsManager
        return kind(moid_of(getattr(known, name)), self.session.stub)
