"""The login at one Cloud Director, shared by all gates of the process that use the same settings."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from pulumi_customization_gate.cloud_director import refusals, representations
from pulumi_customization_gate.cloud_director.connection import (
    CALLED,
    LARGEST_ANSWER,
    Answer,
    CloudDirectorSettings,
    Connection,
    UnreachableError,
)
from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.errors import ApiError, ServerError
from pulumi_customization_gate.core.report import plain
from pulumi_customization_gate.refcounted import RefCounted

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

__all__ = ["CALLED", "BusyError", "CloudDirectorSettings", "Session", "acquire", "is_passing"]

T = TypeVar("T")

CONCURRENCY = 10
"""Requests under way at once on one server, for all gates of the process."""
OLDEST_VERSION, NEWEST_VERSION = (36, 0), (39, 99)
"""API versions that this was written for: 36.0 (Cloud Director 10.3) brought the logout used here, and 40.0 is another
product's."""
LONGEST_PAUSE = 60.0
"""Seconds for which a server's Retry-After is obeyed at most."""
LOGOUT_TIMEOUT = 2.0
"""Seconds that a logout may take: the session would die by itself."""
_RENEWALS = 3
"""Logins that one request may cost before its 401 counts: other threads' tokens may expire in between."""
_SESSIONS = "/cloudapi/1.0.0/sessions"
_TOKEN_HEADER = "X-VMWARE-VCLOUD-ACCESS-TOKEN"  # noqa: S105 -- the header's name
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class BusyError(ApiError):
    """The server asks for patience: 429 or 503."""

    def __init__(self, message: str, status: int, code: str, request_id: str, retry_after: float) -> None:
        super().__init__(message, status, code, request_id)
        self.retry_after = retry_after
        """Seconds, at most LONGEST_PAUSE; 0 where the server named none."""


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed later."""
    return isinstance(error, UnreachableError) or (
        isinstance(error, ApiError) and (error.status in _PASSING or error.code == "MALFORMED")
    )


@dataclass(frozen=True)
class _Token:
    value: str
    renew_at: float = float("inf")

    def __repr__(self) -> str:
        return "_Token(...)"


class Session:
    """One login at one server. Safe to use from many threads; get it by `acquire`."""

    def __init__(self, settings: CloudDirectorSettings) -> None:
        self._settings = settings
        self._connection = Connection(settings, 2 * CONCURRENCY)  # those who start ask on their own threads
        self._background = Background("customization-gate-cloud-director", CONCURRENCY)
        self._lock = threading.Lock()
        self._login_lock = threading.Lock()
        self._version = ""
        self._token: _Token | None = None
        self._paused_until = 0.0
        self._is_closed = False

    @property
    def is_provider(self) -> bool:
        """Whether the login is that of a provider's administrator."""
        return self._settings.is_provider

    @property
    def pause(self) -> float:
        """Seconds for which the server asked not to be asked."""
        return max(0.0, self._paused_until - time.monotonic())

    def open(self) -> None:
        """Logs in unless that is done.

        Raises:
            AuthenticationError: If the server refuses the credentials, now or earlier in this process.
            ServerError: If it cannot be used.
        """
        self._valid_token()

    def get(self, path: str, largest: int = LARGEST_ANSWER) -> Answer:
        """Returns the server's good answer to one GET; logs in again where the token has expired.

        Raises:
            AuthenticationError: If the server refuses the credentials.
            ApiError: If it answers with an error or a redirect; BusyError if it asks for patience.
            ServerError: If it does not answer.
        """
        for _ in range(_RENEWALS):
            token = self._valid_token()
            accept = f"application/*+xml;version={self._version}"
            headers = {"Accept": accept, "Authorization": f"Bearer {token.value}"}
            answer = self._connection.exchange("GET", path, headers, largest=largest)
            if answer.status != _UNAUTHORIZED:
                break
            self._drop(token)
        return self._good(answer, f"GET {path.partition('?')[0]}")

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Makes a call on one of the session's threads; after `close` its future is cancelled."""
        return self._background.submit(call)

    def malformed(self, path: str, answer: Answer, why: Exception) -> ApiError:
        """Returns the error for an answer that cannot be read."""
        what = f"{self._settings.address} answered GET {path.partition('?')[0]}, but {why}"
        return ApiError(what + answer.number, answer.status, "MALFORMED", answer.request_id)

    def close(self) -> None:
        """Logs out. An error is of no interest then: the session dies by itself."""
        self._background.close()
        with self._lock:
            self._is_closed = True
            token, self._token = self._token, None
        if token is not None:
            self._log_out(token)
        self._connection.close()

    def _valid_token(self) -> _Token:
        token = self._token
        if token is not None and time.monotonic() < token.renew_at:
            return token
        with self._login_lock:
            token = self._token
            if token is None or time.monotonic() >= token.renew_at:
                if self._is_closed:
                    raise UnreachableError(f"the session at {self._settings.address} is closed")
                refusals.check(self._settings)
                if not self._version:
                    self._version = self._negotiate()
                token = self._keep(self._exchange_api_token() if self._settings.api_token else self._log_in())
            return token

    def _keep(self, token: _Token) -> _Token:
        with self._lock:
            if not self._is_closed:
                self._token = token
                return token
        # This login hung until after the logout, so nobody else would end its session.
        self._log_out(token)
        raise UnreachableError(f"the session at {self._settings.address} is closed")

    def _log_out(self, token: _Token) -> None:
        headers = {"Accept": f"application/json;version={self._version}", "Authorization": f"Bearer {token.value}"}
        with contextlib.suppress(ServerError):
            self._connection.exchange("DELETE", f"{_SESSIONS}/current", headers, total=LOGOUT_TIMEOUT)

    def _drop(self, token: _Token) -> None:
        with self._lock:
            if self._token is token:
                self._token = None

    def _negotiate(self) -> str:
        path = "/api/versions"
        answer = self._good(self._connection.exchange("GET", path, {"Accept": "application/*+xml"}), f"GET {path}")
        try:
            offered = representations.versions(answer.body)
        except representations.MalformedError as error:
            raise self.malformed(path, answer, error) from None
        known = {number: text for text in offered if (number := _number(text)) is not None}
        usable = [number for number in known if OLDEST_VERSION <= number <= NEWEST_VERSION]
        if not usable:
            raise ApiError(
                f"{self._settings.address} offers the API versions {plain(', '.join(offered), 200)}, none of which is "
                f"between {OLDEST_VERSION[0]}.0 and {NEWEST_VERSION[0]}.x, the ones that the gate speaks.",
                answer.status,
                "API_VERSION",
                answer.request_id,
            )
        return known[max(usable)]

    def _log_in(self) -> _Token:
        settings = self._settings
        path = f"{_SESSIONS}/provider" if settings.is_provider else _SESSIONS
        basic = base64.b64encode(f"{settings.user}@{settings.org}:{settings.password}".encode()).decode()
        headers = {"Accept": f"application/*;version={self._version}", "Authorization": f"Basic {basic}"}
        answer = self._connection.exchange("POST", path, headers)
        if answer.status in _REFUSED:
            raise refusals.record(settings, answer)
        value = self._good(answer, f"POST {path}").headers.get(_TOKEN_HEADER, "")
        if not value:
            raise ApiError(f"{settings.address} answered the login without a token{answer.number}", answer.status)
        return _Token(value)

    def _exchange_api_token(self) -> _Token:
        settings = self._settings
        path = (
            "/oauth/provider/token" if settings.is_provider else f"/oauth/tenant/{quote(settings.org, safe='')}/token"
        )
        form = {"grant_type": "refresh_token", "refresh_token": settings.api_token}
        headers = {"Accept": f"application/json;version={self._version}"}
        asked = time.monotonic()
        answer = self._connection.exchange("POST", path, headers, form=form)
        if answer.status in _REFUSED:
            raise refusals.record(settings, answer)
        try:
            said = json.loads(self._good(answer, f"POST {path}").body)
            value, lifetime = str(said["access_token"]), float(said.get("expires_in", "inf"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self.malformed(path, answer, ValueError("it holds no access token")) from None
        return _Token(value, asked + lifetime - min(30.0, lifetime / 10))

    def _good(self, answer: Answer, what: str) -> Answer:
        if answer.status in _GOOD:
            return answer
        address, status = self._settings.address, answer.status
        if status in _REDIRECTS:
            where = plain(answer.headers.get("Location", "nowhere"), 200)
            raise ApiError(
                f"{address} redirects {what} to {where}, where the token is not sent{answer.number}: "
                f"{self._settings.called['url']} must be the server's own address",
                status,
                "REDIRECT",
                answer.request_id,
            )
        code, message = representations.error(answer.body)
        said = " ".join(part for part in (str(status), code) if part) + (f": {message}" if message else "")
        text = f"{address} answered {what} with {said}{answer.number}"
        if status in _BUSY:
            retry_after = _seconds(answer)
            self._paused_until = max(self._paused_until, time.monotonic() + retry_after)
            raise BusyError(text, status, code, answer.request_id, retry_after)
        raise ApiError(text, status, code, answer.request_id)


_GOOD = range(200, 300)
_REDIRECTS = range(300, 400)
_UNAUTHORIZED = 401
_REFUSED = (400, 401, 403)
_BUSY = (429, 503)


_sessions: RefCounted[CloudDirectorSettings, Session] = RefCounted(Session, Session.close)


def acquire(settings: CloudDirectorSettings) -> AbstractContextManager[Session]:
    """Lends the session that everybody with these settings shares; the last one out logs out."""
    return _sessions.acquire(settings)


def _number(version: str) -> tuple[int, int] | None:
    major, dot, minor = version.partition(".")
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None


def _seconds(answer: Answer) -> float:
    """Returns a Retry-After, which is a number of seconds or a date by the server's clock."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text[:9]), LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return min(max(0.0, (at - answer.at).total_seconds()), LONGEST_PAUSE)
