"""The resource GuestScript for Pulumi programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pulumi

from pulumi_customization_gate.lifecycle.guest_script import OUTPUTS, PROPERTIES
from pulumi_customization_gate.resources.guest_script_provider import GuestScriptProvider
from pulumi_customization_gate.resources.movable import Host, MovableResource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulumi import Input, Output, ResourceOptions


class GuestScript(MovableResource, module="customization", name="GuestScript"):
    """Runs a script in the guest of a VM, by VMware Tools; a failure shows the last lines of stderr.

    It needs no network connection to the guest: script and output go through the ESXi host (port 443). The script runs
    once: when the resource is created, and again when script, interpreter, arguments, environment, working directory,
    standard input or triggers have changed or the last run failed. If `pulumi up` is interrupted, the next one follows
    the run or reads its outcome, instead of running the script twice.

    Args:
        resource_name: The resource's name in the stack.
        vm: The VM: with `gate.after(vm.moid)` the script waits until the gate is open. Or any reference that a gate
            takes on vSphere, or a resource with `moid`. A change to another reference to the same VM runs nothing.
        script: The script's text. On Linux, Windows line endings are converted.
        script_path: A local file with the script's text, instead of `script`.
        interpreter: "bash", "powershell", "cmd", or a path in the guest; default bash on Linux, powershell on Windows.
        arguments: The arguments of the script. Other users of the guest can see them, so they must not hold secrets.
        environment: Variables of the script, in addition to those of VMware Tools. They are secrets, and are not in
            command lines or logs.
        stdin: The standard input of the script. It is a secret.
        working_directory: The directory in which the script runs; default the user's home on Linux.
        username: The user who runs it; default config `customization:guestUser`, then environment GUEST_USER.
        password: The user's password. It is a secret. By default, it comes from config `customization:guestPassword`,
            then environment GUEST_PASSWORD, and the resource does not store it.
        timeout: The time, in seconds or as a duration such as "15m", until the guest is ready and the script has ended;
            default 600.
        triggers: A list or a map of anything; a change runs the script again.
        on_update: A script that runs instead of `script` when a change runs the script again.
        on_delete: A script that runs when the resource is deleted, with the same interpreter, arguments and
            environment. If the guest is gone, is powered off, or refuses the user name or password, it does not
            run, and a warning reports it.
        add_previous_output: Whether the environment has STDOUT and STDERR, the last 32000 characters of each output of
            the last run; default false.
        log: "last" (default) shows the last line of the output on the resource's row of a terminal while the script
            runs; "all" logs every line.
        expected_exit_codes: Exit codes of a success; default [0].
        output_limit: The number of bytes kept from the end of each output; default 65536, at most 1048576.
        config_namespace: The namespace of stack config that holds vCenter and credentials; default "vsphere".
        host: "dynamic" (default): this package runs the resource, and nothing else is needed. "plugin": the native
            provider runs it, and takes the connection from its own config or arguments. A resource can move from one
            to the other without a change.
        opts: The resource's options.

    Raises:
        TypeError: If both or neither of `script` and `script_path` are given, a VM without `moid`, or an argument that
            the host cannot take.
        OSError: If the file of `script_path` cannot be read.
    """

    _properties = PROPERTIES

    status: Output[str]
    """How the last run ended: "exited", "stopped", "lost" (killed, or the guest rebooted), or "unknown"."""
    exit_code: Output[int]
    """The script's exit code; unsigned on Windows."""
    stdout: Output[str]
    """The end of its standard output."""
    stderr: Output[str]
    """The end of its standard error."""
    stdout_truncated: Output[bool]
    """Whether there was more standard output than was kept."""
    stderr_truncated: Output[bool]
    """The same for its standard error."""
    started_at: Output[str]
    """When it started, by the server's clock (ISO 8601, UTC)."""
    seconds: Output[float]
    """The length of the last run in seconds."""
    attempt: Output[int]
    """The number of the last run."""
    ran: Output[str]
    """What ran last: "script" or "on_update"."""
    guest_id: Output[str]
    """The identity of the VM: vCenter, managed object ID and instance UUID."""

    def __init__(
        self,
        resource_name: str,
        vm: Input[str] | pulumi.Resource,
        script: Input[str] | None = None,
        *,
        script_path: str | Path | None = None,
        interpreter: Input[str] | None = None,
        arguments: Input[Sequence[Input[str]]] | None = None,
        environment: Input[Mapping[str, Input[str]]] | None = None,
        stdin: Input[str] | None = None,
        working_directory: Input[str] | None = None,
        username: Input[str] | None = None,
        password: Input[str] | None = None,
        timeout: Input[float | str] | None = None,
        triggers: Input[Sequence[Any] | Mapping[str, Any]] | None = None,
        on_update: Input[str] | None = None,
        on_delete: Input[str] | None = None,
        add_previous_output: Input[bool] | None = None,
        log: Input[Literal["last", "all"]] | None = None,
        expected_exit_codes: Input[Sequence[Input[int]]] | None = None,
        output_limit: Input[int] | None = None,
        config_namespace: Input[str] | None = None,
        host: Host = "dynamic",
        opts: ResourceOptions | None = None,
    ) -> None:
        if (script is None) == (script_path is None):
            raise TypeError("expected one of script and script_path: the text, or a local file that holds it")
        inputs = {
            "vm": reference_of(vm),
            "script": script if script_path is None else Path(script_path).read_text(encoding="utf-8"),
            "interpreter": interpreter,
            "arguments": arguments,
            "environment": secret(environment),
            "stdin": secret(stdin),
            "working_directory": working_directory,
            "username": username,
            "password": secret(password),
            "timeout": timeout,
            "triggers": triggers,
            "on_update": on_update,
            "on_delete": on_delete,
            "add_previous_output": add_previous_output,
            "log": log,
            "expected_exit_codes": expected_exit_codes,
            "output_limit": output_limit,
            "config_namespace": config_namespace,
        }
        outputs = dict.fromkeys(OUTPUTS)
        super().__init__(GuestScriptProvider(), host, resource_name, {**inputs, **outputs}, deleted_first(opts))


def deleted_first(opts: ResourceOptions | None) -> ResourceOptions:
    """Has a replacement delete the old resource first, also one that the user asks for by `--replace`.

    The provider asks for the same, but the engine does not ask the provider about that one.
    """
    return pulumi.ResourceOptions.merge(pulumi.ResourceOptions(delete_before_replace=True), opts)


def secret(value: Any) -> Any:
    """Returns an input as a secret, so that the state always holds it encrypted."""
    return None if value is None else pulumi.Output.secret(value)


def reference_of(vm: Any) -> Any:
    """Replaces a resource by its managed object ID.

    Raises:
        TypeError: If the resource has none.
    """
    if not isinstance(vm, pulumi.Resource):
        return vm
    moid = getattr(vm, "moid", None)
    if moid is None:
        raise TypeError(
            "vm: expected a vsphere.VirtualMachine or another resource with a moid, or the VM's reference as a string, "
            f"got {type(vm).__name__}, which has no moid"
        )
    return moid
