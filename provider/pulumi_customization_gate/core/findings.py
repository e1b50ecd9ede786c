"""What was found before a wait: whether a gate can work with a server, its VMs and a template.

A platform's `preflight` yields findings in the order in which it looks. The program that shows them words nothing anew.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Check(enum.Enum):
    """What was looked at."""

    NAME_RESOLUTION = "name_resolution"
    CONNECTION = "connection"
    CERTIFICATE = "certificate"
    LOGIN = "login"
    VERSION = "version"
    CLOCK = "clock"
    EVENT_ACCESS = "event_access"
    EVENT_COLLECTOR = "event_collector"
    VM = "vm"
    FOLDER = "folder"
    PRIVILEGES = "privileges"
    GUEST_PRIVILEGES = "guest_privileges"
    ESXI_HOST = "esxi_host"
    TEMPLATE = "template"
    VMWARE_TOOLS = "vmware_tools"
    DEPLOYPKG = "deploypkg"

    @property
    def is_of_connection(self) -> bool:
        """Whether nothing works on this server where it failed."""
        return self in {Check.NAME_RESOLUTION, Check.CONNECTION, Check.CERTIFICATE, Check.LOGIN}


class State(enum.Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, or only a part that not every program uses does not."""
    UNKNOWN = "unknown"
    """It could not be found out from here."""
    FAILED = "failed"
    """A gate does not work like this."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: Check
    state: State
    subject: str
    """What was looked at: the server, a VM, a host. Sanitized, like the other texts."""
    message: str
    """What was found."""
    remedy: str = ""
    """What to do, a sentence; empty where there is nothing to do."""
