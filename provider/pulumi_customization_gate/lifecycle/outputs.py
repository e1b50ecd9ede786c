"""The outputs of each resource, described once: for the outputs themselves, and for the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS
from pulumi_customization_gate.lifecycle.inputs import VM_URNS, VM_UUIDS

if TYPE_CHECKING:
    from pulumi_customization_gate.lifecycle.spelling import Spelling

DIRECTORIES = "directories"
"""What is stored of a guest's directory: the directories that the resource made, by their paths in it."""
GUEST_ID = "guest_id"
"""The output that identifies the VM of a script or a file, whatever the reference in the inputs."""
GUEST_SERVER = "server"
"""What is stored of the vCenter of a script or a file: its address, by which another vCenter is noticed without a call.
"""


@dataclass(frozen=True)
class Output:
    """One output of a resource, or one field of a record in an output.

    Args:
        name: The name, in snake case.
        type: The Python type of its value, an enumeration, `Fields`, `MapTo` or `ListTo`.
        text: What it means.
    """

    name: str
    type: Any
    text: str
    is_optional: bool = False


@dataclass(frozen=True)
class Fields:
    """A record.

    Args:
        name: What a schema calls the record.
        text: What the record is.
        fields: What it has.
    """

    name: str
    text: str
    fields: tuple[Output, ...]

    def respelled(self, value: Any, spelling: Spelling) -> Any:
        """Returns a record with its names in another spelling."""
        return respelled(value, self.fields, spelling) if isinstance(value, Mapping) else value


@dataclass(frozen=True)
class MapTo:
    """A map from the user's keys."""

    item: Any

    def respelled(self, value: Any, spelling: Spelling) -> Any:
        """Returns a map whose values have another spelling; the user's keys stay."""
        if not isinstance(value, Mapping) or not hasattr(self.item, "respelled"):
            return value
        return {key: self.item.respelled(item, spelling) for key, item in value.items()}


@dataclass(frozen=True)
class ListTo:
    """A list."""

    item: Any

    def respelled(self, value: Any, spelling: Spelling) -> Any:
        """Returns a list whose items have another spelling."""
        return [self.item.respelled(item, spelling) for item in value]


def respelled(values: Mapping[str, Any], described: Sequence[Any], spelling: Spelling) -> dict[str, Any]:
    """Returns values by names with the names that are described in another spelling, and so on inside of them.

    Args:
        values: The values.
        described: An `Argument` or an `Output` for each name that is changed.
        spelling: `to_camel_case` or `to_snake_case`.
    """
    by_name = {}
    for one in described:
        old, new = spelling(one.name)
        by_name[old] = new, one.type
    changed = {}
    for name, value in values.items():
        new, kind = by_name.get(name, (name, None))
        changed[new] = kind.respelled(value, spelling) if hasattr(kind, "respelled") else value
    return changed


FAILURE = Fields(
    "VmFailure",
    "Why a VM is not ready.",
    (
        Output("kind", FailureKind, "what kind of failure it is"),
        Output("event", str, "the event class, or the state, that reports a failed customization; else empty"),
        Output("reason", str, "the reason in a sentence"),
        Output("message", str, "the message of the server"),
        Output("log_location", str, "where the guest's log is"),
        Output("log", Sequence[str], "the last lines of the guest's log"),
    ),
)
RESULT = Fields(
    "VmResult",
    "What is known about one VM.",
    (
        Output("name", str, "the name of the VM in the inventory"),
        Output("moid", str, "the managed object ID; on Cloud Director `vm-` and the VM's UUID"),
        Output("instance_uuid", str, "the instance UUID", is_optional=True),
        Output("status", CustomizationStatus, "the status of the customization"),
        Output("evidence", Evidence, "which source decided the status", is_optional=True),
        Output("powered_on_at", str, "the last power-on, by the server's clock (ISO 8601, UTC)", is_optional=True),
        Output("started_at", str, "the start of the customization", is_optional=True),
        Output("completed_at", str, "the end of the customization", is_optional=True),
        Output("ready_at", str, "when the VM was ready", is_optional=True),
        Output("customization_seconds", float, "the length of the customization in seconds", is_optional=True),
        Output("failure", FAILURE, "why the VM is not ready", is_optional=True),
        Output("accepted", str, "the reason for which a failure is accepted", is_optional=True),
        Output("host_name", str, "the host name of the guest"),
        Output("ip_addresses", Sequence[str], "the IP addresses of the guest"),
    ),
)
SERVER = Fields(
    "Server",
    "The server on which VMs were judged.",
    (
        Output("address", str, "the address"),
        Output("id", str, "the instance UUID of a vCenter; on Cloud Director the address"),
    ),
)

