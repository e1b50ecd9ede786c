"""Reads responses without the parts of events that the gate does not need.

pyVmomi makes an object of each element, checked against its type: 0.3 ms per event, of which a burst or a history has
thousands. Most of an event says where its VM is: datacenter, cluster, host, each with its name.
"""

from __future__ import annotations

from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from pyVmomi import SoapAdapter, vim

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_NEEDED: Mapping[type, Collection[str]] = MappingProxyType(
    {
        vim.event.Event: frozenset({"key", "createdTime", "vm", "fullFormattedMessage", "reason", "logLocation"}),
        vim.event.VmEventArgument: frozenset({"vm"}),
    }
)
"""The elements of these types that are read; others keep their defaults."""


class _Deserializer(SoapAdapter.SoapDeserializer):  # type: ignore[misc]  # pyVmomi is untyped
    """pyVmomi's deserializer, which skips elements with all that is in them."""

    _skipped = 0
    """How many elements are open, from the outermost skipped one on."""

    def StartElementHandler(self, tag: str, attr: Mapping[str, str]) -> None:  # noqa: N802 -- pyVmomi's name
        """Handles the begin of an element."""
        if self._skipped or self._is_unneeded(tag):
            self._skipped += 1
        else:
            super().StartElementHandler(tag, attr)

    def EndElementHandler(self, tag: str) -> None:  # noqa: N802 -- pyVmomi's name
        """Handles the end of an element."""
        if self._skipped:
            self._skipped -= 1
        else:
            super().EndElementHandler(tag)

    def _is_unneeded(self, tag: str) -> bool:
        parent = self.stack[-1] if self.stack else None
        for kind, needed in _NEEDED.items():
            if isinstance(parent, kind):
                return tag.rpartition(SoapAdapter.NS_SEP)[2] not in needed
        return False


class _ResponseDeserializer(SoapAdapter.SoapResponseDeserializer):  # type: ignore[misc]  # pyVmomi is untyped
    def __init__(self, stub: Any) -> None:
        super().__init__(stub)
        self.deser = _Deserializer(stub)


_invoke_method = SoapAdapter.SoapStubAdapter.InvokeMethod
invoke_method = FunctionType(
    _invoke_method.__code__,
    {**vars(SoapAdapter), "SoapResponseDeserializer": _ResponseDeserializer},
    argdefs=_invoke_method.__defaults__,
    closure=_invoke_method.__closure__,
)
"""pyVmomi's `SoapStubAdapter.InvokeMethod` with this deserializer.

pyVmomi has no argument for it, and its own name for it is that of every client in this process.
"""
