"""Reads which VMs a vCenter has, in one call, and finds those that the words of a command line name."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import logging
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import InvalidXmlError
from pulumi_customization_gate.vsphere.properties import retrieve, retrieve_readable, values_of
from pulumi_customization_gate.vsphere.references import Reference, moid_in, parse_reference, unescaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pulumi_customization_gate.vsphere.session import Session

_log = logging.getLogger(__name__)

_MOST_NAMED = 5
"""How many VMs, or wrong words, an error names."""


@dataclass(frozen=True)
class InventoryVm:
    """One virtual machine of the inventory."""

    moid: str
    name: str
    """As people write it: with a slash where vCenter has `%2f`."""
    path: str
    """`/Datacenter/vm/folder/name`, escaped as vCenter has it, so that each slash is a step."""
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
    return {
        moid_of(content.obj): {**values_of(content), "is_vm": isinstance(content.obj, vim.VirtualMachine)}
        for content in all_of(session, paths)
    }


def all_of(session: Session, paths: Mapping[type, Sequence[str]]) -> list[Any]:
    """Reads properties of all entities of some types that the user may see, in one call; see `properties.retrieve`.

    An entity with a text that cannot be parsed has no name.
    """
    view = session.content.viewManager.CreateContainerView(session.content.rootFolder, list(paths), recursive=True)
    below = vmodl.query.PropertyCollector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
    try:
        with contextlib.suppress(InvalidXmlError):
            return retrieve(session, [view], paths, [below], skip=True)
        _log.debug("a name could not be parsed; reading names in parts")
        nameless = {kind: [path for path in listed if path != "name"] for kind, listed in paths.items()}
        found = retrieve(session, [view], nameless, [below], skip=True)
        readable, unreadable = retrieve_readable(session, [content.obj for content in found], paths)
        return [*readable, *(content for content in found if moid_of(content.obj) in unreadable)]
    finally:
        view.DestroyView()


def _vms(found: Mapping[str, Mapping[str, Any]]) -> Iterator[InventoryVm]:
    for moid, values in found.items():
        if values["is_vm"]:
            names = reversed(list(_names(found, moid)))
            is_template = bool(values.get("summary.config.template"))
            name = unescaped(values.get("name") or moid)
            yield InventoryVm(moid, _composed(name), _composed("/" + "/".join(names)), is_template)


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
    for word in map(_typed, words):
        try:
            references |= dict.fromkeys(map(parse_reference, find(session, word, vms)))
        except ConfigurationError as error:  # noqa: PERF203 -- all wrong words are reported together
            problems.append(str(error))
    if problems:
        raise ConfigurationError(_listed(problems, "\n"))
    return list(references)


def _typed(word: str) -> str:
    """Returns a word of a command line as it was typed: in a locale of ASCII its other bytes are escaped (PEP 383)."""
    return _composed(word.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _composed(text: str) -> str:
    """Returns a text with one character for a letter and its accent, which keyboards and systems write in two ways."""
    return unicodedata.normalize("NFC", text)


def find(session: Session, word: str, vms: Sequence[InventoryVm]) -> Iterable[str]:
    """Returns the IDs of the VMs that a word names, also a UUID, which the server finds; see `resolve`.

    Raises:
        ConfigurationError: If a name or a pattern fits no VM, or a name or a UUID fits several.
        ServerError: If the server does not respond.
    """
    with contextlib.suppress(ConfigurationError):
        reference = parse_reference(word)
        if reference.kind == "uuid":
            return [inventory.find(session, reference) or word]
    return resolve(word, vms)


def resolve(word: str, vms: Sequence[InventoryVm]) -> list[str]:
    """Returns the IDs of the VMs that a word names: an ID, a name, an inventory path or its end, or a pattern of them.

    An exact ID, path or name counts before a pattern, so that a name with a bracket in it can be written. Patterns
    leave templates out: a template is never customized. An ID or a path that is not there is returned as it is, for
    the wait's report to say so.

    Raises:
        ConfigurationError: If a name or a pattern fits no VM, or a name or the end of a path fits several.
    """
    word = word.removeprefix("./")
    named = _named(word, vms)
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
            raise ConfigurationError(f"no virtual machine matches {sanitize(word)!r}; patterns do not match templates")
        return fitting
    try:
        parse_reference(word)
    except ConfigurationError:
        near = difflib.get_close_matches(word, [vm.name for vm in vms], n=1)
        hint = f"; did you mean {sanitize(near[0])!r}?" if near else ""
        raise ConfigurationError(f"no virtual machine is named {sanitize(word)!r}{hint}") from None
    return [word]


def _named(word: str, vms: Sequence[InventoryVm]) -> list[InventoryVm]:
    """Returns the VMs that a word names exactly, by the surest of its readings.

    `govc find` prints an ID as `VirtualMachine:vm-33`, and a path without its datacenter.
    """
    moid, path, end = moid_in(word), "/" + word.strip("/"), "/" + word
    readings: tuple[Callable[[InventoryVm], bool], ...] = (
        lambda vm: vm.moid == moid,
        lambda vm: "/" in word and vm.path == path,
        lambda vm: vm.name == unescaped(word),
        lambda vm: "/" in word and unescaped(vm.path) == unescaped(path),
        lambda vm: "/" in word and unescaped(vm.path).endswith(unescaped(end)),
    )
    return next((found for fits in readings if (found := [vm for vm in vms if fits(vm)])), [])


def _fits(vm: InventoryVm, pattern: str) -> bool:
    """Whether a VM's name, or its path, fits a pattern; `**` in a path stands for any number of folders.

    A pattern without a slash at its beginning may fit the end of a path.
    """
    if "/" not in pattern:
        return fnmatch.fnmatchcase(vm.name, pattern)
    names, patterns = vm.path.strip("/").split("/"), pattern.strip("/").split("/")
    return _path_fits(names, patterns if pattern.startswith("/") else ["**", *patterns])


def _path_fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_path_fits(names[skipped:], patterns[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _path_fits(names[1:], patterns[1:])


def _listed(texts: Sequence[str], separator: str = ", ") -> str:
    more = len(texts) - _MOST_NAMED
    return separator.join([*texts[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
