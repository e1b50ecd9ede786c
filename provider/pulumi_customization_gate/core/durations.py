"""Lengths of time as a program writes them: a number of seconds, or a text such as "15m"."""

from __future__ import annotations

import contextlib
import math
import re

_UNITS = {"h": 3600, "m": 60, "s": 1}
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?[hms])+")
_PART = re.compile(r"([\d.]+)([hms])")


def seconds_of(value: object) -> float:
    """Returns a length of time in seconds.

    Args:
        value: A number of seconds, or a text of numbers with a unit: "90s", "15m", "1h30m".

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    with contextlib.suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    raise ValueError(f"not a length of time: {type(value).__name__}")
