"""What a lifecycle may ask of the program that hosts it, and what it hands back.

A host is between a lifecycle and Pulumi's engine. It turns the engine's unknown values into UNKNOWN, gives each
call an `Engine`, and turns what a lifecycle returns or raises into the engine's own form.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from pulumi_customization_gate.core.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _Unknown(enum.Enum):
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = _Unknown.UNKNOWN
"""The value of an input that is only known once the resources that it comes from exist."""


def is_unknown(value: object) -> bool:
    """Whether an input is not known in this preview."""
    return value is UNKNOWN


class Engine(Protocol):
    """The engine, as one call of a lifecycle sees it."""

    @property
    def urn(self) -> str:
        """The URN of the resource; empty where the host cannot find it."""
        ...

    @property
    def custom_timeout(self) -> float:
        """The resource's `custom_timeouts` for this operation in seconds; 0 where the program has none."""
        ...

    @property
    def has_terminal(self) -> bool:
        """Whether a person watches the update on a terminal, where lines that do not last can be shown."""
        ...

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:
        """Writes a line on the resource's row; one that does not last stays out of the log."""
        ...

    def cancelled(self) -> bool:
        """Whether the user has cancelled the update."""
        ...


@dataclass(frozen=True)
class Difference:
    """What new inputs change."""

    changes: bool
    replaces: Sequence[str] = ()
    """The arguments that need another resource."""
    delete_before_replace: bool = False
    """Whether the old resource is deleted before the new one is created."""


@dataclass(frozen=True)
class Created:
    """A resource that was created."""

    id: str
    outputs: Mapping[str, Any] = field(repr=False)


class PartialFailureError(GateError):
    """A failure after which the resource's outputs are stored, so that the next update continues from them.

    Args:
        message: What happened, for the user.
        resource_id: The resource's id.
        outputs: All of its outputs.
    """

    def __init__(self, message: str, resource_id: str, outputs: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.outputs = outputs
