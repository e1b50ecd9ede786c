"""What vCenter reports of the ESXi host that runs a VM: its certificate, and its management address."""

from __future__ import annotations

import hashlib
import logging
import ssl
from typing import TYPE_CHECKING, Any

from pyVmomi import vmodl

from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.vsphere.properties import retrieve, values_of

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

_CERTIFICATE = "config.certificate"
_ADAPTERS = "config.virtualNicManagerInfo.netConfig"
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def fingerprint(session: Session, host: Any) -> str:
    """Returns the SHA-256 fingerprint of the certificate that vCenter reports for a host; empty if it reports none.

    Args:
        session: The vCenter's session.
        host: The HostSystem, or None if vCenter does not report it.
    """
    value = _property(session, host, _CERTIFICATE)
    if not value:
        return ""
    try:
        return hashlib.sha256(first_certificate(_bytes(value))).hexdigest()
    except ValueError as error:
        _log.debug("the certificate that is reported for a host cannot be read: %s", error)
        return ""


def management_address(session: Session, host: Any) -> str:
    """Returns the IP address of the adapter for the management of a host; empty if vCenter reports none."""
    configurations = _property(session, host, _ADAPTERS) or ()
    found = next((each for each in configurations if each.nicType == "management"), None)
    if found is None:
        return ""
    selected = set(found.selectedVnic or ())
    adapters = sorted(found.candidateVnic or (), key=lambda adapter: adapter.key not in selected)
    return next((str(adapter.spec.ip.ipAddress) for adapter in adapters if adapter.spec.ip.ipAddress), "")


def first_certificate(reported: bytes) -> bytes:
    """Returns a host's own certificate as DER; intermediates, or a NUL, may follow it.

    Args:
        reported: PEM or DER.

    Raises:
        ValueError: If it is neither.
    """
    _, begin, rest = reported.partition(_BEGIN)
    if begin:
        body, end, _ = rest.partition(_END)
        return ssl.PEM_cert_to_DER_cert((begin + body + end).decode("ascii"))
    size = _der_size(reported)
    if size > len(reported):
        raise ValueError(f"expected {size} bytes, got {len(reported)}")
    return reported[:size]


def _der_size(content: bytes) -> int:
    """Returns how many bytes the sequence at the beginning has (ITU-T X.690, 8.1.3)."""
    if content[:1] != b"\x30" or len(content) < 2:  # noqa: PLR2004 -- a tag and a length
        raise ValueError("it is neither PEM nor DER")
    first = content[1]
    if first < 0x80:  # noqa: PLR2004 -- the bit for a length of several bytes
        return 2 + first
    count = first & 0x7F
    return 2 + count + int.from_bytes(content[2 : 2 + count], "big")


def _property(session: Session, host: Any, path: str) -> Any:
    if host is None:
        return None
    try:
        found = session.with_retries(lambda: retrieve(session, [host], {type(host): [path]}))
    except (ServerError, vmodl.MethodFault) as error:
        _log.debug("%s of a host cannot be read: %s", path, session.describe(error))
        return None
    return values_of(found[0]).get(path) if found else None


def _bytes(value: Any) -> bytes:
    """Turns the API's list of signed bytes into bytes."""
    return bytes(value) if isinstance(value, bytes | bytearray) else bytes(byte & 0xFF for byte in value)
