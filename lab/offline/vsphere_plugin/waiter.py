"""Pulumi-vsphere's wait for a customization, re-implemented: a collector and a held call for each virtual machine.

Its collector has no filter of types or times, and a page of ten events; the server answers the held call when a newer
event arrives, and the first page holds the past. Like the event manager of its library, it reads a page from its newest
event on.
"""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

PAGE = 10
"""Events of the collector's page."""


class CustomizationWaiter:
    """Waits for the end of the customization of one virtual machine; make it before the power-on.

    Args:
        content: The service's content, as pyVmomi has it.
        vm: The virtual machine.

    Raises:
        vim.fault.InvalidState: The server has no collector left.
    """

    def __init__(self, content: Any, vm: Any) -> None:
        spec = vim.event.EventFilterSpec(entity=vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="all"))
        self._collector = content.eventManager.CreateCollectorForEvents(spec)
        self._collector.SetCollectorPageSize(PAGE)
        query = vmodl.query.PropertyCollector
        self._poller = content.propertyCollector.CreatePropertyCollector()
        self._poller.CreateFilter(
            query.FilterSpec(
                propSet=[query.PropertySpec(type=vim.event.EventHistoryCollector, pathSet=["latestPage"])],
                objectSet=[query.ObjectSpec(obj=self._collector)],
            ),
            partialUpdates=False,
        )

    def wait(self, longest_call: int | None = None) -> Any:
        """Returns the event that ended the customization.

        Args:
            longest_call: Seconds after which a held call is made anew; None for a call that is held until an event.
        """
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=longest_call)
        version = ""
        while True:
            update = self._poller.WaitForUpdatesEx(version, options)
            if update is None:
                continue
            version = update.version
            for event in _newest_first(update):
                if isinstance(event, vim.event.CustomizationFailed | vim.event.CustomizationSucceeded):
                    return event

    def close(self) -> None:
        """Gives collector and filter back."""
        self._poller.DestroyPropertyCollector()
        self._collector.DestroyCollector()


def _newest_first(update: Any) -> list[Any]:
    changes = [change for filtered in update.filterSet for about in filtered.objectSet for change in about.changeSet]
    events = [event for change in changes for event in change.val or ()]
    return sorted(events, key=lambda event: int(event.key), reverse=True)
