"""The logins that vCenters refused in this process: a few attempts lock an account.

A password that never worked is sent once, also if two gates with other certificate settings begin at the same time: the
second waits for the answer to the first. One that worked may be refused while single sign-on starts after a restart
of the vCenter, so it is sent again RETRIES times, RETRY_INTERVAL seconds apart: fewer than the five refusals within
three minutes after which vCenter Single Sign-On locks an account by default.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import AuthenticationError

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

RETRIES = 3
"""How often credentials that worked before are sent again."""
RETRY_INTERVAL = 60.0
"""The least seconds between two logins of which the first was refused."""

_salt = secrets.token_bytes(16)
_lock = threading.RLock()
_accepted: set[bytes] = set()
_unanswered: dict[bytes, Future[None]] = {}
"""The logins under way with credentials that have never worked; each future is done once the login has its answer."""
_refusals: dict[bytes, _Refusals] = {}
"""The refusals since credentials last worked, by a salted hash: the password itself is not kept."""


@dataclass
class _Refusals:
    count: int = 0
    next_at: float = 0.0
    """When the credentials may be sent again, by the monotonic clock."""


def claim(settings: VsphereSettings) -> Future[None] | None:
    """Returns None if credentials may be sent, or a login with the same ones that is to be waited for first.

    Credentials that have never worked are then the caller's alone, until `record_answer`.

    Raises:
        AuthenticationError: If they were refused before, and for the last time.
    """
    digest = _digest(settings)
    with _lock:
        check(settings)
        if digest in _accepted:
            return None
        if digest not in _unanswered:
            _unanswered[digest] = Future()
            return None
        return _unanswered[digest]


def record_answer(settings: VsphereSettings) -> None:
    """Records that a login has its answer, whatever it is, or will get none."""
    with _lock:
        claimed = _unanswered.pop(_digest(settings), None)
    if claimed is not None:
        claimed.set_result(None)


def pause(settings: VsphereSettings) -> float:
    """Returns the seconds until credentials may be sent; with 0 that moment is the caller's, and others come later."""
    with _lock:
        refusals, now = _refusals.get(_digest(settings)), time.monotonic()
        if refusals is not None and refusals.next_at > now:
            return refusals.next_at - now
        if refusals is not None:
            refusals.next_at = now + RETRY_INTERVAL
        return 0.0


def check(settings: VsphereSettings) -> None:
    """Lets credentials pass that may be sent.

    Raises:
        AuthenticationError: If they were refused before, and for the last time.
    """
    digest = _digest(settings)
    with _lock:
        was_accepted, refusals = digest in _accepted, _refusals.get(digest, _Refusals()).count
    if refusals <= (RETRIES if was_accepted else 0):
        return
    sent = (
        f"They worked earlier in this run and have been refused {refusals} times since, so they are not sent again"
        if was_accepted
        else "They were sent once and are not sent again"
    )
    raise AuthenticationError(
        f"{settings.server} refused the user name or password of {settings.user}. {sent}: "
        f"correct the password ({settings.called['password']}), then try again."
    )


def record_refusal(settings: VsphereSettings) -> None:
    """Records that the credentials were refused."""
    with _lock:
        refusals = _refusals.setdefault(_digest(settings), _Refusals())
        refusals.count += 1
        refusals.next_at = max(refusals.next_at, time.monotonic() + RETRY_INTERVAL)


def record_success(settings: VsphereSettings) -> None:
    """Records that the credentials worked."""
    digest = _digest(settings)
    with _lock:
        _accepted.add(digest)
        _refusals.pop(digest, None)


def _digest(settings: VsphereSettings) -> bytes:
    parts = (settings.address, settings.user, settings.password)
    return hashlib.sha256(_salt + json.dumps(parts).encode()).digest()
