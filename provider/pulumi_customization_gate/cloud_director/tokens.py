"""Access tokens, and the answers of a login that hold one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.representations import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "X-VMWARE-VCLOUD-ACCESS-TOKEN"
"""The header of the answer to a login with a password that holds the token."""
SHORTEST_LIFETIME = 1.0
"""Seconds. A shorter `expires_in`, zero and negative ones included, is not taken for a lifetime."""
RENEW_AHEAD = 30.0
"""Seconds before the end of a token's lifetime at which a new one is asked for; a tenth of a short lifetime."""


@dataclass(frozen=True)
class Token:
    """An access token."""

    value: str = field(repr=False)
    renew_at: float = math.inf
    """By the monotonic clock. Infinite where the server does not say: the token is used until a request gets a 401."""


def of_login(headers: Mapping[str, str]) -> Token:
    """Returns the token of the answer to a login with a password.

    Raises:
        MalformedError: If there is none.
    """
    value = headers.get(HEADER, "")
    if not value:
        raise MalformedError("it has no access token in its headers", is_final=True)
    return Token(value)


def of_exchange(body: bytes, asked: float) -> Token:
    """Returns the token of the answer to an API token (RFC 6749, section 5.1: `expires_in` is optional).

    Args:
        body: The answer's body.
        asked: When it was asked for, by the monotonic clock.

    Raises:
        MalformedError: If there is none.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise MalformedError("it has no access token", is_final=True)
    lifetime = _lifetime(answer.get("expires_in"))
    return Token(value, asked + lifetime - min(RENEW_AHEAD, lifetime / 10) if lifetime < math.inf else math.inf)


def successor(body: bytes, sent: str) -> str | None:
    """Returns the API token that replaces the one that was sent, None where that stays valid.

    A service account's is replaced at each use (RFC 6749, section 6: a new `refresh_token` may be issued).
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = answer.get("refresh_token") if isinstance(answer, dict) else None
    return value if isinstance(value, str) and value not in ("", sent) else None


def _lifetime(value: object) -> float:
    """Returns the seconds until a token expires; infinite where the response has no number of usable size."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.inf
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return math.inf
    return seconds if seconds >= SHORTEST_LIFETIME else math.inf
