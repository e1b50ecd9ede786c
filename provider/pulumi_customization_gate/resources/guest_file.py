"""The resource GuestFile for Pulumi programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from pulumi_customization_gate.lifecycle.guest_file import OUTPUTS, PROPERTIES
from pulumi_customization_gate.lifecycle.guest_sources import TEXTS
from pulumi_customization_gate.resources.guest_file_provider import GuestFileProvider
from pulumi_customization_gate.resources.guest_script import deleted_first, reference_of, secret
from pulumi_customization_gate.resources.movable import Host, MovableResource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi import Input, Output, ResourceOptions


class GuestFile(MovableResource, module="customization", name="GuestFile"):
    """Writes a file, or a directory of files, in the guest of a VM, by VMware Tools.

    Each file is written completely or not at all. It needs no network connection to the guest: files go through the
    ESXi host (port 443). A change of its content writes a file again. Deleting the resource removes what it created. If
    the guest is gone, is powered off, or refuses the user name or password, the files stay, and a warning reports it.

    Args:
        resource_name: The resource's name in the stack.
        vm: The VM: with `gate.after(vm.moid)` the file waits until the gate is open. Or any reference that a gate takes
            on vSphere, or a resource with `moid`.
        path: The absolute path in the guest; missing folders are created. An existing file is replaced.
        content: The content of the file, as text.
        source: Instead of `content`: a local file, a pulumi.FileAsset or a pulumi.StringAsset. These become a directory
            at `path`: a local directory, a pulumi.FileArchive (a directory, or a .zip, .tar or .tar.gz file) or a
            pulumi.AssetArchive.
        permissions: The mode of files on Linux, in octal digits; default "0600". Directories that are created get it
            too, with execute permission for everyone who has read permission.
        owner: The owner on Linux, a user or "user:group", as names or numbers; default the user who writes the file.
        username: The user who writes it; default config `customization:guestUser`, then environment GUEST_USER.
        password: The user's password. It is a secret. By default, it comes from config `customization:guestPassword`,
            then environment GUEST_PASSWORD, and the resource does not store it.
        timeout: The time, in seconds or as a duration such as "15m", until the guest is ready and the file is written;
            default 600.
        config_namespace: The namespace of stack config that holds vCenter and credentials; default "vsphere".
        host: "dynamic" (default): this package runs the resource, and nothing else is needed. "plugin": the native
            provider runs it, and takes the connection from its own config or arguments. A resource can move from one
            to the other without a change.
        opts: The resource's options.

    Raises:
        TypeError: If both or neither of `content` and `source` are given, an asset of another kind, a VM without
            `moid`, or an argument that the host cannot take.
    """

    _properties = PROPERTIES

    path: Output[str]
    """The path in the guest."""
    guest_id: Output[str]
    """The identity of the VM: vCenter, managed object ID and instance UUID."""
    size: Output[int]
    """The size of the file in bytes, or of all files of the directory."""
    files: Output[dict[str, str] | None]
    """The SHA-256 of each local file by its path in the directory; None if the resource is a single file."""

    def __init__(
        self,
        resource_name: str,
        vm: Input[str] | pulumi.Resource,
        path: Input[str],
        *,
        content: Input[str] | None = None,
        source: str | Path | pulumi.Asset | pulumi.Archive | None = None,
        permissions: Input[str] | None = None,
        owner: Input[str] | None = None,
        username: Input[str] | None = None,
        password: Input[str] | None = None,
        timeout: Input[float | str] | None = None,
        config_namespace: Input[str] | None = None,
        host: Host = "dynamic",
        opts: ResourceOptions | None = None,
    ) -> None:
        if (content is None) == (source is None):
            raise TypeError("expected one of content and source: the text, or a local file that holds it")
        inputs = {
            "vm": reference_of(vm),
            "path": path,
            **(_content(source) if source is not None else {"content": content}),
            "permissions": permissions,
            "owner": owner,
            "username": username,
            "password": secret(password),
            "timeout": timeout,
            "config_namespace": config_namespace,
        }
        given = {**inputs, **dict.fromkeys((*OUTPUTS, "files"))}
        super().__init__(GuestFileProvider(), host, resource_name, given, deleted_first(opts))


def _content(source: str | Path | pulumi.Asset | pulumi.Archive) -> dict[str, Any]:
    """Returns the inputs for a source.

    An asset does not go to the provider as such: its text can be kept as a secret input, and local files can be read by
    the provider itself.
    """
    if isinstance(source, pulumi.StringAsset):
        return {"content": source.text}
    if isinstance(source, pulumi.FileAsset):
        source = source.path
    if isinstance(source, pulumi.Archive):
        entries = dict(_entries(source))
        texts = {place: asset.text for place, asset in entries.items() if isinstance(asset, pulumi.StringAsset)}
        paths = {place: _absolute(path) for place, path in entries.items() if not isinstance(path, pulumi.Asset)}
        return {"source": paths, TEXTS: secret(texts or None)}
    if not isinstance(source, str | Path):
        raise TypeError(
            "source: expected a local path, or a pulumi.FileAsset, StringAsset, FileArchive or AssetArchive, got a "
            f"{type(source).__name__}"
        )
    return {"source": _absolute(source)}


def _entries(archive: pulumi.Archive, place: str = "./") -> Iterator[tuple[str, str | Path | pulumi.StringAsset]]:
    """Yields what an archive has: a place that ends with a slash takes the files of a local directory or archive."""
    if isinstance(archive, pulumi.FileArchive):
        yield place, archive.path
        return
    if not isinstance(archive, pulumi.AssetArchive):
        raise TypeError(f"source: expected a pulumi.FileArchive or AssetArchive, got a {type(archive).__name__}")
    for name, asset in archive.assets.items():
        if isinstance(asset, pulumi.Archive):
            yield from _entries(asset, f"{place}{name}/")
        elif isinstance(asset, pulumi.StringAsset):
            yield f"{place}{name}".removeprefix("./"), asset
        elif isinstance(asset, pulumi.FileAsset):
            yield f"{place}{name}".removeprefix("./"), asset.path
        else:
            raise TypeError(f"source[{name!r}]: expected a local asset, got a {type(asset).__name__}")


def _absolute(path: str | Path) -> str:
    """Returns an absolute path: the provider runs in a folder of its own."""
    return str(Path(path).absolute())
