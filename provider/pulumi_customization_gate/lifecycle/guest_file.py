"""The life of a guest file: it is written whole or not at all, and what the state has is what the guest has."""

from __future__ import annotations

import contextlib
import hashlib
import ntpath
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.lifecycle.engine import Created, Difference, PartialFailureError, is_unknown
from pulumi_customization_gate.lifecycle.guest import (
    GUEST_ID,
    changed_target,
    key_of,
    open_guest,
    open_guest_for_deletion,
    settings_problems,
)
from pulumi_customization_gate.lifecycle.guest_arguments import (
    FILE,
    GuestFileArguments,
    file_problems,
    permissions_of,
    timeout_of,
)
from pulumi_customization_gate.lifecycle.inputs import reasons
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.lifecycle.engine import Engine
    from pulumi_customization_gate.vsphere.guest.operations import Guest

Inputs = dict[str, Any]

OUTPUTS = ("size", GUEST_ID)
CLEANUP_TIMEOUT = 15.0
"""Seconds that removing an upload which is not used may take."""
_BLOCK = 1024 * 1024
_DRAFT = ".customization-gate-"
"""What the name of an upload has before it gets the file's own."""


def check(config: Config, news: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Returns what is wrong, and what is stored beside the inputs: the hash of a local file. Opens no connection."""
    problems = reasons(file_problems(news), news) + settings_problems(news, config)
    source = news.get("source")
    if problems or not source or is_unknown(source):
        return problems, {}
    return problems, {"sha256": _digest(Path(source))}


def diff(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Difference:
    """Returns whether the file is written again, and whether it is another file.

    What a file holds decides whether it has changed, not where its source is. The old file is deleted first, because
    the two may be one file after all, by a link for example.
    """
    replaces = [*changed_target(engine, config, olds, news), *(["path"] if _is_another_path(olds, news) else [])]
    # Another local path is not a change, another content is.
    changed = any(argument.is_changed(olds, news) for argument in FILE if argument.name not in {"content", "source"})
    return Difference(
        changes=bool(replaces) or changed or _is_another(olds, news),
        replaces=replaces,
        delete_before_replace=True,
    )


def create(engine: Engine, config: Config, inputs: Inputs) -> Created:
    """Writes the file.

    Raises:
        PartialFailureError: If it may have been written.
        GateError: If it was not written.
    """
    key = key_of(engine)
    return Created(key, _write(engine, config, key, inputs))


def update(engine: Engine, config: Config, key: str, olds: Mapping[str, Any], news: Inputs) -> Inputs:
    """Writes the file again if it has become another one; else stores the new inputs.

    Raises:
        PartialFailureError: If it may have been written.
        GateError: If it was not written.
    """
    if _is_another(olds, news):
        return _write(engine, config, key, news)
    return {**news, **{name: olds.get(name) for name in OUTPUTS}}


def delete(engine: Engine, config: Config, inputs: Inputs) -> None:
    """Removes the file; if the guest refuses its user, it logs a warning."""
    timeout = timeout_of(inputs, engine.custom_timeout)
    with open_guest_for_deletion(engine, config, inputs, timeout, "the file stays in the guest") as guest:
        if guest is not None:
            guest.remove_file(inputs["path"])


def _write(engine: Engine, config: Config, key: str, inputs: Inputs) -> Inputs:
    """Uploads to a path beside the file and renames it, so that no process in the guest sees half a file."""
    arguments = GuestFileArguments.of(inputs, engine.custom_timeout)
    content = arguments.content
    if isinstance(content, Path) and _digest(content) != inputs.get("sha256"):
        raise ConfigurationError(f"source: {content} has changed since the preview; run `pulumi up` again")
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with open_guest(engine, config, inputs, arguments.timeout) as guest:
        outputs = {**inputs, "size": size, GUEST_ID: guest.id}
        draft = _new_draft(guest, arguments.path)
        try:
            guest.upload(draft, content, arguments.permissions)
        except GateError:
            with contextlib.suppress(GateError):
                guest.with_deadline(Deadline(CLEANUP_TIMEOUT)).remove_file(draft)
            raise
        try:
            guest.move_file(draft, arguments.path, size)
        except GateError as error:
            # The answer may have been lost. Without a size, the next update writes the file again.
            said = f"{arguments.path} in {guest} may have been written: {error}"
            raise PartialFailureError(said, key, {**outputs, "size": None}) from None
        return outputs


def _new_draft(guest: Guest, path: str) -> str:
    """Returns a random path beside a path, and creates the folder if it is missing.

    What a killed update left there is removed.
    """
    folder, name = re.fullmatch(r"(.*[\\/])(.*)", path, re.DOTALL).groups()  # type: ignore[union-attr]  # it is absolute
    prefix = f".{name}{_DRAFT}"
    try:
        for left in guest.list_files(folder, f"^{re.escape(prefix)}[0-9a-f]{{8}}$"):
            guest.remove_file(folder + left.name)
    except GuestNotFoundError:
        guest.make_directory(folder, parents=True, exist_ok=True)
    return f"{folder}{prefix}{secrets.token_hex(4)}"


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
    return olds.get("size") is None or _fingerprint(olds) != _fingerprint(news)


def _fingerprint(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns what decides whether a file is another one.

    The hash of a content is not stored: it would give a short secret away. Of a local file it is all that is stored.
    """
    content = inputs.get("content")
    digest = hashlib.sha256(content.encode()).hexdigest() if isinstance(content, str) else content
    return (digest if content is not None else inputs.get("sha256"), permissions_of(inputs))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ConfigurationError(f"source: {path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()
