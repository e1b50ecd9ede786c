"""What the tests of Cloud Director share."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.cloud_director import api_tokens, poller, refused_logins
from tests.unit.cloud_director.in_memory import Inbox, InMemory


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clears what the process remembers of logins."""
    monkeypatch.setattr(refused_logins, "_refused", {})
    monkeypatch.setattr(api_tokens, "_newest", {})


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    made = InMemory()
    monkeypatch.setattr(poller, "SimpleQueue", lambda: Inbox(made.clock))
    return made
