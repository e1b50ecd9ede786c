"""The dynamic provider behind GuestFile. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path
from typing import Any

from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)

from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider
from pulumi_customization_gate.resources.guest_arguments import GuestFileArguments, file_problems
from pulumi_customization_gate.resources.guest_connection import (
    guest_at_the_end,
    guest_of,
    is_another_server,
    settings_problems,
)
from pulumi_customization_gate.resources.input_problems import reasons
from pulumi_customization_gate.vsphere.guest.deadline import Deadline

Inputs = dict[str, Any]

_KEPT = ("username", "password", "timeout", "source")
_TIDY = 15.0
"""Seconds that may go into removing what was uploaded in vain."""
_BLOCK = 1024 * 1024


class GuestFileProvider(ConfiguredProvider):
    """Writes a file in `create`, again in `update` where its content has become another one; removes it in `delete`."""

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Refuses bad inputs and missing settings, and notes the hash of a local file; opens no connection."""
        problems = reasons(file_problems(news, host.is_unknown), news) + settings_problems(news, self._config)
        if not problems and news.get("source") and not host.is_unknown(news["source"]):
            news = {**news, "sha256": _digest(Path(news["source"]))}
        return CheckResult(news, host.failures(problems, news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another machine or path; what a file holds decides whether it has changed, not where it lies."""
        replaces = [name for name in ("vm", "path") if olds.get(name) != news.get(name)]
        if is_another_server(olds, news):
            replaces.append("config_namespace")
        kept = any(olds.get(name) != news.get(name) for name in _KEPT if name != "source")
        return DiffResult(changes=bool(replaces) or kept or _is_another(olds, news), replaces=replaces)

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Writes the file."""
        return CreateResult(secrets.token_hex(8), self._write(props))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Writes the file anew if it has become another one; else takes the new inputs over."""
        if _is_another(_olds, _news):
            return UpdateResult(self._write(_news))
        return UpdateResult({**_news, "size": _olds.get("size")})

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh looks into no guest."""
        return ReadResult(id_, props)

    @host.clean_errors
    def delete(self, _id: str, _props: Inputs) -> None:
        """Removes the file; a machine that is gone or off is a warning."""
        timeout = GuestFileArguments.timeout_of(_props)
        with guest_at_the_end(_props, self._config, timeout, "the file stays in the guest") as guest:
            if guest is not None:
                guest.remove_file(_props["path"])

    def _write(self, inputs: Inputs) -> Inputs:
        """Uploads beside the path and renames, so that nobody in the guest meets half a file."""
        arguments = GuestFileArguments.of(inputs)
        content = arguments.content
        if isinstance(content, Path) and _digest(content) != inputs.get("sha256"):
            raise ConfigurationError(f"{content} has changed since it was looked at; run `pulumi up` again")
        draft = f"{arguments.path}.{secrets.token_hex(4)}"
        with guest_of(inputs, self._config, arguments.timeout) as guest:
            try:
                guest.upload(draft, content, arguments.permissions)
                guest.move_file(draft, arguments.path)
            except GateError:
                with contextlib.suppress(GateError):
                    guest.with_deadline(Deadline(_TIDY)).remove_file(draft)
                raise
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return {**inputs, "size": size}


def _is_another(olds: Inputs, news: Inputs) -> bool:
    return _fingerprint(olds) != _fingerprint(news)


def _fingerprint(inputs: Inputs) -> tuple[Any, ...]:
    """Returns what decides whether a file is another one.

    The hash of a content is not stored: it would give a short secret away. Of a local file it is all that is stored.
    """
    content = inputs.get("content")
    digest = hashlib.sha256(content.encode()).hexdigest() if isinstance(content, str) else content
    return (digest if content is not None else inputs.get("sha256"), GuestFileArguments.permissions_of(inputs))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ConfigurationError(f"source: {path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()
