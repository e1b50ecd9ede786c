"""Patterns of users against texts of guests, by an engine without backtracking."""

from __future__ import annotations

import threading
import time

import pytest

from pulumi_customization_gate.core.patterns import LONGEST_TEXT, fault_of, matches_whole


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("yes|true", "yes", True, id="one of two"),
        pytest.param("yes|true", "yes.", False, id="the whole text"),
        pytest.param("(?i)ready .*", "READY at 12:00", True, id="a flag"),
        pytest.param("(?P<number>[0-9]+)", "42", True, id="a named group"),
        pytest.param(".", "é", True, id="a character, not a byte"),
        pytest.param(".", "\ud800", True, id="half a character"),
        pytest.param(".*", "a\nb", False, id="a dot is not a line feed"),
    ],
)
def test_a_pattern_matches_the_whole_text(pattern: str, text: str, expected: bool) -> None:
    """The usual syntax means the usual."""
    assert fault_of(pattern) is None
    assert matches_whole(pattern, text) is expected


@pytest.mark.parametrize(
    "pattern",
    ["(secret", "secret)", "[secret", "*secret", "(?=secret)", "(?<!secret)a", "(secret)\\1", "secret{9999}", "\ud800"],
)
def test_a_fault_does_not_quote_the_pattern(pattern: str) -> None:
    """A pattern may be a secret; what RE2 cannot match is a fault as well."""
    fault = fault_of(pattern)
    assert fault
    assert "secret" not in fault


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "((a?){100}){10}(a|b*){30}c"])
def test_no_pattern_holds_a_thread(pattern: str) -> None:
    """The time is linear in the text, and other threads go on meanwhile: a deadline and Ctrl-C are heard."""
    text, longest, began = "a" * (LONGEST_TEXT - 1) + "!", 0.0, time.monotonic()
    matching = threading.Thread(target=matches_whole, args=(pattern, text))
    matching.start()
    while matching.is_alive():
        before = time.monotonic()
        matching.join(0.01)
        longest = max(longest, time.monotonic() - before)
    assert time.monotonic() - began < 20
    assert longest < 5
