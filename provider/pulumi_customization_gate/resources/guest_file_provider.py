"""The dynamic provider behind GuestFile. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from pulumi_customization_gate.lifecycle import guest_file
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider

Inputs = dict[str, Any]


class GuestFileProvider(ConfiguredProvider):
    """Hosts the lifecycle of a guest file, or of a directory of files."""

    properties = guest_file.PROPERTIES

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Reports bad inputs and missing settings; opens no connection."""
        problems, known = guest_file.check(self._config, host.with_unknowns_marked(news))
        return CheckResult({**news, **known}, host.failures(problems, news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another guest or path only."""
        return host.diff_result(
            guest_file.diff(host.Call(news), self._config, self._olds(olds), host.with_unknowns_marked(news))
        )

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Writes the file, or the directory."""
        created = guest_file.create(host.Call(props), self._config, props)
        return CreateResult(created.id, dict(created.outputs))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Writes what has changed, or stores the new inputs."""
        return UpdateResult(guest_file.update(host.Call(_news), self._config, _id, self._olds(_olds), _news))

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh opens no connection to a guest."""
        return ReadResult(id_, self._olds(props))

    @host.clean_errors
    def delete(self, _id: str, _props: Inputs) -> None:
        """Removes what was written; if the guest refuses its user, it logs a warning."""
        guest_file.delete(host.Call(_props), self._config, _id, self._olds(_props))
