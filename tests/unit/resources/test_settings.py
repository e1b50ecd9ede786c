"""Where a gate's connection comes from: stack config first, then environment."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.resources.settings import cloud_director_settings, vsphere_settings
from pulumi_customization_gate.vsphere.session import VsphereSettings, untrusted

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
    return untrusted(settings, ssl.SSLError("self-signed"))


def refusal(config: dict[str, str], environment: dict[str, str] | None = None, namespace: str = "vsphere") -> str:
    with pytest.raises(ConfigurationError) as error:
        vsphere_settings(config.get, environment or {}, namespace)
    return str(error.value)


def test_config_is_read_as_the_vsphere_provider_reads_it() -> None:
    """Server and credentials come from the keys of pulumi-vsphere; a password keeps its blanks; TLS is verified."""
    assert vsphere_settings(CONFIG.get, {}) == VsphereSettings("vc.example.com", "ann", " s3cret ")


def test_the_environment_fills_what_config_leaves_out() -> None:
    """Each setting is taken from config, and from its variable where config has none."""
    config = {"vsphere:user": "ann"}
    assert vsphere_settings(config.get, VARIABLES) == VsphereSettings("env.example.com", "ann", "env-s3cret")


def test_tls_settings(tmp_path: Path) -> None:
    """The keys of our own stand in `customization:`, because pulumi-vsphere refuses unknown keys in its namespace."""
    pem = tmp_path / "ca.pem"
    pem.touch()
    own = {"customization:caFile": str(pem), "customization:thumbprint": PRINT, "vsphere:allowUnverifiedSsl": "True"}
    by_config = vsphere_settings({**CONFIG, **own}.get, {})
    variables = {"VSPHERE_CA_FILE": str(pem), "VSPHERE_THUMBPRINT": PRINT, "VSPHERE_ALLOW_UNVERIFIED_SSL": "1"}

    assert (by_config.ca_file, by_config.thumbprint, by_config.allow_unverified_ssl) == (str(pem), PRINT, True)
    assert by_config == vsphere_settings(CONFIG.get, variables)


def test_another_namespace_holds_all_keys(tmp_path: Path) -> None:
    """With another namespace every key stands in it; the environment, which names one server only, does not count."""
    pem = tmp_path / "ca.pem"
    pem.touch()
    config = {f"east:{key.partition(':')[2]}": value for key, value in CONFIG.items()}
    made = vsphere_settings({**config, "east:caFile": str(pem)}.get, VARIABLES, "east")
    assert (made.server, made.ca_file) == ("vc.example.com", str(pem))
    assert refusal(CONFIG, VARIABLES, "east") == (
        "missing `east:vsphereServer`, `east:user`, `east:password`, for example: "
        "pulumi config set east:vsphereServer vcenter.example.com; "
        "pulumi config set east:user administrator@vsphere.local; pulumi config set east:password --secret"
    )


def test_messages_name_the_settings_as_the_user_wrote_them() -> None:
    """What a connection says later names key and variable, and the user's own namespace where there is one."""
    default = told_by(vsphere_settings(CONFIG.get, {}))
    assert default == told_by(VsphereSettings("vc.example.com", "ann", " s3cret "))
    assert "`customization:caFile` or VSPHERE_CA_FILE names" in default
    config = {f"east:{key.partition(':')[2]}": value for key, value in CONFIG.items()}
    assert "`east:caFile` names" in told_by(vsphere_settings(config.get, {}, "east"))


@pytest.mark.parametrize(
    ("missing", "variable", "example"),
    [
        pytest.param("vsphereServer", "VSPHERE_SERVER", "vcenter.example.com", id="server"),
        pytest.param("user", "VSPHERE_USER", "administrator@vsphere.local", id="user"),
        pytest.param("password", "VSPHERE_PASSWORD", "--secret", id="password"),
    ],
)
def test_a_missing_setting_is_told_by_key_and_variable(missing: str, variable: str, example: str) -> None:
    """What is missing is named by its config key and its environment variable, with the command that sets it."""
    key = f"vsphere:{missing}"
    config = {name: value for name, value in CONFIG.items() if name != key}
    told = f"missing `{key}` or {variable}, for example: pulumi config set {key} {example}"
    assert refusal(config) == told
    assert refusal({**config, key: ""}) == told


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        pytest.param(
            "vsphere:vsphereServer",
            "https://vc.example.com",
            "`vsphere:vsphereServer` or VSPHERE_SERVER is 'https://vc.example.com'; wanted is a host name or address "
            "without scheme or path, for example vcenter.example.com or vcenter.example.com:8443",
            id="a URL",
        ),
        pytest.param(
            "vsphere:allowUnverifiedSsl",
            "yes",
            "`vsphere:allowUnverifiedSsl` or VSPHERE_ALLOW_UNVERIFIED_SSL is 'yes'; wanted is true or false",
            id="not a boolean",
        ),
        pytest.param(
            "customization:caFile",
            "/no/such.pem",
            "`customization:caFile` or VSPHERE_CA_FILE is '/no/such.pem', and there is no such file; wanted is PEM",
            id="no file",
        ),
        pytest.param(
            "customization:thumbprint",
            "AB:CD",
            "`customization:thumbprint` or VSPHERE_THUMBPRINT is 'AB:CD'; wanted is a SHA-256 fingerprint, "
            "64 hexadecimal digits: "
            "openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256",
            id="a short thumbprint",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_told_at_once(key: str, value: str, told: str) -> None:
    """A setting of the wrong form is refused before any server is asked, with where it comes from."""
    assert refusal({**CONFIG, key: value}) == told


def test_credentials_in_an_address_are_not_repeated() -> None:
    """A password that somebody put into the address does not come back in the message."""
    assert "s3cret" not in refusal({**CONFIG, "vsphere:vsphereServer": "ann:s3cret@vc.example.com"})


def test_cloud_director_takes_a_user_or_a_token() -> None:
    """Cloud Director needs an address, an organization, and either user and password or an API token."""
    config = {"vcd:url": "https://vcd.example.com", "vcd:org": "acme"}
    with pytest.raises(ConfigurationError) as error:
        cloud_director_settings(config.get, {})
    assert str(error.value) == (
        "missing `vcd:user` or VCD_USER, `vcd:password` or VCD_PASSWORD, for example: "
        "pulumi config set vcd:user deployer; pulumi config set vcd:password --secret"
    )
    made = cloud_director_settings(config.get, {"VCD_API_TOKEN": "t0ken"})
    assert (made.url, made.org, made.api_token) == ("https://vcd.example.com", "acme", "t0ken")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        pytest.param("vcd:url", "http://vcd.example.com", "`vcd:url` or VCD_URL is not an https address", id="no TLS"),
        pytest.param("vcd:url", "https://[vcd", "`vcd:url` or VCD_URL is not an https address", id="no address"),
        pytest.param("vcd:url", "https://a:s3cret@vcd.example.com", "`vcd:url` or VCD_URL", id="credentials"),
        pytest.param("vcd:org", "", "missing `vcd:org` or VCD_ORG", id="no organization"),
    ],
)
def test_cloud_director_refuses_what_cannot_work(key: str, value: str, told: str) -> None:
    """An address without TLS or with credentials is refused by its key, and no secret is repeated."""
    config = {"vcd:url": "https://vcd.example.com", "vcd:org": "acme", "vcd:apiToken": "t0ken", key: value}
    with pytest.raises(ConfigurationError) as error:
        cloud_director_settings(config.get, {})
    assert str(error.value).startswith(told)
    assert "s3cret" not in str(error.value)
