"""The VMs that the waiters wait for; pyVmomi only, because this also runs in the environment of Ansible's module."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl


def list_vms(content: Any) -> list[Any]:
    """Returns all virtual machines of a lab except the template."""
    return list(vms_by_name(content).values())


def vms_by_name(content: Any) -> dict[str, Any]:
    """Returns all virtual machines of a lab except the template, by one bulk read of their names."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
    )
    try:
        found = content.propertyCollector.RetrieveContents([spec])
    finally:
        view.Destroy()
    names = {found_one.propSet[0].val: found_one.obj for found_one in found}
    return {name: vm for name, vm in names.items() if name.startswith("vm-")}
