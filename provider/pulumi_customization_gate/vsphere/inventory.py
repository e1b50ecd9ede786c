"""Finds virtual machines in a vCenter's inventory and reads the state of many of them in one call."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import timezone
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.core.status import FailureKind, PowerState
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.properties import retrieve, retrieve_readable, values_of
from pulumi_customization_gate.vsphere.references import unescaped
from pulumi_customization_gate.vsphere.vocabulary import POWER, progress_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.vsphere.references import Reference
    from pulumi_customization_gate.vsphere.session import Session


MOST_AT_ONCE = 2000
"""VMs whose state one call reads: the response takes ten times the memory of what is kept of it."""
_BOOT_TIME = "summary.runtime.bootTime"
UUIDS = ("config.instanceUuid", "config.uuid")
"""The UUIDs of a VM: one that no two VMs of a vCenter share, and one of its BIOS, which a copy may share."""
_DECIDING = ("runtime.powerState", _BOOT_TIME, "config.tools.pendingCustomization", "guest.toolsRunningStatus")
_IDENTITY = ("name", *UUIDS)
"""What does not change while a gate waits."""
_CUSTOMIZATION_INFO = ("guest.customizationInfo.customizationStatus", "guest.customizationInfo.errorMsg")
_PLACE: Mapping[type, Sequence[str]] = MappingProxyType(
    {
        vim.ManagedEntity: ("name", "parent"),
        vim.VirtualApp: ("parentFolder", "parentVApp"),
        vim.VirtualMachine: ("parentVApp", *UUIDS),
    }
)
"""What says where an entity is: a VM in a vApp has no `parent`, and a vApp's is a resource pool."""
_DETAILS = ("guest.toolsVersion", "guest.hostName", "guest.ipAddress", "guest.net")
"""What decides nothing, and makes up most of the answer."""
_PERMITTED = (_IDENTITY[0], _DECIDING[0])
"""What a user who may read a VM can read of it."""
_TEXTS = frozenset({"name", _CUSTOMIZATION_INFO[1], *_DETAILS})
"""What guests and users write, and what decides nothing."""

_log = logging.getLogger(__name__)


def find(session: Session, reference: Reference) -> str | None:
    """Returns the managed object ID of a VM, None where the inventory has no such VM.

    A managed object ID is returned as it is: whether it exists shows when its state is read.

    Raises:
        ConfigurationError: If a UUID belongs to two VMs.
    """
    if reference.kind == "moid":
        return reference.text
    index = session.content.searchIndex
    if reference.kind == "path":
        found = session.with_retries(lambda: index.FindByInventoryPath(reference.text))
        return moid_of(found) if isinstance(found, vim.VirtualMachine) else None

    def by_uuid() -> list[Any]:
        wanted = {"uuid": reference.text, "vmSearch": True}
        return [vm for instance in (True, False) for vm in index.FindAllByUuid(**wanted, instanceUuid=instance) or []]

    matches = {moid_of(vm): vm for vm in session.with_retries(by_uuid)}
    if len(matches) > 1:
        paths = " and ".join(sorted(f"{inventory_path(session, vm)} ({moid})" for moid, vm in matches.items()))
        raise ConfigurationError(f"UUID {reference.text} belongs to {paths}; name the one you mean by path or vm-ID")
    return next(iter(matches), None)


@dataclass(frozen=True)
class Place:
    """A managed entity and where it is in the inventory."""

    entity: Any
    name: str
    parent: Any
    """What holds it; None for the root folder, and where this user may not look further up."""
    instance_uuid: str = ""
    """Of a VM, like the next; empty where it is not known."""
    bios_uuid: str = ""


def inventory_path(session: Session, entity: Any) -> str:
    """Returns the inventory path of a managed entity, `/Datacenter/vm/folder/web-1`, as far up as may be read."""
    return path_in(places(session, [entity]), session, moid_of(entity))


def path_in(known: Mapping[str, Place], session: Session, moid: str) -> str:
    """Returns the inventory path of an entity whose place was read."""
    root = moid_of(session.content.rootFolder)
    return "/" + "/".join(place.name for place in reversed(_chain(known, moid)) if moid_of(place.entity) != root)


