"""The pauses between attempts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTOR = 1.5
"""How much longer each pause is than the one before."""

uniform = random.SystemRandom().uniform
"""Draws a number between two others. Forked processes draw different ones, and `random` stays as it was seeded."""


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yields pauses without end, in seconds: from the first to the longest, each FACTOR times the one before.

    Each is drawn from its second half, so that many waits do not retry in step.
    """
    pause = first
    while True:
        yield min(pause, longest) * uniform(0.5, 1)
        pause = min(pause * FACTOR, longest)
