"""What an answer means: success, a reason to retry, or an error."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.cloud_director.connection import GOOD, Answer, UnreachableError
from pulumi_customization_gate.core.errors import ApiError
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

T = TypeVar("T")

LONGEST_PAUSE = 60.0
"""Seconds for which a server's Retry-After is obeyed at most."""
TRIES = 2
"""Requests after which an answer that cannot be expected to become right is an error."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses that do not depend on the request itself."""
_BUSY = (429, 503)
_REDIRECTS = range(300, 400)

_AUTHORIZATION = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)

_log = logging.getLogger(__name__)


class BusyError(ApiError):
    """The server asks for a pause: 429 or 503."""

    def __init__(self, message: str, status: int, code: str, request_id: str, retry_after: float) -> None:
        super().__init__(message, status, code, request_id)
        self.retry_after = retry_after
        """Seconds, at most LONGEST_PAUSE; 0 where the server did not name it."""


class UnusableAnswerError(ApiError):
    """The server repeatedly answers a request with something that cannot become right, such as a web page."""


def is_transient(error: BaseException) -> bool:
    """Returns whether the same request may succeed later."""
    return isinstance(error, UnreachableError) or (
        isinstance(error, ApiError) and (error.status in TRANSIENT or error.code == "MALFORMED")
    )


class Answers:
    """Judges the answers of one server. Safe to use from many threads.

    Args:
        settings: The server.
        clock: A monotonic clock.
    """

    def __init__(self, settings: CloudDirectorSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._unusable: Counter[str] = Counter()
        """Answers that cannot become right, by request."""
        self._understood: set[str] = set()
        """The requests that were answered well before: after that a web page is transient."""
        self._paused_until = 0.0

    @property
    def pause(self) -> float:
        """Seconds for which the server asked for a pause."""
        return max(0.0, self._paused_until - self._clock())

    def understand(self, what: str, answer: Answer, read: Callable[[], T]) -> T:
        """Returns what a good answer holds.

        Args:
            what: The request, by method and path.
            answer: The answer to it.
            read: Reads it; raises MalformedError where it cannot.

        Raises:
            UnusableAnswerError: For the second answer of TRIES that cannot become right.
            ApiError: With the code MALFORMED for any other that cannot be read.
        """
        try:
            result = read()
        except representations.MalformedError as error:
            raise self._malformed(what, answer, error) from None
        self._understood.add(what)
        return result

    def _malformed(self, what: str, answer: Answer, why: representations.MalformedError) -> ApiError:
        text = f"{self._settings.address} answered {what}, but {why}"
        if not why.is_final or what in self._understood:
            return ApiError(text + answer.number, answer.status, "MALFORMED", answer.request_id)
        kind = sanitize(answer.headers.get("Content-Type", ""), 80) or "no content type"
        excerpt = self._redacted(representations.excerpt(answer.body))
        text += f": received {len(answer.body)} bytes, {kind}" + (f", {excerpt!r}" if excerpt else "") + answer.number
        with self._lock:
            self._unusable[what] += 1
            tries = self._unusable[what]
        if tries < TRIES:
            return ApiError(text, answer.status, "MALFORMED", answer.request_id)
        return UnusableAnswerError(f"{text}, {tries} times", answer.status, "UNUSABLE", answer.request_id)

    def _redacted(self, text: str) -> str:
        """Returns a text of the server's without credentials: an error page may repeat the request's headers."""
        return _AUTHORIZATION.sub(r"\1 [secret]", self._settings.without_secrets(text))

    def good(self, answer: Answer, what: str) -> Answer:
        """Returns an answer if it is good.

        Raises:
            ApiError: If it is an error or a redirect; BusyError if the server asks for a pause.
        """
        if answer.status in GOOD:
            return answer
        address, status = self._settings.address, answer.status
        if status in _REDIRECTS:
            where = sanitize(answer.headers.get("Location", "nowhere"), 200)
            raise ApiError(
                f"{address} redirects {what} to {where}, where the token is not sent{answer.number}: "
                f"{self._settings.called['url']} must be the server's own address",
                status,
                "REDIRECT",
                answer.request_id,
            )
        code, message = representations.error(answer.body)
        message = self._redacted(message)
        reason = " ".join(part for part in (str(status), code) if part) + (f": {message}" if message else "")
        text = f"{address} answered {what} with {reason}{answer.number}"
        if status in _BUSY:
            retry_after = _seconds(answer)
            _log.debug("%s asks for a pause of %g s (%d)", address, retry_after, status)
            self._paused_until = max(self._paused_until, self._clock() + retry_after)
            raise BusyError(text, status, code, answer.request_id, retry_after)
        raise ApiError(text, status, code, answer.request_id)


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
