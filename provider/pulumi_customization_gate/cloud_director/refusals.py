"""What servers refused in this process: a refused login is never sent again, or it would lock the account."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.core.errors import AuthenticationError
from pulumi_customization_gate.core.report import plain

if TYPE_CHECKING:
    from pulumi_customization_gate.cloud_director.connection import Answer, CloudDirectorSettings

_salt = secrets.token_bytes(16)
_refused: dict[bytes, str] = {}
"""What was said of each refused login, by a salted hash: the secret itself is not kept."""


def check(settings: CloudDirectorSettings) -> None:
    """Lets a login pass that was not refused yet.

    Raises:
        AuthenticationError: If the same credentials were refused by the same server before.
    """
    if message := _refused.get(_digest(settings)):
        raise AuthenticationError(message)


def record(settings: CloudDirectorSettings, answer: Answer) -> AuthenticationError:
    """Remembers that a login was refused and returns the error that says so."""
    code, message = representations.error(answer.body)
    said = f": {message or code}" if message or code else ""
    if settings.api_token:
        who, names = f"the API token of {plain(settings.org)}", ["org", "apiToken"]
    else:
        who, names = f"the login of {plain(settings.user)}@{plain(settings.org)}", ["org", "user", "password"]
    text = (
        f"{settings.address} refuses {who} ({answer.status}{said}){answer.number}. "
        f"Check {', '.join(settings.called[name] for name in names)}: "
        "the same credentials are not sent again by this process."
    )
    _refused[_digest(settings)] = text
    return AuthenticationError(text)


def _digest(settings: CloudDirectorSettings) -> bytes:
    parts = (settings.address, settings.org, settings.user, settings.password, settings.api_token)
    return hashlib.sha256(_salt + json.dumps(parts).encode()).digest()
