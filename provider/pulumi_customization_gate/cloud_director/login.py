"""The login: from credentials to a token, sent no more often than an account survives."""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from pulumi_customization_gate.cloud_director import api_tokens, refused_logins, representations, tokens
from pulumi_customization_gate.cloud_director.answers import TRANSIENT, Answers
from pulumi_customization_gate.cloud_director.connection import Answer, Transport, UnreachableError
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ServerError
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
    from pulumi_customization_gate.cloud_director.tokens import Token

OLDEST_VERSION, NEWEST_VERSION = (36, 0), (39, 99)
"""API versions that this was written for: 36.0 (Cloud Director 10.3) brought the logout used here, and 40.0 is another
product's."""
LOGINS_IN_A_ROW = 3
"""Logins that may be sent without a good answer to a request in between: tokens may expire one after the other."""
LOGOUT_TIMEOUT = 2.0
"""Seconds that a logout may take: the session would expire by itself."""
_SESSIONS = "/cloudapi/1.0.0/sessions"
_REFUSED = (400, 401, 403)

_log = logging.getLogger(__name__)


class Login:
    """Logs in at one server. Its caller makes one call of `new_token` at a time; the rest is safe from any thread.

    Args:
        settings: The server and the credentials.
        connection: The connections to it.
        answers: Judges its answers.
        clock: A monotonic clock.
    """

    def __init__(
        self,
        settings: CloudDirectorSettings,
        connection: Transport,
        answers: Answers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._connection, self._answers, self._clock = settings, connection, answers, clock
        self.version = ""
        """The API's version, once a login was sent."""
        self._lock = threading.Lock()
        self._sent = 0
        """Logins sent since the last whose token was good for a request."""
        self._is_doubtful = False
        """Whether a request got a 401, and none that was sent again with a new token has got another answer since."""
        self._problem = ""
        """What came of the last login, where that was no use."""

    def new_token(self) -> Token:
        """Logs in and returns the token.

        Raises:
            AuthenticationError: If the server refuses the credentials, now or earlier in this process, or if
                LOGINS_IN_A_ROW of them were no use.
            ServerError: If the server cannot be used.
        """
        if not self.version:
            self.version = self._negotiate()
            _log.debug("%s: API version %s", self._settings.address, self.version)
        token = self._exchange_api_token() if self._settings.api_token else self._log_in_by_password()
        kind = "an API token" if self._settings.api_token else "a password"
        _log.debug("%s: logged in by %s to %s", self._settings.address, kind, sanitize(self._settings.org))
        return token

    @property
    def notes(self) -> Sequence[tuple[str, str]]:
        """What the user should know of the login: kind and sentence."""
        if not api_tokens.is_rotating(self._settings):
            return ()
        return [("rotating API token", refused_logins.rotation(self._settings))]

    def accepted(self, *, is_renewed: bool) -> None:
        """Takes in that a request got another answer than a 401.

        While one path answers each new token with a 401, good answers to others do not count.

        Args:
            is_renewed: Whether the same request got a 401 for an older token.
        """
        with self._lock:
            if is_renewed or not self._is_doubtful:
                self._sent, self._is_doubtful = 0, False

    def rejected(self, what: str) -> None:
        """Takes in that a request got a 401 for the newest token."""
        with self._lock:
            self._is_doubtful = True
            # The login that gave this token is the first of those that were no use.
            self._sent = max(self._sent, 1)
            self._problem = f"{what} was answered with 401"

    def useless(self) -> AuthenticationError:
        """Returns the error for a login that was no use several times; it is not sent again by this process."""
        return refused_logins.record_useless(self._settings, LOGINS_IN_A_ROW, self._problem)

    def log_out(self, token: Token) -> None:
        """Ends a token's session. An error does not matter then: the session expires by itself."""
        headers = {"Accept": f"application/json;version={self.version}", "Authorization": f"Bearer {token.value}"}
        with contextlib.suppress(ServerError):
            self._connection.exchange("DELETE", f"{_SESSIONS}/current", headers, total=LOGOUT_TIMEOUT)
            _log.debug("%s: logged out", self._settings.address)

    def _negotiate(self) -> str:
        path = "/api/versions"
        answer = self._answers.good(
            self._connection.exchange("GET", path, {"Accept": "application/*+xml"}), f"GET {path}"
        )
        offered = self._answers.understand(f"GET {path}", answer, lambda: representations.versions(answer.body))
        known = {number: text for text in offered if (number := _number(text)) is not None}
        usable = [number for number in known if OLDEST_VERSION <= number <= NEWEST_VERSION]
        if not usable:
            raise ApiError(
                f"{self._settings.address} offers the API versions {sanitize(', '.join(offered), 200)}, none of which "
                f"is between {OLDEST_VERSION[0]}.0 and {NEWEST_VERSION[0]}.x, which the gate supports.",
                answer.status,
                "API_VERSION",
                answer.request_id,
            )
        return known[max(usable)]

    def _log_in_by_password(self) -> Token:
        settings = self._settings
        path = f"{_SESSIONS}/provider" if settings.is_provider else _SESSIONS
        basic = base64.b64encode(f"{settings.user}@{settings.org}:{settings.password}".encode()).decode()
        headers = {"Accept": f"application/*;version={self.version}", "Authorization": f"Basic {basic}"}
        answer = self._send_login(path, headers)
        return self._token_of(path, answer, lambda: tokens.of_login(answer.headers))

    def _exchange_api_token(self) -> Token:
        settings = self._settings
        path = (
            "/oauth/provider/token" if settings.is_provider else f"/oauth/tenant/{quote(settings.org, safe='')}/token"
        )
        sent = api_tokens.newest(settings)
        form = {"grant_type": "refresh_token", "refresh_token": sent}
        asked = self._clock()
        answer = self._send_login(path, {"Accept": f"application/json;version={self.version}"}, form)
        # Kept before anything else can fail: the server does not accept the one that was sent again.
        if (successor := tokens.successor(answer.body, sent)) is not None:
            _log.debug("%s: the server replaced the API token", settings.address)
            api_tokens.replace(settings, successor)
        return self._token_of(path, answer, lambda: tokens.of_exchange(answer.body, asked))

    def _send_login(self, path: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None) -> Answer:
        """Sends the credentials and returns the server's good answer.

        A login that was sent and got no status may have been refused: it counts like one that was of no use.
        """
        refused_logins.check(self._settings)
        if self._sent >= LOGINS_IN_A_ROW:
            raise self.useless()
        try:
            answer = self._connection.exchange("POST", path, headers, form=form)
        except UnreachableError as error:
            if error.was_sent:
                self._sent += 1
                self._problem = str(error)
            raise
        if answer.status in _REFUSED:
            raise refused_logins.record_refusal(self._settings, answer)
        if answer.status not in TRANSIENT:
            self._sent += 1
            self._problem = f"POST {path} was answered with {answer.status}"
        return self._answers.good(answer, f"POST {path}")

    def _token_of(self, path: str, answer: Answer, read: Callable[[], Token]) -> Token:
        try:
            return self._answers.understand(f"POST {path}", answer, read)
        except ApiError as error:
            self._problem = str(error)
            raise


def _number(version: str) -> tuple[int, int] | None:
    major, dot, minor = version.partition(".")
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None
