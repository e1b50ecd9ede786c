"""Blocks until the guest customization of virtual machines has succeeded."""

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
from pulumi_customization_gate.core.model import CustomizationStatus
from pulumi_customization_gate.resources.gate import CustomizationGate
from pulumi_customization_gate.resources.guest_file import GuestFile
from pulumi_customization_gate.resources.guest_script import GuestScript

__all__ = [
    "ApiError",
    "AuthenticationError",
    "CertificateError",
    "ConfigurationError",
    "CustomizationFailedError",
    "CustomizationGate",
    "CustomizationStatus",
    "CustomizationTimeoutError",
    "GateError",
    "GuestFile",
    "GuestScript",
    "InvalidReferenceError",
    "ServerError",
    "WaitCancelledError",
]
