"""The waits of a VM's own resource are turned off, whatever form its arguments have."""

from __future__ import annotations

from typing import Any

import pulumi_vsphere as vsphere
import pytest

from pulumi_customization_components.waits import without_waits

CUSTOMIZE = {"windows_options": {"computer_name": "web"}, "timeout": 20}


def _args(clone: Any) -> vsphere.VirtualMachineArgs:
    return vsphere.VirtualMachineArgs(resource_pool_id="pool", wait_for_guest_net_timeout=5, clone=clone)


def test_network_waits_are_off_and_the_arguments_stay_as_they_were() -> None:
    """What the caller holds is not changed: it may make other VMs of it."""
    args = _args(None)
    changed = without_waits(args)
    assert (changed.wait_for_guest_net_timeout, changed.wait_for_guest_ip_timeout) == (0, 0)
    assert (args.wait_for_guest_net_timeout, args.wait_for_guest_ip_timeout) == (5, None)
    assert changed.resource_pool_id == "pool"


def test_a_customization_in_typed_arguments_is_not_waited_for() -> None:
    """The default of its time-out is a wait of ten minutes: it is set where it was left out."""
    options = vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(host_name="web", domain="example.com")
    customize = vsphere.VirtualMachineCloneCustomizeArgs(linux_options=options)
    clone = vsphere.VirtualMachineCloneArgs(template_uuid="uuid", customize=customize, timeout=30)
    changed: Any = without_waits(_args(clone)).clone
    assert (changed.customize.timeout, changed.customize.linux_options) == (0, options)
    assert (changed.template_uuid, changed.timeout) == ("uuid", 30)
    assert customize.timeout is None


def test_a_stored_specification_is_not_waited_for() -> None:
    """A specification of vCenter's own has a time-out as well."""
    specification = vsphere.VirtualMachineCloneCustomizationSpecArgs(id="linux", timeout=10)
    clone = vsphere.VirtualMachineCloneArgs(template_uuid="uuid", customization_spec=specification)
    changed: Any = without_waits(_args(clone)).clone
    assert (changed.customization_spec.id, changed.customization_spec.timeout) == ("linux", 0)


@pytest.mark.parametrize(
    ("clone", "expected"),
    [
        pytest.param(
            {"template_uuid": "u", "customize": CUSTOMIZE},
            {"template_uuid": "u", "customize": {**CUSTOMIZE, "timeout": 0}},
            id="Python's names",
        ),
        pytest.param(
            {"templateUuid": "u", "customizationSpec": {"id": "linux"}},
            {"templateUuid": "u", "customizationSpec": {"id": "linux", "timeout": 0}},
            id="the schema's names",
        ),
        pytest.param({"template_uuid": "u"}, {"template_uuid": "u"}, id="no customization"),
    ],
)
def test_maps_are_arguments_too(clone: dict[str, Any], expected: dict[str, Any]) -> None:
    """A map in the place of typed arguments is changed in its own words."""
    assert without_waits(_args(clone)).clone == expected
