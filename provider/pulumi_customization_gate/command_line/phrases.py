"""The sentences about what to do, and the names of the settings, for the command line."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.advice import Advice

if TYPE_CHECKING:
    from collections.abc import Mapping

PHRASES: Mapping[Advice, str] = MappingProxyType(
    {
        Advice.RESUME: "Customization continues without the wait: run the same command again to resume waiting.",
        Advice.CUSTOMIZE_AGAIN: (
            'Correct the guest customization of {vms}, power off each VM, choose "Power On and Force Recustomization", '
            "then run the command again."
        ),
        Advice.REPLACE: (
            "The customization specification was consumed by this attempt. Fix it, then replace {vms} "
            "and run the command again."
        ),
        Advice.CORRECT_REFERENCE: "Correct the reference of {vms}, then run the command again.",
        Advice.GRANT_PERMISSION: "Grant this user the role Read-only on {vms}, then run the command again.",
        Advice.RESTORE_OR_DROP: "Create {vms} again or name only VMs that exist, then run the command again.",
        Advice.REQUEST_CUSTOMIZATION: (
            "Clone {vms} again with a customization specification, or use --expect optional if none is intended."
        ),
        Advice.FIND_START_FAULT: (
            "Find out why customization does not start on {vms}, for example by `customization-gate events`; run the "
            "same command again to resume waiting, and increase --start-timeout to wait longer."
        ),
        Advice.POWER_ON: "Power on {vms}, then run the same command again.",
        Advice.WAIT_LONGER: (
            "{vms} may still become ready: run the same command again to resume waiting, "
            "and increase --timeout to wait longer."
        ),
    }
)

VSPHERE_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "vsphereServer": "--server or VSPHERE_SERVER",
        "user": "--user or VSPHERE_USER",
        "password": "--password-file or VSPHERE_PASSWORD",
        "allowUnverifiedSsl": "--allow-unverified-ssl or VSPHERE_ALLOW_UNVERIFIED_SSL",
        "caFile": "--ca-file or VSPHERE_CA_FILE",
        "thumbprint": "--thumbprint or VSPHERE_THUMBPRINT",
    }
)
GOVC_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        **VSPHERE_SETTINGS,
        "vsphereServer": "--server or GOVC_URL",
        "user": "--user or GOVC_USERNAME",
        "password": "--password-file or GOVC_PASSWORD",
        "allowUnverifiedSsl": "--allow-unverified-ssl or GOVC_INSECURE",
    }
)
CLOUD_DIRECTOR_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "url": "--server or VCD_URL",
        "org": "--org or VCD_ORG",
        "user": "--user or VCD_USER",
        "password": "--password-file or VCD_PASSWORD",
        "apiToken": "VCD_API_TOKEN",
        "allowUnverifiedSsl": "--allow-unverified-ssl or VCD_ALLOW_UNVERIFIED_SSL",
        "caFile": "--ca-file or VCD_CA_FILE",
        "thumbprint": "--thumbprint or VCD_THUMBPRINT",
    }
)