def common_folder(session: Session, moids: Sequence[str]) -> Place | None:
    """Returns the lowest folder, datacenter or the like that holds all the VMs, None where none can be read.

    A VM that is not there, or that may not be read, counts for nothing: its events are out of reach anywhere.
    """
    vms = read_places(session, [vim.VirtualMachine(moid, session.stub) for moid in moids])
    above = {moid_of(place.parent): place.parent for place in vms.values() if place.parent is not None}
    known = {**vms, **places(session, above.values())}
    chains = [chain[1:] for moid in moids if len(chain := _chain(known, moid)) > 1]
    if not chains:
        return None
    # A vApp is a resource pool: events are those of folders.
    chains = [[place for place in chain if not isinstance(place.entity, vim.ResourcePool)] for chain in chains]
    shared = set.intersection(*({moid_of(place.entity) for place in chain} for chain in chains))
    return next((place for place in chains[0] if moid_of(place.entity) in shared), None)


def _chain(known: Mapping[str, Place], moid: str) -> list[Place]:
    """Returns an entity and what holds it, upwards."""
    chain = []
    place = known.get(moid)
    while place is not None:
        chain.append(place)
        place = known.get(moid_of(place.parent)) if place.parent is not None else None
    return chain


def places(session: Session, entities: Iterable[Any]) -> dict[str, Place]:
    """Reads where entities are, and all that is above them, in one call: the server itself goes up to the root."""
    above = [vmodl.query.PropertyCollector.SelectionSpec(name=f"{kind.__name__}.{path}") for kind, path in _UPWARDS]
    upwards = [
        vmodl.query.PropertyCollector.TraversalSpec(name=spec.name, type=kind, path=path, skip=False, selectSet=above)
        for spec, (kind, path) in zip(above, _UPWARDS, strict=True)
    ]
    return read_places(session, entities, upwards)


def read_places(session: Session, entities: Iterable[Any], also: Sequence[Any] = ()) -> dict[str, Place]:
    """Reads where entities are, in one call; see `properties.retrieve`. One that is not there is left out."""
    listed = list(entities)
    contents = session.with_retries(lambda: retrieve(session, listed, _PLACE, also)) if listed else ()
    return {moid_of(content.obj): _place(content) for content in contents}


_UPWARDS = (
    (vim.ManagedEntity, "parent"),
    (vim.VirtualMachine, "parentVApp"),
    (vim.VirtualApp, "parentVApp"),
    (vim.VirtualApp, "parentFolder"),
)
"""The properties that lead from an entity to what holds it."""


def _place(content: Any) -> Place:
    values = values_of(content)
    parent = values.get("parentFolder") or values.get("parent") or values.get("parentVApp")
    return Place(content.obj, values.get("name") or "", parent, *_uuids_of(values))


