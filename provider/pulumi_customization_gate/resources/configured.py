"""A dynamic provider around a lifecycle: stored by reference, with the stack's config in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pulumi.dynamic import (
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from pulumi_customization_gate import log
from pulumi_customization_gate.lifecycle.outputs import respelled
from pulumi_customization_gate.lifecycle.spelling import to_snake_case
from pulumi_customization_gate.resources import host, sdk_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi_customization_gate.config_lookup import Config

Inputs = dict[str, Any]


class ConfiguredProvider(ResourceProvider):
    """A provider that is given the stack's config, and whose pickle holds nothing but its path."""

    serialize_as_secret_always = False
    lifecycle: ClassVar[Any]
    """The module with `PROPERTIES`, `check`, `diff`, `create`, `update` and `delete`."""
    call: ClassVar[Callable[[Inputs], host.Call]] = host.Call
    """Returns the call of an operation that writes."""

    def __init__(self) -> None:
        super().__init__()
        self._config: Config = lambda _: None

    def __reduce__(self) -> tuple[type[ConfiguredProvider], tuple[()]]:
        """Is pickled by reference, so an edit of its file does not change a stack."""
        return (type(self), ())

    def configure(self, req: ConfigureRequest) -> None:
        """Takes the stack's config over, credentials included; they are kept in memory only."""
        log.show_if_asked()
        self._config = req.config.get
        host.prepare()

    @host.clean_errors
    def check(self, _olds: Inputs, news: Inputs) -> CheckResult:
        """Reports bad inputs and missing settings; opens no connection."""
        problems, known = self._checked(sdk_values.with_unknowns_marked(news))
        return CheckResult({**news, **known}, sdk_values.failures(problems, news))

    @host.clean_errors
    def diff(self, _id: str, olds: Inputs, news: Inputs) -> DiffResult:
        """Returns what new inputs change."""
        marked = sdk_values.with_unknowns_marked(news)
        return sdk_values.diff_result(self.lifecycle.diff(host.Call(news), self._config, self._olds(olds), marked))

    @host.clean_errors
    def create(self, props: Inputs) -> CreateResult:
        """Does the work of a new resource."""
        created = self.lifecycle.create(type(self).call(props), self._config, props)
        return CreateResult(created.id, dict(created.outputs))

    @host.clean_errors
    def update(self, _id: str, _olds: Inputs, _news: Inputs) -> UpdateResult:
        """Does the work that a change asks for, or stores the new inputs."""
        call = type(self).call(_news)
        return UpdateResult(self.lifecycle.update(call, self._config, _id, self._olds(_olds), _news))

    def read(self, id_: str, props: Inputs) -> ReadResult:
        """Returns what is stored: a refresh opens no connection."""
        return ReadResult(id_, self._olds(props))

    @host.clean_errors
    def delete(self, _id: str, _props: Inputs) -> None:
        """Ends the resource."""
        self.lifecycle.delete(host.Call(_props), self._config, _id, self._olds(_props))

    def _checked(self, news: Inputs) -> tuple[list[str], Mapping[str, Any]]:
        """Returns what is wrong with the inputs, and what is stored beside them."""
        return self.lifecycle.check(self._config, news), {}

    def _olds(self, stored: Inputs) -> Inputs:
        """Returns what is stored with the names of Python: the native provider may have stored it."""
        return respelled(stored, self.lifecycle.PROPERTIES, to_snake_case)
