"""The pauses between attempts."""

from __future__ import annotations

from itertools import islice

import pytest

from pulumi_customization_gate.core.backoff import backoff


def test_pauses_grow_to_a_limit() -> None:
    """Each pause is half as long again as the one before, up to the longest."""
    assert list(islice(backoff(0.2, 0.6), 5)) == pytest.approx([0.2, 0.3, 0.45, 0.6, 0.6])
