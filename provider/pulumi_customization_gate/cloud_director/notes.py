"""What a wait recovered from, a sentence each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.answers import UnusableAnswerError
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, CertificateError, ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FINAL = (AuthenticationError, CertificateError, UnusableAnswerError)
"""What cannot be expected to pass."""

_log = logging.getLogger(__name__)


class Notes:
    """The notes of one wait, the first of each kind."""

    def __init__(self) -> None:
        self._untaken: list[str] = []
        self._kinds: set[object] = set()

    def add(self, kind: object, text: str) -> None:
        """Keeps a note unless there was one of its kind."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._untaken.append(text)

    def add_retry(self, error: Exception) -> None:
        """Keeps a note of a fault that may pass, after which the request is sent again.

        Raises:
            Exception: The error, if a retry cannot help.
        """
        if isinstance(error, _FINAL) or not isinstance(error, ServerError):
            raise error
        _log.debug("retrying: %s", error)
        self.add((type(error), error.status if isinstance(error, ApiError) else None), f"retried: {error}")

    def take(self) -> Sequence[str]:
        """Returns the notes since the last call."""
        taken, self._untaken = self._untaken, []
        return taken
