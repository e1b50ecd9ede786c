"""What the dynamic providers have in common: they are stored by reference, and know the stack's config in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from pulumi_customization_gate import log
from pulumi_customization_gate.lifecycle.outputs import respelled
from pulumi_customization_gate.lifecycle.spelling import to_snake_case
from pulumi_customization_gate.resources import host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.config_lookup import Config


class ConfiguredProvider(ResourceProvider):
    """A provider that is given the stack's config, and whose pickle holds nothing but its path."""

    serialize_as_secret_always = False
    properties: ClassVar[Sequence[Any]]
    """A description of each property."""

    def __init__(self) -> None:
        super().__init__()
        self._config: Config = lambda _: None

    def __reduce__(self) -> tuple[type[ConfiguredProvider], tuple[()]]:
        """Is pickled by reference, so an edit of its file does not change a stack."""
        return (type(self), ())

    def _olds(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Returns what is stored with the names of Python: the native provider may have stored it."""
        return respelled(stored, self.properties, to_snake_case)

    def configure(self, req: ConfigureRequest) -> None:
        """Takes the stack's config over, credentials included; they are kept in memory only."""
        log.show_if_asked()
        self._config = req.config.get
        host.prepare()
