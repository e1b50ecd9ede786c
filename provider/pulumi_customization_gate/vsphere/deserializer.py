"""Reads responses faster than pyVmomi does, and without the parts of events that the gate does not need.

pyVmomi makes an object of each element: it looks for its type, sets all its properties and checks each value, which
takes 0.3 ms per event or state. A burst, a history or a read of the state has thousands of them, and they are alike:
what was found out about an element holds for the next one of the same name and type.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from pyVmomi import Iso8601, SoapAdapter, VmomiSupport, vim

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_NEEDED: Mapping[type, Collection[str]] = MappingProxyType(
    {
        vim.event.Event: frozenset({"key", "createdTime", "vm", "fullFormattedMessage", "reason", "logLocation"}),
        vim.event.VmEventArgument: frozenset({"vm"}),
    }
)
"""The elements of these types that are read; others keep their defaults."""

_Key = tuple[type | None, str, tuple[tuple[str, str], ...], str]
"""What says what an element is: whose it is, its name, its attributes, and the namespace of the type among them."""


class _Deserializer(SoapAdapter.SoapDeserializer):  # type: ignore[misc]  # pyVmomi is untyped
    """pyVmomi's deserializer, which skips elements with all that is in them, and remembers what elements are."""

    def __init__(self, stub: Any) -> None:
        super().__init__(stub)
        self._skipped = 0
        """How many elements are open, from the outermost skipped one on."""
        self._begins: dict[_Key, Any] = {}
        """What an element is: None to skip it, the type of a text, or that of an object with what it holds at first."""
        self._readers: dict[Any, Callable[[str], Any]] = {str: str, int: int, datetime: Iso8601.ParseISO8601}
        """What makes a value of a text, by its type."""
        self._properties: dict[tuple[type, str, type], tuple[str, bool]] = {}
        """The property that an element sets, and whether it is an item of that; by object, name and value's type."""

    def StartElementHandler(self, tag: str, attr: Mapping[str, str]) -> None:  # noqa: N802 -- pyVmomi's name
        """Handles the begin of an element."""
        if self._skipped:
            self._skipped += 1
            return
        parent = type(self.stack[-1]) if self.stack else None
        kind = attr.get(SoapAdapter.XSI_TYPE)
        key: _Key = parent, tag, tuple(attr.items()), self.GetNSAndWsdlname(kind)[0] if kind else ""
        try:
            begin = self._begins[key]
        except KeyError:
            self._begin(key, attr)
            return
        self.data, self.serverGuid = "", None
        if begin is None:
            self._skipped = 1
        elif isinstance(begin, type):
            self.stack.append(begin)
        else:
            made_of, values, lists = begin
            made = made_of.__new__(made_of)
            made.__dict__.update(values)
            made.__dict__.update((name, of()) for name, of in lists)
            self.stack.append(made)

    def EndElementHandler(self, tag: str) -> None:  # noqa: N802 -- pyVmomi's name
        """Handles the end of an element."""
        if self._skipped:
            self._skipped -= 1
            return
        if len(self.stack) < 2:  # noqa: PLR2004 -- an object, and the one that it belongs to
            super().EndElementHandler(tag)
            return
        owner, value = self.stack[-2:]
        if isinstance(value, type) and value in self._readers and self.serverGuid is None:
            value = self._readers[value](self.data)
        known = self._properties.get((type(owner), tag, type(value)))
        if known is None:
            self._end(tag)
            return
        self.stack.pop()
        name, is_item = known
        if is_item:
            getattr(owner, name).append(value)
        else:
            owner.__dict__[name] = value

    def _begin(self, key: _Key, attr: Mapping[str, str]) -> None:
        """Has pyVmomi handle the begin of an element, and remembers what it is."""
        parent, tag, _, _ = key
        for kind, needed in _NEEDED.items():
            if parent is not None and issubclass(parent, kind) and tag.rpartition(SoapAdapter.NS_SEP)[2] not in needed:
                self._begins[key] = None
                self._skipped = 1
                return
        super().StartElementHandler(tag, attr)
        made = self.stack[-1]
        if isinstance(made, type):
            if issubclass(made, VmomiSupport.ManagedObject):
                self._readers.setdefault(made, partial(made, stub=self.stub))
            if self.serverGuid is None:
                self._begins[key] = made
        elif isinstance(made, VmomiSupport.DataObject):
            values = dict(vars(made))
            lists = [(name, type(held)) for name, held in values.items() if isinstance(held, list)]
            self._begins[key] = type(made), values, lists

    def _end(self, tag: str) -> None:
        """Has pyVmomi handle the end of an element, and remembers which property it sets."""
        owner, made = self.stack[-2:]
        super().EndElementHandler(tag)
        # pyVmomi puts the fault itself in the place of one with a localized message.
        if isinstance(made, SoapAdapter.LocalizedMethodFault) or not isinstance(owner, VmomiSupport.DataObject):
            return
        name = owner._GetPropertyInfo(tag.rpartition(SoapAdapter.NS_SEP)[2]).name  # noqa: SLF001 -- pyVmomi's own way
        held = getattr(owner, name)
        value = held[-1] if (is_item := isinstance(held, list) and not isinstance(made, list)) else held
        # Of what has no reader, pyVmomi alone makes a value; an object is what it was.
        if value is made or (isinstance(made, type) and made in self._readers):
            self._properties[type(owner), tag, type(value)] = name, is_item


class _ResponseDeserializer(SoapAdapter.SoapResponseDeserializer):  # type: ignore[misc]  # pyVmomi is untyped
    def __init__(self, stub: Any) -> None:
        super().__init__(stub)
        self.deser = _Deserializer(stub)

    def Deserialize(self, response: Any, resultType: Any, nsMap: Any = None) -> Any:  # noqa: N802, N803 -- pyVmomi's names
        """Returns the object that a response holds; it is not used again."""
        try:
            return super().Deserialize(response, resultType, nsMap)
        finally:
            # The parser and its handlers refer to each other, and to the result: nothing else would free it before the
            # next collection of garbage.
            self.deser.__dict__.clear()
            self.__dict__.clear()


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
