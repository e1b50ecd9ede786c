"""What is read of a response, and what is skipped."""

from __future__ import annotations

from typing import Any

from pyVmomi import SoapAdapter, vim, vmodl

from pulumi_customization_gate.vsphere.deserializer import _ResponseDeserializer, invoke_method
from pulumi_customization_gate.vsphere.events import moid_of
from tests.unit.vsphere.fake_vcenter import FakeStub, FakeVcenter

EVENTS = """<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><QueryEventsResponse xmlns="urn:vim25">
<returnval xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CustomizationSysprepFailed">
<key>7</key><chainId>7</chainId><createdTime>2025-03-01T12:00:00Z</createdTime><userName></userName>
<host><name>esx-1</name><host type="HostSystem">host-1</host></host>
<vm><name>web-1</name><vm type="VirtualMachine">vm-1</vm></vm>
<fullFormattedMessage>It failed</fullFormattedMessage><template>false</template><logLocation>C:\\log</logLocation>
<sysprepVersion>1</sysprepVersion><systemVersion>2</systemVersion></returnval>
<returnval xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="VmPoweredOnEvent"><key>8</key></returnval>
</QueryEventsResponse></Body></Envelope>"""
PROPERTIES = """<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>
<RetrievePropertiesExResponse xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xmlns:xsd="http://www.w3.org/2001/XMLSchema"><returnval><objects><obj type="VirtualMachine">vm-1</obj>
<propSet><name>name</name><val xsi:type="xsd:string">web-1</val></propSet></objects></returnval>
</RetrievePropertiesExResponse></Body></Envelope>"""


def parsed(text: str, kind: Any) -> Any:
    stub = FakeStub(FakeVcenter(), 1.0)
    stub.version = "vim.version.v8_0_3_0"  # type: ignore[attr-defined]
    return _ResponseDeserializer(stub).Deserialize(text.encode(), kind)


def test_an_event_is_read_without_its_surroundings() -> None:
    """What the gate reads of an event is there; host and other places are skipped, and the next event is read whole."""
    failed, powered_on = parsed(EVENTS, vim.event.Event.Array)

    assert (failed.key, moid_of(failed.vm.vm), failed.fullFormattedMessage) == (7, "vm-1", "It failed")
    assert (failed.createdTime.hour, failed.logLocation) == (12, "C:\\log")
    assert (failed.host, failed.vm.name, failed.chainId) == (None, "", 0)
    assert (type(powered_on), powered_on.key) == (vim.event.VmPoweredOnEvent, 8)


def test_other_objects_are_read_whole() -> None:
    """Properties are read as pyVmomi reads them, names included."""
    result = parsed(PROPERTIES, vmodl.query.PropertyCollector.RetrieveResult)
    (content,) = result.objects
    assert (content.propSet[0].name, content.propSet[0].val, moid_of(content.obj)) == ("name", "web-1", "vm-1")


def test_other_clients_of_pyvmomi_are_left_as_they_are() -> None:
    """Only calls of this function use the deserializer; pyVmomi's own name is not replaced."""
    assert SoapAdapter.SoapResponseDeserializer is not _ResponseDeserializer
    assert invoke_method.__globals__["SoapResponseDeserializer"] is _ResponseDeserializer
