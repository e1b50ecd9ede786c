"""Writes a file in a guest whole or not at all: uploads it beside its path, and renames it."""

from __future__ import annotations

import contextlib
import re
import secrets
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestError

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_customization_gate.vsphere.guest.files import Owner
    from pulumi_customization_gate.vsphere.guest.operations import Guest

CLEANUP_TIMEOUT = 15.0
"""Seconds that removing an upload which is not used may take."""
DRAFT = ".customization-gate-"
"""What the name of an upload has before it gets the file's own."""


class MoveError(GuestError):
    """The file was uploaded, and may or may not have its name: the answer was lost, or the guest refused."""


def replace_file(
    guest: Guest, path: str, content: bytes | Path, permissions: int = 0o600, owner: Owner | None = None
) -> None:
    """Writes a file, over one that is there.

    Args:
        guest: Where.
        path: The file; its directory exists.
        content: Bytes, or a file of this computer.
        permissions: The mode; for POSIX systems only.
        owner: Whose it is; None for the user who works in the guest.

    Raises:
        MoveError: If it may have been written.
        GateError: If it was not written.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    folder, name = split(path)
    draft = f"{folder}.{name}{DRAFT}{secrets.token_hex(4)}"
    try:
        guest.upload(draft, content, permissions, owner)
    except GateError:
        with contextlib.suppress(GateError):
            guest.with_deadline(Deadline(CLEANUP_TIMEOUT)).remove_file(draft)
        raise
    try:
        guest.move_file(draft, path, size)
    except GateError as error:
        raise MoveError(str(error)) from None


def remove_drafts(guest: Guest, path: str) -> None:
    """Removes the uploads that were left beside a path.

    Raises:
        GuestNotFoundError: If its directory is missing.
    """
    folder, name = split(path)
    for left in guest.list_files(folder, f"^{re.escape(f'.{name}{DRAFT}')}[0-9a-f]{{8}}$"):
        guest.remove_file(folder + left.name)


def split(path: str) -> tuple[str, str]:
    """Returns the directory of an absolute path, with the separator, and the name in it."""
    folder, name = re.fullmatch(r"(.*[\\/])(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]  # it is absolute
    return folder, name
