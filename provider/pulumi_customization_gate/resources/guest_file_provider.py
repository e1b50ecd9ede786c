"""The dynamic provider behind GuestFile. Its path is stored in every stack that has one: it is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pulumi_customization_gate.lifecycle import guest_file
from pulumi_customization_gate.resources.configured import ConfiguredProvider

if TYPE_CHECKING:
    from collections.abc import Mapping


class GuestFileProvider(ConfiguredProvider):
    """Hosts the lifecycle of a guest file, or of a directory of files."""

    lifecycle: ClassVar[Any] = guest_file

    def _checked(self, news: dict[str, Any]) -> tuple[list[str], Mapping[str, Any]]:
        """Returns what is wrong with the inputs, and the checksums of the files that are written."""
        return guest_file.check(self._config, news)
