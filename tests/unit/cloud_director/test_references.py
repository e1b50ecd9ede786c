"""What a user may write for a VM of Cloud Director."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.cloud_director.references import Reference, parse_reference
from pulumi_customization_gate.core.errors import ConfigurationError

URL = "https://vcd.example.com"
UUID = "22e51563-52a6-4a13-961a-d9dffa6aabf5"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param(f"urn:vcloud:vm:{UUID}", "vm", id="urn"),
        pytest.param(f"  URN:VCLOUD:VM:{UUID.upper()} ", "vm", id="case-and-space"),
        pytest.param(f"vm-{UUID}", "vm", id="id"),
        pytest.param(f"{URL}/api/vApp/vm-{UUID}", "vm", id="href"),
        pytest.param(f"https://VCD.example.com:443/api/vApp/vm-{UUID}/", "vm", id="href-with-port"),
        pytest.param(f"urn:vcloud:vapp:{UUID}", "vapp", id="vapp-urn"),
        pytest.param(f"vapp-{UUID}", "vapp", id="vapp-id"),
        pytest.param(f"{URL}/api/vApp/vapp-{UUID}", "vapp", id="vapp-href"),
    ],
)
def test_every_documented_form_names_its_thing(text: str, kind: str) -> None:
    """A URN, an identifier or an href names a VM or a vApp, in any case."""
    assert Reference(kind, UUID) == parse_reference(text, URL)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"https://evil.example.com/api/vApp/vm-{UUID}", id="host"),
        pytest.param(f"https://vcd.example.com:8443/api/vApp/vm-{UUID}", id="port"),
        pytest.param(f"http://vcd.example.com/api/vApp/vm-{UUID}", id="scheme"),
        pytest.param(
            f"https://vcd.example.com@evil.example.com/api/vApp/vm-{UUID}", id="user-that-looks-like-the-host"
        ),
        pytest.param(f"https://me@vcd.example.com/api/vApp/vm-{UUID}", id="user"),
        pytest.param(f"https://vcd.example.com.evil.example.com/api/vApp/vm-{UUID}", id="suffix"),
    ],
)
def test_another_server_is_refused(text: str) -> None:
    """An href of another server is refused, because the token would go there."""
    with pytest.raises(ConfigurationError, match="token is sent to the configured server only"):
        parse_reference(text, URL)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("web-1", id="name"),
        pytest.param("vm-1042", id="managed-object-id"),
        pytest.param(f"urn:vcloud:org:{UUID}", id="other-urn"),
        pytest.param(f"vm-{UUID}/../org", id="path"),
        pytest.param(f"{URL}/api/vApp/vm-{UUID}/guestcustomizationstatus", id="longer-href"),
        pytest.param(f"{URL}/api/vApp/vm-{UUID}?x=1", id="query"),
        pytest.param(f"/api/vApp/vm-{UUID}", id="path-alone"),
        pytest.param("https://[broken/api", id="no-address"),
        pytest.param(f"{URL}:port/api/vApp/vm-{UUID}", id="no-port"),
        pytest.param("\x1b[2J::error::x", id="escape-sequence"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    """Whatever names no VM is refused with the forms that do, and without control characters."""
    with pytest.raises(ConfigurationError, match="urn:vcloud:vm:<uuid>") as refusal:
        parse_reference(text, URL)
    assert "\x1b" not in str(refusal.value)


def test_a_reference_knows_both_of_its_names() -> None:
    """A reference gives the identifier of the API's paths and the URN."""
    reference = Reference("vm", UUID)
    assert (f"vm-{UUID}", f"urn:vcloud:vm:{UUID}") == (reference.id, reference.urn)
