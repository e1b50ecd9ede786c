"""What Cloud Director's documents hold, read without entities or DTDs. Only the named values leave a document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

_POWER = {"POWERED_ON": True, "POWERED_OFF": False, "SUSPENDED": False, "RESOLVED": False}
"""The words of a VMRecord's `status`; the others do not describe power."""
_POWER_BY_NUMBER = {"4": True, "8": False, "3": False, "1": False}
"""The same as numbers, in the `status` of a Vm."""
_TOOLS_RUN = frozenset({"RUNNING", "GUESTTOOLSRUNNING", "TOOLSOK", "TOOLSOLD"})
"""A VMRecord's `vmToolsStatus` has no documented list of values: those of vSphere's two properties are used."""
_ID = re.compile(r"(?:urn:vcloud:vm:|vm-)([0-9a-f-]{36})", re.IGNORECASE)


_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_ELEMENT = re.compile(r"<[A-Za-z]")
_LONGEST_EXCERPT = 160


class MalformedError(ValueError):
    """A document is not what was asked for; its text is not quoted here, because it may hold a password.

    Args:
        message: What is wrong with it.
        is_final: Whether the same request cannot be expected to get a better answer: the document is well-formed
            and another one, such as a web page.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def excerpt(body: bytes) -> str:
    """Returns the beginning of an answer for a message, without any value of a document of Cloud Director's.

    A web page is shown as it is, any other XML up to its first element, and what is not XML not at all.
    """
    text = body[: 4 * _LONGEST_EXCERPT].decode("utf-8", "replace")
    if not _HTML.match(body):
        text = _ELEMENT.split(text, maxsplit=1)[0] if text.lstrip().startswith("<") else ""
    return sanitize(text, _LONGEST_EXCERPT)


@dataclass(frozen=True)
class InventoryVm:
    """What Cloud Director's inventory reports of a VM."""

    id: str
    """`vm-{uuid}`."""
    name: str
    powered_on: bool | None = None
    tools_running: bool | None = None
    """None where the server does not report it."""
    ip_addresses: tuple[str, ...] = ()
    state: str = ""
    """The customization state that the query service knows, which may lag behind; empty where it reports none."""


def parse(body: bytes, root: str) -> Element:
    """Returns a document's root element.

    Raises:
        MalformedError: If it is not XML, declares a DTD or has another root element.
    """
    if _HTML.match(body):
        raise MalformedError("it is a web page", is_final=True)
    try:
        element: Element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException as error:
        raise MalformedError(f"it declares a DTD or entities ({type(error).__name__})", is_final=True) from None
    except (ParseError, ValueError, LookupError) as error:
        raise MalformedError(f"it is not the XML that was asked for ({type(error).__name__})") from None
    if _local(element) != root:
        raise MalformedError(f"it is a {sanitize(_local(element), 60)} instead of a {root}")
    return element


def versions(body: bytes) -> Sequence[str]:
    """Returns the API versions of a SupportedVersions document, without the alpha ones."""
    root = parse(body, "SupportedVersions")
    return [text.strip() for info in root.iterfind("{*}VersionInfo") if (text := info.findtext("{*}Version", ""))]


def guest_status(body: bytes) -> str:
    """Returns the word in a GuestCustomizationStatusSection."""
    text = parse(body, "GuestCustomizationStatusSection").findtext("{*}GuestCustStatus", "").strip()
    if not text:
        raise MalformedError("it holds no GuestCustStatus")
    return sanitize(text, 60)


def is_customization_enabled(body: bytes) -> bool:
    """Returns the flag of a GuestCustomizationSection; the rest of it, passwords among it, is not looked at."""
    text = parse(body, "GuestCustomizationSection").findtext("{*}Enabled", "").strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise MalformedError("it does not report whether guest customization is enabled")
    return text in ("true", "1")


def vm(body: bytes) -> InventoryVm:
    """Returns the name and power state of a Vm."""
    return _document(parse(body, "Vm"))


def vms_of_vapp(body: bytes) -> Sequence[InventoryVm]:
    """Returns the VMs in a VApp."""
    return [_document(vm) for vm in parse(body, "VApp").iterfind("{*}Children/{*}Vm")]


def records(body: bytes) -> Mapping[str, InventoryVm]:
    """Returns the VMRecords of a query by the VM's identifier."""
    root = parse(body, "QueryResultRecords")
    found = (_record(element) for element in root if _local(element) in ("VMRecord", "AdminVMRecord"))
    return {record.id: record for record in found}


def error(body: bytes) -> tuple[str, str]:
    """Returns code and message of an Error document, XML or JSON; empty where the body is none."""
    try:
        attributes: Mapping[str, object] = (
            json.loads(body) if body.lstrip()[:1] == b"{" else dict(parse(body, "Error").attrib)
        )
    except (MalformedError, ValueError, RecursionError):
        return "", ""
    code = attributes.get("minorErrorCode") or attributes.get("error") or ""
    message = attributes.get("message") or attributes.get("error_description") or ""
    # The server begins with the request ID, which is shown beside the message anyway.
    return sanitize(str(code), 80), sanitize(re.sub(r"^\[[^\]]{1,200}\]\s*", "", str(message)))


def _document(vm: Element) -> InventoryVm:
    return InventoryVm(_id(vm), sanitize(vm.get("name", "")), _POWER_BY_NUMBER.get(vm.get("status", "")))


def _record(record: Element) -> InventoryVm:
    tools = record.get("vmToolsStatus")
    address = sanitize(record.get("ipAddress", ""))
    return InventoryVm(
        id=_id(record),
        name=sanitize(record.get("name", "")),
        powered_on=_POWER.get(record.get("status", "")),
        tools_running=None if tools is None else re.sub("[^A-Z]", "", tools.upper()) in _TOOLS_RUN,
        ip_addresses=(address,) if address else (),
        state=sanitize(record.get("gcStatus", ""), 60),
    )


def _id(element: Element) -> str:
    match = _ID.search(element.get("id", "")) or _ID.search(element.get("href", ""))
    if match is None:
        raise MalformedError("it holds a VM without an identifier")
    return f"vm-{match[1].lower()}"


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
