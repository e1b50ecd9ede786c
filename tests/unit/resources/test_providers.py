"""What a stack stores of the dynamic providers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from pulumi.dynamic import Config, ConfigureRequest

from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.gate_provider import CustomizationGateProvider
from pulumi_customization_gate.resources.guest_file_provider import GuestFileProvider
from pulumi_customization_gate.resources.guest_script_provider import GuestScriptProvider

if TYPE_CHECKING:
    from pulumi_customization_gate.resources.configured import ConfiguredProvider

CREDENTIALS = {
    "vsphere:user": "canary-user",
    "vsphere:password": "canary-password",
    "vcd:apiToken": "canary-token",
    "customization:guestPassword": "canary-guest",
}


@pytest.mark.parametrize("kind", [CustomizationGateProvider, GuestScriptProvider, GuestFileProvider])
def test_a_configured_provider_is_stored_without_credentials(
    kind: type[ConfiguredProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pickle that goes into the state holds a path, whatever the provider was configured with."""
    monkeypatch.setenv(host.PLAIN_HOST, "1")
    provider = kind()
    plain = pickle.dumps(provider)
    provider.configure(ConfigureRequest(Config(CREDENTIALS, "project")))
    known = [provider._config(name) for name in CREDENTIALS]
    stored = pickle.dumps(provider)

    assert known == list(CREDENTIALS.values())
    assert stored == plain
    assert b"canary" not in stored
    assert kind.__name__.encode() in stored
