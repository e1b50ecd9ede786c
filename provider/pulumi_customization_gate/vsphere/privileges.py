"""Which privileges the session's user has on entities of the inventory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import raise_if_logged_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

GATE = ("System.View", "System.Read")
"""What a gate needs on a VM; the role Read-only has both (vSphere Security, "Default Privileges for Roles")."""
GUEST_WORK = (
    "VirtualMachine.GuestOperations.Query",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Execute",
)
"""What scripts, files and checks in the guest need besides."""


def missing_privileges(session: Session, entities: Sequence[Any], names: Sequence[str]) -> list[frozenset[str]]:
    """Returns for each entity the privileges that the user lacks on it; no entity counts for another.

    Args:
        session: The session.
        entities: VMs or folders.
        names: The privileges' IDs.

    Raises:
        ServerError: If the server does not respond.
    """
    if not entities:
        return []
    manager, sessions = session.content.authorizationManager, session.content.sessionManager

    def ask(listed: Sequence[Any]) -> dict[str, frozenset[str]]:
        key = sessions.currentSession.key
        reported = manager.HasPrivilegeOnEntities(entity=list(listed), sessionId=key, privId=list(names))
        return {
            moid_of(one.entity): frozenset(p.privId for p in one.privAvailability if not p.isGranted)
            for one in reported
        }

    def ask_for_all() -> dict[str, frozenset[str]]:
        try:
            return ask(entities)
        except vim.fault.NoPermission as error:
            raise_if_logged_out(error)
            _log.debug("privileges are not reported for all entities: %s; asking for each", session.describe(error))
        found: dict[str, frozenset[str]] = {}
        for entity in entities:
            try:
                found |= ask([entity])
            except vim.fault.NoPermission as error:  # noqa: PERF203 -- without System.View nothing is reported of it
                raise_if_logged_out(error)
        return found

    found = session.with_retries(ask_for_all)
    return [found.get(moid_of(entity), frozenset(names)) for entity in entities]
