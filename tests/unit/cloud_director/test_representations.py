"""What is read out of Cloud Director's documents."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.cloud_director import representations
from pulumi_customization_gate.cloud_director.representations import InventoryVm, MalformedError

UUID = "22e51563-52a6-4a13-961a-d9dffa6aabf5"
NS = 'xmlns="http://www.vmware.com/vcloud/v1.5"'


def status(word: str) -> bytes:
    return (
        f"<GuestCustomizationStatusSection {NS}><GuestCustStatus>{word}</GuestCustStatus>"
        "</GuestCustomizationStatusSection>"
    ).encode()


def records(*attributes: str) -> bytes:
    rows = "".join(f"<VMRecord {each}/>" for each in attributes)
    return f'<QueryResultRecords {NS} total="{len(attributes)}">{rows}</QueryResultRecords>'.encode()


def test_the_status_is_the_word_in_its_element() -> None:
    """The state is the text of GuestCustStatus."""
    assert representations.guest_status(status(" GC_COMPLETE\n")) == "GC_COMPLETE"


def test_a_state_is_shown_without_control_characters() -> None:
    """A state that holds an escape sequence, as XML 1.0 cannot but U+009B can, is stripped of it."""
    assert representations.guest_status(status("GC\u009b2J_PENDING")) == "GC_PENDING"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html><body>Sorry</body></html>", id="a-page"),
        pytest.param(status("GC_COMPLETE")[:-10], id="cut-off"),
        pytest.param(status(""), id="no-word"),
        pytest.param(b'<Task xmlns="http://www.vmware.com/vcloud/v1.5"/>', id="another-document"),
        pytest.param(b'<!DOCTYPE a [<!ENTITY b "GC_COMPLETE">]>' + status("&b;"), id="entity"),
        pytest.param(b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + status("GC_COMPLETE"), id="external-dtd"),
        pytest.param(b'<?xml version="1.0" encoding="no-such-code"?>' + status("GC_COMPLETE"), id="encoding"),
        pytest.param(b"\xff\xfe<\x00", id="bytes"),
    ],
)
def test_no_other_document_passes_for_a_status(body: bytes) -> None:
    """A document that is broken, another one, or declares anything is refused."""
    with pytest.raises(MalformedError):
        representations.guest_status(body)


@given(st.binary(max_size=300))
def test_any_bytes_are_either_read_or_refused(body: bytes) -> None:
    """Any response of a server is either a known word or a MalformedError."""
    with contextlib.suppress(MalformedError):
        assert representations.guest_status(body)


@pytest.mark.parametrize(("text", "enabled"), [("true", True), ("false", False), ("1", True), (" FALSE ", False)])
def test_of_the_section_only_the_flag_is_read(text: str, enabled: bool) -> None:
    """The flag of a GuestCustomizationSection is read and nothing else is."""
    body = f"<GuestCustomizationSection {NS}><Enabled>{text}</Enabled><AdminPassword>x</AdminPassword>"
    assert enabled == representations.is_customization_enabled(f"{body}</GuestCustomizationSection>".encode())


def test_a_section_without_the_flag_is_refused_without_quoting_it() -> None:
    """A section without the flag is refused, and none of its text is in the error."""
    body = f"<GuestCustomizationSection {NS}><AdminPassword>s3cret</AdminPassword></GuestCustomizationSection>"
    with pytest.raises(MalformedError) as refusal:
        representations.is_customization_enabled(body.encode())
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("attributes", "vm"),
    [
        pytest.param(
            f'id="urn:vcloud:vm:{UUID}" name="web-0" status="POWERED_ON" vmToolsStatus="RUNNING" ipAddress="192.0.2.7"',
            InventoryVm(f"vm-{UUID}", "web-0", powered_on=True, tools_running=True, ip_addresses=("192.0.2.7",)),
            id="on-with-tools",
        ),
        pytest.param(
            f'href="https://x/vm-{UUID.upper()}" name="web-0" status="POWERED_OFF" vmToolsStatus="NOT_RUNNING"',
            InventoryVm(f"vm-{UUID}", "web-0", powered_on=False, tools_running=False),
            id="off",
        ),
        pytest.param(
            f'id="urn:vcloud:vm:{UUID}" name="web-0" status="UNKNOWN"',
            InventoryVm(f"vm-{UUID}", "web-0"),
            id="not-reported",
        ),
        pytest.param(
            f'id="urn:vcloud:vm:{UUID}" name="web-0" vmToolsStatus="guestToolsRunning"',
            InventoryVm(f"vm-{UUID}", "web-0", tools_running=True),
            id="tools-in-vsphere's-word",
        ),
    ],
)
def test_a_record_reports_power_and_tools(attributes: str, vm: InventoryVm) -> None:
    """A VMRecord has name, power, VMware Tools and address, each only where it is present."""
    assert {vm.id: vm} == representations.records(records(attributes))


def test_a_record_without_identifier_is_refused() -> None:
    """A VM without an identifier is malformed."""
    with pytest.raises(MalformedError):
        representations.records(records('name="web-0"'))


def test_a_vapp_lists_its_vms() -> None:
    """The VMs of a vApp come in its order, with their power state."""
    children = (
        f'<Children><Vm id="urn:vcloud:vm:{UUID}" name="b" status="4"/><Vm href="vm-{UUID}" name="a"/></Children>'
    )
    vms = representations.vms_of_vapp(f"<VApp {NS}>{children}</VApp>".encode())
    assert [(vm.name, vm.powered_on) for vm in vms] == [("b", True), ("a", None)]


def test_versions_leave_the_alpha_out() -> None:
    """Only the released versions count."""
    body = (
        '<SupportedVersions xmlns="http://www.vmware.com/vcloud/versions">'
        '<VersionInfo deprecated="true"><Version>36.3</Version></VersionInfo>'
        "<VersionInfo><Version>38.1</Version></VersionInfo>"
        "<AlphaVersion><Version>39.0.0-alpha</Version></AlphaVersion></SupportedVersions>"
    )
    assert list(representations.versions(body.encode())) == ["36.3", "38.1"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            f'<Error {NS} message="[ 1-2-3 ] no &#x9b;access" majorErrorCode="403" minorErrorCode="NO"/>'.encode(),
            ("NO", "no access"),
            id="xml",
        ),
        pytest.param(
            b'{"minorErrorCode": "BAD_REQUEST", "message": "no", "stackTrace": "at com.vmware"}',
            ("BAD_REQUEST", "no"),
            id="json",
        ),
        pytest.param(b'{"error": "invalid_grant", "error_description": "old"}', ("invalid_grant", "old"), id="oauth"),
        pytest.param(b"<html>blocked</html>", ("", ""), id="a-page"),
        pytest.param(b"{" * 100_000, ("", ""), id="deep"),
        pytest.param(b"[1]", ("", ""), id="a-list"),
        pytest.param(b"", ("", ""), id="empty"),
    ],
)
def test_an_error_document_has_code_and_message(body: bytes, expected: tuple[str, str]) -> None:
    """Errors come in XML, in JSON and as pages of someone in between."""
    assert expected == representations.error(body)
