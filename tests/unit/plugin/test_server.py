"""The process of the native provider, without an engine."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate import plugin, refcounted
from pulumi_customization_gate.hosting import engine_connection

if TYPE_CHECKING:
    import pytest


def test_it_prints_its_port_and_ends_at_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine reads the port from standard output; a signal ends the sessions and the process."""
    closed: list[float | None] = []

    def register(number: int, handler: Any) -> None:
        threading.Timer(0.1, handler, (number, None)).start()

    monkeypatch.setattr(engine_connection, "engine_address", lambda: None)
    monkeypatch.setattr(signal, "signal", register)
    monkeypatch.setattr(refcounted, "close_all", lambda limit=None: closed.append(limit))
    plugin.main()
    assert 0 < int(capsys.readouterr().out) < 65536
    assert closed == [0, None]
