"""Pulumi's provider protocol over the lifecycles: it turns calls into theirs, and has no rules of its own."""

from __future__ import annotations

import contextlib
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from pulumi_customization_gate import log, refcounted
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.hosting import engine_connection
from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.hosting.limits import KEEP_UNUSED
from pulumi_customization_gate.hosting.partial_failure import trailing_metadata
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from pulumi_customization_gate.lifecycle.inputs import without_secrets
from pulumi_customization_gate.lifecycle.phrases import hint_of
from pulumi_customization_gate.plugin import settings
from pulumi_customization_gate.plugin.functions import FUNCTIONS
from pulumi_customization_gate.plugin.resources import RESOURCES, HostedResource
from pulumi_customization_gate.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Inputs = dict[str, Any]


class ProviderServicer(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one engine.

    Args:
        engine: The engine, None where a person started the provider.
    """

    def __init__(self, engine: EngineConnection | None) -> None:
        self._engine = engine
        self._config = settings.config({})
        self._cancelled = threading.Event()

    # ---- the provider

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the protocol's form and names
        """Says what the provider takes."""
        self._engine = EngineConnection.at(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Takes the address of an engine that did not start this process."""
        self._engine = EngineConnection.at(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Returns the version."""
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Returns the schema of the package."""
        text = files("pulumi_customization_gate.plugin").joinpath("schema.json").read_text(encoding="utf-8")
        return provider_pb2.GetSchemaResponse(schema=text)

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Refuses settings that do not exist, and has the secret ones encrypted; opens no connection."""
        failures = [provider_pb2.CheckFailure(reason=reason) for reason in settings.problems(request.news)]
        return provider_pb2.CheckResponse(inputs=settings.with_secrets_marked(request.news), failures=failures)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Stores new settings: resources stay, and the lifecycles notice another server by themselves."""
        changed = request.old_inputs != request.news
        return provider_pb2.DiffResponse(changes=_changes(is_changed=changed))

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Takes the settings over; they are kept in memory only."""
        log.show_if_asked()
        self._config = settings.config(settings.of(request))
        if self._engine is not None and self._engine.interrupts_plugins():
            refcounted.keep_unused(KEEP_UNUSED)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- the same
        """Ends every wait."""
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """Ends every wait, and has each session closed after its last user."""
        self._cancelled.set()
        refcounted.close_all(0)

    # ---- the resources

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Reports bad inputs and missing settings; opens no connection."""
        resource = _resource(request.urn, context)
        news = resource.decoded(request.news)
        with self._clean_errors(context, resource, request.news, news):
            reasons, known = resource.check(self._config, news)
            # No failure names a property: the engine would print its value, secret or not.
            failures = [provider_pb2.CheckFailure(reason=without_secrets(reason, news)) for reason in reasons]
            return provider_pb2.CheckResponse(inputs=resource.checked(request.news, known), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Returns what new inputs change."""
        resource = _resource(request.urn, context)
        olds, news = resource.decoded(request.olds), resource.decoded(request.news)
        with self._clean_errors(context, resource, request.news, news):
            difference = resource.lifecycle.diff(self._call(request, news), self._config, olds, news)
            return provider_pb2.DiffResponse(
                changes=_changes(is_changed=difference.changes),
                replaces=resource.spelled(difference.replaces),
                deleteBeforeReplace=difference.delete_before_replace,
            )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Waits, runs the script, or writes the file."""
        resource = _resource(request.urn, context)
        if request.preview:
            return provider_pb2.CreateResponse(properties=resource.created_in_preview(request.properties))
        inputs = resource.decoded(request.properties)
        with self._clean_errors(context, resource, request.properties, inputs):
            created = resource.lifecycle.create(self._call(request, inputs), self._config, inputs)
            properties = resource.encoded(request.properties, created.outputs)
            return provider_pb2.CreateResponse(id=created.id, properties=properties)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Does what new inputs ask for; in a preview, returns what is known of it before."""
        resource = _resource(request.urn, context)
        olds, news = resource.decoded(request.olds), resource.decoded(request.news)
        with self._clean_errors(context, resource, request.news, news):
            if request.preview:
                outputs = resource.lifecycle.preview(self._config, olds, news)
            else:
                call = self._call(request, news)
                outputs = resource.lifecycle.update(call, self._config, request.id, olds, news)
            return provider_pb2.UpdateResponse(properties=resource.encoded(request.news, outputs))

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Returns what is stored: a refresh opens no connection."""
        resource = _resource(request.urn, context)
        if not request.properties.fields:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"a {resource.name} cannot be imported: create it instead")
        outputs = resource.read(resource.decoded(request.properties))
        properties = resource.encoded(request.properties, outputs)
        return provider_pb2.ReadResponse(id=request.id, properties=properties, inputs=request.inputs)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Removes what the resource has left in a guest."""
        resource = _resource(request.urn, context)
        olds = resource.decoded(request.properties)
        with self._clean_errors(context, resource, request.properties, olds):
            resource.lifecycle.delete(self._call(request, olds), self._config, request.id, olds)
            return empty_pb2.Empty()

    # ---- the functions

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the same
        """Calls a function of the package."""
        if request.tok not in FUNCTIONS:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown function {request.tok!r}")
        function = FUNCTIONS[request.tok]
        arguments = function.decoded(request.args)
        try:
            reasons, result = function.call(self._config, arguments, self._cancelled.is_set)
        except GateError as error:
            text = without_secrets(str(error), arguments)
            context.abort(grpc.StatusCode.UNKNOWN, text + self._hint_of(error))
        failures = [provider_pb2.CheckFailure(reason=without_secrets(reason, arguments)) for reason in reasons]
        return provider_pb2.InvokeResponse(failures=failures, **{"return": function.encoded(result)})

    def _call(self, request: Any, inputs: Inputs) -> Call:
        return Call(self._engine, request, inputs, self._cancelled)

    def _hint_of(self, error: GateError) -> str:
        return hint_of(error, cancelled=self._cancelled.is_set())

    @contextlib.contextmanager
    def _clean_errors(
        self, context: Any, resource: HostedResource, properties: struct_pb2.Struct, inputs: Inputs
    ) -> Iterator[None]:
        """Has the call fail with the text of an expected error, and keeps its outputs; a bug keeps its trace.

        Args:
            context: The call's.
            resource: What serves it.
            properties: The inputs in the engine's form.
            inputs: The same as the lifecycle takes them: secrets among them are removed from the text.
        """
        try:
            yield
        except GateError as error:
            error.args = (without_secrets(str(error), inputs),)
            if isinstance(error, PartialFailureError):
                context.set_trailing_metadata(trailing_metadata(error, resource.encoded(properties, error.outputs)))
            context.abort(grpc.StatusCode.UNKNOWN, str(error) + self._hint_of(error))


class Call:
    """One call of the engine: what a lifecycle takes as its `Engine`.

    Args:
        engine: The engine.
        request: What the engine has sent.
        inputs: The resource's inputs; secrets among them are removed from every line.
        cancelled: Set once the user has cancelled the update.
    """

    def __init__(
        self, engine: EngineConnection | None, request: Any, inputs: Mapping[str, Any], cancelled: threading.Event
    ) -> None:
        self._engine, self._request, self._inputs, self._cancelled = engine, request, inputs, cancelled

    @property
    def urn(self) -> str:
        """The URN of the resource."""
        return str(self._request.urn)

    @property
    def custom_timeout(self) -> float:
        """The resource's custom timeout in seconds, 0 where there is none, and in calls that have none."""
        return float(getattr(self._request, "timeout", 0))

    @property
    def has_terminal(self) -> bool:
        """Whether `pulumi up` writes to a terminal."""
        return engine_connection.has_terminal()

    def cancelled(self) -> bool:
        """Whether the user has cancelled the update."""
        return self._cancelled.is_set()

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:
        """Writes a line on the resource's own row of `pulumi up`; one that does not last stays out of the log."""
        if self._engine is not None:
            self._engine.log(self.urn, without_secrets(message, self._inputs), lasting=lasting, warning=warning)


def _resource(urn: str, context: Any) -> HostedResource:
    """Returns what serves a resource's type; the call fails if nothing does."""
    token = urn.split("::")[2].rpartition("$")[2]
    if token not in RESOURCES:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown type of resource {token!r}")
    return RESOURCES[token]


def _changes(*, is_changed: bool) -> Any:
    return provider_pb2.DiffResponse.DIFF_SOME if is_changed else provider_pb2.DiffResponse.DIFF_NONE
