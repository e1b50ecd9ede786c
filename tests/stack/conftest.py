"""The fixtures of tests that run on the real engine; engine.py says how to use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.bootstrap import prepare
from lab.paths import Home
from tests.stack.background import end_all_ups
from tests.stack.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One CLI and one vCenter with short delays, for all tests of the session."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # The Automation API reads this process's own environment; what is set for it goes away again.
        monkeypatch.setenv("PULUMI_HOME", "")
        with Engine.running(prepare(Home()), Home(tmp_path_factory.mktemp("engine"))) as running:
            yield running


@pytest.fixture(autouse=True)
def ended_ups() -> Iterator[None]:
    """Nothing of a test that failed runs during the next one."""
    yield
    end_all_ups()
