"""Reads which VMs a vCenter has, in one call, and finds those that the words of a command line name."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.properties import retrieve, values_of
from pulumi_customization_gate.vsphere.references import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

_MOST_NAMED = 5
"""How many VMs, or wrong words, an error names."""


@dataclass(frozen=True)
class InventoryVm:
    """One virtual machine of the inventory."""

    moid: str
    name: str
    path: str
    """`/Datacenter/vm/folder/name`."""
    is_template: bool = False


def read(session: Session) -> list[InventoryVm]:
    """Returns all VMs that the user may see, by one bulk read.

    Raises:
        ServerError: If the server does not respond.
    """
    return session.with_retries(lambda: list(_vms(_properties(session))))


def _properties(session: Session) -> dict[str, dict[str, Any]]:
    """Returns names and parents of VMs and of the folders above them, by ID."""
    paths: dict[type, list[str]] = {
        vim.VirtualMachine: ["name", "parent", "parentVApp", "summary.config.template"],
        vim.VirtualApp: ["name", "parent", "parentVApp", "parentFolder"],
        vim.Folder: ["name", "parent"],
        vim.Datacenter: ["name", "parent"],
    }
    view = session.content.viewManager.CreateContainerView(session.content.rootFolder, list(paths), recursive=True)
    below = vmodl.query.PropertyCollector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    try:
        return {
            moid_of(content.obj): {**values_of(content), "is_vm": isinstance(content.obj, vim.VirtualMachine)}
            for content in retrieve(session, [view], paths, [below], skip=True)
        }
    finally:
        view.DestroyView()


def _vms(found: Mapping[str, Mapping[str, Any]]) -> Iterator[InventoryVm]:
    for moid, values in found.items():
        if values["is_vm"]:
            names = reversed(list(_names(found, moid)))
            is_template = bool(values.get("summary.config.template"))
            yield InventoryVm(moid, values.get("name") or moid, "/" + "/".join(names), is_template)


def _names(found: Mapping[str, Mapping[str, Any]], moid: str) -> Iterator[str]:
    """Yields the name of an entity and of what holds it, up to but without the root folder.

    What the user may not see has no name and ends the path there. A VM in a vApp has no parent but the vApp.
    """
    seen: set[str] = set()
    while moid in found and moid not in seen:
        seen.add(moid)
        values = found[moid]
        yield values.get("name") or moid
        parent = values.get("parentVApp") or values.get("parentFolder") or values.get("parent")
        moid = moid_of(parent) if parent is not None else ""


def expand(session: Session, words: Sequence[str]) -> list[Reference]:
    """Returns what names each VM of the words, each VM once, in the order of the words.

    Raises:
        ConfigurationError: If a name or a pattern fits no VM, or a name fits several.
    """
    vms = read(session)
    _log.debug("the inventory has %d VMs", len(vms))
    references: dict[Reference, None] = {}
    problems = []
    for word in words:
        try:
            references |= dict.fromkeys(map(parse_reference, _resolve(session, word, vms)))
        except ConfigurationError as error:  # noqa: PERF203 -- all wrong words are reported together
            problems.append(str(error))
    if problems:
        raise ConfigurationError(_listed(problems, "\n"))
    return list(references)


def _resolve(session: Session, word: str, vms: Sequence[InventoryVm]) -> Iterable[str]:
    with contextlib.suppress(ConfigurationError):
        reference = parse_reference(word)
        if reference.kind == "uuid":
            return [inventory.find(session, reference) or word]
    return resolve(word, vms)


def resolve(word: str, vms: Sequence[InventoryVm]) -> list[str]:
    """Returns the IDs of the VMs that a word names: an ID, a name, an inventory path, or a pattern of either.

    An exact ID, path or name counts before a pattern, so that a name with a bracket in it can be written. Patterns
    leave templates out: a template is never customized. An ID or a path that is not there is returned as it is, for
    the wait's report to say so.

    Raises:
        ConfigurationError: If a name or a pattern fits no VM, or a name fits several.
    """
    path = "/" + word.strip("/")
    exact = [m for m in vms if m.moid == word] or [m for m in vms if "/" in word and m.path == path]
    named = exact or [vm for vm in vms if vm.name == word]
    if len(named) > 1:
        paths = _listed([f"{sanitize(vm.path)} ({vm.moid})" for vm in named])
        raise ConfigurationError(
            f"{len(named)} virtual machines are named {sanitize(word)!r}: {paths}; name one by its path or ID"
        )
    if named:
        return [named[0].moid]
    if any(character in word for character in "*?["):
        fitting = [m.moid for m in vms if not m.is_template and _fits(m, word)]
        if not fitting:
            raise ConfigurationError(f"no virtual machine fits {sanitize(word)!r} (a pattern passes over templates)")
        return fitting
    try:
        parse_reference(word)
    except ConfigurationError:
        near = difflib.get_close_matches(word, [vm.name for vm in vms], n=1)
        hint = f"; did you mean {sanitize(near[0])!r}?" if near else ""
        raise ConfigurationError(f"no virtual machine is named {sanitize(word)!r}{hint}") from None
    return [word]


def _fits(vm: InventoryVm, pattern: str) -> bool:
    """Whether a VM's name, or its path, fits a pattern; `**` in a path stands for any number of folders."""
    if "/" not in pattern:
        return fnmatch.fnmatchcase(vm.name, pattern)
    return _path_fits(vm.path.strip("/").split("/"), pattern.strip("/").split("/"))


def _path_fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_path_fits(names[skipped:], patterns[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _path_fits(names[1:], patterns[1:])


def _listed(texts: Sequence[str], separator: str = ", ") -> str:
    more = len(texts) - _MOST_NAMED
    return separator.join([*texts[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
