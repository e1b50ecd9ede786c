"""Files in a guest: lists, attributes, directories, and the transfers of contents."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import CertificateError
from pulumi_customization_gate.vsphere.faults import TRANSIENT
from pulumi_customization_gate.vsphere.guest.calls import GuestCalls
from pulumi_customization_gate.vsphere.guest.errors import GuestExistsError, GuestNotFoundError
from pulumi_customization_gate.vsphere.guest.transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_MOVES = 2
"""How often a transfer follows a VM that moves to another host meanwhile."""
_PRIVATE = 0o700
_PAGE = 1000
"""Files that one answer lists at most."""


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


class GuestFiles(GuestCalls):
    """A guest and its files."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._transfers = Transfers(self.session, self._notify)

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

    @property
    def _files(self) -> Any:
        return self._service("fileManager", vim.vm.guest.FileManager)
