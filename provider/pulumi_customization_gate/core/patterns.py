"""Regular expressions of users, matched against what guests report, in time that is linear in the text's length.

RE2 has no backtracking, so no pattern and no text can hold a thread, and it releases the interpreter while it matches.
The price is that lookaround and backreferences do not exist; see https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

LONGEST_TEXT = 64 * 1024
"""Characters of a text that is matched: the hardest patterns take milliseconds for a thousand."""


def fault_of(pattern: str) -> str | None:
    """Returns None for a pattern that RE2 takes, else what is wrong with it, without a part of the pattern."""
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        # After the colon RE2 quotes the pattern, which may be a secret.
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return text.partition(":")[0]
    except UnicodeEncodeError:
        return "it is not Unicode text"
    return None


def matches_whole(pattern: str, text: str) -> bool:
    """Returns whether a pattern without a fault matches the whole text."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return _compiled(pattern).fullmatch(valid) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
