"""The stand-in's calls to vCenter: look-ups, clone, reconfigure, destroy. All of it blocks."""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

from pyVim.connect import Connect, Disconnect
from pyVmomi import vim, vmodl

from lab.offline.vsphere_plugin.representations import customization, describe, hardware, moid, outputs
from lab.offline.vsphere_plugin.waiter import CustomizationWaiter

if TYPE_CHECKING:
    from collections.abc import Mapping

_API_VERSION = "vim.version.v8_0_3_0"
_CALL_SECONDS = 60
_TASK_SECONDS = 600.0
_POLL_SECONDS = 0.05
_HELD_SECONDS = 30
"""Seconds for which a call is held, less than _CALL_SECONDS."""


class Inventory:
    """One vCenter, seen with the credentials of the provider's configuration.

    Args:
        config: The keys of the `vsphere:` namespace; the environment speaks where one is missing, as with the real
            plugin.
        ca_file: The certificate authorities to trust; the VM's own where it is missing.
    """

    def __init__(self, config: Mapping[str, str], ca_file: str | None = None) -> None:
        self._config = config
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._service: Any = None

    def _setting(self, key: str, variable: str) -> str:
        return self._config.get(key) or os.environ.get(variable, "")

    @property
    def _content(self) -> Any:
        # The first call logs in; the others of the same burst wait for it and share its session.
        with self._lock:
            if self._service is None:
                host, _, port = self._setting("vsphereServer", "VSPHERE_SERVER").partition(":")
                context = ssl.create_default_context(cafile=self._ca_file)
                if self._setting("allowUnverifiedSsl", "VSPHERE_ALLOW_UNVERIFIED_SSL").lower() in {"true", "1"}:
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                try:
                    self._service = Connect(
                        host=host,
                        port=int(port or 443),
                        user=self._setting("user", "VSPHERE_USER"),
                        pwd=self._setting("password", "VSPHERE_PASSWORD"),
                        sslContext=context,
                        version=_API_VERSION,
                        httpConnectionTimeout=_CALL_SECONDS,
                    )
                except vim.fault.InvalidLogin:
                    raise PermissionError(f"{host} refuses the user name or password") from None
                except vim.fault.HostConnectFault as fault:
                    raise ConnectionError(f"{host}: {fault.msg}") from None
            return self._service.content

    def close(self) -> None:
        """Logs out, where a call has logged in."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            Disconnect(service)
            service._stub.DropConnections()  # noqa: SLF001 -- Disconnect leaves the pool of connections open

    def look_up(self, function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the result of one of the data sources.

        Raises:
            LookupError: Nothing has that name, or the stand-in does not know the data source.
        """
        name = arguments.get("name") or ""
        datacenter = self._reference(vim.Datacenter, arguments.get("datacenterId"))
        if function == "getDatacenter":
            return {**arguments, "id": moid(self._find(vim.Datacenter, name)), "virtualMachines": []}
        if function == "getVirtualMachine":
            return {**arguments, **describe(self._find(vim.VirtualMachine, name, datacenter))}
        kinds = {
            "getDatastore": vim.Datastore,
            "getComputeCluster": vim.ClusterComputeResource,
            "getResourcePool": vim.ResourcePool,
            "getNetwork": vim.Network,
        }
        if function not in kinds:
            raise LookupError(f"{function} is not in the lab's stand-in for the vSphere plugin")
        found = self._find(kinds[function], name, datacenter)
        result = {**arguments, "id": moid(found)}
        if function == "getNetwork":
            result["type"] = type(found).__name__.rsplit(".", 1)[-1]
        if function == "getComputeCluster":
            result["resourcePoolId"] = moid(found.resourcePool)
        return result

    def clone(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Clones a virtual machine, powers it on, and returns its outputs.

        A customization whose `timeout` is not 0 is waited for as the real plugin waits; the guest is not.

        Raises:
            LookupError: There is no such template.
            RuntimeError: vCenter refused, or the customization failed; with its message.
        """
        if not wanted.get("clone"):
            raise LookupError("clone is required in the lab: the stand-in makes VMs from templates only")
        template = self._by_uuid(wanted["clone"]["templateUuid"])
        if template is None:
            raise LookupError(f"no virtual machine has the UUID {wanted['clone']['templateUuid']}")
        waits = bool((wanted["clone"].get("customize") or {}).get("timeout"))
        spec = vim.vm.CloneSpec(
            location=vim.vm.RelocateSpec(
                datastore=self._reference(vim.Datastore, wanted.get("datastoreId")),
                pool=self._reference(vim.ResourcePool, wanted["resourcePoolId"]),
            ),
            powerOn=not waits,
            template=False,
            config=hardware(wanted),
            customization=customization(wanted),
        )
        vm = self._finished(template.CloneVM_Task(folder=template.parent, name=wanted["name"], spec=spec))
        if waits:
            waiter = CustomizationWaiter(self._content, vm)
            self._finished(vm.PowerOnVM_Task())
            event = waiter.wait(_HELD_SECONDS)
            waiter.close()
            if isinstance(event, vim.event.CustomizationFailed):
                raise RuntimeError(f"customization failed: {event.fullFormattedMessage}")
        return outputs(vm)

    def reconfigure(self, uuid: str, wanted: Mapping[str, Any]) -> None:
        """Changes what can be changed in place.

        Raises:
            LookupError: The VM is gone.
            RuntimeError: vCenter refused; with its message.
        """
        vm = self._by_uuid(uuid)
        if vm is None:
            raise LookupError(f"no virtual machine has the UUID {uuid}")
        self._finished(vm.ReconfigVM_Task(spec=hardware(wanted)))

    def read(self, uuid: str) -> dict[str, Any] | None:
        """Returns the outputs of a virtual machine, or None where it is gone."""
        vm = self._by_uuid(uuid)
        try:
            return None if vm is None else outputs(vm)
        except vmodl.fault.ManagedObjectNotFound:
            return None

    def destroy(self, uuid: str) -> None:
        """Powers a virtual machine off and destroys it; one that is gone already is not an error.

        Raises:
            RuntimeError: vCenter refused; with its message.
        """
        try:
            vm = self._by_uuid(uuid)
            if vm is None:
                return
            if vm.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn:
                self._finished(vm.PowerOffVM_Task())
            self._finished(vm.Destroy_Task())
        except vmodl.fault.ManagedObjectNotFound:
            pass

    def _find(self, kind: type, name: str, root: Any = None) -> Any:
        content = self._content
        view = content.viewManager.CreateContainerView(
            container=root or content.rootFolder, type=[kind], recursive=True
        )
        try:
            for found in view.view:
                if name.rsplit("/", 1)[-1] in {"", found.name}:
                    return found
        finally:
            view.Destroy()
        raise LookupError(f"no {kind.__name__.rsplit('.', 1)[-1]} is named {name!r}")

    def _by_uuid(self, uuid: str) -> Any:
        return self._content.searchIndex.FindByUuid(uuid=uuid, vmSearch=True, instanceUuid=False)

    def _reference(self, kind: Any, moid: str | None) -> Any:
        return kind(moid, self._content.rootFolder._stub) if moid else None  # noqa: SLF001 -- the stub has no public name either

    def _finished(self, task: Any) -> Any:
        deadline = time.monotonic() + _TASK_SECONDS
        while (info := task.info).state not in {"success", "error"}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{info.descriptionId} took longer than {_TASK_SECONDS:.0f} seconds")
            time.sleep(_POLL_SECONDS)
        if info.state == "error":
            detail = f": {info.error.msg}" if info.error.msg else ""
            raise RuntimeError(f"the lab's vCenter answered {type(info.error).__name__.rsplit('.', 1)[-1]}{detail}")
        return info.result
