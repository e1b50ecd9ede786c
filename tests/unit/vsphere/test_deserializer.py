"""What is read of a response, and what is skipped."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from xml.parsers import expat

import pytest
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


def _state(number: int) -> str:
    return f"""<objects><obj type="VirtualMachine">vm-{number}</obj>
<propSet><name>name</name><val xsi:type='xsd:string'>web-{number}</val></propSet>
<propSet><name>runtime.powerState</name><val xsi:type="VirtualMachinePowerState">poweredOn</val></propSet>
<propSet><name>summary.runtime.bootTime</name><val xsi:type="xsd:dateTime">2025-03-01T12:00:0{number}Z</val></propSet>
<propSet><name>guest.net</name><val xsi:type="ArrayOfGuestNicInfo">
<GuestNicInfo><network>n</network><ipAddress>10.0.0.{number}</ipAddress><ipAddress>10.0.0.{number}{number}</ipAddress>
<connected>true</connected><deviceConfigId>{number}</deviceConfigId></GuestNicInfo>
<GuestNicInfo><network>m</network><ipAddress>10.0.1.{number}</ipAddress><connected>false</connected>
<deviceConfigId>{number}</deviceConfigId></GuestNicInfo></val></propSet>
<missingSet><path>config</path><fault><fault xsi:type="NoPermission"><object type="VirtualMachine">vm-{number}</object>
<privilegeId>System.Read</privilegeId></fault><localizedMessage>not vm-{number}</localizedMessage></fault></missingSet>
</objects>"""


STATES = f"""<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>
<RetrievePropertiesExResponse xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xmlns:xsd="http://www.w3.org/2001/XMLSchema"><returnval>{_state(1)}{_state(2)}</returnval>
</RetrievePropertiesExResponse></Body></Envelope>"""


def _stub() -> Any:
    stub = FakeStub(FakeVcenter(), 1.0)
    stub.version = "vim.version.v8_0_3_0"  # type: ignore[attr-defined]
    return stub


def parsed(text: str, kind: Any) -> Any:
    return _ResponseDeserializer(_stub()).Deserialize(text.encode(), kind)


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


def test_elements_that_are_alike_are_read_as_pyvmomi_reads_them() -> None:
    """Lists, numbers, states, times, references and faults of a second object are its own, not those of the first."""
    kind = vmodl.query.PropertyCollector.RetrieveResult
    ours = parsed(STATES, kind)

    assert repr(SoapAdapter.SoapResponseDeserializer(_stub()).Deserialize(STATES.encode(), kind)) == repr(ours)
    first, second = ours.objects
    assert [nic.ipAddress for nic in first.propSet[3].val] == [["10.0.0.1", "10.0.0.11"], ["10.0.1.1"]]
    assert [nic.ipAddress for nic in second.propSet[3].val] == [["10.0.0.2", "10.0.0.22"], ["10.0.1.2"]]
    assert [content.missingSet[0].fault.object._GetMoId() for content in ours.objects] == ["vm-1", "vm-2"]
    assert [content.missingSet[0].fault.msg for content in ours.objects] == ["not vm-1", "not vm-2"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("2025-03-01T12:00:02Z", "yesterday", id="time"),
        pytest.param("<deviceConfigId>2<", "<deviceConfigId>two<", id="number"),
        pytest.param("<name>name</name><val xsi:type='xsd:string'>", "<name/><val xsi:type='xsd:nothing'>", id="type"),
        pytest.param("<path>config<", "<paths>config<", id="element"),
    ],
)
def test_what_is_malformed_in_a_second_object_is_an_error(old: str, new: str) -> None:
    """What is remembered of an element does not hide that a later one has another value, type or name."""
    place = STATES.rindex(old)
    spoilt = STATES[:place] + new + STATES[place + len(old) :]
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError, expat.ExpatError)):
        parsed(spoilt, vmodl.query.PropertyCollector.RetrieveResult)


def test_a_response_is_free_as_soon_as_it_is_not_used() -> None:
    """A read of thousands of VMs does not stay in memory until Python looks for cycles of garbage."""
    gc.disable()
    try:
        states = parsed(STATES, vmodl.query.PropertyCollector.RetrieveResult)
        freed = weakref.ref(states.objects[0])
        del states
        assert freed() is None
    finally:
        gc.enable()


def test_other_clients_of_pyvmomi_are_left_as_they_are() -> None:
    """Only calls of this function use the deserializer; pyVmomi's own name is not replaced."""
    assert SoapAdapter.SoapResponseDeserializer is not _ResponseDeserializer
    assert invoke_method.__globals__["SoapResponseDeserializer"] is _ResponseDeserializer
