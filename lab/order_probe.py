"""Work behind the gate in the lab: a resource that records when it ran.

It takes the place of guest work in a real stack, and its output proves the order. The class of a
dynamic provider is in an importable module, never in `__main__`: its path is what the stack's state holds, and so
an edit of the program is not a change of the resource.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions


def _run(news: dict[str, Any]) -> dict[str, Any]:
    return {**news, "ran_at": datetime.now(timezone.utc).isoformat()}


class OrderProbeProvider(ResourceProvider):
    """Runs when the resource is made, and again when its `vm` has become another one."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Records the time."""
        return CreateResult("probe", _run(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compares the `vm` alone."""
        return DiffResult(changes=_olds["vm"] != _news["vm"])

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Records the time again."""
        return UpdateResult(_run(_news))


class OrderProbe(Resource, module="lab", name="OrderProbe"):
    """Work on one virtual machine.

    Args:
        name: The resource's name.
        vm: The VM's managed object ID, out of `gate.after(...)`: that is what holds this resource back.
        opts: The engine's options.
    """

    vm: Output[str]
    ran_at: Output[str]
    """When it ran, by this computer's clock, ISO 8601 in UTC."""

    def __init__(self, name: str, vm: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(OrderProbeProvider(), name, {"vm": vm, "ran_at": None}, opts)
