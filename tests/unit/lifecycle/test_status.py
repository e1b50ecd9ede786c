"""What programs get of the status of VMs now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.lifecycle import status
from pulumi_customization_gate.lifecycle.outputs import GATE_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable


def _judged(monkeypatch: pytest.MonkeyPatch, error: ServerError | None) -> Callable[[], dict[str, Any]]:
    platform = SimpleNamespace(source=lambda _settings, _targets: SimpleNamespace(server_id="uuid"))
    rules = SimpleNamespace(requires_customization=True)
    arguments = SimpleNamespace(platform=platform, targets=(), rules=rules, has_keys=True)
    report = SimpleNamespace(fatal_error=error, outcomes=(), wait_seconds=0.1)
    outputs = {output.name: output.name for output in GATE_OUTPUTS}
    monkeypatch.setattr(status, "settings_of", lambda *_: SimpleNamespace(address="vcenter.example.com"))
    monkeypatch.setattr(status, "outputs_of", lambda *_, **more: {**outputs, "server": more["server"]})
    monkeypatch.setattr(status, "GateArguments", SimpleNamespace(of=lambda *_: arguments))
    monkeypatch.setattr(status, "judge_now", lambda *_, **__: report)
    return lambda: status.judge(lambda _: None, {}, lambda: False)


def test_the_outputs_are_those_of_a_gate_without_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """There was no wait, so there are no times of one."""
    found = _judged(monkeypatch, None)()
    assert set(found) == {"ready", "statuses", "addresses", "results", "server"}
    assert found["server"] == {"address": "vcenter.example.com", "id": "uuid"}


def test_a_server_that_is_lost_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that a lost server cut short is no status."""
    with pytest.raises(ServerError, match="connection lost"):
        _judged(monkeypatch, ServerError("connection lost"))()