GATE_OUTPUTS: Sequence[Output] = (
    Output("ready", bool, "whether every VM is ready"),
    Output(
        "statuses",
        MapTo(CustomizationStatus),
        "the status of each VM, by your key; for a list by the VM's name, or its ID where two share a name",
    ),
    Output("addresses", MapTo(str), "the first usable IP address of each VM that reports one, by the same keys"),
    Output("results", MapTo(RESULT), "what is known about each VM, by the same keys"),
    Output("wait_seconds", float, "the length of the last wait in seconds"),
    Output("opened_at", str, "when the gate opened, by the server's clock (ISO 8601, UTC)"),
    Output("server", SERVER, "the server on which the VMs were judged"),
)
"""The outputs of CustomizationGate."""
SCRIPT_OUTPUTS: Sequence[Output] = (
    Output("exit_code", int, "the script's exit code; unsigned on Windows", is_optional=True),
    Output("stdout", str, "the end of its standard output"),
    Output("stderr", str, "the end of its standard error"),
    Output("stdout_truncated", bool, "whether there was more standard output than was kept"),
    Output("stderr_truncated", bool, "whether there was more standard error than was kept"),
    Output("started_at", str, "when it started, by the server's clock (ISO 8601, UTC)", is_optional=True),
    Output("seconds", float, "the length of the last run in seconds"),
    Output("status", str, "how the last run ended: exited, stopped, lost (killed, or the guest rebooted), or unknown"),
    Output("attempt", int, "the number of the last run"),
    Output("ran", str, "what ran last: script or on_update"),
    Output(GUEST_ID, str, "the identity of the VM: vCenter, managed object ID and instance UUID"),
)
"""The outputs of GuestScript."""
FILE_OUTPUTS: Sequence[Output] = (
    Output("size", int, "the size of the file in bytes, or of all files of the directory", is_optional=True),
    Output(GUEST_ID, str, "the identity of the VM: vCenter, managed object ID and instance UUID"),
)
"""The outputs of GuestFile, beside those that its check adds to the inputs."""

GATE_INPUTS: Sequence[Output] = (
    Output(
        VM_UUIDS,
        Mapping[str, str] | Sequence[str],
        "the UUIDs of the VMs, in the form of vms; with them, another VM with the same managed object ID is detected",
    ),
    Output(
        VM_URNS,
        Mapping[str, str] | Sequence[str],
        "the URNs of the VMs, in the form of vms; with them, a failure names the resources to replace",
    ),
)
"""What CustomizationGate takes beside its arguments."""
FILE_INPUTS: Sequence[Output] = (
    Output(
        TEXTS,
        Mapping[str, str],
        "a map from paths in the directory to the contents of files, in addition to those of source",
    ),
)
"""What GuestFile takes beside its arguments."""
SCRIPT_STORED: Sequence[Output] = (Output(GUEST_SERVER, str, "the address of the vCenter"),)
"""What is stored of GuestScript beside inputs and outputs."""
FILE_STORED: Sequence[Output] = (
    *SCRIPT_STORED,
    Output("files", Mapping[str, str], "the SHA-256 of each local file by its path in the directory"),
    Output("sha256", str, "the SHA-256 of the local file"),
    Output(DIRECTORIES, Sequence[str], "the directories that were created"),
)
"""What is stored of GuestFile beside inputs and outputs."""


def names(outputs: Sequence[Output]) -> tuple[str, ...]:
    """Returns the names of outputs."""
    return tuple(output.name for output in outputs)
