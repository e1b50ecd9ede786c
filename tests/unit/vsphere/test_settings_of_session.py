"""Settings: what a session decides before it opens a socket."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.vsphere.settings import VsphereSettings

SETTINGS = VsphereSettings("vc.example.com", "ann@vsphere.local", "hunter2")


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