def _uuids_of(values: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the instance UUID and the BIOS UUID among the properties of a VM; empty where they are not known."""
    instance, bios = (str(values.get(path) or "").lower() for path in UUIDS)
    return instance, bios


def read(
    session: Session,
    moids: Iterable[str],
    *,
    details: bool = True,
    known: Mapping[str, Snapshot] = MappingProxyType({}),
) -> list[Snapshot | Missing]:
    """Reads the state of VMs in one call for MOST_AT_ONCE of them (more where the server pages its answer).

    A VM that is not there, or no longer, or that may not be read, gets a Missing that says so. One with a text that
    cannot be parsed is read without its texts.

    Args:
        session: The session on which it reads.
        moids: The VMs' managed object IDs.
        details: Whether host name, addresses and the version of VMware Tools are wanted, too.
        known: Earlier states by managed object ID. Where they hold all VMs, names and UUIDs are those.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the call does.
    """
    wanted = list(moids)
    if not wanted:
        return []
    at = session.current_time()
    asked_at = time.monotonic()
    is_known = known.keys() >= set(wanted)
    paths = [*_DECIDING, *(() if is_known else _IDENTITY), *(_DETAILS if details else ())]
    if session.reports_customization_info:
        paths += _CUSTOMIZATION_INFO
    found: dict[str, Snapshot | Missing] = {}
    for first in range(0, len(wanted), MOST_AT_ONCE):
        vms = [vim.VirtualMachine(moid, session.stub) for moid in wanted[first : first + MOST_AT_ONCE]]
        contents, unreadable = retrieve_readable(session, vms, {vim.VirtualMachine: paths})
        if unreadable:
            for moid, error in unreadable.items():
                _log_unreadable(session.settings.server, moid, session.describe(error))
            spoilt = [vm for vm in vms if moid_of(vm) in unreadable]
            contents += retrieve(session, spoilt, {vim.VirtualMachine: [path for path in paths if path not in _TEXTS]})
        found.update({moid_of(content.obj): _seen(session, content, at, asked_at) for content in contents})
    if is_known:
        found = {moid: _identified(look, known[moid]) for moid, look in found.items()}
    missing = (_gone(session, moid, at, asked_at) for moid in wanted if moid not in found)
    return [*found.values(), *missing]


@cache
def _log_unreadable(server: str, moid: str, error: str) -> None:
    """Names a VM in the log, once in this process: its texts are read again and again."""
    _log.warning("%s: a text of %s could not be parsed (%s); reading the VM without its texts", server, moid, error)


def _seen(session: Session, content: Any, at: datetime, asked_at: float) -> Snapshot | Missing:
    """Returns what was read of a VM; of one without rights only that."""
    snapshot = _snapshot(content, at, asked_at)
    fault = next((missing.fault for missing in content.missingSet or () if missing.path in _PERMITTED), None)
    if isinstance(fault, vim.fault.NoPermission):
        message = f"{session.settings.user} may not read it; grant the role Read-only on it, or on its folder"
        moid = moid_of(content.obj)
        return Missing(moid, at, FailureKind.NO_PERMISSION, message, needs_second_look=True, asked_at=asked_at)
    return snapshot


def _identified(look: Snapshot | Missing, known: Snapshot) -> Snapshot | Missing:
    """Returns a look with the name and the UUIDs of an earlier one."""
    if isinstance(look, Missing):
        return look
    return replace(look, name=known.name, instance_uuid=known.instance_uuid, bios_uuid=known.bios_uuid)


def _snapshot(content: Any, at: datetime, asked_at: float) -> Snapshot:
    values = values_of(content)
    state, message = (str(values.get(path) or "") for path in _CUSTOMIZATION_INFO)
    addresses = [ip for adapter in values.get("guest.net") or () for ip in adapter.ipAddress or ()]
    primary = values.get("guest.ipAddress")
    booted_at = values.get(_BOOT_TIME)
    instance_uuid, bios_uuid = _uuids_of(values)
    return Snapshot(
        vm=moid_of(content.obj),
        at=at,
        power=POWER.get(values.get("runtime.powerState") or "", PowerState.UNKNOWN),
        booted_at=booted_at.astimezone(timezone.utc) if booted_at else None,
        specification_pending=bool(values.get("config.tools.pendingCustomization")),
        progress=progress_of(state),
        state=state,
        message=message,
        tools_running=values.get("guest.toolsRunningStatus") == "guestToolsRunning",
        tools_version=str(values.get("guest.toolsVersion") or ""),
        name=unescaped(values.get("name") or ""),
        host_name=values.get("guest.hostName") or "",
        ip_addresses=tuple(dict.fromkeys([primary, *addresses] if primary else addresses)),
        asked_at=asked_at,
        instance_uuid=instance_uuid,
        bios_uuid=bios_uuid,
    )


def _gone(session: Session, moid: str, at: datetime, asked_at: float) -> Missing:
    settings = session.settings
    message = f"{settings.server} has no virtual machine {moid} that {settings.user} may see"
    return Missing(moid, at, message=message, needs_second_look=True, asked_at=asked_at)


def not_found(session: Session, reference: str, at: datetime) -> Missing:
    """Returns the observation of a reference that the inventory does not have; the reference serves as the ID."""
    settings = session.settings
    message = f"{settings.server} has no virtual machine {reference!r} that {settings.user} may see"
    return Missing(reference, at, message=message)
