"""A resource of a Python program, on either host: the dynamic provider, or the native one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import pulumi
from pulumi.dynamic import Resource

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE
from pulumi_customization_gate.lifecycle.inputs import SECRET_INPUTS, shown
from pulumi_customization_gate.lifecycle.spelling import camel
from pulumi_customization_gate.resources.secret_inputs import with_secret_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi import ResourceOptions
    from pulumi.dynamic import ResourceProvider

Host: TypeAlias = Literal["dynamic", "plugin"]
"""What runs a resource: the dynamic provider, which needs nothing but this package, or the native provider."""


class MovableResource(Resource):
    """A resource whose state either host takes over from the other one.

    Args:
        provider: The dynamic provider.
        host: What runs the resource.
        resource_name: The resource's name in the stack.
        inputs: The arguments, and None for each output.
        opts: The resource's options.

    Raises:
        TypeError: If there is no such host, or if the native provider cannot take an argument.
    """

    _properties: ClassVar[Sequence[Any]]
    """A description of each property."""

    def __init__(
        self,
        provider: ResourceProvider,
        host: Host,
        resource_name: str,
        inputs: Mapping[str, Any],
        opts: ResourceOptions | None,
    ) -> None:
        name = type(self)._resource_type_name.rpartition(":")[2]  # noqa: SLF001 -- the name that this class was given
        dynamic, native = f"pulumi-python:dynamic/customization:{name}", f"{PLUGIN_NAMESPACE}:index:{name}"
        if host == "dynamic":
            super().__init__(provider, resource_name, with_secret_inputs(inputs), _moved_from(native, opts))
            return
        if host != "plugin":
            raise TypeError(f"host: expected 'dynamic' or 'plugin', got {shown(host)}")
        if inputs.get("config_namespace") is not None:
            raise TypeError(
                'config_namespace: expected nothing beside host="plugin", because the connection is that of the '
                f"provider; give another one by opts, with a pulumi.ProviderResource of {PLUGIN_NAMESPACE!r}"
            )
        given = {key: value for key, value in inputs.items() if key not in {"config_namespace", SECRET_INPUTS}}
        pulumi.CustomResource.__init__(self, native, resource_name, given, _moved_from(dynamic, opts))

    def translate_output_property(self, prop: str) -> str:
        """Returns the name of an output in Python; the state of the native provider has those of Pulumi packages."""
        return self._python_names().get(prop, prop)

    @classmethod
    def _python_names(cls) -> dict[str, str]:
        return {camel(name): name for name in _names(cls._properties)}


def _names(described: Sequence[Any]) -> set[str]:
    """Returns the names of properties, and of the fields of records in them."""
    found = set()
    for one in described:
        found |= {one.name} | _names(getattr(getattr(one.type, "item", one.type), "fields", ()))
    return found


def _moved_from(other: str, opts: ResourceOptions | None) -> ResourceOptions:
    """Adds an alias, so that the engine treats the resource as the one that the other host created."""
    return pulumi.ResourceOptions.merge(pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=other)]), opts)
