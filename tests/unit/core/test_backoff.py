"""The pauses between attempts."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from pulumi_customization_gate.core.backoff import backoff


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is half as long again as the one before, up to the longest."""
    monkeypatch.setattr("pulumi_customization_gate.core.backoff.uniform", lambda _, most: most)
    assert list(islice(backoff(0.2, 0.6), 5)) == pytest.approx([0.2, 0.3, 0.45, 0.6, 0.6])


def test_pauses_differ_so_that_waits_do_not_retry_in_step() -> None:
    """A pause is between half of its length and all of it, and no two sequences are the same."""
    drawn = {next(backoff(2.0, 2.0)) for _ in range(50)}
    assert len(drawn) > 1
    assert all(1.0 <= pause <= 2.0 for pause in drawn)


def test_the_program_keeps_its_random_numbers() -> None:
    """A program that seeds `random` gets the numbers of its seed, whatever waits run beside it."""
    state = random.getstate()
    next(backoff(2.0, 2.0))
    assert random.getstate() == state
