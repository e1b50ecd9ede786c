"""The life of a guest file, or of a directory of files: what the state has is what the guest has.

Each file is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import ntpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, Created, Difference, PartialFailureError, is_unknown
from pulumi_customization_gate.lifecycle.guest import (
    changed_target,
    identity_of,
    is_elsewhere,
    key_of,
    open_guest,
    open_guest_for_deletion,
    server_of,
    settings_problems,
)
from pulumi_customization_gate.lifecycle.guest_arguments import (
    GuestFileArguments,
    file_problems,
    permissions_of,
    timeout_of,
)
from pulumi_customization_gate.lifecycle.guest_description import FILE
from pulumi_customization_gate.lifecycle.guest_directory import GuestDirectory, Made
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS, digest, is_directory, read_files
from pulumi_customization_gate.lifecycle.inputs import reasons
from pulumi_customization_gate.lifecycle.outputs import (
    DIRECTORIES,
    FILE_INPUTS,
    FILE_OUTPUTS,
    FILE_STORED,
    GUEST_SERVER,
    names,
)
from pulumi_customization_gate.vsphere.guest.errors import GuestNotFoundError
from pulumi_customization_gate.vsphere.guest.owner import find_owner
from pulumi_customization_gate.vsphere.guest.replacement import MoveError, remove_drafts, replace_file, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.lifecycle.engine import Engine
    from pulumi_customization_gate.vsphere.guest.files import Owner
    from pulumi_customization_gate.vsphere.guest.operations import Guest

Inputs = dict[str, Any]

OUTPUTS = names(FILE_OUTPUTS)
PROPERTIES = (*FILE, *FILE_INPUTS, *FILE_OUTPUTS, *FILE_STORED)
"""A description of each property, by which its name is spelled."""
_KEPT = (*OUTPUTS, DIRECTORIES)


def check(config: Config, news: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Returns what is wrong, and what is stored beside the inputs: the hashes of local files. Opens no connection."""
    problems = reasons(file_problems(news), news) + settings_problems(news, config)
    source, texts = news.get("source"), news.get(TEXTS)
    if problems or is_unknown(source) or not (source or texts):
        return problems, {}
    if not is_directory(news):
        return problems, {"sha256": digest(Path(str(source)))}
    try:
        files = read_files(news)
    except ConfigurationError as error:
        return [str(error)], {}
    # The hash of a text would give a short secret away.
    return problems, {"files": {path: file.sha256 for path, file in files.items() if path not in (texts or {})}}


