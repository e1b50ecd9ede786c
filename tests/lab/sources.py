"""Sources of both platforms for references as a user writes them, with or without keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.cloud_director import references as cloud_director
from pulumi_customization_gate.cloud_director import tracked_vm
from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
    from pulumi_customization_gate.vsphere.settings import VsphereSettings


def vsphere_source(settings: VsphereSettings, vms: Mapping[str, str] | Sequence[str], **options: Any) -> VsphereSource:
    return VsphereSource(settings, targets_of(vms, parse_reference), **options)


def cloud_director_source(
    settings: CloudDirectorSettings, vms: Mapping[str, str] | Sequence[str], **options: Any
) -> CloudDirectorSource:
    parse = partial(cloud_director.parse_reference, url=settings.address)
    return CloudDirectorSource(settings, targets_of(vms, parse), **options)


def shorten_intervals(monkeypatch: pytest.MonkeyPatch, *, agreement: float = 0.3) -> None:
    """Lets a Cloud Director source read its VMs several times a second."""
    intervals = {"SHORTEST_INTERVAL": 0.05, "LONGEST_INTERVAL": 0.1, "RECONCILE_INTERVAL": 0.1, "AGREEMENT": agreement}
    for name, seconds in intervals.items():
        monkeypatch.setattr(tracked_vm, name, seconds)
