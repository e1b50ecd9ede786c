"""Sends the library's debug log to standard error, where a user asks for it.

Each module that talks to a server logs to `logging.getLogger(__name__)`; nothing is shown until `show` is called. No
message holds a credential.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "CUSTOMIZATION_GATE_LOG"
"""The environment variable of the provider: `debug` shows the log."""
_FORMAT = "%(asctime)s %(name)s: %(message)s"
_NAME = __name__.rpartition(".")[0]


class _StandardErrorHandler(logging.Handler):
    """Writes to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        if sys.stderr is not None:
            sys.stderr.write(f"{self.format(record)}\n")


def show() -> None:
    """Writes the library's log to standard error from now on. A second call does nothing."""
    logger = logging.getLogger(_NAME)
    logger.setLevel(logging.DEBUG)
    if not any(isinstance(handler, _StandardErrorHandler) for handler in logger.handlers):
        handler = _StandardErrorHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)


def show_if_asked(environment: Mapping[str, str] = os.environ) -> None:
    """Writes the log if VARIABLE is `debug`, in any case."""
    if environment.get(VARIABLE, "").strip().lower() == "debug":
        show()
