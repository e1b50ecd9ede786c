"""The details of an error by which the engine stores the outputs of a resource that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2
from pulumi.runtime import proto

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

    from pulumi_customization_gate.lifecycle.engine import PartialFailureError


def trailing_metadata(error: PartialFailureError, outputs: Struct) -> tuple[tuple[str, bytes]]:
    """Returns what a call that fails sends beside its text (ErrorResourceInitFailed).

    Args:
        error: The failure.
        outputs: The resource's outputs, in the engine's form.
    """
    details = any_pb2.Any()
    details.Pack(
        proto.ErrorResourceInitFailed(id=error.resource_id, properties=outputs, reasons=[str(error)], inputs=None)
    )
    status = _status_message()(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[details])
    return (("grpc-status-details-bin", bytes(status.SerializeToString())),)


def _status_message() -> Any:
    """Returns google.rpc.Status. The SDK brings a copy of its own, and a process can hold only one of the two."""
    try:
        from pulumi.runtime.proto import status_pb2  # noqa: PLC0415 -- only a failure needs it
    except (ImportError, TypeError):
        from google.rpc import status_pb2  # type: ignore[no-redef]  # noqa: PLC0415 -- the same
    return status_pb2.Status
