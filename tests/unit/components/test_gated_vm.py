"""The outputs with the addresses of a component's VM are errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_vsphere as vsphere
import pytest
from pulumi.runtime import test as run_as_program

from pulumi_customization_components.gated_vm import GatedVm
from pulumi_customization_gate import ConfigurationError

if TYPE_CHECKING:
    from tests.unit.conftest import Engine


def test_an_address_is_an_error_with_the_line_to_write(engine: Engine) -> None:
    """The VM has no address when it has been created; its other outputs and its inputs are those of any VM."""
    seen: list[str] = []

    @run_as_program  # type: ignore[untyped-decorator]  # the SDK's own decorator
    def program() -> None:
        args = vsphere.VirtualMachineArgs(resource_pool_id="pool")
        lines = ("address", 'ip_addresses["0"]')
        vm = GatedVm("web-0", args, pulumi.ResourceOptions(), component="web-shop", addresses=lines)
        vm.resource_pool_id.apply(seen.append)
        for output, line in (
            ("default_ip_address", "web_shop.address"),
            ("guest_ip_addresses", 'web_shop.ip_addresses["0"]'),
        ):
            with pytest.raises(ConfigurationError) as error:
                getattr(vm, output)
            assert str(error.value) == (
                f"{output} of the VM is empty, because the VM resource does not wait for an address; write {line}"
            )

    program()

    assert seen == ["pool"]
    assert engine.inputs["web-0"] == {
        "resourcePoolId": "pool",
        "waitForGuestNetTimeout": 0,
        "waitForGuestIpTimeout": 0,
    }
