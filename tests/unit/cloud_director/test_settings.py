"""The settings of a connection to Cloud Director."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings, read_settings
from pulumi_customization_gate.core.errors import ConfigurationError

GOOD: dict[str, Any] = {"url": "https://vcd.example.com", "org": "acme", "user": "ann", "password": "s3cret"}


@pytest.mark.parametrize("url", ["https://VCD.example.com", "https://vcd.example.com/", "https://vcd.example.com/api"])
def test_the_address_is_the_servers_root(url: str) -> None:
    """The address is the same with and without `/api`."""
    assert CloudDirectorSettings(**{**GOOD, "url": url}).address == "https://vcd.example.com"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://vcd.example.com", id="no TLS"),
        pytest.param("vcd.example.com", id="no scheme"),
        pytest.param("https://ann:s3cret@vcd.example.com", id="credentials"),
        pytest.param("https://vcd.example.com/tenant/acme", id="a portal"),
        pytest.param("https://[vcd", id="no address"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    """The message names the setting and what it takes, and does not repeat the address: there may be a password in."""
    with pytest.raises(ConfigurationError) as refusal:
        CloudDirectorSettings(**{**GOOD, "url": url})
    assert str(refusal.value) == (
        "`vcd:url` or VCD_URL: expected an https address without user name, path or query, for example "
        "https://vcd.example.com"
    )


def test_no_secret_is_shown() -> None:
    """Neither password nor API token is in the representation."""
    shown = repr(CloudDirectorSettings(**GOOD, api_token="t0ken"))
    assert [secret for secret in ("s3cret", "t0ken") if secret in shown] == []


@pytest.mark.parametrize(("org", "is_provider"), [("System", True), ("SYSTEM", True), ("acme", False)])
def test_the_organization_system_is_the_providers(org: str, is_provider: bool) -> None:
    """A provider's administrator logs in to the organization System."""
    assert is_provider == CloudDirectorSettings(**{**GOOD, "org": org}).is_provider


def test_cloud_director_takes_a_user_or_a_token() -> None:
    """Cloud Director needs an address, an organization, and either user and password or an API token."""
    config = {"vcd:url": "https://vcd.example.com", "vcd:org": "acme"}
    with pytest.raises(ConfigurationError) as error:
        read_settings(config.get, {})
    assert str(error.value) == (
        "missing `vcd:user` or VCD_USER, `vcd:password` or VCD_PASSWORD, for example: "
        "pulumi config set vcd:user deployer; pulumi config set vcd:password --secret"
    )
    made = read_settings(config.get, {"VCD_API_TOKEN": "t0ken"})
    assert (made.url, made.org, made.api_token) == ("https://vcd.example.com", "acme", "t0ken")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        pytest.param("vcd:url", "", "missing `vcd:url` or VCD_URL, for example", id="no address"),
        pytest.param("vcd:url", "http://vcd.example.com", "`vcd:url` or VCD_URL: expected an https", id="no TLS"),
        pytest.param("vcd:org", "", "missing `vcd:org` or VCD_ORG, for example", id="no organization"),
        pytest.param(
            "customization:thumbprint", "g" * 64, "`customization:thumbprint` or VCD_THUMBPRINT: expected", id="no hash"
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_once(key: str, value: str, message: str) -> None:
    """What is missing or wrong is named by its key and its variable."""
    config = {"vcd:url": "https://vcd.example.com", "vcd:org": "acme", "vcd:apiToken": "t0ken", key: value}
    with pytest.raises(ConfigurationError) as refusal:
        read_settings(config.get, {})
    assert str(refusal.value).startswith(message)
