"""The dynamic provider behind GuestScript. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from pulumi_customization_gate.lifecycle import guest_script
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider

Inputs = dict[str, Any]


class GuestScriptProvider(ConfiguredProvider):
    """Hosts the lifecycle of a guest script."""

    properties = guest_script.PROPERTIES

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Reports bad inputs and missing settings; opens no connection."""
        problems = guest_script.check(self._config, host.with_unknowns_marked(news))
        return CheckResult(news, host.failures(problems, news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another guest only."""
        return host.diff_result(
            guest_script.diff(host.Call(news), self._config, self._olds(olds), host.with_unknowns_marked(news))
        )

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Runs the script."""
        created = guest_script.create(host.Call(props), self._config, props)
        return CreateResult(created.id, dict(created.outputs))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Runs the script again, or stores the new inputs."""
        return UpdateResult(guest_script.update(host.Call(_news), self._config, _id, self._olds(_olds), _news))

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh runs nothing."""
        return ReadResult(id_, self._olds(props))

    @host.clean_errors
    def delete(self, _id: str, _props: Inputs) -> None:
        """Runs `on_delete`; if the guest refuses its user, it logs a warning."""
        guest_script.delete(host.Call(_props), self._config, _id, self._olds(_props))
