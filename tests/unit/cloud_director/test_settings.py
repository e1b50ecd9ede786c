"""The settings of a connection to Cloud Director."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import ConfigurationError

GOOD: dict[str, Any] = {"url": "https://vcd.example.com", "org": "acme", "user": "ann", "password": "s3cret"}


@pytest.mark.parametrize("url", ["https://VCD.example.com", "https://vcd.example.com/", "https://vcd.example.com/api"])
def test_the_address_is_the_servers_root(url: str) -> None:
    """The address is the same with and without `/api`."""
    assert CloudDirectorSettings(**{**GOOD, "url": url}).address == "https://vcd.example.com"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param({"url": ""}, "`vcd:url` or VCD_URL", id="no-url"),
        pytest.param({"org": ""}, "`vcd:org` or VCD_ORG", id="no-org"),
        pytest.param({"password": ""}, "`vcd:apiToken` or VCD_API_TOKEN, or else `vcd:user`", id="no-password"),
        pytest.param({"url": "http://vcd.example.com"}, "https://", id="no-tls"),
        pytest.param({"url": "vcd.example.com"}, "https://", id="no-scheme"),
        pytest.param({"url": "https://ann:s3cret@vcd.example.com"}, "without user name", id="password-in-url"),
        pytest.param({"url": "https://vcd.example.com/tenant/acme"}, "without user name, path", id="portal"),
        pytest.param({"url": "https://[vcd"}, "https://", id="no-address"),
        pytest.param({"thumbprint": "AA:BB"}, "64 hexadecimal digits", id="short-thumbprint"),
        pytest.param({"thumbprint": "g" * 64}, "64 hexadecimal digits", id="odd-thumbprint"),
    ],
)
def test_what_cannot_work_is_said_at_once(change: dict[str, Any], wanted: str) -> None:
    """Settings that cannot work are refused with what is wanted, and without the password."""
    with pytest.raises(ConfigurationError, match=wanted) as refusal:
        CloudDirectorSettings(**{**GOOD, **change})
    assert "s3cret" not in str(refusal.value)


def test_an_api_token_needs_no_user() -> None:
    """An API token stands for user and password."""
    settings = CloudDirectorSettings(url="https://vcd.example.com", org="acme", api_token="t0ken")
    assert (settings.user, settings.password) == ("", "")


def test_no_secret_is_shown() -> None:
    """Neither password nor API token stands in the representation."""
    shown = repr(CloudDirectorSettings(**GOOD, api_token="t0ken"))
    assert [secret for secret in ("s3cret", "t0ken") if secret in shown] == []


@pytest.mark.parametrize(("org", "is_provider"), [("System", True), ("SYSTEM", True), ("acme", False)])
def test_the_organization_system_is_the_providers(org: str, is_provider: bool) -> None:
    """A provider's administrator logs in to the organization System."""
    assert is_provider == CloudDirectorSettings(**{**GOOD, "org": org}).is_provider
