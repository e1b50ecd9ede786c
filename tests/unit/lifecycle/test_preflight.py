"""What programs get of a preflight."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.lifecycle import preflight

FINDINGS = [
    Finding(Check.LOGIN, State.OK, "vcenter.example.com", "logged in"),
    Finding(Check.VM, State.FAILED, "web-0", "not found", "Check the name."),
]


@pytest.mark.parametrize(("cancelled", "count", "ok"), [(False, 2, False), (True, 1, True)], ids=["whole", "cancelled"])
def test_findings_are_data(monkeypatch: pytest.MonkeyPatch, cancelled: bool, count: int, ok: bool) -> None:
    """A finding that failed is not ok; a cancellation ends the work after the finding that is being made."""
    calls: list[tuple[Any, ...]] = []

    def looked(settings: Any, vms: Any, **more: Any) -> Any:
        calls.append((settings, vms, more))
        return iter(FINDINGS)

    monkeypatch.setattr(preflight, "platform_of", lambda _: SimpleNamespace(reports_guests=False, preflight=looked))
    monkeypatch.setattr(preflight, "settings_of", lambda *_: "settings")
    result = preflight.look(lambda _: None, {"vms": ["web-0"], "folder": "/DC0/vm/web"}, lambda: cancelled)
    assert (result["ok"], len(result["findings"])) == (ok, count)
    assert result["findings"][0]["check"] == Check.LOGIN.value
    assert calls == [("settings", ["web-0"], {"folder": "/DC0/vm/web"})]


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server nothing is looked at, and the message names the setting."""
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (reason,) = preflight.check(lambda _: None, {"vms": []})
    assert "vsphereServer" in reason
