"""One authenticated connection to a vCenter, shared by everything in the process that uses the same credentials."""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from datetime import timezone
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity
from pyVmomi import VmomiSupport, vim, vmodl

from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    ServerError,
)
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.proxies import proxy_for, through
from pulumi_customization_gate.refcounted import RefCounted
from pulumi_customization_gate.tls import untrusted
from pulumi_customization_gate.vsphere.faults import FAULTS, RETRYABLE, TRANSIENT, Stub, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from pulumi_customization_gate.proxies import Proxy
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

T = TypeVar("T")

_log = logging.getLogger(__name__)

CALL_TIMEOUT = 10.0
"""Seconds without a byte after which a call counts as failed."""
START_TIMEOUT = 25.0
"""Seconds in which a call is retried before the server counts as unreachable."""
LOGIN_ATTEMPTS = 2
"""How often a log-in is sent whose response is lost: the server may have counted a refused one."""
LOGOUT_TIMEOUT = 5.0
"""Seconds in which a lost log-out is retried: a session that is left behind takes half an hour to expire."""
OLDEST_VERSION = "vim.version.version12"
"""The API version (6.7) of the first call, which reads the version of the server."""
CUSTOMIZATION_INFO_SINCE = (7, 0, 2)
"""The API version that brought `guest.customizationInfo` (vSphere Web Services API, GuestInfo)."""


class Session:
    """A logged-in session; get one from `acquire`.

    Args:
        settings: Where to log in and as whom.

    Attributes:
        about: The server's AboutInfo.
        version: The API version of all calls.
        stub: The connection for all calls but long polls.
        content: The server's ServiceContent.
    """

    def __init__(self, settings: VsphereSettings) -> None:
        self.settings = settings
        self.version = OLDEST_VERSION
        self.about: Any = None
        self.stub: Any = None
        self.content: Any = None
        self._tls: ssl.SSLContext | None = None
        self._proxy: Proxy | None = None
        self._retries: list[tuple[float, str]] = []
        self._login_lock = threading.Lock()
        self._generation = 0
        self._is_closed = False

    def start(self) -> None:
        """Connects and logs in.

        Raises:
            AuthenticationError: If the credentials are refused, now or earlier in this process.
            CertificateError: If the server's certificate is not trusted.
            ServerError: If the server does not respond, or is not a vCenter.
        """
        _reject_refused(self.settings)
        self._tls = self.settings.trust.context(self.settings.called)
        self._proxy = proxy_for(*self.settings.host_and_port())
        _log.debug("calls go to %s", through(self.settings.server, self._proxy))
        self.about = self._read_about()
        self.version = _best_version(self.about.apiVersion)
        _log.debug(
            "%s is %s; API version %s", self.settings.server, sanitize(self.about.fullName), sanitize(self.version)
        )
        self.stub = self._new_stub(CALL_TIMEOUT)
        try:
            self.content = self._retry(lambda: vim.ServiceInstance("ServiceInstance", self.stub).content)
            self._retry(self._login, attempts=LOGIN_ATTEMPTS)
        except BaseException:
            self.stub.retire()
            raise

    @property
    def reports_customization_info(self) -> bool:
        """Whether this vCenter is new enough to report `guest.customizationInfo`."""
        return _numbers(self.about.apiVersion) >= CUSTOMIZATION_INFO_SINCE

    @property
    def generation(self) -> int:
        """The number of log-ins; objects that were created on the server in an earlier session are gone."""
        return self._generation

    def stub_for_long_polls(self, longest: float) -> Any:
        """Returns a second connection of the same session, for calls that the server holds open."""
        stub = self._new_stub(longest + CALL_TIMEOUT)
        stub.cookie = self.stub.cookie
        return stub

    def current_time(self) -> datetime:
        """Returns the server's time."""
        now: datetime = vim.ServiceInstance("ServiceInstance", self.stub).CurrentTime()
        return now.astimezone(timezone.utc)

    def with_retries(self, call: Callable[[], T]) -> T:
        """Makes calls that only read; retries after network errors, and logs in again where the session ended.

        Raises:
            ServerError: If the server does not respond within START_TIMEOUT seconds.
        """

        def attempt() -> T:
            generation = self.generation
            try:
                return call()
            except vim.fault.NotAuthenticated:
                _log.debug("%s: session not authenticated; logging in again", self.settings.server)
                self.log_in_again(generation)
                return call()

        return self._retry(attempt)

    def retries_since(self, since: float) -> list[str]:
        """Returns why calls were retried, a sentence each.

        Args:
            since: Retries before this time, by the monotonic clock, are left out.
        """
        return [said for at, said in self._retries if at >= since]

    def describe(self, error: BaseException) -> str:
        """Returns an error in one line; a server may repeat what it was sent, so the password is replaced."""
        text, password = describe(error), self.settings.password
        if self._proxy is not None and isinstance(error, TRANSIENT):
            text += f", through the proxy {self._proxy}"
        return text.replace(password, "[secret]") if password else text

    def log_in_again(self, generation: int) -> None:
        """Logs in anew unless another thread has done so since the given generation.

        Raises:
            AuthenticationError: If the credentials are refused now.
        """
        with self._login_lock:
            if generation == self._generation and not self._is_closed:
                self._end_session(0)
                self._login()

    def log_out(self) -> None:
        """Ends the session on the server if it can still be reached; the session cannot log in again."""
        with self._login_lock:
            self._is_closed = True
            self._end_session(LOGOUT_TIMEOUT)
            self.stub.retire()

    def _end_session(self, longest: float) -> None:
        """Logs out, on a new connection: one that was idle for long may have been dropped silently.

        Args:
            longest: Seconds in which it is retried.
        """

        def log_out() -> None:
            self.stub.DropConnections()
            self.content.sessionManager.Logout()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RETRYABLE),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
            stop=tenacity.stop_after_delay(longest),
            reraise=True,
        )
        try:
            retrying(log_out)
        except FAULTS as error:  # A session that has ended already is one of them.
            _log.debug("logging out of %s failed: %s", self.settings.server, self.describe(error))
        else:
            _log.debug("logged out of %s", self.settings.server)

    def _new_stub(self, timeout: float, version: str = "") -> Any:
        host, port = self.settings.host_and_port()
        return Stub(
            host=host,
            port=port,
            version=version or self.version,
            sslContext=self._tls,
            httpConnectionTimeout=timeout,
            proxy=self._proxy,
        )

    def _read_about(self) -> Any:
        """Reads the server's AboutInfo, which needs no log-in."""
        stub = self._new_stub(CALL_TIMEOUT, OLDEST_VERSION)

        def ask() -> Any:
            return vim.ServiceInstance("ServiceInstance", stub).RetrieveContent().about

        try:
            about = self._retry(ask)
        finally:
            stub.DropConnections()
        if about.apiType != "VirtualCenter":
            raise ServerError(
                f"{self.settings.server} is {sanitize(about.fullName)}, not a vCenter: an ESXi host raises no "
                f"customization events. Set {self.settings.called['vsphereServer']} to the vCenter that manages it."
            )
        return about

    def _retry(self, call: Callable[[], T], attempts: int = sys.maxsize) -> T:
        """Retries a call after network errors, for at most START_TIMEOUT seconds and so many attempts."""
        server, began = self.settings.server, time.monotonic()

        def record(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if error is None:
                return
            _log.debug("%s: attempt %d failed: %s", server, state.attempt_number, self.describe(error))
            if state.attempt_number == 1:
                self._retries.append((time.monotonic(), f"{server}: {self.describe(error)}; retrying"))

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_retryable),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=3),
            stop=tenacity.stop_after_delay(START_TIMEOUT - CALL_TIMEOUT) | tenacity.stop_after_attempt(attempts),
            before_sleep=record,
            reraise=True,
        )
        try:
            answer = retrying(call)
        except ssl.SSLCertVerificationError as error:
            raise untrusted(through(self.settings.server, self._proxy), self.settings.called, error) from None
        except TRANSIENT as error:
            elapsed = duration(time.monotonic() - began)
            raise ServerError(f"{server} did not respond within {elapsed}: {self.describe(error)}.") from None
        except vmodl.MethodFault as error:
            raise ApiError(f"{server} returned {self.describe(error)}.", code=type(error).__name__) from None
        if retrying.statistics.get("attempt_number", 1) > 1:
            self._retries.append((time.monotonic(), f"{server}: responded after {duration(time.monotonic() - began)}"))
        return answer

    def _login(self) -> None:
        _reject_refused(self.settings)
        # A log-in within a session that is still valid fails as one with a wrong password does.
        self.stub.cookie = ""
        try:
            self.content.sessionManager.Login(self.settings.user, self.settings.password)
        except vim.fault.InvalidLogin:
            _refused.add(self.settings)
            _reject_refused(self.settings)
        except vim.fault.NoPermission:
            raise AuthenticationError(
                f"{self.settings.server} knows {self.settings.user} but grants no permission at all. "
                "Grant the role Read-only on the virtual machines and their folder."
            ) from None
        self._generation += 1
        _log.debug("logged in to %s as %s", self.settings.server, self.settings.user)


