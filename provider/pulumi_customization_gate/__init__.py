"""Blocks until the guest customization of virtual machines has succeeded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_customization_gate.core.errors import (
        ApiError,
        AuthenticationError,
        CertificateError,
        ConfigurationError,
        CustomizationFailedError,
        CustomizationTimeoutError,
        GateError,
        InvalidReferenceError,
        ServerError,
        WaitCancelledError,
    )
    from pulumi_customization_gate.core.status import CustomizationStatus
    from pulumi_customization_gate.resources.check_types import (
        AddressCheck,
        Check,
        CloudInitCheck,
        CommandCheck,
        GuestHeartbeatCheck,
        GuestInfoCheck,
        HostNameCheck,
        IpInNetworkCheck,
        NetworkAdaptersConnectedCheck,
        TcpPortCheck,
    )
    from pulumi_customization_gate.resources.gate import CustomizationGate
    from pulumi_customization_gate.resources.guest_file import GuestFile
    from pulumi_customization_gate.resources.guest_script import GuestScript

_MODULES = {
    "AddressCheck": "resources.check_types",
    "ApiError": "core.errors",
    "AuthenticationError": "core.errors",
    "CertificateError": "core.errors",
    "Check": "resources.check_types",
    "CloudInitCheck": "resources.check_types",
    "CommandCheck": "resources.check_types",
    "ConfigurationError": "core.errors",
    "CustomizationFailedError": "core.errors",
    "CustomizationGate": "resources.gate",
    "CustomizationStatus": "core.status",
    "CustomizationTimeoutError": "core.errors",
    "GateError": "core.errors",
    "GuestFile": "resources.guest_file",
    "GuestHeartbeatCheck": "resources.check_types",
    "GuestInfoCheck": "resources.check_types",
    "GuestScript": "resources.guest_script",
    "HostNameCheck": "resources.check_types",
    "InvalidReferenceError": "core.errors",
    "IpInNetworkCheck": "resources.check_types",
    "NetworkAdaptersConnectedCheck": "resources.check_types",
    "ServerError": "core.errors",
    "TcpPortCheck": "resources.check_types",
    "WaitCancelledError": "core.errors",
}
"""Where each name is. It is imported when it is used: importing Pulumi takes a second, and the command needs none."""

__all__ = [
    "AddressCheck",
    "ApiError",
    "AuthenticationError",
    "CertificateError",
    "Check",
    "CloudInitCheck",
    "CommandCheck",
    "ConfigurationError",
    "CustomizationFailedError",
    "CustomizationGate",
    "CustomizationStatus",
    "CustomizationTimeoutError",
    "GateError",
    "GuestFile",
    "GuestHeartbeatCheck",
    "GuestInfoCheck",
    "GuestScript",
    "HostNameCheck",
    "InvalidReferenceError",
    "IpInNetworkCheck",
    "NetworkAdaptersConnectedCheck",
    "ServerError",
    "TcpPortCheck",
    "WaitCancelledError",
]


if not TYPE_CHECKING:  # To a type checker, a module with this function has every name.

    def __getattr__(name: str) -> Any:
        """Imports a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
