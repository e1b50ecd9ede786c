"""Finds the numbers of a user and a group in a guest: the API takes numbers, and only the guest knows the names."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.guest.directory import Process
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from pulumi_customization_gate.vsphere.guest.files import Owner

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.guest.operations import Guest

_SHELL = "/bin/sh"


def find_owner(guest: Guest, key: str, name: str) -> Owner:
    """Returns the numbers of an owner. Names are given to `chown` in the guest, with an empty file.

    Args:
        guest: Where; not a Windows guest.
        key: The resource's, for the name of the file in the private directory.
        name: A user, or user and group with a colon between them: names or numbers.

    Raises:
        GuestError: If the guest does not know a name, or its user may not give files away.
    """
    if guest.is_windows:
        raise GuestError(f"owner: expected none, because {guest} runs Windows, got {sanitize(name)!r}")
    user, _, group = name.partition(":")
    if user.isdigit() and (group.isdigit() or not group):
        return Owner(int(user), int(group) if group else None)
    probe = guest.join(guest.private_directory(), f"{key}-owner")
    guest.upload(probe, b"")
    process = Process(guest, guest.start(_SHELL, f"-c {shlex.quote(shlex.join(['chown', '--', name, probe]))}"))
    for pause in backoff(0.2, 2.0):
        if not process.runs():
            break
        guest.deadline.pause(pause)
    found = guest.list_files(probe)
    guest.remove_file(probe)
    if process.exit_code != 0 or not found or found[0].owner is None:
        raise GuestError(
            f"owner: the guest of {guest} does not accept {sanitize(name)!r} (exit code {process.exit_code} of chown): "
            "expected a user, or user:group, that exists there; only root can give a file to another user"
        )
    return Owner(found[0].owner, found[0].group if group else None)