_refused: set[VsphereSettings] = set()


def _started(settings: VsphereSettings) -> Session:
    session = Session(settings)
    session.start()
    return session


_sessions: RefCounted[VsphereSettings, Session] = RefCounted(_started, Session.log_out)


def acquire(settings: VsphereSettings) -> AbstractContextManager[Session]:
    """Shares the session of these settings; the first user logs in, the last one logs out.

    Raises:
        AuthenticationError: If the credentials are refused, now or earlier in this process.
        CertificateError: If the server's certificate is not trusted.
        ServerError: If the server does not respond, or is not a vCenter.
    """
    return _sessions.acquire(settings)


def _reject_refused(settings: VsphereSettings) -> None:
    """Raises an error for refused credentials instead of sending them again: a few attempts lock an account."""
    if settings in _refused:
        raise AuthenticationError(
            f"{settings.server} refused the user name or password of {settings.user}. They were sent once and are not "
            f"sent again: correct the password ({settings.called['password']}), then try again."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Returns a version as four numbers: 7.0.2 and 7.0.2.0 are one."""
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    return tuple([*numbers, 0, 0, 0, 0][:4])


def _best_version(api_version: str) -> str:
    """Returns the newest API version that both the server and pyVmomi support."""
    known = {
        name: _numbers(VmomiSupport.versionIdMap[name])
        for name in VmomiSupport.nsMap
        if name.startswith("vim.version.") and VmomiSupport.versionIdMap[name].replace(".", "").isdigit()
    }
    fitting = [name for name, numbers in known.items() if numbers <= _numbers(api_version)]
    return max(fitting, key=known.__getitem__, default=OLDEST_VERSION)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, RETRYABLE) and not isinstance(error, ssl.SSLCertVerificationError)
