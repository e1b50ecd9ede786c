"""What a preflight finds of a template's VMware Tools, and of the hosts to which guest files go."""

from __future__ import annotations

import configparser
import logging
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate import reachability
from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.core.status import PowerState
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestNotFoundError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.properties import retrieve, values_of
from pulumi_customization_gate.vsphere.search import all_of
from pulumi_customization_gate.vsphere.vocabulary import POWER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

MOST_HOSTS = 64
"""Hosts whose ports are tried."""
GUEST_TIMEOUT = 30.0
"""Seconds that reading a file of a guest may take."""
_HTTPS = 443
_TOOLS = (
    "guest.toolsVersionStatus2",
    "guest.toolsRunningStatus",
    "config.extraConfig",
    "runtime.powerState",
    "summary.config.template",
)
_DESCRIPTION = "guestinfo.vmtools.description"
"""What VMware Tools 11 and newer write into the VM's configuration, where it stays while the VM is off."""
_CONFIGURATION = {
    False: "/etc/vmware-tools/tools.conf",
    True: "C:\\ProgramData\\VMware\\VMware Tools\\tools.conf",
}
"""By whether the guest runs Windows (VMware Tools Administration, "Configuring VMware Tools Components")."""
_LARGEST = 256 * 1024
_GROUP = "deployPkg"
_RUNNING = "guestToolsRunning"
_HOST_REMEDY = (
    "Guest files, and with them the output of scripts, go to the ESXi host of the VM: add its name to the DNS of this "
    "computer and open port 443 to it. A gate alone does not need it."
)


def template(session: Session, moid: str, label: str, credentials: GuestCredentials | None) -> Iterator[Finding]:
    """Yields what is known of a template's VMware Tools, and of their settings for customization.

    Args:
        session: The session.
        moid: The template's managed object ID.
        label: What the findings call it.
        credentials: The guest credentials; None where none are configured.

    Raises:
        ServerError: If the server does not respond.
    """
    found = session.with_retries(
        lambda: retrieve(session, [vim.VirtualMachine(moid, session.stub)], {vim.VirtualMachine: _TOOLS})
    )
    values = values_of(found[0]) if found else {}
    if not values:
        yield Finding(
            Check.TEMPLATE, State.FAILED, label, "may not be read", "Grant the role Read-only on the template."
        )
        return
    kind = "a template" if values.get("summary.config.template") else "a VM"
    power = POWER.get(values.get("runtime.powerState") or "", PowerState.UNKNOWN).value
    yield Finding(Check.TEMPLATE, State.OK, label, f"{kind}, power: {power}")
    yield _tools(label, values)
    yield _settings(session, moid, label, credentials, is_running=values.get("guest.toolsRunningStatus") == _RUNNING)


def _tools(label: str, values: dict[str, Any]) -> Finding:
    status = str(values.get("guest.toolsVersionStatus2") or "")
    options = {option.key: str(option.value) for option in values.get("config.extraConfig") or ()}
    described = sanitize(options.get(_DESCRIPTION, ""), 100)
    install = "Install VMware Tools in the template, on Linux the package open-vm-tools: customization needs them."
    if status == "guestToolsNotInstalled":
        return Finding(Check.VMWARE_TOOLS, State.FAILED, label, "VMware Tools are not installed", install)
    if described or status:
        message = ", ".join(filter(None, [described or "VMware Tools", sanitize(status, 80)]))
        return Finding(Check.VMWARE_TOOLS, State.OK, label, message)
    message = "vCenter reports whether VMware Tools are installed only after the VM has run with them"
    return Finding(Check.VMWARE_TOOLS, State.UNKNOWN, label, message, install)


