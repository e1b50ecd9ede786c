"""The provider protocol on one side, the inventory on the other."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from pulumi.provider.experimental import provider as protocol

from lab.offline.vsphere_plugin.inventory import Inventory
from lab.offline.vsphere_plugin.values import UNKNOWN_VALUE, is_known, plain, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi.provider.experimental.property_value import PropertyValue

T = TypeVar("T")

VIRTUAL_MACHINE = "vsphere:index/virtualMachine:VirtualMachine"

_CONFIG_KEYS = {
    "allowUnverifiedSsl",
    "apiTimeout",
    "clientDebug",
    "clientDebugPath",
    "clientDebugPathRun",
    "password",
    "persistSession",
    "restSessionPath",
    "user",
    "vcenterServer",
    "vimKeepAlive",
    "vimSessionPath",
    "vsphereServer",
    # The engine's own, beside the real plugin's.
    "version",
    "pluginDownloadURL",
}
_OUTPUT_ONLY = {
    "moid",
    "uuid",
    "defaultIpAddress",
    "guestIpAddresses",
    "powerState",
    "changeVersion",
    "vmwareToolsStatus",
    "imported",
    "rebootRequired",
}
_IN_PLACE = {"numCpus", "memory", "extraConfig", "annotation", "waitForGuestNetTimeout", "waitForGuestIpTimeout"}
"""What changes without a new VM; any other change replaces it."""
_AT_ONCE = 64
"""Threads for what blocks: asyncio's own pool has a few per processor, too few for twenty clones at once."""


