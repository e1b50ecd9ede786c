"""The platforms that the example runs on: what differs between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.platforms.cloud_director import CloudDirector
from lab.platforms.platform import Platform
from lab.platforms.vsphere import Vsphere

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PLATFORMS", "CloudDirector", "Platform", "Vsphere"]

PLATFORMS: Mapping[str, type[Platform[Any]]] = {"vsphere": Vsphere, "cloud_director": CloudDirector}
