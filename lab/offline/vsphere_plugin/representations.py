"""A virtual machine in the forms of the plugin's properties and of the API's specifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

if TYPE_CHECKING:
    from collections.abc import Mapping


def moid(managed: Any) -> str:
    """Returns the managed object ID."""
    return str(managed._moId)  # noqa: SLF001 -- pyVmomi has no public name for the ID


def describe(vm: Any) -> dict[str, Any]:
    """Returns what the data source of a virtual machine has."""
    return {
        "id": vm.config.uuid,
        "uuid": vm.config.uuid,
        "moid": moid(vm),
        "instanceUuid": vm.config.instanceUuid,
        "guestId": vm.config.guestId,
        "numCpus": vm.config.hardware.numCPU,
        "memory": vm.config.hardware.memoryMB,
        "firmware": vm.config.firmware or "bios",
        "scsiType": "lsilogic",
        "networkInterfaceTypes": ["e1000"],
        "networkInterfaces": [],
        "disks": [{"label": "disk0", "size": 10, "thinProvisioned": True, "eagerlyScrub": False, "unitNumber": 0}],
        "guestIpAddresses": [],
        "vappTransports": [],
        "defaultIpAddress": vm.guest.ipAddress or "",
        "changeVersion": vm.config.changeVersion or "",
    }


def outputs(vm: Any) -> dict[str, Any]:
    """Returns the outputs of the resource that its inputs do not have."""
    address = vm.guest.ipAddress
    return {
        "moid": moid(vm),
        "uuid": vm.config.uuid,
        "defaultIpAddress": address or "",
        "guestIpAddresses": [address] if address else [],
        "powerState": "on" if vm.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn else "off",
        "changeVersion": vm.config.changeVersion or "",
        "vmwareToolsStatus": vm.guest.toolsRunningStatus or "",
        "imported": False,
        "rebootRequired": False,
    }


def hardware(wanted: Mapping[str, Any]) -> Any:
    """Returns the specification of a VM's hardware and options."""
    spec = vim.vm.ConfigSpec(
        extraConfig=[
            vim.option.OptionValue(key=key, value=str(value))
            for key, value in (wanted.get("extraConfig") or {}).items()
        ],
        annotation=wanted.get("annotation"),
    )
    if "numCpus" in wanted:
        spec.numCPUs = int(wanted["numCpus"])
    if "memory" in wanted:
        spec.memoryMB = int(wanted["memory"])
    return spec


def customization(wanted: Mapping[str, Any]) -> Any:
    """Returns the customization specification of a clone, or None where none is requested."""
    customize = wanted["clone"].get("customize")
    if not customize:
        return None
    return vim.vm.customization.Specification(
        identity=_linux(customize["linuxOptions"])
        if customize.get("linuxOptions")
        else _windows(customize["windowsOptions"]),
        globalIPSettings=vim.vm.customization.GlobalIPSettings(
            dnsServerList=customize.get("dnsServerLists") or [],
            dnsSuffixList=customize.get("dnsSuffixLists") or [],
        ),
        nicSettingMap=[_adapter(customize, interface) for interface in customize.get("networkInterfaces") or []],
    )


def _linux(options: Mapping[str, Any]) -> Any:
    return vim.vm.customization.LinuxPrep(
        hostName=vim.vm.customization.FixedName(name=options["hostName"]),
        domain=options["domain"],
        timeZone=options.get("timeZone"),
    )


def _windows(options: Mapping[str, Any]) -> Any:
    """Returns the answers of Sysprep, without the passwords: the lab has no use for them."""
    return vim.vm.customization.Sysprep(
        guiUnattended=vim.vm.customization.GuiUnattended(timeZone=85, autoLogon=False, autoLogonCount=0),
        userData=vim.vm.customization.UserData(
            computerName=vim.vm.customization.FixedName(name=options["computerName"]),
            fullName=options.get("fullName") or "Administrator",
            orgName=options.get("organizationName") or "Managed by Terraform",
            productId="",
        ),
        identification=vim.vm.customization.Identification(
            joinDomain=options.get("joinDomain"), domainAdmin=options.get("domainAdminUser")
        ),
    )


def _adapter(customize: Mapping[str, Any], interface: Mapping[str, Any]) -> Any:
    if not interface.get("ipv4Address"):
        settings = vim.vm.customization.IPSettings(ip=vim.vm.customization.DhcpIpGenerator())
    else:
        bits = int(interface.get("ipv4Netmask") or 24)
        mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
        settings = vim.vm.customization.IPSettings(
            ip=vim.vm.customization.FixedIp(ipAddress=interface["ipv4Address"]),
            subnetMask=".".join(str(mask >> shift & 0xFF) for shift in (24, 16, 8, 0)),
            gateway=[customize["ipv4Gateway"]] if customize.get("ipv4Gateway") else [],
        )
    return vim.vm.customization.AdapterMapping(adapter=settings)
