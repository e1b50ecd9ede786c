"""Where a gate's connection comes from: stack config first, then environment."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.tls import untrusted
from pulumi_customization_gate.vsphere.settings import VsphereSettings, read_settings

if TYPE_CHECKING:
    from pathlib import Path

PRINT = "AB:" * 31 + "CD"
CONFIG = {
    "vsphere:vsphereServer": "vc.example.com",
    "vsphere:user": "ann",
    "vsphere:password": " s3cret ",
}
VARIABLES = {"VSPHERE_SERVER": "env.example.com", "VSPHERE_USER": "env", "VSPHERE_PASSWORD": "env-s3cret"}


def told_by(settings: VsphereSettings) -> str:
    return str(untrusted(settings.server, settings.called, ssl.SSLError("self-signed")))


def refusal(config: dict[str, str], environment: dict[str, str] | None = None, namespace: str = "vsphere") -> str:
    with pytest.raises(ConfigurationError) as error:
        read_settings(config.get, environment or {}, namespace)
    return str(error.value)


def test_config_is_read_as_the_vsphere_provider_reads_it() -> None:
    """Server and credentials come from the keys of pulumi-vsphere; a password keeps its blanks; TLS is verified."""
    assert read_settings(CONFIG.get, {}) == VsphereSettings("vc.example.com", "ann", " s3cret ")


def test_the_environment_fills_what_config_leaves_out() -> None:
    """Each setting is taken from config, and from its variable where config has none."""
    config = {"vsphere:user": "ann"}
    assert read_settings(config.get, VARIABLES) == VsphereSettings("env.example.com", "ann", "env-s3cret")


def test_tls_settings(tmp_path: Path) -> None:
    """Our own keys are in `customization:`, because pulumi-vsphere refuses unknown keys in its namespace."""
    pem = tmp_path / "ca.pem"
    pem.touch()
    own = {"customization:caFile": str(pem), "customization:thumbprint": PRINT, "vsphere:allowUnverifiedSsl": "True"}
    by_config = read_settings({**CONFIG, **own}.get, {})
    variables = {"VSPHERE_CA_FILE": str(pem), "VSPHERE_THUMBPRINT": PRINT, "VSPHERE_ALLOW_UNVERIFIED_SSL": "1"}

    assert (by_config.ca_file, by_config.thumbprint, by_config.allow_unverified_ssl) == (str(pem), PRINT, True)
    assert by_config == read_settings(CONFIG.get, variables)


def test_another_namespace_holds_all_keys(tmp_path: Path) -> None:
    """With another namespace every key is in it; the environment, which describes one server only, does not count."""
    pem = tmp_path / "ca.pem"
    pem.touch()
    config = {f"east:{key.partition(':')[2]}": value for key, value in CONFIG.items()}
    made = read_settings({**config, "east:caFile": str(pem)}.get, VARIABLES, "east")
    assert (made.server, made.ca_file) == ("vc.example.com", str(pem))
    assert refusal(CONFIG, VARIABLES, "east") == (
        "missing `east:vsphereServer`, `east:user`, `east:password`, for example: "
        "pulumi config set east:vsphereServer vcenter.example.com; "
        "pulumi config set east:user administrator@vsphere.local; pulumi config set east:password --secret"
    )


def test_messages_name_the_settings_as_the_user_wrote_them() -> None:
    """What a connection says later names key and variable, and the user's own namespace where there is one."""
    default = told_by(read_settings(CONFIG.get, {}))
    assert default == told_by(VsphereSettings("vc.example.com", "ann", " s3cret "))
    assert "`customization:caFile` or VSPHERE_CA_FILE to the PEM file" in default
    config = {f"east:{key.partition(':')[2]}": value for key, value in CONFIG.items()}
    assert "Set `east:caFile` to" in told_by(read_settings(config.get, {}, "east"))


@pytest.mark.parametrize(
    ("missing", "variable", "example"),
    [
        pytest.param("vsphereServer", "VSPHERE_SERVER", "vcenter.example.com", id="server"),
        pytest.param("user", "VSPHERE_USER", "administrator@vsphere.local", id="user"),
        pytest.param("password", "VSPHERE_PASSWORD", "--secret", id="password"),
    ],
)
def test_a_missing_setting_is_reported_by_key_and_variable(missing: str, variable: str, example: str) -> None:
    """What is missing is named by its config key and its environment variable, with the command that sets it."""
    key = f"vsphere:{missing}"
    config = {name: value for name, value in CONFIG.items() if name != key}
    reported = f"missing `{key}` or {variable}, for example: pulumi config set {key} {example}"
    assert refusal(config) == reported
    assert refusal({**config, key: ""}) == reported


@pytest.mark.parametrize(
    ("key", "value", "reported"),
    [
        pytest.param(
            "vsphere:vsphereServer",
            "https://vc.example.com",
            "`vsphere:vsphereServer` or VSPHERE_SERVER: expected a host name or address without scheme or path, for "
            "example vcenter.example.com or vcenter.example.com:8443, got 'https://vc.example.com'",
            id="a URL",
        ),
        pytest.param(
            "vsphere:allowUnverifiedSsl",
            "yes",
            "`vsphere:allowUnverifiedSsl` or VSPHERE_ALLOW_UNVERIFIED_SSL: expected true or false, got 'yes'",
            id="not a boolean",
        ),
        pytest.param(
            "customization:caFile",
            "/no/such.pem",
            "`customization:caFile` or VSPHERE_CA_FILE: expected an existing PEM file, got '/no/such.pem'",
            id="no file",
        ),
        pytest.param(
            "customization:thumbprint",
            "AB:CD",
            "`customization:thumbprint` or VSPHERE_THUMBPRINT: expected a SHA-256 fingerprint, 64 hexadecimal digits "
            "(openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256), got 'AB:CD'",
            id="a short thumbprint",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_reported_at_once(key: str, value: str, reported: str) -> None:
    """A setting of the wrong form is refused before any server is asked, with where it comes from."""
    assert refusal({**CONFIG, key: value}) == reported


def test_credentials_in_an_address_are_not_repeated() -> None:
    """A password that somebody put into the address does not come back in the message."""
    assert "s3cret" not in refusal({**CONFIG, "vsphere:vsphereServer": "ann:s3cret@vc.example.com"})
