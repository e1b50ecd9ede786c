"""Lengths of time as a program writes them."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.core.durations import seconds_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [(90, 90.0), (0.5, 0.5), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("1.5h", 5400.0), ("1h0.5s", 3600.5)],
)
def test_numbers_and_texts(value: object, expected: float) -> None:
    """A number is seconds; a text has a unit after each number."""
    assert seconds_of(value) == expected


@pytest.mark.parametrize(
    "value", ["", "15", "m", "15 m", "1d", "-5m", "1.2.3s", True, None, float("inf"), 10**400, [1]]
)
def test_what_is_not_a_length(value: object) -> None:
    """A text without a unit could mean anything."""
    with pytest.raises(ValueError, match=r".+"):
        seconds_of(value)
