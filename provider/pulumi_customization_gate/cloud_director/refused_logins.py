"""The logins that servers refused in this process: none is sent again, because that would lock the account."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.core.errors import AuthenticationError
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from pulumi_customization_gate.cloud_director.connection import Answer
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

_salt = secrets.token_bytes(16)
_refused: dict[bytes, str] = {}
"""The message for each refused login, by a salted hash: the secret itself is not kept."""


def check(settings: CloudDirectorSettings) -> None:
    """Lets a login pass that was not refused yet.

    Raises:
        AuthenticationError: If the same credentials were refused by the same server before.
    """
    if message := _refused.get(digest(settings)):
        raise AuthenticationError(message)


def record_refusal(settings: CloudDirectorSettings, answer: Answer) -> AuthenticationError:
    """Records a login that the server refused and returns the error that says so."""
    code, message = representations.error(answer.body)
    reason = f": {settings.without_secrets(message or code)}" if message or code else ""
    text = f"refuses {_login(settings)} ({answer.status}{reason}){answer.number}"
    if settings.api_token:
        text += ". A service account's API token is replaced at each use, so an earlier run may have consumed this one"
    return _record(settings, text)


def rotation(settings: CloudDirectorSettings) -> str:
    """Returns the sentence about an API token that the server replaced at its use."""
    called = settings.called
    return (
        f"{settings.address} replaced the API token of {sanitize(settings.org)} at this login, as it does for a "
        f"service account: the token in {called['apiToken']} has been consumed, and the next run will be refused. Use "
        f"an API token that belongs to a user, or {called['user']} with {called['password']}."
    )


def record_useless(settings: CloudDirectorSettings, times: int, problem: str) -> AuthenticationError:
    """Records a login that was sent several times in a row to no effect and returns the error that says so.

    Args:
        settings: The server and the login.
        times: How often it was sent.
        problem: What came of it the last time.
    """
    return _record(settings, f"was sent {_login(settings)} {times} times in a row, and each time {problem}")


def _record(settings: CloudDirectorSettings, event: str) -> AuthenticationError:
    names = ["org", "apiToken"] if settings.api_token else ["org", "user", "password"]
    text = (
        f"{settings.address} {event}. Check {', '.join(settings.called[name] for name in names)}: "
        "the same credentials are not sent again by this process."
    )
    _refused[digest(settings)] = text
    return AuthenticationError(text)


def _login(settings: CloudDirectorSettings) -> str:
    if settings.api_token:
        return f"the API token of {sanitize(settings.org)}"
    return f"the login of {sanitize(settings.user)}@{sanitize(settings.org)}"


def digest(settings: CloudDirectorSettings) -> bytes:
    """Returns what identifies credentials within this process, without holding them."""
    parts = (settings.address, settings.org, settings.user, settings.password, settings.api_token)
    return hashlib.sha256(_salt + json.dumps(parts).encode()).digest()
