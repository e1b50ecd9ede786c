"""Texts as people read them: lengths and times, and what a guest or a server reported, without control characters."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_QUOTE = 500
"""Characters of a guest's or a server's message that are shown."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b(?=[\d?]))[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor, screen
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # strings for the terminal: titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]"  # all other sequences
)
"""Escape sequences of terminals (ECMA-48): without their first character the rest would remain in the text."""

_COMMANDS = re.compile(r"##(?=\[|vso\[|teamcity\[)|^::")
"""What CI servers interpret as a command when it appears in a log."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def sanitize(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Returns a foreign text on one line, without control characters, escape sequences or invisible direction marks.

    Control (Cc), format (Cf), surrogate (Cs) and private-use (Co) characters go, and the two noncharacters that XML
    forbids; white space becomes one space. What a CI server would interpret as a command is broken up by a space.
    """
    head = _ESCAPES.sub("", text[: 4 * longest])
    spaced = "".join(" " if c.isspace() else c for c in head)
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _HIDDEN and c not in "\ufffe\uffff")
    words = _COMMANDS.sub(lambda command: " ".join(command[0]), " ".join(shown.split()))
    is_whole = len(words) <= longest and len(text) <= 4 * longest
    return words if is_whole else words[: longest - 1].rstrip() + "…"


def duration(seconds: float) -> str:
    """Returns a length of time as people write it: `45 s`, `3 min 40 s`, `1 h 5 min`."""
    if seconds < 10:  # noqa: PLR2004 -- where a tenth of a second still matters
        return f"{math.floor(seconds * 10) / 10:g} s"
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"


def clock_time(at: datetime) -> str:
    """Returns a time of day in UTC: `12:04:31Z`."""
    return f"{at:%H:%M:%S}Z"