class Provider(protocol.Provider):
    """The stand-in, in the form that the SDK's provider server expects."""

    def __init__(self) -> None:
        self._inventory = Inventory({})
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    async def _blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def check_config(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        """Refuses a key that the real plugin does not know either."""
        failures = [
            protocol.CheckFailure(key, f"`vsphere:{key}` is not a valid configuration key for the vsphere provider")
            for key in sorted(set(request.new_inputs) - _CONFIG_KEYS)
            if not key.startswith("__")
        ]
        return protocol.CheckResponse(inputs=request.new_inputs, failures=failures)

    async def diff_config(self, request: protocol.DiffRequest) -> protocol.DiffResponse:  # noqa: ARG002 -- the protocol's signature
        """Reports no change: another server or user does not replace VMs."""
        return protocol.DiffResponse(changes=False)

    async def configure(self, request: protocol.ConfigureRequest) -> protocol.ConfigureResponse:
        """Keeps the configuration; the first call that needs the server logs in."""
        self._inventory = Inventory({key: str(plain(value)) for key, value in request.args.items()})
        return protocol.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def invoke(self, request: protocol.InvokeRequest) -> protocol.InvokeResponse:
        """Answers a data source."""
        function = request.tok.rsplit(":", 1)[-1]
        try:
            found = await self._blocking(self._inventory.look_up, function, plain(request.args))
        except LookupError as error:
            return protocol.InvokeResponse(failures=[protocol.CheckFailure("name", str(error))])
        return protocol.InvokeResponse({key: wrapped(value) for key, value in found.items() if value is not None})

    async def check(self, request: protocol.CheckRequest) -> protocol.CheckResponse:
        """Judges the arguments of a virtual machine, and names it where its program does not."""
        inputs = dict(request.new_inputs)
        if "name" not in inputs:
            suffix = (request.random_seed or b"0000")[:4].hex()[:7]
            inputs["name"] = request.old_inputs.get("name") or wrapped(f"{request.name}-{suffix}")
        problems = _problems(request.type, plain(inputs))
        return protocol.CheckResponse(
            inputs=inputs, failures=[protocol.CheckFailure(key, reason) for key, reason in problems]
        )

    async def diff(self, request: protocol.DiffRequest) -> protocol.DiffResponse:
        """Compares the old inputs with the new ones."""
        old = {key: value for key, value in request.old_state.items() if key not in _OUTPUT_ONLY}
        changed = sorted(
            key
            for key in (set(old) | set(request.new_inputs)) - set(request.ignore_changes)
            if plain(old.get(key)) != plain(request.new_inputs.get(key))
        )
        replaces = [key for key in changed if key not in _IN_PLACE]
        kinds = protocol.PropertyDiffKind
        return protocol.DiffResponse(
            changes=bool(changed),
            replaces=replaces,
            diffs=changed,
            detailed_diff={
                key: protocol.PropertyDiff(kinds.UPDATE_REPLACE if key in replaces else kinds.UPDATE, input_diff=True)
                for key in changed
            },
            # Two VMs cannot have one name in one folder: the old one goes first unless the name is another.
            delete_before_replace=bool(replaces) and "name" not in changed,
            stables=["moid", "uuid"],
        )

    async def create(self, request: protocol.CreateRequest) -> protocol.CreateResponse:
        """Clones the virtual machine and powers it on."""
        if request.preview:
            return protocol.CreateResponse(
                properties={**request.properties, **dict.fromkeys(_OUTPUT_ONLY, UNKNOWN_VALUE)}
            )
        made = await self._blocking(self._inventory.clone, plain(request.properties))
        return protocol.CreateResponse(made["uuid"], {**request.properties, **_wrap(made)})

    async def read(self, request: protocol.ReadRequest) -> protocol.ReadResponse:
        """Returns what is there, or an empty answer, which means: gone."""
        found = await self._blocking(self._inventory.read, request.resource_id)
        if found is None:
            return protocol.ReadResponse()
        return protocol.ReadResponse(request.resource_id, {**request.properties, **_wrap(found)}, request.inputs)

    async def update(self, request: protocol.UpdateRequest) -> protocol.UpdateResponse:
        """Reconfigures the virtual machine in place."""
        kept = {key: value for key, value in request.olds.items() if key in _OUTPUT_ONLY}
        if not request.preview:
            await self._blocking(self._inventory.reconfigure, request.resource_id, plain(request.news))
        return protocol.UpdateResponse({**request.news, **kept})

    async def delete(self, request: protocol.DeleteRequest) -> None:
        """Powers the virtual machine off and destroys it."""
        await self._blocking(self._inventory.destroy, request.resource_id)


def _wrap(values: Mapping[str, Any]) -> dict[str, PropertyValue]:
    return {key: wrapped(value) for key, value in values.items()}


def _problems(kind: str, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what the stand-in does not support, so that it fails instead of ignoring it."""
    # The types of its parents come first: a VM in a component is a "...Fleet$vsphere:...".
    if kind.rpartition("$")[2] != VIRTUAL_MACHINE:
        return [("", f"{kind} is not in the lab's stand-in for the vSphere plugin")]
    problems = [] if "resourcePoolId" in inputs else [("resourcePoolId", "resourcePoolId is required")]
    # The real plugin refuses these, too, but only when it plans the VM.
    if not inputs.keys() & {"datastoreId", "datastoreClusterId"}:
        problems.append(("datastoreId", "one of datastoreId and datastoreClusterId must be specified"))
    if not inputs.get("disks"):
        problems.append(("disks", "there must be at least one disk specified"))
    if inputs.get("waitForGuestNetTimeout") != 0:
        problems.append(("waitForGuestNetTimeout", "must be 0 in the lab: the stand-in leaves the waiting to the gate"))
    customize = (inputs.get("clone") or {}).get("customize")
    if customize and is_known(customize):
        if customize.get("timeout") is None:
            problems.append(
                (
                    "clone.customize.timeout",
                    "must be given in the lab: 0 leaves the wait to the gate",
                )
            )
        if not customize.get("linuxOptions") and not customize.get("windowsOptions"):
            problems.append(
                ("clone.customize.linuxOptions", "or windowsOptions is required in the lab: the stand-in has no others")
            )
    return problems
