"""The guest logins of this process: a password that a guest refused is not sent again, so no account is locked.

A domain account is one account for all VMs: what one guest refused is not sent to another. A local account, for
example root, may have another password in each VM, so its refusals count for one VM alone. Until a password has worked
it is sent to one guest at a time, however many scripts wait for it.

In the first minutes after a gate opened, the guest may not have set up the account yet, or not have joined its domain.
Then a password is sent again RETRIES times, RETRY_INTERVAL seconds apart, before its refusal is final.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import CANCEL_CHECK_INTERVAL
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.guest.errors import GuestLoginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.vsphere.guest.deadline import Deadline

RETRIES = 3
"""How often a refused password is sent again in the first minutes after a gate opened."""
RETRY_INTERVAL = 20.0
"""Seconds between two of those logins."""
FIRST_MINUTES = 300.0
"""Seconds after the opening of a gate in which a guest may still set up accounts."""

_salt = secrets.token_bytes(16)
_lock = threading.Lock()
_accounts: dict[bytes, _Account] = {}
"""By a salted hash of the account and its password: the password itself is not kept."""
_opened: dict[str, float] = {}
"""When a gate opened for a VM, by the monotonic clock."""


class _Account:
    """What is known of one account with one password."""

    def __init__(self) -> None:
        self.sending = threading.Lock()
        self.worked = False
        self.refusals = 0
        self.error = ""


def gate_opened(server_id: str, moid: str) -> None:
    """Records that a gate opened for a VM just now."""
    with _lock:
        _opened[f"{server_id.lower()}/{moid}"] = time.monotonic()


def is_domain_account(user: str) -> bool:
    r"""Returns whether a user name is one of a domain: `DOMAIN\user` or `user@domain`; `.\user` is local."""
    domain, backslash, _ = user.partition("\\")
    return bool(backslash and domain not in ("", ".")) or "@" in user


def log_in(
    vm: str, user: str, password: str, deadline: Deadline, *, send: Callable[[], None], notify: Callable[[str], None]
) -> None:
    """Sends a password to a guest, unless it was refused before.

    Args:
        vm: The identity of the VM: its vCenter's and its managed object ID, with a slash between, and more after it.
        user: Who logs in.
        password: The password.
        deadline: How long the work may take.
        send: Sends it.
        notify: Takes a sentence about what the work waits for.

    Raises:
        GuestLoginError: If it is refused, or was.
        GuestTimeoutError, GuestCancelledError: If the work has to end.
    """
    server_id, moid = vm.split("/")[:2]
    place = f"{server_id.lower()}/{moid}"
    account = _account("" if is_domain_account(user) else place, user, password)
    if account.worked:
        # One guest that refuses what another took, for example because it has not joined the domain, is alone in that.
        account = _account(place, user, password) if is_domain_account(user) else account
    if account.worked:
        _send(account, place, deadline, send, notify)
        return
    while not account.sending.acquire(timeout=CANCEL_CHECK_INTERVAL):
        deadline.check("another login with the same account is waiting for its answer")
    try:
        _send(account, place, deadline, send, notify)
    finally:
        account.sending.release()


def _send(
    account: _Account,
    place: str,
    deadline: Deadline,
    send: Callable[[], None],
    notify: Callable[[str], None],
) -> None:
    while True:
        if account.error:
            raise GuestLoginError(
                f"{account.error}. The same password is not sent again by this run, because that would lock the account"
            )
        try:
            send()
        except GuestLoginError as error:
            account.refusals += 1
            if account.refusals > RETRIES or not _is_new(place):
                account.error = str(error)
                raise
            notify(f"{error}: the account may not be set up yet; sending the password again in {RETRY_INTERVAL:g} s")
            deadline.pause(RETRY_INTERVAL, str(error))
        else:
            account.worked, account.refusals = True, 0
            return


def _is_new(place: str) -> bool:
    with _lock:
        opened = _opened.get(place)
    return opened is not None and time.monotonic() - opened < FIRST_MINUTES


def _account(place: str, user: str, password: str) -> _Account:
    parts = (place, sanitize(user).casefold(), password)
    digest = hashlib.sha256(_salt + json.dumps(parts).encode()).digest()
    with _lock:
        return _accounts.setdefault(digest, _Account())
