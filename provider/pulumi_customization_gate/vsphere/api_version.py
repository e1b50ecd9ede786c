"""The API version of the calls to a vCenter: the newest that both the server and pyVmomi support."""

from __future__ import annotations

from pyVmomi import VmomiSupport

OLDEST = "vim.version.version12"
"""The API version (6.7) of the first call, which reads the version of the server."""
ANCIENT = "vim.version.version9"
"""The API version (5.5) that reads the version of a server which does not know OLDEST."""
CUSTOMIZATION_INFO_SINCE = (7, 0, 2)
"""The API version that brought `guest.customizationInfo` (vSphere Web Services API, GuestInfo)."""


def numbers(version: str) -> tuple[int, ...]:
    """Returns a version as four numbers: 7.0.2 and 7.0.2.0 are one."""
    parts = [int(part) for part in version.split(".") if part.isdigit()]
    return tuple([*parts, 0, 0, 0, 0][:4])


def is_too_old(api_version: str) -> bool:
    """Whether a server does not support OLDEST."""
    return numbers(api_version) < numbers(VmomiSupport.versionIdMap[OLDEST])


def best(api_version: str) -> str:
    """Returns the newest API version that both the server and pyVmomi support."""
    known = {
        name: numbers(VmomiSupport.versionIdMap[name])
        for name in VmomiSupport.nsMap
        if name.startswith("vim.version.") and VmomiSupport.versionIdMap[name].replace(".", "").isdigit()
    }
    fitting = [name for name, parts in known.items() if parts <= numbers(api_version)]
    return max(fitting, key=known.__getitem__, default=OLDEST)
