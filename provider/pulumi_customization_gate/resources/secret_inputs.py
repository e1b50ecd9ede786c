"""Sends the provider the names of the inputs that are secrets, because the engine decrypts them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi

from pulumi_customization_gate.lifecycle.inputs import SECRET_INPUTS


def with_secret_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the names of those inputs that are or contain a secret; nothing where none does."""
    outputs = {name: list(_outputs(value)) for name, value in inputs.items()}

    async def names() -> list[str] | None:
        found = []
        for name, parts in outputs.items():
            if any([await pulumi.Output.from_input(part).is_secret() for part in parts]):
                found.append(name)
        return found or None

    return {**inputs, SECRET_INPUTS: pulumi.Output.from_input(names()) if any(outputs.values()) else None}


def _outputs(value: object) -> Iterator[pulumi.Output[Any]]:
    if isinstance(value, pulumi.Output):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _outputs(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _outputs(item)
