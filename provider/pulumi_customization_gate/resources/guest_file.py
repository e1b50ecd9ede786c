"""The resource GuestFile for Pulumi programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_customization_gate.lifecycle.guest_file import OUTPUTS
from pulumi_customization_gate.resources.guest_file_provider import GuestFileProvider
from pulumi_customization_gate.resources.guest_script import deleted_first, reference_of, secret
from pulumi_customization_gate.resources.secret_inputs import with_secret_inputs

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions


class GuestFile(Resource, module="customization", name="GuestFile"):
    """Writes a file in the guest of a VM, by VMware Tools, completely or not at all.

    It needs no network connection to the guest: the file goes through the ESXi host (port 443). A change of its content
    writes it again. Deleting the resource removes the file; if the guest is gone, powered off or refuses its user, the
    file stays, and a warning says so.

    Args:
        resource_name: The resource's name in the stack.
        vm: The VM: with `gate.after(vm.moid)` the file waits until the gate is open. Or any reference that a gate takes
            on vSphere, or a resource with `moid`.
        path: The absolute path in the guest; missing folders are created. An existing file is replaced.
        content: The content of the file, as text.
        source: A local file, a pulumi.FileAsset or a pulumi.StringAsset, instead of `content`.
        permissions: The mode on Linux, in octal digits; default "0600".
        username: The user who writes it; default config `customization:guestUser`, then environment GUEST_USER.
        password: The user's password. It is a secret; default config `customization:guestPassword`, then environment
            GUEST_PASSWORD, and then it is not stored.
        timeout: The time, in seconds or as a duration such as "15m", until the guest is ready and the file is written;
            default 600.
        config_namespace: The namespace of stack config that holds vCenter and credentials; default "vsphere".
        opts: The resource's options.

    Raises:
        TypeError: If both or neither of `content` and `source` are given, an asset of another kind, or a VM without
            `moid`.
    """

    path: Output[str]
    """The path in the guest."""
    guest_id: Output[str]
    """The identity of the VM: vCenter, managed object ID and instance UUID."""
    size: Output[int]
    """The size of the file in bytes."""

    def __init__(
        self,
        resource_name: str,
        vm: Input[str] | pulumi.Resource,
        path: Input[str],
        *,
        content: Input[str] | None = None,
        source: str | Path | pulumi.Asset | None = None,
        permissions: Input[str] | None = None,
        username: Input[str] | None = None,
        password: Input[str] | None = None,
        timeout: Input[float | str] | None = None,
        config_namespace: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        if (content is None) == (source is None):
            raise TypeError("expected one of content and source: the text, or a local file that holds it")
        inputs = {
            "vm": reference_of(vm),
            "path": path,
            **(_content(source) if source is not None else {"content": content}),
            "permissions": permissions,
            "username": username,
            "password": secret(password),
            "timeout": timeout,
            "config_namespace": config_namespace,
        }
        given = {**with_secret_inputs(inputs), **dict.fromkeys(OUTPUTS)}
        super().__init__(GuestFileProvider(), resource_name, given, deleted_first(opts))


def _content(source: str | Path | pulumi.Asset) -> dict[str, Any]:
    if isinstance(source, pulumi.StringAsset):
        return {"content": source.text}
    if isinstance(source, pulumi.FileAsset):
        source = source.path
    if not isinstance(source, str | Path):
        raise TypeError(
            f"source: expected a local path, a pulumi.FileAsset or a pulumi.StringAsset, got a {type(source).__name__}"
        )
    # The provider runs in a folder of its own.
    return {"source": str(Path(source).absolute())}
