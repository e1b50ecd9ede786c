"""Properties of resources and functions as a lifecycle takes them, read from the engine's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.config_lookup import PLUGIN_NAMESPACE
from pulumi_customization_gate.lifecycle.inputs import SECRET_INPUTS
from pulumi_customization_gate.lifecycle.outputs import respelled
from pulumi_customization_gate.lifecycle.spelling import to_snake_case
from pulumi_customization_gate.plugin import values

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from google.protobuf.struct_pb2 import Struct

NAMESPACE = "config_namespace"
"""The argument that this provider does not take: its connection is its own."""


def decoded(given: Struct, described: Sequence[Any], secrets: Collection[str] = ()) -> dict[str, Any]:
    """Returns properties in snake case, with the provider's namespace, and with the names of those that are secrets.

    Names in snake case are taken as well: the state of a dynamic resource has them.

    Args:
        given: The properties.
        described: An `Argument` or an `Output` for each of them.
        secrets: The properties that count as secrets, marked or not.
    """
    marked = respelled(dict.fromkeys(values.secret_names(given), True), described, to_snake_case)
    found = respelled(values.decode(given), described, to_snake_case)
    return {**found, NAMESPACE: PLUGIN_NAMESPACE, SECRET_INPUTS: sorted({*marked, *secrets})}
