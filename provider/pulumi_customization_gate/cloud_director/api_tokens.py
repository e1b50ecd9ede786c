"""The API tokens that a server replaced at their use, for the lifetime of this process.

A service account's API token is good for one login, whose answer holds the next one. It is kept in memory only, so that
the later logins of the same run succeed; nothing can put it where the user's configuration comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.refused_logins import digest

if TYPE_CHECKING:
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

_newest: dict[bytes, str] = {}


def newest(settings: CloudDirectorSettings) -> str:
    """Returns the API token to log in with."""
    return _newest.get(digest(settings), settings.api_token)


def replace(settings: CloudDirectorSettings, successor: str) -> None:
    """Keeps the API token that replaces the configured one."""
    _newest[digest(settings)] = successor


def is_rotating(settings: CloudDirectorSettings) -> bool:
    """Returns whether the server replaced the configured API token."""
    return digest(settings) in _newest
