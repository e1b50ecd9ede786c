"""The VM of a component: its addresses come from the gate."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import pulumi_vsphere as vsphere

from pulumi_customization_components.waits import without_waits
from pulumi_customization_gate import ConfigurationError

if TYPE_CHECKING:
    import pulumi


class GatedVm(vsphere.VirtualMachine):  # type: ignore[misc]  # pulumi_vsphere is untyped
    """A vsphere.VirtualMachine that does not wait, so the outputs with its addresses are errors.

    They are empty when the VM has been created, and a connection to an empty address reaches the computer that runs
    Pulumi.

    Args:
        resource_name: The name of the VM in the stack.
        args: Its arguments; the waits are turned off.
        opts: Its options.
        component: The name of the component.
        addresses: The expressions, after the component's name, to use instead of `default_ip_address` and
            `guest_ip_addresses`.
    """

    def __init__(
        self,
        resource_name: str,
        args: vsphere.VirtualMachineArgs,
        opts: pulumi.ResourceOptions,
        *,
        component: str,
        addresses: tuple[str, str],
    ) -> None:
        variable = re.sub(r"\W+", "_", component)
        self._addresses = [f"{variable}.{rest}" for rest in addresses]
        super().__init__(resource_name, without_waits(args), opts)

    @property
    def default_ip_address(self) -> NoReturn:
        """Raises an error with what to write.

        Raises:
            ConfigurationError: Always.
        """
        self._refuse("default_ip_address", self._addresses[0])

    @property
    def guest_ip_addresses(self) -> NoReturn:
        """Raises an error with what to write.

        Raises:
            ConfigurationError: Always.
        """
        self._refuse("guest_ip_addresses", self._addresses[1])

    def _refuse(self, output: str, line: str) -> NoReturn:
        raise ConfigurationError(
            f"{output} of the VM is empty, because the VM resource does not wait for an address; write {line}"
        )
