"""The documents of the API, in XML and in JSON, as the VMware Cloud Director API reference describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from lab.cloud_director.cloud import SimulatedVm, vapp_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

VCLOUD = "http://www.vmware.com/vcloud/v1.5"
VERSIONS = "http://www.vmware.com/vcloud/versions"
OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_MEDIA = "application/vnd.vmware.vcloud"


def versions(address: str, offered: Sequence[str]) -> Element:
    """Returns SupportedVersions; the oldest one is on its way out."""
    root = Element("SupportedVersions", {"xmlns": VERSIONS})
    for number, version in enumerate(offered):
        info = SubElement(root, "VersionInfo", deprecated=str(number == 0).lower())
        _text(info, "Version", version)
        _text(info, "LoginUrl", f"{address}/cloudapi/1.0.0/sessions")
        _text(info, "ProviderLoginUrl", f"{address}/cloudapi/1.0.0/sessions/provider")
    _text(root, "SchemaRoot", f"{address}/api/v1.5/schema/")
    alpha = SubElement(root, "AlphaVersion", deprecated="false")
    _text(alpha, "Version", "99.0.0-alpha")
    return root


def status(vm: SimulatedVm) -> Element:
    """Returns GuestCustomizationStatusSection."""
    root = _vcloud("GuestCustomizationStatusSection")
    _text(root, "GuestCustStatus", vm.state)
    return root


def section(address: str, vm: SimulatedVm) -> Element:
    """Returns GuestCustomizationSection, with a password in it as a real one has."""
    href = f"{address}/api/vApp/vm-{vm.uuid}/guestCustomizationSection/"
    root = _vcloud("GuestCustomizationSection", href=href, type=f"{_MEDIA}.guestCustomizationSection+xml")
    _text(root, "ovf:Info", "Specifies Guest OS Customization Settings")
    for name, value in (
        ("Enabled", str(vm.is_enabled).lower()),
        ("ChangeSid", "false"),
        ("VirtualMachineId", vm.uuid),
        ("JoinDomainEnabled", "false"),
        ("UseOrgSettings", "false"),
        ("AdminPasswordEnabled", "true"),
        ("AdminPasswordAuto", "false"),
        ("AdminPassword", vm.admin_password),
        ("AdminAutoLogonEnabled", "false"),
        ("AdminAutoLogonCount", "0"),
        ("ResetPasswordRequired", "false"),
        ("ComputerName", vm.name),
    ):
        _text(root, name, value)
    return root


def vm_document(address: str, vm: SimulatedVm) -> Element:
    """Returns Vm, as far as a reader of power state and customization goes."""
    on = vm.powered_on_at is not None
    root = _vcloud(
        "Vm",
        href=f"{address}/api/vApp/vm-{vm.uuid}",
        type=f"{_MEDIA}.vm+xml",
        id=vm.urn,
        name=vm.name,
        status="4" if on else "8",
        deployed=str(on).lower(),
        needsCustomization=str(vm.is_enabled and vm.state == "GC_PENDING").lower(),
        nestedHypervisorEnabled="false",
    )
    up = f"{address}/api/vApp/vapp-{vapp_uuid(vm.vapp)}"
    SubElement(root, "Link", rel="up", href=up, type=f"{_MEDIA}.vApp+xml")
    _text(root, "Description", "")
    root.append(section(address, vm))
    runtime = SubElement(root, "RuntimeInfoSection")
    _text(runtime, "ovf:Info", "Specifies Runtime info")
    SubElement(runtime, "VMWareTools", version="12352")
    _text(root, "VAppScopedLocalId", vm.uuid)
    return root


def vapp(address: str, name: str, vms: Sequence[SimulatedVm]) -> Element:
    """Returns VApp with its VMs."""
    uuid = vapp_uuid(name)
    root = _vcloud(
        "VApp",
        href=f"{address}/api/vApp/vapp-{uuid}",
        type=f"{_MEDIA}.vApp+xml",
        id=f"urn:vcloud:vapp:{uuid}",
        name=name,
        status="4" if all(vm.powered_on_at is not None for vm in vms) else "10",
        deployed="true",
    )
    _text(root, "Description", "")
    children = SubElement(root, "Children")
    children.extend(vm_document(address, vm) for vm in vms)
    return root


def records(address: str, vms: Sequence[SimulatedVm], page: int, page_size: int, *, is_provider: bool) -> Element:
    """Returns one page of QueryResultRecords of type `vm`, or `adminVM`, which has no field for VMware Tools."""
    kind = "adminVM" if is_provider else "vm"
    shown = vms[(page - 1) * page_size : page * page_size]
    root = _vcloud(
        "QueryResultRecords",
        href=f"{address}/api/query?type={kind}&page={page}&pageSize={page_size}&format=records",
        type=f"{_MEDIA}.query.records+xml",
        name=kind,
        page=str(page),
        pageSize=str(page_size),
        total=str(len(vms)),
    )
    for vm in shown:
        on = vm.powered_on_at is not None
        record = SubElement(
            root,
            "AdminVMRecord" if is_provider else "VMRecord",
            href=f"{address}/api/vApp/vm-{vm.uuid}",
            id=vm.urn,
            name=vm.name,
            container=f"{address}/api/vApp/vapp-{vapp_uuid(vm.vapp)}",
            containerName=vm.vapp,
            isVAppTemplate="false",
            isDeployed=str(on).lower(),
            status="POWERED_ON" if on else "POWERED_OFF",
            ipAddress=vm.ip_address,
        )
        known = vm.state if vm.record_state is None else vm.record_state
        if known:
            record.set("gcStatus", known)
        if vm.reports_tools and not is_provider:
            record.set("vmToolsStatus", "RUNNING" if vm.tools_run else "NOT_RUNNING")
    return root


def org_list(address: str, org: str) -> Element:
    """Returns OrgList: what a client asks for to see that its token works."""
    root = _vcloud("OrgList", href=f"{address}/api/org/", type=f"{_MEDIA}.orgList+xml")
    SubElement(root, "Org", href=f"{address}/api/org/{vapp_uuid(org)}", name=org, type=f"{_MEDIA}.org+xml")
    return root


def error(status_code: int, code: str, message: str) -> Element:
    """Returns Error."""
    return _vcloud("Error", message=message, majorErrorCode=str(status_code), minorErrorCode=code)


def as_xml(root: Element) -> bytes:
    """Returns a document as the server sends it."""
    document: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def as_json(element: Element) -> dict[str, object] | str:
    """Returns a document as its JSON form has it: attributes and elements alike by their names in lower camel case."""
    fields: dict[str, object] = {name: value for name, value in element.attrib.items() if "xmlns" not in name}
    for child in element:
        name = _lower(child)
        value: object = as_json(child)
        if name in _LISTS:
            listed = fields.setdefault(name, [])
            assert isinstance(listed, list)
            listed.append(value)
        else:
            fields[name] = value
    return fields or (element.text or "")


_LISTS = frozenset({"versionInfo", "link", "vm", "org"})


def _lower(element: Element) -> str:
    name = element.tag.rpartition(":")[2]
    return "record" if name.endswith("Record") else name[:1].lower() + name[1:]


def _vcloud(tag: str, /, **attributes: str) -> Element:
    return Element(tag, {"xmlns": VCLOUD, "xmlns:ovf": OVF, **attributes})


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text
