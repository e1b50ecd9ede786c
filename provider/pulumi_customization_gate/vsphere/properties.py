"""Reads properties of many entities in one call: the only place that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import InvalidXmlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pulumi_customization_gate.vsphere.session import Session


def retrieve(
    session: Session,
    entities: Iterable[Any],
    paths: Mapping[type, Sequence[str]],
    also: Sequence[Any] = (),
    *,
    skip: bool = False,
) -> list[Any]:
    """Reads properties of entities in one call (more where the server pages its answer); without those not there.

    Args:
        session: The session on which it reads.
        entities: What to read.
        paths: The properties of the entities of a type.
        also: Traversals that select more entities.
        skip: Whether only what the traversals select is read.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the call does.
    """
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=kind, pathSet=list(names)) for kind, names in paths.items()],
        objectSet=[collector.ObjectSpec(obj=entity, skip=skip, selectSet=list(also)) for entity in entities],
        reportMissingObjectsInResults=True,
    )
    service = session.content.propertyCollector
    page = service.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    contents: list[Any] = []
    while page is not None:
        contents += page.objects
        page = service.ContinueRetrievePropertiesEx(page.token) if page.token else None
    return contents


def retrieve_readable(
    session: Session, entities: Sequence[Any], paths: Mapping[type, Sequence[str]]
) -> tuple[list[Any], dict[str, InvalidXmlError]]:
    """Reads properties of entities, without those that have a text which no XML may hold, such as a host name.

    Such a text spoils the whole response: then the entities are read in halves, down to the one whose text it is.

    Returns:
        What was read, and the errors of the others by managed object ID.

    Raises:
        OSError, http.client.HTTPException, vmodl.MethodFault: As the call does.
    """
    try:
        return retrieve(session, entities, paths), {}
    except InvalidXmlError as error:
        if len(entities) == 1:
            # As it was raised, it would keep its connection.
            return [], {moid_of(entities[0]): InvalidXmlError(str(error))}
    middle = len(entities) // 2
    first, unreadable = retrieve_readable(session, entities[:middle], paths)
    second, more = retrieve_readable(session, entities[middle:], paths)
    return first + second, unreadable | more


def values_of(content: Any) -> dict[str, Any]:
    """Returns what was read of an entity, by property.

    Raises:
        vim.fault.NotAuthenticated: If the session has ended. The call itself succeeds, and no property is there.
    """
    for missing in content.missingSet or ():
        if isinstance(missing.fault, vim.fault.NotAuthenticated):
            raise missing.fault
    return {change.name: change.val for change in content.propSet}
