"""What names a VM, and what one read of its properties reports."""

from __future__ import annotations

from datetime import timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.core.status import FailureKind, PowerState, Progress
from pulumi_customization_gate.vsphere.inventory import _seen, _snapshot
from pulumi_customization_gate.vsphere.references import Reference, parse_reference
from tests.unit.core.timeline import at

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.session import Session

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        pytest.param("vm-87", Reference("moid", "vm-87"), id="managed object ID"),
        pytest.param("vm-1000000", Reference("moid", "vm-1000000"), id="long managed object ID"),
        pytest.param(UUID, Reference("uuid", UUID), id="UUID"),
        pytest.param(UUID.upper(), Reference("uuid", UUID), id="UUID in capitals"),
        pytest.param("/Datacenter/vm/web/web-1", Reference("path", "Datacenter/vm/web/web-1"), id="path"),
        pytest.param("Datacenter/vm/web-1/", Reference("path", "Datacenter/vm/web-1"), id="path without a slash"),
        pytest.param("/Datacenter/vm/vm-87", Reference("path", "Datacenter/vm/vm-87"), id="path to a name like an ID"),
        pytest.param(f"/Datacenter/vm/{UUID}", Reference("path", f"Datacenter/vm/{UUID}"), id="path to a UUID"),
        pytest.param("/Datacenter/vm/a name", Reference("path", "Datacenter/vm/a name"), id="path with a blank"),
    ],
)
def test_parse_reference(text: str, reference: Reference) -> None:
    """A text is a managed object ID, a UUID or a path by its form alone."""
    assert reference == parse_reference(text)


@pytest.mark.parametrize(
    "text",
    ["", "/", "web-1", "/web-1", "vm-", "VM-87", UUID[:-1], f"{{{UUID}}}", "urn:vcloud:vm:" + UUID, "vm-87\n"],
)
def test_a_reference_of_no_known_form_is_refused(text: str) -> None:
    """The error quotes what was written and shows each form."""
    with pytest.raises(ConfigurationError) as caught:
        parse_reference(text)

    assert str(caught.value) == (
        "expected a managed object ID (vm-87), an instance or BIOS UUID "
        "(4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e), an inventory path (/Datacenter/vm/folder/web-1), "
        f"or a resource with a moid, got {text!r}"
    )


def content(**values: Any) -> Any:
    """Returns what the property collector answers for one VM; `__` stands for the dot in a path."""
    properties = [vmodl.DynamicProperty(name=path.replace("__", "."), val=value) for path, value in values.items()]
    return vmodl.query.PropertyCollector.ObjectContent(obj=vim.VirtualMachine("vm-87"), propSet=properties)


READS = [
    pytest.param({}, Snapshot("vm-87", at(5)), id="nothing may be read"),
    pytest.param(
        {
            "name": "web-2",
            "runtime__powerState": "poweredOn",
            "summary__runtime__bootTime": at(1).astimezone(timezone(timedelta(hours=2))),
            "config__tools__pendingCustomization": "imc-1",
            "guest__toolsRunningStatus": "guestToolsRunning",
            "guest__toolsVersion": "12421",
            "config__instanceUuid": UUID.upper(),
            "config__uuid": UUID.replace("4", "5"),
            "guest__hostName": "web-2.example.com",
            "guest__ipAddress": "192.0.2.2",
            "guest__net": vim.vm.GuestInfo.NicInfo.Array(
                [
                    vim.vm.GuestInfo.NicInfo(connected=True, deviceConfigId=0, ipAddress=["2001:db8::2", "192.0.2.2"]),
                    vim.vm.GuestInfo.NicInfo(connected=True, deviceConfigId=1),
                ]
            ),
            "guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_FAILED",
            "guest__customizationInfo__errorMsg": "no deployPkg",
        },
        Snapshot(
            "vm-87",
            at(5),
            power=PowerState.ON,
            booted_at=at(1),
            specification_pending=True,
            progress=Progress.FAILED,
            state="TOOLSDEPLOYPKG_FAILED",
            message="no deployPkg",
            tools_running=True,
            tools_version="12421",
            name="web-2",
            host_name="web-2.example.com",
            ip_addresses=("192.0.2.2", "2001:db8::2"),
            instance_uuid=UUID,
            bios_uuid=UUID.replace("4", "5"),
        ),
        id="everything is there",
    ),
    pytest.param(
        {"runtime__powerState": "poweredOff", "guest__toolsRunningStatus": "guestToolsNotRunning"},
        Snapshot("vm-87", at(5), power=PowerState.OFF),
        id="off, vCenter older than 7.0.2",
    ),
    pytest.param(
        {"runtime__powerState": "suspended"}, Snapshot("vm-87", at(5), power=PowerState.SUSPENDED), id="suspended"
    ),
    pytest.param(
        {"guest__toolsRunningStatus": "guestToolsExecutingScripts"}, Snapshot("vm-87", at(5)), id="Tools just start"
    ),
    pytest.param({"config__tools__pendingCustomization": ""}, Snapshot("vm-87", at(5)), id="nothing waits"),
]


@pytest.mark.parametrize(("properties", "snapshot"), READS)
def test_snapshot(properties: dict[str, Any], snapshot: Snapshot) -> None:
    """A read becomes a snapshot at the server's time; what was not told is unknown, the guest's clock is not read."""
    assert snapshot == _snapshot(content(**properties), at(5), 0.0)


def unread(fault: Exception) -> Any:
    """Returns the answer for a VM whose name did not come."""
    missing = vmodl.query.PropertyCollector.MissingProperty(path="name", fault=fault)
    answer = content()
    answer.missingSet = [missing]
    return answer


def test_a_vm_without_rights_is_reported_as_such() -> None:
    """What may not be read is not taken for a VM that is off: the snapshot says what is missing, and from whom."""
    session = cast("Session", SimpleNamespace(settings=SimpleNamespace(user="ann")))
    seen = _seen(session, unread(vim.fault.NoPermission()), at(5), 3.5)

    message = "ann may not read it; grant the role Read-only on it, or on its folder"
    assert Missing("vm-87", at(5), FailureKind.NO_PERMISSION, message, needs_second_look=True, asked_at=3.5) == seen


def test_a_session_that_ended_is_not_a_vm_without_rights() -> None:
    """A vCenter may answer a call without a session, each property missing: that is no news of the VM."""
    with pytest.raises(vim.fault.NotAuthenticated):
        _seen(cast("Session", None), unread(vim.fault.NotAuthenticated()), at(5), 0.0)
