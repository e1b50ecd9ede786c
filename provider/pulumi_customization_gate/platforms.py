"""The platforms whose VMs a gate waits for: what differs between them, in one place.

Whatever needs a platform's client library is imported when it is used: the command's `--help` needs none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.cloud_director import references as cloud_director_references
from pulumi_customization_gate.cloud_director import settings as cloud_director_settings
from pulumi_customization_gate.vsphere import references as vsphere_references
from pulumi_customization_gate.vsphere import settings as vsphere_settings

if TYPE_CHECKING:
    from pulumi_customization_gate.core.findings import Finding
    from pulumi_customization_gate.core.source import GateSource, Readiness

DEFAULT_TIMEOUT = 1800.0
"""Seconds of a whole wait where nothing else is given, on any platform."""


@dataclass(frozen=True)
class Platform:
    """One kind of server."""

    name: str
    default_namespace: str
    """The namespace of stack config that holds server and credentials."""
    resource_attribute: str
    """The attribute of a program's resource that is a reference of its VM."""
    reports_guests: bool
    """Whether it reports guest operations and what checks need."""
    read_settings: Callable[..., Any]
    """Takes config, environment and namespace, and returns settings."""
    parse_reference: Callable[[str, Any], Any]
    """Takes a text and settings, None where these are not known, and returns a parsed reference."""
    start_timeout: float
    """Seconds in which customization must have started by default, where the whole wait is not shorter."""
    source: Callable[..., GateSource]
    """Takes settings and targets, and the identifiers of VMs that are `already_ready` and `previously_customized`,
    and their identities, `judged_as`."""
    named_now: Callable[..., Sequence[Mapping[str, str]]]
    """Takes settings, references without identifiers, and the identifiers of the VMs that were judged. Returns for
    each reference the VMs that it names now: identifier and instance UUID, which may be empty."""
    preflight: Callable[..., Iterator[Finding]]
    """Takes settings and references of VMs, and yields what a wait would meet; see the modules `preflight`."""
    uuid_attribute: str = ""
    """The attribute of a program's resource that is a UUID of its VM, where an identifier alone does not name it."""
    readiness: Callable[..., Readiness] | None = None
    """Takes settings, and `guest_operations`, `settle`, `checks` and `guest_credentials`, which may be None; None where
    the platform does not report guests."""


def _vsphere_source(settings: Any, targets: Sequence[Any], **known: Any) -> GateSource:
    from pulumi_customization_gate.vsphere.source import VsphereSource  # noqa: PLC0415 -- see the module's docstring

    return VsphereSource(settings, targets, **known)


def _vsphere_named_now(settings: Any, references: Sequence[Any], judged: Collection[str]) -> Any:
    from pulumi_customization_gate.vsphere.identity import named_now  # noqa: PLC0415 -- see the module's docstring

    return named_now(settings, references, judged)


def _vsphere_preflight(settings: Any, vms: Sequence[str] = (), **more: Any) -> Iterator[Finding]:
    from pulumi_customization_gate.vsphere.preflight import preflight  # noqa: PLC0415 -- see the module's docstring

    return preflight(settings, vms, **more)


def _vsphere_readiness(
    settings: Any, *, guest_operations: bool, settle: float, checks: Sequence[Mapping[str, Any]], guest_credentials: Any
) -> Readiness:
    from pulumi_customization_gate.vsphere.checks import checks_of  # noqa: PLC0415 -- see the module's docstring
    from pulumi_customization_gate.vsphere.readiness import Conditions, GuestReadiness  # noqa: PLC0415 -- the same

    return GuestReadiness(settings, Conditions(guest_operations, settle, checks_of(checks), guest_credentials))


def _cloud_director_source(settings: Any, targets: Sequence[Any], **known: Any) -> GateSource:
    from pulumi_customization_gate.cloud_director.source import (  # noqa: PLC0415 -- see the module's docstring
        CloudDirectorSource,
    )

    return CloudDirectorSource(settings, targets, **known)


def _cloud_director_named_now(settings: Any, references: Sequence[Any], judged: Collection[str]) -> Any:
    from pulumi_customization_gate.cloud_director.source import (  # noqa: PLC0415 -- see the module's docstring
        named_now,
    )

    return named_now(settings, references, judged)


def _cloud_director_preflight(settings: Any, vms: Sequence[str] = ()) -> Iterator[Finding]:
    from pulumi_customization_gate.cloud_director.preflight import (  # noqa: PLC0415 -- see the module's docstring
        preflight,
    )

    return preflight(settings, vms)


VSPHERE = Platform(
    name="vsphere",
    default_namespace=vsphere_settings.NAMESPACE,
    resource_attribute="moid",
    reports_guests=True,
    read_settings=vsphere_settings.read_settings,
    parse_reference=lambda text, _settings: vsphere_references.parse_reference(text),
    start_timeout=600.0,
    source=_vsphere_source,
    named_now=_vsphere_named_now,
    preflight=_vsphere_preflight,
    uuid_attribute="uuid",
    readiness=_vsphere_readiness,
)
CLOUD_DIRECTOR = Platform(
    name="cloud_director",
    default_namespace=cloud_director_settings.NAMESPACE,
    resource_attribute="id",
    reports_guests=False,
    read_settings=cloud_director_settings.read_settings,
    parse_reference=lambda text, settings: cloud_director_references.parse_reference(
        text, None if settings is None else settings.address
    ),
    # GC_PENDING means both "not started" and "running": a Windows guest is in it throughout Sysprep.
    start_timeout=math.inf,
    source=_cloud_director_source,
    named_now=_cloud_director_named_now,
    preflight=_cloud_director_preflight,
)
PLATFORMS: Mapping[str, Platform] = {platform.name: platform for platform in (VSPHERE, CLOUD_DIRECTOR)}
