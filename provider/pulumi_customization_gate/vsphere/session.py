"""One authenticated connection to a vCenter, shared by everything in the process that uses the same credentials."""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from datetime import timezone
from typing import TYPE_CHECKING, Any, TypeVar

from pyVmomi import vim

from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import ApiError, ServerError
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.proxies import proxy_for, through
from pulumi_customization_gate.refcounted import RefCounted
from pulumi_customization_gate.tls import untrusted
from pulumi_customization_gate.vsphere import api_version, login, refused_logins
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import (
    FAULTS,
    RETRYABLE,
    TRANSIENT,
    SessionCookie,
    SessionStub,
    Stub,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from pulumi_customization_gate.core.errors import CertificateError
    from pulumi_customization_gate.proxies import Proxy
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

T = TypeVar("T")

_log = logging.getLogger(__name__)

CALL_TIMEOUT = 10.0
"""Seconds without a byte after which a call counts as failed."""
EVENT_QUERY_TIMEOUT = 60.0
"""The same for a query of events, which a database answers."""
START_TIMEOUT = 25.0
"""Seconds in which a call is retried before the server counts as unreachable."""
LOGIN_ATTEMPTS = 2
"""How often a login is sent whose response is lost: the server may have counted a refused one."""
LOGOUT_TIMEOUT = 5.0
"""Seconds in which a lost logout is retried: a session that is left behind takes half an hour to expire."""


class Session:
    """A logged-in session; get one from `acquire`.

    Args:
        settings: Where to log in and as whom.

    Attributes:
        about: The server's AboutInfo.
        version: The API version of all calls.
        stub: The connection for all calls but long polls and queries of events.
        content: The server's ServiceContent.
    """

    def __init__(self, settings: VsphereSettings) -> None:
        self.settings = settings
        self.version = api_version.OLDEST
        self.about: Any = None
        self.stub: Any = None
        self.content: Any = None
        self._tls: ssl.SSLContext | None = None
        self._proxy: Proxy | None = None
        self._cookie = SessionCookie()
        self._query_stub: Any = None
        self._retries: list[tuple[float, str]] = []
        self._login_lock = threading.Lock()
        self._generation = 0
        self._pace = login.Pace()
        self._is_closed = threading.Event()

    def start(self) -> None:
        """Connects and logs in.

        Raises:
            AuthenticationError: If the credentials are refused, now or earlier in this process.
            CertificateError: If the server's certificate is not trusted.
            ServerError: If the server does not respond, or is not a vCenter that is supported.
        """
        refused_logins.check(self.settings)
        self._tls = self.settings.trust.context(self.settings.called)
        self._proxy = proxy_for(*self.settings.host_and_port())
        _log.debug("calls go to %s", through(self.settings.server, self._proxy))
        self.about = self._read_about()
        self.version = api_version.best(self.about.apiVersion)
        _log.debug("%s is %s; API version %s", self.settings.server, sanitize(self.about.fullName), self.version)
        self.stub = self._stub(CALL_TIMEOUT, session_cookie=self._cookie)
        self._query_stub = self._stub(EVENT_QUERY_TIMEOUT, session_cookie=self._cookie)
        try:
            self.content = self._retry(lambda: vim.ServiceInstance("ServiceInstance", self.stub).content)
            self._retry(self._log_in, attempts=LOGIN_ATTEMPTS)
        except BaseException:
            self._retire()
            raise

    @property
    def reports_customization_info(self) -> bool:
        """Whether this vCenter is new enough to report `guest.customizationInfo`."""
        return api_version.numbers(self.about.apiVersion) >= api_version.CUSTOMIZATION_INFO_SINCE

    @property
    def generation(self) -> int:
        """The number of logins; objects that were created on the server in an earlier session are gone."""
        return self._generation

    @property
    def event_queries(self) -> Any:
        """The server's EventManager, on a connection that waits EVENT_QUERY_TIMEOUT seconds for a response."""
        return vim.event.EventManager(moid_of(self.content.eventManager), self._query_stub)

    def stub_for_long_polls(self, longest: float) -> Any:
        """Returns another connection of the same session, for calls that the server holds open."""
        return self._stub(longest + CALL_TIMEOUT, session_cookie=self._cookie)

    def current_time(self) -> datetime:
        """Returns the server's time."""
        now: datetime = vim.ServiceInstance("ServiceInstance", self.stub).CurrentTime()
        return now.astimezone(timezone.utc)

    def with_retries(self, call: Callable[[], T], given_up: threading.Event | None = None) -> T:
        """Makes calls that only read; retries after network errors, and logs in again where the session ended.

        Args:
            call: It is made again.
            given_up: Set once nobody waits for the response; by default that is the end of the session.

        Raises:
            ApiError: If the server answers with a fault, or ends one session after the other.
            ServerError: If the server does not respond within START_TIMEOUT seconds, or nobody waits any more.
        """

        def attempt() -> T:
            while True:
                generation = self.generation
                try:
                    return call()
                except vim.fault.NotAuthenticated:
                    if self._is_closed.is_set():
                        raise
                    # Another thread may have replaced the session meanwhile: then the call is made in the new one.
                    self.log_in_again(generation)

        return self._retry(attempt, given_up=given_up)

    def retries_since(self, since: float) -> list[str]:
        """Returns why calls were retried, a sentence each.

        Args:
            since: Retries before this time, by the monotonic clock, are left out.
        """
        return [note for at, note in self._retries if at >= since]

    def describe(self, error: BaseException) -> str:
        """Returns an error in one line; a server may repeat what it was sent, so the password is replaced."""
        text, password = describe(error), self.settings.password
        if self._proxy is not None and isinstance(error, TRANSIENT):
            text += f", through the proxy {self._proxy}"
        return text.replace(password, "[secret]") if password else text

    def untrusted(self, error: BaseException) -> CertificateError:
        """Returns the error for a certificate of the server that is not trusted, with the proxy in use."""
        return untrusted(through(self.settings.server, self._proxy), self.settings.called, error)

    def log_in_again(self, generation: int) -> None:
        """Logs in anew unless another thread has done so since the given generation.

        Raises:
            ApiError: If one session after the other ends at once.
            AuthenticationError: If the credentials are refused now.
        """
        with self._login_lock:
            if generation != self._generation or self._is_closed.is_set():
                return
            self._pace.wait(self.settings, self._is_closed)
            if self._is_closed.is_set():
                return  # A login that nobody waits for would leave a session behind until its response comes.
            self._end_session(0)
            self._log_in()

    def log_out(self) -> None:
        """Ends the session on the server if it can still be reached; the session cannot log in again."""
        self._is_closed.set()
        with self._login_lock:
            self._end_session(LOGOUT_TIMEOUT)
            self._retire()

    def _retire(self) -> None:
        self.stub.retire()
        self._query_stub.retire()

    def _end_session(self, longest: float) -> None:
        """Logs out; a lost logout is retried for so many seconds."""
        try:
            login.log_out(self.stub, self.content.sessionManager, longest)
            _log.debug("logged out of %s", self.settings.server)
        except FAULTS as error:  # A session that has ended already is one of them.
            _log.debug("logging out of %s failed: %s", self.settings.server, self.describe(error))

    def _log_in(self) -> None:
        began = time.monotonic()
        self._cookie.value = login.log_in(self.settings, self._stub, self.content.sessionManager, self._is_closed)
        self._generation += 1
        self._pace.logged_in()
        took = time.monotonic() - began
        if took >= login.SLOW_LOGIN:
            self._retries.append((time.monotonic(), f"{self.settings.server}: the login took {duration(took)}"))
        _log.debug("logged in to %s as %s in %.1f s", self.settings.server, self.settings.user, took)

    def _stub(self, timeout: float, version: str = "", **session: SessionCookie) -> Any:
        host, port = self.settings.host_and_port()
        return (SessionStub if session else Stub)(
            host=host,
            port=port,
            version=version or self.version,
            sslContext=self._tls,
            httpConnectionTimeout=timeout,
            proxy=self._proxy,
            **session,
        )

    def _read_about(self) -> Any:
        """Reads the server's AboutInfo, which needs no login."""
        try:
            about = self._about(api_version.OLDEST)
        except ApiError:
            # A server does not answer a version that it does not know, also not with its own.
            about = self._about(api_version.ANCIENT)
            if not api_version.is_too_old(about.apiVersion):
                raise
        called, name = self.settings.called["vsphereServer"], f"{self.settings.server} is {sanitize(about.fullName)}"
        if about.apiType != "VirtualCenter":
            raise ServerError(
                f"{name}, not a vCenter: an ESXi host raises no customization events. "
                f"Set {called} to the vCenter that manages it."
            )
        if api_version.is_too_old(about.apiVersion):
            raise ServerError(f"{name}, which is older than 6.7, the oldest version that is supported.")
        return about

    def _about(self, version: str) -> Any:
        stub = self._stub(CALL_TIMEOUT, version)
        try:
            return self._retry(lambda: vim.ServiceInstance("ServiceInstance", stub).RetrieveContent().about)
        finally:
            stub.DropConnections()

    def _retry(self, call: Callable[[], T], attempts: int = sys.maxsize, given_up: threading.Event | None = None) -> T:
        """Retries a call after network errors, for at most START_TIMEOUT seconds and so many attempts."""
        server, began = self.settings.server, time.monotonic()
        for attempt, pause in enumerate(backoff(0.2, 3.0), 1):
            try:
                answer = call()
            except FAULTS as error:  # noqa: PERF203 -- an attempt takes far longer than the frame
                is_over = attempt >= attempts or time.monotonic() >= began + START_TIMEOUT - CALL_TIMEOUT
                if is_over or not isinstance(error, RETRYABLE) or isinstance(error, ssl.SSLCertVerificationError):
                    raise self._final(error, began) from None
                _log.debug("%s: attempt %d failed: %s", server, attempt, self.describe(error))
                if attempt == 1:
                    self._retries.append((time.monotonic(), f"{server}: {self.describe(error)}; retrying"))
                if (given_up or self._is_closed).wait(pause):
                    raise self._final(error, began) from None
            else:
                if attempt > 1:
                    now = time.monotonic()
                    self._retries.append((now, f"{server}: responded after {duration(now - began)}"))
                return answer
        raise AssertionError("the pauses never end")

    def _final(self, error: BaseException, began: float) -> ServerError:
        """Returns the error for the user of a call that is not retried."""
        server = self.settings.server
        if isinstance(error, ssl.SSLCertVerificationError):
            return self.untrusted(error)
        if isinstance(error, TRANSIENT):
            problem = f"{server} did not respond within {duration(time.monotonic() - began)}"
            return ServerError(f"{problem}: {self.describe(error)}.")
        return ApiError(f"{server} returned {self.describe(error)}.", code=type(error).__name__)


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
        ServerError: If the server does not respond, or is not a vCenter that is supported.
    """
    return _sessions.acquire(settings)
