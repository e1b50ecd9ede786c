"""The dynamic provider behind CustomizationGate. Its path is stored in every stack that has a gate: it is frozen."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from pulumi_customization_gate.lifecycle import gate
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.configured import ConfiguredProvider

Inputs = dict[str, Any]


class CustomizationGateProvider(ConfiguredProvider):
    """Hosts the lifecycle of a gate."""

    properties = gate.PROPERTIES

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Reports bad inputs and missing settings; opens no connection."""
        return CheckResult(news, host.failures(gate.check(self._config, host.with_unknowns_marked(news)), news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Replaces for another server only; any other change is an update."""
        return host.diff_result(
            gate.diff(host.Call(news), self._config, self._olds(olds), host.with_unknowns_marked(news))
        )

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Waits for all VMs."""
        created = gate.create(host.waiting_call(props), self._config, props)
        return CreateResult(created.id, dict(created.outputs))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Waits for the VMs that are new or were not ready, or stores the new inputs."""
        return UpdateResult(gate.update(host.waiting_call(_news), self._config, _id, self._olds(_olds), _news))

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh does not judge again."""
        return ReadResult(id_, gate.read(self._olds(props)))

    def delete(self, _id: str, _props: Inputs) -> None:
        """Does nothing: a gate leaves nothing on the server."""
