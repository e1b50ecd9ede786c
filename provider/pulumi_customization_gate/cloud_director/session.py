"""The login at one Cloud Director, shared by all gates of the process that use the same settings."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol, TypeVar

from pulumi_customization_gate.cloud_director.answers import Answers
from pulumi_customization_gate.cloud_director.connection import (
    LARGEST_ANSWER,
    Answer,
    Connection,
    Transport,
    UnreachableError,
)
from pulumi_customization_gate.cloud_director.login import LOGINS_IN_A_ROW, Login
from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.refcounted import RefCounted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
    from pulumi_customization_gate.cloud_director.tokens import Token

T = TypeVar("T")

CONCURRENCY = 10
"""Requests under way at once on one server, for all gates of the process."""
_UNAUTHORIZED = 401

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs calls, such as `core.background.Background`."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Runs a call as soon as it can."""

    def close(self) -> None:
        """Cancels the calls that have not begun."""


class Session:
    """One login at one server. Safe to use from many threads; get it by `acquire`.

    Args:
        settings: The server and the credentials.
        connection: Sends the requests.
        background: Runs the calls that are submitted.
        clock: A monotonic clock.
    """

    def __init__(
        self,
        settings: CloudDirectorSettings,
        connection: Transport,
        background: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._connection, self._background, self._clock = settings, connection, background, clock
        self._answers = Answers(settings, clock)
        self._login = Login(settings, connection, self._answers, clock)
        self.server_time = datetime.now(timezone.utc)
        """The server's time by its newest answer; ours before the first one."""
        self._lock = threading.Lock()
        self._login_lock = threading.Lock()
        self._token: Token | None = None
        self._is_closed = False

    @property
    def is_provider(self) -> bool:
        """Whether the login is that of a provider's administrator."""
        return self._settings.is_provider

    @property
    def api_version(self) -> str:
        """The version of the API; empty before the first login."""
        return self._login.version

    @property
    def pause(self) -> float:
        """Seconds for which the server asked for a pause."""
        return self._answers.pause

    @property
    def notes(self) -> Sequence[tuple[str, str]]:
        """What the user should know of the login: kind and sentence."""
        return self._login.notes

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
            AuthenticationError: If the server refuses the credentials, or every token that it gave.
            ApiError: If it answers with an error or a redirect; BusyError if it asks for a pause.
            ServerError: If it does not answer.
        """
        what = f"GET {path.partition('?')[0]}"
        for attempt in range(LOGINS_IN_A_ROW):
            token = self._valid_token()
            accept = f"application/*+xml;version={self._login.version}"
            headers = {"Accept": accept, "Authorization": f"Bearer {token.value}"}
            answer = self._connection.exchange("GET", path, headers, largest=largest)
            self.server_time = answer.at
            if answer.status != _UNAUTHORIZED:
                self._login.accepted(is_renewed=attempt > 0)
                return self._answers.good(answer, what)
            self._drop(token, what)
        raise self._login.useless()

    def read(self, path: str, understand: Callable[[bytes], T], largest: int = LARGEST_ANSWER) -> tuple[Answer, T]:
        """Returns the server's good answer to one GET, and what it holds.

        Args:
            path: The path, with the query.
            understand: Reads the answer's body; raises MalformedError where it cannot.
            largest: The most bytes of the body.

        Raises:
            ServerError: As `get` does; an ApiError with the code MALFORMED for an answer that cannot be read, and
                UnusableAnswerError after TRIES of them that cannot become right.
        """
        answer = self.get(path, largest)
        return answer, self._answers.understand(
            f"GET {path.partition('?')[0]}", answer, lambda: understand(answer.body)
        )

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Makes a call on one of the session's threads; after `close` its future is cancelled."""
        return self._background.submit(call)

    def close(self) -> None:
        """Logs out. An error does not matter then: the session expires by itself."""
        self._background.close()
        with self._lock:
            self._is_closed = True
            token, self._token = self._token, None
        if token is not None:
            self._login.log_out(token)
        self._connection.close()

    def _valid_token(self) -> Token:
        token = self._token
        if token is not None and self._clock() < token.renew_at:
            return token
        with self._login_lock:
            token = self._token
            if token is None or self._clock() >= token.renew_at:
                if self._is_closed:
                    raise UnreachableError(f"the session at {self._settings.address} is closed")
                if token is not None:
                    _log.debug("%s: renewing the access token, which expires soon", self._settings.address)
                token = self._keep(self._login.new_token())
            return token

    def _keep(self, token: Token) -> Token:
        with self._lock:
            if not self._is_closed:
                self._token = token
                return token
        # This login took until after the logout, so nothing else would end its session.
        self._login.log_out(token)
        raise UnreachableError(f"the session at {self._settings.address} is closed")

    def _drop(self, token: Token, what: str) -> None:
        """Takes in that a request got a 401 for a token."""
        with self._lock:
            is_newest = self._token is token
            if is_newest:
                self._token = None
        if is_newest:
            _log.debug("%s: %s was answered with 401, logging in again", self._settings.address, what)
            self._login.rejected(what)


def _session(settings: CloudDirectorSettings) -> Session:
    connection = Connection(settings, 2 * CONCURRENCY)  # a source that starts sends requests on its own thread
    return Session(settings, connection, Background("customization-gate-cloud-director", CONCURRENCY))


_sessions: RefCounted[CloudDirectorSettings, Session] = RefCounted(_session, Session.close)


def acquire(settings: CloudDirectorSettings) -> AbstractContextManager[Session]:
    """Returns the session that all users of these settings share; the last one to release it logs out."""
    return _sessions.acquire(settings)
