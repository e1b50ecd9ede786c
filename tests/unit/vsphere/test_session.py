"""Settings and versions: what a session decides before it opens a socket."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.vsphere.session import (
    OLDEST_VERSION,
    _best_version,
)
from pulumi_customization_gate.vsphere.settings import VsphereSettings

SETTINGS = VsphereSettings("vc.example.com", "ann@vsphere.local", "hunter2")


@pytest.mark.parametrize(
    ("api_version", "spoken"),
    [
        ("6.5", "vim.version.version11"),
        ("6.7", "vim.version.version12"),
        ("7.0.0.0", "vim.version.v7_0"),
        ("7.0.2", "vim.version.v7_0_2_0"),
        ("7.0.2.0", "vim.version.v7_0_2_0"),
        ("7.0.3.2", "vim.version.v7_0_3_2"),
        ("8.0.3.0", "vim.version.v8_0_3_0"),
        ("7.0.3.99", "vim.version.v7_0_3_2"),
    ],
)
def test_best_version(api_version: str, spoken: str) -> None:
    """Client and server use the newest version that both support."""
    assert spoken == _best_version(api_version)


def test_a_server_newer_than_pyvmomi_is_spoken_to_in_its_newest_version() -> None:
    """With an unknown version the client does not fall back to an old one."""
    assert _best_version("999.0.0.0") == _best_version("998.0.0.0") != OLDEST_VERSION


@pytest.mark.parametrize("api_version", ["", "unknown", "1.0"])
def test_a_version_that_is_unknown_is_answered_in_the_oldest(api_version: str) -> None:
    """A server that says nothing useful is asked in the version that all know."""
    assert _best_version(api_version) == OLDEST_VERSION


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("vc.example.com", "vc.example.com", 443),
        ("vc.example.com:8443", "vc.example.com", 8443),
        ("192.0.2.1:8989", "192.0.2.1", 8989),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443),
        ("[2001:db8::1]", "2001:db8::1", 443),
        ("::1", "::1", 443),
        ("2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1", 443),
    ],
)
def test_host_and_port(server: str, host: str, port: int) -> None:
    """A server is a host, with a port or without."""
    settings = VsphereSettings(server, "ann", "hunter2")

    assert (host, port) == settings.host_and_port()


def test_no_repr_has_the_password() -> None:
    """A password does not reach a log with its settings."""
    assert "hunter2" not in repr(SETTINGS)
