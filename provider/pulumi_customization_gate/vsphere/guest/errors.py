"""Why work in a guest fails, and what the API's faults mean for it.

GateError
|-- GuestError
|   |-- GuestLoginError         the guest refused the user name or password
|   |-- GuestGoneError          the VM is not in the inventory
|   |-- GuestPathError
|   |   |-- GuestNotFoundError  there is no such file
|   |   |-- GuestExistsError    there is such a file already
|   |   `-- GuestNotEmptyError  the directory is not empty
|   |-- GuestNotReadyError      the guest cannot work now; it may soon
|   |-- GuestTimeoutError       the time for the work is up
|   `-- GuestCancelledError     the user cancelled the work
`-- ServerError                 vCenter, or a host on the way, could not be used
    `-- HostUnreachableError    neither by name nor by management address
"""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError, GateError, ServerError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.faults import describe

_NOT_READY = (
    vim.fault.GuestOperationsUnavailable,
    vim.fault.InvalidState,  # powered off, or not connected: a restart of the host may be under way
    vim.fault.TaskInProgress,
    vmodl.fault.HostCommunication,
    vmodl.fault.SystemError,  # Tools that come up or go down are a "general system error" on their way through
)


class GuestError(GateError):
    """Work in a guest failed."""


class GuestLoginError(GuestError):
    """The guest refused the user name or password."""


class GuestGoneError(GuestError):
    """The VM is not in the inventory."""


class GuestPathError(GuestError):
    """There is no such file in the guest, there is one already, or a directory is not empty."""


class GuestNotFoundError(GuestPathError):
    """There is no such file in the guest."""


class GuestExistsError(GuestPathError):
    """There is such a file in the guest already."""


class GuestNotEmptyError(GuestPathError):
    """The directory in the guest is not empty."""


class GuestNotReadyError(GuestError):
    """The guest cannot work now; it may soon."""


class GuestTimeoutError(GuestError):
    """The time for the work is up."""


class GuestCancelledError(GuestError):
    """The user cancelled the work."""


_PATH_ERRORS = {
    vim.fault.FileNotFound: GuestNotFoundError,
    vim.fault.FileAlreadyExists: GuestExistsError,
    vim.fault.DirectoryNotEmpty: GuestNotEmptyError,
}


class HostUnreachableError(ServerError):
    """The name of the ESXi host could not be resolved, and its management address does not answer: no retry helps."""


def translated(fault: Any, guest: str, user: str, password: str) -> GateError:
    """Returns the error for a fault of the API.

    Args:
        fault: The fault.
        guest: What the VM is called.
        user: Who works in the guest.
        password: What a server may repeat, and is removed from the message.
    """
    error: GateError
    answer = describe(fault).replace(password, "[secret]")
    if isinstance(fault, _NOT_READY):
        error = GuestNotReadyError(f"{guest} answers {answer}")
    elif isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        error = GuestGoneError(f"{guest} is not in the inventory")
    elif isinstance(fault, vim.fault.InvalidGuestLogin):
        error = GuestLoginError(f"the guest of {guest} refuses the user name or password of {sanitize(user)}")
    elif isinstance(fault, vim.fault.GuestPermissionDenied):
        error = GuestError(f"the guest of {guest} does not allow {sanitize(user)} to do this")
    elif isinstance(fault, vim.fault.NoPermission):
        wanted = sanitize(fault.privilegeId or "VirtualMachine.GuestOperations")
        error = ApiError(f"vCenter does not allow this: grant the privilege {wanted} on {guest}", code="NoPermission")
    elif kind := next((kind for named, kind in _PATH_ERRORS.items() if isinstance(fault, named)), None):
        error = kind(f"{guest} answers {answer} about {sanitize(fault.file or 'a file')}")
    else:
        error = GuestError(f"{guest} answers {answer}")
    return error
