"""The dynamic provider and the native provider behind one form, for tests that compare what they do."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
from pulumi.runtime.proto import provider_pb2, status_pb2

from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.outputs import respelled
from pulumi_customization_gate.lifecycle.spelling import camel, to_camel_case, to_snake_case
from pulumi_customization_gate.plugin import values
from pulumi_customization_gate.plugin.resources import RESOURCES
from pulumi_customization_gate.plugin.servicer import ProviderServicer
from pulumi_customization_gate.resources import host
from pulumi_customization_gate.resources.gate_provider import CustomizationGateProvider
from pulumi_customization_gate.resources.guest_file_provider import GuestFileProvider
from pulumi_customization_gate.resources.guest_script_provider import GuestScriptProvider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf import struct_pb2

PROVIDERS: dict[str, Any] = {
    "CustomizationGate": CustomizationGateProvider,
    "GuestFile": GuestFileProvider,
    "GuestScript": GuestScriptProvider,
}
_ADDED = {"config_namespace", "secret_inputs"}
"""What a host adds to the calls of a lifecycle."""


class AbortedError(Exception):
    """What gRPC's own context raises."""


class Context:
    """A call's context as gRPC gives it to a servicer; lengths of time in an error are the same in every run."""

    def __init__(self) -> None:
        self.error = ""
        self.metadata: tuple[tuple[str, bytes], ...] = ()

    def abort(self, code: Any, details: str) -> None:
        assert code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}
        self.error = re.sub(r"after [\d.]+ s", "after 1 s", details)
        raise AbortedError

    def set_trailing_metadata(self, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self.metadata = metadata

    @property
    def partial(self) -> Any:
        """The details of a partial failure, None where there are none."""
        for _, packed in self.metadata:
            details = provider_pb2.ErrorResourceInitFailed()
            assert status_pb2.Status.FromString(packed).details[0].Unpack(details)
            return details
        return None


@dataclass
class EngineStub:
    """Stands in for the engine's service: keeps the lines that last."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def Log(self, request: Any, timeout: float) -> None:  # noqa: N802 -- the method's name in the engine's protocol
        assert timeout
        if not request.ephemeral:
            self.lines.append((request.urn, request.message))


@dataclass
class Done:
    """What one operation came to, in the same words for both hosts."""

    error: str = ""
    failures: list[str] = field(default_factory=list)
    changes: Any = None
    outputs: dict[str, Any] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)


def struct(properties: dict[str, Any]) -> struct_pb2.Struct:
    """Returns properties in the engine's form."""
    return values.encode(properties).struct_value


def urn_of(kind: str) -> str:
    """Returns a URN of a type."""
    return f"urn:pulumi:dev::shop::customization-gate:index:{kind}::web"


class Dynamic:
    """The dynamic provider."""

    def __init__(self, kind: str, config: dict[str, str], monkeypatch: Any) -> None:
        self._kind = kind
        self._provider = PROVIDERS[kind]()
        self._provider._config = config.get
        self._monkeypatch = monkeypatch
        self._stub = EngineStub()
        monkeypatch.setattr(host, "_engine", lambda: EngineConnection(self._stub))

    def check(self, news: dict[str, Any]) -> Done:
        done, result = self._call(lambda: self._provider.check({}, news))
        if result is not None:
            done.failures = [failure.reason for failure in result.failures]
            done.outputs = _plain(result.inputs)
        return done

    def diff(self, olds: dict[str, Any], news: dict[str, Any]) -> Done:
        done, result = self._call(lambda: self._provider.diff("id", olds, news))
        done.changes = result and (result.changes, result.replaces, result.delete_before_replace)
        return done

    def create(self, news: dict[str, Any]) -> Done:
        done, result = self._call(lambda: self._provider.create(news))
        if result is not None:
            done.outputs = _plain(result.outs)
        return done

    def update(self, olds: dict[str, Any], news: dict[str, Any]) -> Done:
        done, result = self._call(lambda: self._provider.update("id", olds, news))
        if result is not None:
            done.outputs = _plain(result.outs)
        return done

    def read(self, olds: dict[str, Any]) -> Done:
        done, result = self._call(lambda: self._provider.read("id", olds))
        done.outputs = _plain(result.outs)
        return done

    def delete(self, olds: dict[str, Any]) -> Done:
        return self._call(lambda: self._provider.delete("id", olds))[0]

    def cancel(self) -> None:
        self._monkeypatch.setattr(host, "_cancelled", threading.Event())
        host.cancel()

    def _call(self, method: Any) -> tuple[Done, Any]:
        request, context, result = SimpleNamespace(urn=urn_of(self._kind), timeout=0.0), Context(), None

        def servicer(request: Any, context: Any) -> Any:
            del request
            try:
                return method()
            except Exception as error:  # noqa: BLE001 -- as the host does
                context.abort(grpc.StatusCode.UNKNOWN, f"Traceback {error!r}")

        self._stub.lines.clear()
        with contextlib.suppress(AbortedError):
            result = servicer(request, context)
        done = Done(context.error, lines=list(self._stub.lines))
        if context.partial is not None:
            done.outputs = _plain(values.decode(context.partial.properties))
        return done, result


class Native:
    """The native provider, whose properties have the names of Pulumi packages."""

    def __init__(self, kind: str, config: dict[str, str], monkeypatch: Any) -> None:
        del monkeypatch
        self._urn = urn_of(kind)
        self._resource = RESOURCES[f"customization-gate:index:{kind}"]
        self._stub = EngineStub()
        self.servicer = ProviderServicer(None)
        given = {key.partition(":")[2]: value for key, value in config.items()}
        self.servicer.Configure(provider_pb2.ConfigureRequest(args=struct(given)), Context())
        self.servicer._engine = EngineConnection(self._stub)

    def check(self, news: dict[str, Any]) -> Done:
        request = provider_pb2.CheckRequest(urn=self._urn, news=self._encoded(news))
        done, result = self._call(self.servicer.Check, request)
        if result is not None:
            done.failures = [in_python(failure.reason) for failure in result.failures]
            done.outputs = self._decoded(result.inputs)
        return done

    def diff(self, olds: dict[str, Any], news: dict[str, Any]) -> Done:
        request = provider_pb2.DiffRequest(urn=self._urn, olds=self._encoded(olds), news=self._encoded(news))
        done, result = self._call(self.servicer.Diff, request)
        done.changes = result and (
            result.changes == provider_pb2.DiffResponse.DIFF_SOME,
            [self._name(name) for name in result.replaces],
            result.deleteBeforeReplace,
        )
        return done

    def create(self, news: dict[str, Any], *, preview: bool = False) -> Done:
        request = provider_pb2.CreateRequest(urn=self._urn, properties=self._encoded(news), preview=preview)
        return self._with_outputs(self.servicer.Create, request)

    def update(self, olds: dict[str, Any], news: dict[str, Any], *, preview: bool = False) -> Done:
        request = provider_pb2.UpdateRequest(
            urn=self._urn, id="id", olds=self._encoded(olds), news=self._encoded(news), preview=preview
        )
        return self._with_outputs(self.servicer.Update, request)

    def read(self, olds: dict[str, Any]) -> Done:
        request = provider_pb2.ReadRequest(urn=self._urn, id="id", properties=self._encoded(olds))
        return self._with_outputs(self.servicer.Read, request)

    def delete(self, olds: dict[str, Any]) -> Done:
        request = provider_pb2.DeleteRequest(urn=self._urn, id="id", properties=self._encoded(olds))
        return self._call(self.servicer.Delete, request)[0]

    def cancel(self) -> None:
        self.servicer.cancel()

    def _with_outputs(self, method: Any, request: Any) -> Done:
        done, result = self._call(method, request)
        if result is not None:
            done.outputs = self._decoded(result.properties)
        return done

    def _call(self, method: Any, request: Any) -> tuple[Done, Any]:
        context, result = Context(), None
        self._stub.lines.clear()
        with contextlib.suppress(AbortedError):
            result = method(request, context)
        done = Done(in_python(context.error), lines=[(urn, in_python(line)) for urn, line in self._stub.lines])
        if context.partial is not None:
            done.outputs = self._decoded(context.partial.properties)
        return done, result

    def _encoded(self, properties: dict[str, Any]) -> struct_pb2.Struct:
        return struct(respelled(properties, self._resource.lifecycle.PROPERTIES, to_camel_case))

    def _decoded(self, properties: struct_pb2.Struct) -> dict[str, Any]:
        names = {self._name(name) for name in properties.fields}
        assert {name for name in properties.fields if "_" in name} == set(), "a name of Python in the engine's form"
        found = respelled(values.decode(properties), self._resource.lifecycle.PROPERTIES, to_snake_case)
        assert names == set(found)
        return _plain(found)

    def _name(self, name: str) -> str:
        return next(iter(respelled({name: None}, self._resource.lifecycle.PROPERTIES, to_snake_case)))


def _several_words(described: Iterable[Any]) -> Iterator[str]:
    """Yields the names of arguments, and of options in them, that consist of several words."""
    for argument in described:
        if "_" in argument.name:
            yield argument.name
        kind = getattr(argument.type, "item", argument.type)
        yield from _several_words(field for record in getattr(kind, "records", ()) for field in record.fields)


_NAMES = {camel(name): name for resource in RESOURCES.values() for name in _several_words(resource.arguments)}


def in_python(text: str) -> str:
    """Returns a message of the native provider with the names that arguments have in Python, of which it has none."""
    assert re.findall(rf"\b({'|'.join(_NAMES.values())})\b", text) == [], "a name of Python in a message"
    return re.sub(rf"\b({'|'.join(_NAMES)})\b", lambda name: _NAMES[name[1]], text)


def _plain(outputs: Any) -> dict[str, Any]:
    """Returns outputs as the engine keeps them, without what depends on the host or on how long a test took."""
    return {
        name: _without_nothing(value)
        for name, value in dict(outputs).items()
        if name not in _ADDED and name not in {"wait_seconds", "seconds"} and value is not None
    }


def _without_nothing(value: Any) -> Any:
    if value is UNKNOWN:
        return value
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    return [_without_nothing(item) for item in value] if isinstance(value, list | tuple) else value
