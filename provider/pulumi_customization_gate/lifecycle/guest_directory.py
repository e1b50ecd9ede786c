"""A directory of files in a guest: what an update changes in it, and what an interrupted one may have left there.

A journal in the user's private directory names all that the resource has made. Before the first change of an update it
also names what that update may make. So whoever comes after an interruption knows what to remove, although the state
does not. It stays until the directory is deleted, because the state may also miss an update that was carried out.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.lifecycle.guest_sources import MOST_FILES, TEXTS, directories_of
from pulumi_customization_gate.lifecycle.outputs import DIRECTORIES
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestError,
    GuestExistsError,
    GuestNotEmptyError,
    GuestNotFoundError,
)
from pulumi_customization_gate.vsphere.guest.replacement import DRAFT, remove_drafts, replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pulumi_customization_gate.lifecycle.guest_sources import LocalFile
    from pulumi_customization_gate.vsphere.guest.files import Owner
    from pulumi_customization_gate.vsphere.guest.operations import Guest

_LARGEST_JOURNAL = 4 * MOST_FILES * 4096
_OWNER = 0o300
"""What the owner of a directory may always do: enter it, and make files in it."""
_READABLE_TO_SEARCHABLE = 2
"""From the bit of a mode by which a user may read, to the one by which the user may enter a directory."""


@dataclass(frozen=True)
class Made:
    """What a resource made, or may have made: paths in the directory."""

    files: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> Made:
        """Returns what the state has."""
        files = {*(outputs.get("files") or ()), *(outputs.get(TEXTS) or ())}
        return cls(frozenset(files), frozenset(outputs.get(DIRECTORIES) or ()))

    def __or__(self, other: Made) -> Made:
        return Made(self.files | other.files, self.directories | other.directories)


class GuestDirectory:
    """The directory of one resource.

    Args:
        guest: Where.
        key: The resource's and the path's: the name of the journal.
        path: The directory, absolute.
    """

    def __init__(self, guest: Guest, key: str, path: str) -> None:
        self._guest, self._root = guest, path
        self._separator = "/" if path.startswith("/") else "\\"
        self._journal_path = guest.join(guest.private_directory(), f"{key}-files")
        remove_drafts(guest, self._journal_path)
        self._journal = Made()
        self.was_interrupted = False
        """Whether an earlier change of this resource did not end: no file is known to be as the state has it."""
        self._read_journal()

    def plan(self, before: Made, files: Collection[str]) -> Made:
        """Writes the journal, and returns what the resource will have made, what is obsolete then included.

        Args:
            before: What the state has.
            files: The files of the new directory.
        """
        before |= self._journal
        missing: set[str] = set()
        for folder in directories_of(files):
            above = folder.rpartition("/")[0]
            if (folder and above in missing) or folder in before.files or not self._is_there(folder):
                missing.add(folder)
        plan = before | Made(frozenset(files), frozenset(missing))
        self._write_journal(plan, is_complete=False)
        return plan

    def write(
        self,
        plan: Made,
        files: Mapping[str, LocalFile | None],
        permissions: int,
        owner: Owner | None,
        *,
        sets_attributes: bool,
    ) -> Made:
        """Removes what is obsolete, writes files, and has the journal say so.

        Args:
            plan: What the journal has.
            files: The new directory; None for a file that is there already.
            permissions: The mode of the files.
            owner: Whose they are; None for the user who works in the guest.
            sets_attributes: Whether directories of the resource that are there get mode and owner too.

        Returns:
            What the resource has made now.
        """
        folders = directories_of(files)
        self._remove(plan.files - set(files), plan.directories - set(folders))
        mode = permissions | _OWNER | (permissions >> _READABLE_TO_SEARCHABLE & 0o111)
        for folder in folders:
            if folder not in plan.directories:
                continue
            is_new = True
            try:
                self._guest.make_directory(self._path(folder), parents=not folder)
            except GuestExistsError:
                is_new = False
            if is_new or sets_attributes or self.was_interrupted:
                self._guest.change_attributes(self._path(folder), mode, owner)
        for path, file in files.items():
            if file is not None and file.content is not None:
                replace_file(self._guest, self._path(path), file.content, permissions, owner)
        made = Made(frozenset(files), plan.directories & set(folders))
        self._write_journal(made, is_complete=True)
        return made

    def remove(self, before: Made) -> None:
        """Removes what the resource made; a directory that has other files stays."""
        before |= self._journal
        for folder in directories_of(before.files):
            self._is_there(folder)
        self._remove(before.files, before.directories)
        self._guest.remove_file(self._journal_path)

    def _remove(self, files: Collection[str], directories: Collection[str]) -> None:
        for path in sorted(files):
            self._guest.remove_file(self._path(path))
        for folder in sorted(directories, reverse=True):
            with contextlib.suppress(GuestNotEmptyError):  # Others have files there.
                self._guest.remove_directory(self._path(folder), recursive=False)

    def _is_there(self, folder: str) -> bool:
        """Returns whether there is such a directory; uploads of ours that were interrupted in it are removed."""
        names = rf"\..+{re.escape(DRAFT)}[0-9a-f]{{8}}"
        try:
            found = self._guest.list_files(self._path(folder), f"^{names}$")
        except GuestNotFoundError:
            return False
        ours = {path.rpartition("/")[2] for path in self._journal.files if path.rpartition("/")[0] == folder}
        for entry in found:
            if entry.name[1:].rpartition(DRAFT)[0] in ours:
                self._guest.remove_file(self._guest_path(self._path(folder), entry.name))
        return True

    def _path(self, path: str) -> str:
        return self._guest_path(self._root, path.replace("/", self._separator)) if path else self._root

    def _guest_path(self, folder: str, name: str) -> str:
        return f"{folder}{self._separator}{name}"

    def _read_journal(self) -> None:
        try:
            content = self._guest.download(self._journal_path, _LARGEST_JOURNAL)
        except GuestNotFoundError:
            return
        try:
            found = json.loads(content)
            self._journal = Made(frozenset(found["files"]), frozenset(found["directories"]))
            self.was_interrupted = not found["complete"]
        except (ValueError, KeyError, TypeError):
            raise GuestError(f"{self._journal_path} in {self._guest} is damaged: remove it") from None

    def _write_journal(self, made: Made, *, is_complete: bool) -> None:
        text = {"complete": is_complete, "files": sorted(made.files), "directories": sorted(made.directories)}
        replace_file(self._guest, self._journal_path, json.dumps(text).encode())