def _settings(
    session: Session, moid: str, label: str, credentials: GuestCredentials | None, *, is_running: bool
) -> Finding:
    look = "In the guest, `vmware-toolbox-cmd config get deployPkg enable-customization` shows it."
    if not is_running:
        message = "tools.conf cannot be read: VMware Tools are not running"
        return Finding(Check.DEPLOYPKG, State.UNKNOWN, label, message, look)
    if credentials is None:
        message = "tools.conf cannot be read: no guest credentials"
        return Finding(Check.DEPLOYPKG, State.UNKNOWN, label, message, look)
    try:
        settings = _deploypkg(session, moid, credentials)
    except (GateError, configparser.Error) as error:
        detail = sanitize(str(error).replace(credentials.password, "[secret]"))
        return Finding(Check.DEPLOYPKG, State.UNKNOWN, label, f"tools.conf cannot be read: {detail}", look)
    shown = {"enable-customization": "true", "enable-custom-scripts": "false", "wait-cloudinit-timeout": "30"}
    message = ", ".join(
        f"{name}={sanitize(settings[name], 40)}" if name in settings else f"{name}={default} (default)"
        for name, default in shown.items()
    )
    if settings.get("enable-customization", "").strip().lower() == "false":
        remedy = "Run `vmware-toolbox-cmd config set deployPkg enable-customization true` in the template."
        return Finding(Check.DEPLOYPKG, State.FAILED, label, message, remedy)
    return Finding(Check.DEPLOYPKG, State.OK, label, message)


def _deploypkg(session: Session, moid: str, credentials: GuestCredentials) -> dict[str, str]:
    """Returns the settings for customization in tools.conf; a guest without the file has the defaults."""
    guest = Guest(session, moid, credentials, Deadline(GUEST_TIMEOUT))
    try:
        content = guest.download(_CONFIGURATION[guest.is_windows], _LARGEST)
    except GuestNotFoundError:
        return {}
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read_string(content.decode("utf-8-sig", errors="replace"))
    return {key: value or "" for key, value in parser.items(_GROUP)} if parser.has_section(_GROUP) else {}


def hosts(session: Session, moids: Sequence[str]) -> Iterator[Finding]:
    """Yields whether the ESXi hosts can be reached: those of the VMs, without VMs all that the user may see.

    Raises:
        ServerError: If the server does not respond.
    """
    names, unnamed = session.with_retries(lambda: _host_names(session, moids))
    tried = names[:MOST_HOSTS]
    tries = Background("customization-gate-hosts", threads=16)
    try:
        reasons = tries.map(_unreachable, tried)
    finally:
        tries.close()
    for name, reason in zip(tried, reasons, strict=True):
        if reason:
            yield Finding(Check.ESXI_HOST, State.WARNING, sanitize(name), reason, _HOST_REMEDY)
        else:
            yield Finding(Check.ESXI_HOST, State.OK, sanitize(name), "its name resolves, port 443 accepts connections")
    if unnamed or not names:
        message = "the user may not read the names of ESXi hosts, so they were not tried"
        remedy = "To check the hosts for guest work, grant Read-only on them. " + _HOST_REMEDY
        yield Finding(Check.ESXI_HOST, State.UNKNOWN, sanitize(session.settings.server), message, remedy)
    elif len(names) > MOST_HOSTS:
        message = f"{len(names) - MOST_HOSTS} more hosts were not tried"
        yield Finding(Check.ESXI_HOST, State.UNKNOWN, sanitize(session.settings.server), message)


def _host_names(session: Session, moids: Sequence[str]) -> tuple[list[str], bool]:
    """Returns the names of hosts, and whether there are some without a name that may be read."""
    if moids:
        vms = [vim.VirtualMachine(moid, session.stub) for moid in moids]
        of_vms = (values_of(one).get("runtime.host") for one in retrieve(session, vms, {vim.VirtualMachine: _HOST}))
        found = {moid_of(host): host for host in of_vms if host is not None}.values()
        contents = retrieve(session, found, {vim.HostSystem: ["name"]}) if found else []
    else:
        contents = all_of(session, {vim.HostSystem: ["name"]})
    names = [values_of(content).get("name") for content in contents]
    return sorted({str(name) for name in names if name}), not all(names)


_HOST = ("runtime.host",)


def _unreachable(host: str) -> str:
    """Returns why a host cannot be reached, or nothing."""
    try:
        reachability.resolve(host)
        reachability.connect(host, _HTTPS)
    except reachability.UnreachableError as error:
        return f"{error}"
    return ""
