"""Which proxy is used for a server, by the environment."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.proxies import Proxy, proxy_for, through

URL = "http://ann:s3cr%40t@proxy.example.com:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("host", "port", "exceptions", "expected"),
    [
        pytest.param("vc.example.com", 443, "", URL, id="elsewhere"),
        pytest.param("vc.example.com", 443, "vc.example.com", None, id="an exception"),
        pytest.param("vc.example.com", 443, ".example.com", None, id="an exception for a domain"),
        pytest.param("vc.example.com", 8443, "vc.example.com:443", URL, id="an exception for another port"),
        pytest.param("10.1.2.3", 443, "10.0.0.0/8", None, id="an exception for a network"),
        pytest.param("fd00::7", 443, "", URL, id="IPv6"),
        pytest.param("127.0.0.1", 8443, "", None, id="loopback"),
        pytest.param("::1", 8443, "", None, id="IPv6 loopback"),
        pytest.param("lab.localhost", 443, "", None, id="localhost"),
    ],
)
def test_the_environment_names_the_proxy_and_its_exceptions(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int, exceptions: str, expected: str | None
) -> None:
    """HTTPS_PROXY counts unless NO_PROXY names the server, or it is on this computer."""
    monkeypatch.setenv("HTTPS_PROXY", URL)
    monkeypatch.setenv("NO_PROXY", exceptions)
    proxy = proxy_for(host, port)
    assert (None if proxy is None else proxy.url) == expected


def test_without_a_proxy_there_is_none() -> None:
    """A server is then reached directly, and named so."""
    assert proxy_for("vc.example.com", 443) is None
    assert through("vc.example.com", None) == "vc.example.com"


def test_messages_have_the_address_of_a_proxy_and_no_password() -> None:
    """Nor has its repr; the header has both, decoded."""
    proxy = Proxy(URL)
    assert through("vc.example.com", proxy) == "vc.example.com through the proxy http://proxy.example.com:3128"
    assert "s3cr" not in repr(proxy)
    assert proxy.headers == {"Proxy-Authorization": "Basic YW5uOnMzY3JAdA=="}
    assert Proxy("http://proxy.example.com").headers == {}


def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """People write it as curl takes it."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    assert str(proxy_for("vc.example.com", 443)) == "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("socks5://ann:s3cret@proxy.example.com:1080", id="another protocol"),
        pytest.param("http://ann:s3cret@:3128", id="no host"),
        pytest.param("http://ann:s3cret@proxy.example.com:none", id="no port"),
    ],
)
def test_what_is_not_an_http_proxy_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The variable, an example and what was given."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ConfigurationError) as mistake:
        proxy_for("vc.example.com", 443)
    assert str(mistake.value) == (
        "HTTPS_PROXY: expected an HTTP proxy, for example http://proxy.example.com:3128, "
        f"got '{url.replace('ann:s3cret@', '')}'"
    )


def test_a_vcenter_is_not_reached_through_a_proxy_that_speaks_tls() -> None:
    """It is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"got 'https://proxy\.example\.com:3128'"):
        Proxy("https://ann:s3cret@proxy.example.com:3128").tunnel("vc.example.com", 443)
