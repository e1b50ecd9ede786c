"""The login to a vCenter, on a connection of its own: a directory may take minutes to check a password.

Whoever no longer waits for the response leaves the call to its thread, which logs the session out if it comes late, and
records a refusal.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ServerError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.vsphere import refused_logins
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import FAULTS, RETRYABLE

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from pulumi_customization_gate.vsphere.faults import Stub
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

_log = logging.getLogger(__name__)

LOGIN_TIMEOUT = 120.0
"""The least seconds that a login may take; it may take longer while a wait goes on that needs it."""
LATEST_RESPONSE = 3600.0
"""Seconds after which the response to a login is no longer expected, and its session no longer logged out."""
SLOW_LOGIN = 5.0
"""Seconds after which a login counts as slow, which messages then say."""
SHORT_SESSION = 60.0
"""Seconds within which a session that ends counts as short."""
FIRST_PAUSE = 0.2
"""Seconds between the end of a short session and the next login; after each further one the pause is longer."""
MAX_SHORT_SESSIONS = 12
"""Short sessions in succession after which there is no further login, after about a minute."""

_pending: dict[VsphereSettings, float] = {}
"""Since when a login has been waiting for its response, by the monotonic clock."""
_unlimited: Counter[VsphereSettings] = Counter()
"""How many waits need a session, however long the login takes."""


def log_in(
    settings: VsphereSettings, connect: Callable[[float], Stub], manager: Any, is_closed: threading.Event
) -> str:
    """Logs in; sends credentials that worked before again where they are refused.

    Args:
        settings: Who logs in, and where.
        connect: Returns a new connection with the given time-out.
        manager: The server's SessionManager.
        is_closed: Is set when the session has no user any more.

    Returns:
        The session's cookie.

    Raises:
        AuthenticationError: If the credentials are refused, now or earlier in this process.
        ServerError: If no response came in time.
        OSError, http.client.HTTPException, vmodl.MethodFault: As the call does.
    """
    while True:
        if (other := refused_logins.claim(settings)) is not None:
            _wait(other, settings, is_closed)
            continue
        if left := refused_logins.pause(settings):
            if is_closed.wait(left):
                raise ServerError(f"the login to {settings.server} was cancelled")
            continue  # Another session may have sent them meanwhile.
        try:
            cookie = _Attempt(settings, connect, manager).run(is_closed)
        except vim.fault.InvalidLogin:
            refused_logins.check(settings)
            _log.debug("%s refused credentials that worked before", settings.server)
        except vim.fault.NoPermission:
            raise AuthenticationError(
                f"{settings.server} knows {settings.user} but grants no permission at all. "
                "Grant the role Read-only on the virtual machines and their folder."
            ) from None
        else:
            return cookie


def log_out(stub: Stub, manager: Any, longest: float) -> None:
    """Logs out, on a new connection: one that was idle for long may have been dropped silently.

    Args:
        stub: The session's connections.
        manager: The server's SessionManager.
        longest: Seconds in which it is retried.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the call does.
    """
    deadline = time.monotonic() + longest
    for pause in backoff(0.1, 1.0):
        stub.DropConnections()
        try:
            manager.Logout()
        except RETRYABLE:
            if time.monotonic() + pause >= deadline:
                raise
        else:
            return
        time.sleep(pause)


class Pace:
    """The pauses between the logins of one session, and their bound."""

    def __init__(self) -> None:
        self._last = 0.0
        self._short_sessions = 0
        self._is_counted = False
        """Whether the end of the last session is counted: a login that fails begins no other one."""
        self._pauses = backoff(FIRST_PAUSE, SHORT_SESSION)

    def logged_in(self) -> None:
        """Records a login."""
        self._last, self._is_counted = time.monotonic(), False

    def wait(self, settings: VsphereSettings, is_closed: threading.Event) -> None:
        """Waits before another login, the longer the more sessions in succession were short.

        Raises:
            ApiError: If there were more than MAX_SHORT_SESSIONS.
        """
        if time.monotonic() - self._last >= SHORT_SESSION:
            self._short_sessions, self._pauses = 0, backoff(FIRST_PAUSE, SHORT_SESSION)
            return
        self._short_sessions += not self._is_counted
        self._is_counted = True
        if self._short_sessions > MAX_SHORT_SESSIONS:
            raise ApiError(
                f"{settings.server} accepts the login of {settings.user}, but {MAX_SHORT_SESSIONS} sessions in "
                "succession ended at once. Check whether a proxy or load balancer removes cookies or changes the "
                "server between two calls, and whether an administrator or a limit ends the sessions of this user.",
                code=vim.fault.NotAuthenticated.__name__,
            )
        is_closed.wait(next(self._pauses))


@contextlib.contextmanager
def unlimited_login(settings: VsphereSettings) -> Iterator[None]:
    """Lets logins take as long as this `with` block lasts, however long that is."""
    _unlimited[settings] += 1
    try:
        yield
    finally:
        _unlimited[settings] -= 1


def slow_login(settings: VsphereSettings) -> str:
    """Returns a sentence about a login that is waiting for its response, empty where it does not take long."""
    since = _pending.get(settings)
    elapsed = 0.0 if since is None else time.monotonic() - since
    return _slow(settings, elapsed) if elapsed >= SLOW_LOGIN else ""


def _slow(settings: VsphereSettings, elapsed: float) -> str:
    return (
        f"{settings.server} has not answered the login of {settings.user} for {duration(elapsed)}; a slow identity "
        "source, for example Active Directory, is a common cause"
    )


def _wait(answer: Future[Any], settings: VsphereSettings, is_closed: threading.Event) -> None:
    """Waits until a login has its answer.

    Raises:
        ServerError: If it does not come in time.
    """
    began = _pending[settings] = time.monotonic()

    def is_late() -> bool:
        return time.monotonic() - began >= LOGIN_TIMEOUT and not _unlimited[settings]

    try:
        is_done = wait_until_done(answer, cancelled=lambda: is_closed.is_set() or is_late())
    finally:
        _pending.pop(settings, None)
    if not is_done:
        raise ServerError(f"{_slow(settings, time.monotonic() - began)}.")


class _Attempt:
    def __init__(self, settings: VsphereSettings, connect: Callable[[float], Stub], manager: Any) -> None:
        self._settings = settings
        # A login within a session that is still valid fails as one with a wrong password does: this stub has none.
        self._stub = connect(LATEST_RESPONSE)
        self._manager: Any = vim.SessionManager(moid_of(manager), self._stub)

    def run(self, is_closed: threading.Event) -> str:
        with contextlib.closing(Background("customization-gate-login")) as background:
            calling = background.submit(self._call)
            calling.add_done_callback(lambda _: refused_logins.record_answer(self._settings))
            try:
                _wait(calling, self._settings, is_closed)
            except ServerError:
                calling.add_done_callback(self._log_out_late)
                raise
        return calling.result()

    def _call(self) -> str:
        """Logs in, and records whether the credentials worked, also if nobody waits for it any more."""
        try:
            self._manager.Login(self._settings.user, self._settings.password)
        except vim.fault.InvalidLogin:
            refused_logins.record_refusal(self._settings)
            raise
        else:
            refused_logins.record_success(self._settings)
            return str(self._stub.cookie)
        finally:
            self._stub.retire()

    def _log_out_late(self, calling: Future[str]) -> None:
        if calling.exception() is None:
            with contextlib.suppress(*FAULTS):
                self._manager.Logout()
                _log.debug("logged out of %s: its response came too late", self._settings.server)