def diff(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Difference:
    """Returns whether files are written again, and whether it is another file or directory.

    What a file holds decides whether it has changed, not where its source is. The old file is deleted first, because
    the two may be one file after all, by a link for example.
    """
    replaces = [*changed_target(engine, config, olds, news), *(["path"] if _is_another_path(olds, news) else [])]
    if (olds.get("files") is None) != (news.get("files") is None):
        replaces.append("source")  # a file in the place of a directory, or the other way round
    # Another local path is not a change, another content is.
    changed = any(argument.is_changed(olds, news) for argument in FILE if argument.name not in {"content", "source"})
    return Difference(
        changes=bool(replaces) or changed or is_elsewhere(config, olds, news) or _is_another(olds, news),
        replaces=replaces,
        delete_before_replace=True,
    )


def create(engine: Engine, config: Config, inputs: Inputs) -> Created:
    """Writes the file, or the directory.

    Raises:
        PartialFailureError: If something may have been written.
        GateError: If nothing was written.
    """
    key = key_of(engine)
    return Created(key, _write(engine, config, key, {}, inputs))


def update(engine: Engine, config: Config, key: str, olds: Mapping[str, Any], news: Inputs) -> Inputs:
    """Writes what has become another file, and removes what is no longer in the directory; else stores the new inputs.

    Raises:
        PartialFailureError: If something may have been written.
        GateError: If nothing was written.
    """
    if _is_another(olds, news):
        return _write(engine, config, key, olds, news)
    return _kept(config, olds, news)


def preview(config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Inputs:
    """Returns the outputs of an update as far as they are known before it: all where nothing will be written."""
    return {**_kept(config, olds, news), **({"size": UNKNOWN} if _is_another(olds, news) else {})}


def delete(engine: Engine, config: Config, key: str, inputs: Inputs) -> None:
    """Removes what was written; if the guest refuses the user, it logs a warning."""
    timeout = timeout_of(inputs, engine.custom_timeout)
    with open_guest_for_deletion(engine, config, inputs, timeout, "the file stays in the guest") as guest:
        if guest is None:
            return
        if inputs.get("files") is None:
            guest.remove_file(inputs["path"])
        else:
            _directory(guest, key, inputs["path"]).remove(Made.of(inputs))


def _kept(config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Inputs:
    """Returns the outputs where nothing is written."""
    kept = {name: olds[name] for name in _KEPT if name in olds}
    return {**news, **kept, GUEST_SERVER: server_of(config, news, olds)}


def _write(engine: Engine, config: Config, key: str, olds: Mapping[str, Any], inputs: Inputs) -> Inputs:
    arguments = GuestFileArguments.of(inputs, engine.custom_timeout)
    content = arguments.content
    if isinstance(content, Path) and digest(content) != inputs.get("sha256"):
        raise ConfigurationError(f"source: {content} has changed since the preview; run `pulumi up` again")
    with open_guest(engine, config, inputs, arguments.timeout) as guest:
        owner = find_owner(guest, key, arguments.owner) if arguments.owner else None
        outputs = {**inputs, **identity_of(guest)}
        if content is None:
            return _write_directory(guest, key, olds, outputs, (arguments.permissions, owner))
        folder, _ = split(arguments.path)
        try:
            remove_drafts(guest, arguments.path)
        except GuestNotFoundError:
            guest.make_directory(folder, parents=True, exist_ok=True)
        try:
            replace_file(guest, arguments.path, content, arguments.permissions, owner)
        except MoveError as error:
            # The answer may have been lost. Without a size, the next update writes the file again.
            message = f"{arguments.path} in {guest} may have been written: {error}"
            raise PartialFailureError(message, key, {**outputs, "size": None}) from None
        return {**outputs, "size": len(content) if isinstance(content, bytes) else content.stat().st_size}


def _write_directory(
    guest: Guest, key: str, olds: Mapping[str, Any], news: Inputs, attributes: tuple[int, Owner | None]
) -> Inputs:
    directory = _directory(guest, key, news["path"])
    before, now = _contents(olds), _contents(news)
    writes_all = directory.was_interrupted or olds.get("size") is None or _attributes(olds) != _attributes(news)
    changed = {path for path in now if writes_all or before.get(path) != now[path]}
    files = read_files(news, changed)
    if {path: file.sha256 for path, file in files.items() if path in news["files"]} != news["files"]:
        raise ConfigurationError("source: a file has changed since the preview; run `pulumi up` again")
    plan = directory.plan(Made.of(olds), files)
    try:
        made = directory.write(
            plan,
            {path: file if path in changed else None for path, file in files.items()},
            *attributes,
            sets_attributes=writes_all,
        )
    except GateError as error:
        message = f"some files of {news['path']} in {guest} may have been written: {error}"
        raise PartialFailureError(message, key, {**news, "size": None, DIRECTORIES: sorted(plan.directories)}) from None
    return {**news, "size": sum(file.size for file in files.values()), DIRECTORIES: sorted(made.directories)}


def _directory(guest: Guest, key: str, path: str) -> GuestDirectory:
    # A resource that was renamed keeps its key, and another one may get the same name.
    return GuestDirectory(guest, f"{key}-{hashlib.sha256(_normal(path).encode()).hexdigest()[:8]}", path)


def _is_another_path(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    return is_unknown(news.get("path")) or _normal(str(olds.get("path"))) != _normal(str(news.get("path")))


def _normal(path: str) -> str:
    """Returns one spelling for all spellings of a path: Windows knows no case, and both slashes.

    `..` stays, because it may follow a link.
    """
    if not path.startswith("/"):
        path = ntpath.normcase(path)
        return re.sub(r"(?<=.)\\(\.?\\)+", r"\\", path)
    return re.sub(r"/(\.?/)+", "/", path)


def _is_another(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    return olds.get("size") is None or _contents(olds) != _contents(news) or _attributes(olds) != _attributes(news)


def _contents(inputs: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Returns what decides whether a file is another one, by its path in a directory.

    The hash of a text is not stored: it would give a short secret away. Of a local file it is all that is stored.
    """
    if inputs.get("files") is None:
        content = inputs.get("content")
        return {"": ("sha256", inputs.get("sha256")) if content is None else ("text", content)}
    return {
        **{path: ("sha256", value) for path, value in inputs["files"].items()},
        **{path: ("text", value) for path, value in (inputs.get(TEXTS) or {}).items()},
    }


def _attributes(inputs: Mapping[str, Any]) -> tuple[str, str]:
    return permissions_of(inputs), str(inputs.get("owner") or "")
