"""The provider protocol of the native provider: settings, secrets, previews, cancellation and functions."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_customization_gate import refcounted
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.phrases import DOCTOR
from pulumi_customization_gate.plugin import values
from pulumi_customization_gate.plugin.functions import FUNCTIONS
from pulumi_customization_gate.plugin.servicer import Call, ProviderServicer
from tests.unit.plugin.hosts import AbortedError, Context, EngineStub, Native, struct, urn_of

CONFIG = {
    "vsphere:vsphereServer": "vc.example.com",
    "vsphere:user": "ann",
    "vsphere:password": "s3cret-of-ann",
    "customization:guestUser": "root",
    "customization:guestPassword": "s3cret-of-root",
}
OPEN = {
    "vms": {"web": "vm-1"},
    "ready": True,
    "opened_at": "2026-11-29T12:00:00.000Z",
    "wait_seconds": 4.0,
    "statuses": {"web": "CustomizationSucceeded"},
    "results": {"web": {"moid": "vm-1", "status": "CustomizationSucceeded", "instance_uuid": "u"}},
    "server": {"address": "vc.example.com:443", "id": "s"},
}
SCRIPT = {"vm": "vm-1", "script": "true", "status": "exited", "exit_code": 0.0, "stdout": "hello\n", "guest_id": "g"}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD", "GUEST_USER", "GUEST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def native(kind: str = "CustomizationGate") -> Native:
    return Native(kind, CONFIG, None)


# ---- the provider


def test_the_engine_sends_secrets_as_secrets_and_previews() -> None:
    """The provider takes secrets, and creates and updates in previews."""
    servicer = ProviderServicer(None)
    handshake = servicer.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1"), Context())
    configured = servicer.Configure(provider_pb2.ConfigureRequest(), Context())
    assert handshake.accept_secrets
    assert (configured.acceptSecrets, configured.supportsPreview) == (True, True)


def test_secret_settings_are_encrypted_and_unknown_ones_are_refused() -> None:
    """A password is marked as a secret in the provider's inputs; a misspelled setting is named with the right one."""
    news = struct({"user": "ann", "password": "s3cret", "guestPasswort": "s3cret", "version": "1.0.0"})
    checked = ProviderServicer(None).CheckConfig(provider_pb2.CheckRequest(news=news), Context())
    assert values.secret_names(checked.inputs) == {"password"}
    (failure,) = checked.failures
    assert failure.reason.startswith("provider: expected vsphereServer, url, ")
    assert failure.reason.endswith("got 'guestPasswort'; did you mean 'guestPassword'?")
    assert "s3cret" not in failure.reason


def test_new_settings_are_stored_and_replace_nothing() -> None:
    """A changed password is a change of the provider, and no resource is replaced for it."""
    old, new = struct({"password": "a"}), struct({"password": "b"})
    same = ProviderServicer(None).DiffConfig(provider_pb2.DiffRequest(old_inputs=old, news=old), Context())
    changed = ProviderServicer(None).DiffConfig(provider_pb2.DiffRequest(old_inputs=old, news=new), Context())
    assert (same.changes, changed.changes) == (provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME)
    assert list(changed.replaces) == []


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            provider_pb2.ConfigureRequest(args=struct({"user": "ann", "allowUnverifiedSsl": True})), id="args"
        ),
        pytest.param(
            provider_pb2.ConfigureRequest(
                variables={
                    "customization-gate:config:user": "ann",
                    "customization-gate:config:allowUnverifiedSsl": "true",
                }
            ),
            id="variables of an older engine",
        ),
    ],
)
def test_settings_come_from_the_engine_or_the_environment(request_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What neither has is named as config of the package and as a variable."""
    servicer = ProviderServicer(None)
    servicer.Configure(request_, Context())
    check = provider_pb2.CheckRequest(urn=urn_of("CustomizationGate"), news=struct({"vms": ["vm-1"]}))
    (failure,) = servicer.Check(check, Context()).failures
    assert failure.reason == (
        "missing `customization-gate:vsphereServer` or VSPHERE_SERVER, `customization-gate:password` or "
        "VSPHERE_PASSWORD, for example: pulumi config set customization-gate:vsphereServer vcenter.example.com; "
        "pulumi config set customization-gate:password --secret"
    )
    monkeypatch.setenv("VSPHERE_SERVER", "vc.example.com")
    monkeypatch.setenv("VSPHERE_PASSWORD", "s3cret")
    assert list(servicer.Check(check, Context()).failures) == []


# ---- secrets


def test_secrets_stay_secrets_in_outputs_and_never_reach_a_message() -> None:
    """A nested secret is stored as it came; its value is removed from failures."""
    host = native("GuestScript")
    given = struct({"vm": "vm-1", "script": "true", "interpreter": "", "triggers": {"token": ""}})
    given.fields["interpreter"].CopyFrom(values.as_secret(values.encode(" ")))
    given.fields["triggers"].struct_value.fields["token"].CopyFrom(values.as_secret(values.encode("t0ken-value")))
    checked = host.servicer.Check(provider_pb2.CheckRequest(urn=urn_of("GuestScript"), news=given), Context())
    (failure,) = checked.failures
    assert failure.reason == (
        'interpreter: expected a string that is not empty and has no NUL, for example "bash", "powershell", "cmd" or '
        '"/usr/bin/python3", got an empty string (not shown, it may be a secret)'
    )
    assert values.secret_names(checked.inputs) == {"interpreter", "triggers"}
    assert checked.inputs.fields["triggers"].struct_value.fields.keys() == {"token"}


def test_what_is_always_secret_is_marked() -> None:
    """Passwords, the environment and standard input are encrypted, whether the program marked them or not."""
    host = native("GuestScript")
    given = {"vm": "vm-1", "script": "true", "password": "pw", "environment": {"A": "b"}, "stdin": "in"}
    request = provider_pb2.CheckRequest(urn=urn_of("GuestScript"), news=struct(given))
    checked = host.servicer.Check(request, Context()).inputs
    assert values.secret_names(checked) == {"environment", "password", "stdin"}
    assert values.decode(checked) == given


# ---- previews


def test_a_preview_of_a_new_resource_knows_its_inputs() -> None:
    """Every output is unknown; inputs stay as they are, unknown ones too."""
    done = native().create({"vms": {"web": UNKNOWN}, "settle": "1m"}, preview=True)
    assert done.outputs["vms"] == {"web": UNKNOWN}
    assert done.outputs["settle"] == "1m"
    assert {name for name, value in done.outputs.items() if value is UNKNOWN} >= {"ready", "results", "opened_at"}


@pytest.mark.parametrize(
    ("kind", "olds", "news", "unknown"),
    [
        pytest.param("CustomizationGate", OPEN, {"settle": "1m"}, False, id="a gate that stores a time"),
        pytest.param("CustomizationGate", OPEN, {"vms": {"web": "vm-1", "new": "vm-2"}}, True, id="a new VM"),
        pytest.param("CustomizationGate", OPEN, {"vms": {"web": UNKNOWN}}, True, id="a VM that is not known"),
        pytest.param("CustomizationGate", {**OPEN, "ready": False, "opened_at": ""}, {}, True, id="a closed gate"),
        pytest.param("GuestScript", SCRIPT, {"timeout": 5.0}, False, id="a script that stores a time"),
        pytest.param("GuestScript", SCRIPT, {"script": "false"}, True, id="another script"),
        pytest.param("GuestScript", {**SCRIPT, "exit_code": 1.0}, {}, True, id="a script that failed"),
    ],
)
def test_a_preview_of_an_update_knows_what_does_not_change(
    kind: str, olds: dict[str, Any], news: dict[str, Any], unknown: bool
) -> None:
    """Outputs are unknown only where the update judges or runs something."""
    inputs: dict[str, Any] = {name: olds[name] for name in ("vms", "vm", "script") if name in olds}
    host = native(kind)
    done = host.update(olds, {**inputs, **news}, preview=True)
    assert done.error == ""
    output = "statuses" if kind == "CustomizationGate" else "stdout"
    assert done.outputs[output] == (UNKNOWN if unknown else olds[output])
    if not unknown:
        assert not any(value is UNKNOWN for value in done.outputs.values())
    if kind == "GuestScript":
        assert done.outputs["guest_id"] == "g"


# ---- calls


def test_cancel_ends_waits_and_closes_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that waits sees the cancellation, and no session is kept from then on."""
    closed: list[float] = []
    monkeypatch.setattr(refcounted, "close_all", closed.append)
    servicer = ProviderServicer(None)
    call = servicer._call(provider_pb2.CreateRequest(urn=urn_of("CustomizationGate"), timeout=90), {})
    assert (call.cancelled(), call.custom_timeout) == (False, 90.0)
    servicer.Cancel(None, Context())
    assert call.cancelled()
    assert closed == [0]


def test_lines_are_the_resources_own_and_have_no_secret() -> None:
    """A line names the resource; the values of secret inputs are removed from it."""
    stub = EngineStub()
    request = provider_pb2.CreateRequest(urn=urn_of("GuestScript"))
    inputs = {"stdin": "s3cret-input"}
    Call(EngineConnection(stub), request, inputs, threading.Event()).log("got s3cret-input")
    assert stub.lines == [(urn_of("GuestScript"), "got [secret]")]


@pytest.mark.parametrize(
    ("method", "request_", "message"),
    [
        pytest.param(
            "Check", provider_pb2.CheckRequest(urn=urn_of("Nothing")), "unknown type of resource", id="a type"
        ),
        pytest.param(
            "Invoke",
            provider_pb2.InvokeRequest(tok="customization-gate:index:nothing"),
            "unknown function",
            id="a function",
        ),
        pytest.param(
            "Read",
            provider_pb2.ReadRequest(urn=urn_of("CustomizationGate"), id="x"),
            "cannot be imported",
            id="an import",
        ),
    ],
)
def test_what_does_not_exist_is_refused_by_name(method: str, request_: Any, message: str) -> None:
    """The error says what is unknown or cannot be done."""
    context = Context()
    with pytest.raises(AbortedError):
        getattr(ProviderServicer(None), method)(request_, context)
    assert message in context.error


def test_a_function_refuses_bad_arguments() -> None:
    """An argument that is wrong is a failure of the call, which opens no connection."""
    request = provider_pb2.InvokeRequest(
        tok="customization-gate:index:getCustomizationStatus", args=struct({"vms": [], "expect": "maybe"})
    )
    result = native().servicer.Invoke(request, Context())
    assert [failure.reason.partition(":")[0] for failure in result.failures] == ["vms", "expect"]


def test_a_function_that_cannot_use_the_server_names_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is its text and the command that checks the connection."""

    def refuse(*_: object) -> dict[str, Any]:
        raise ServerError("vc.example.com refused ann")

    token = "customization-gate:index:getCustomizationStatus"
    monkeypatch.setitem(FUNCTIONS, token, dataclasses.replace(FUNCTIONS[token], run=refuse))
    context = Context()
    with pytest.raises(AbortedError):
        native().servicer.Invoke(provider_pb2.InvokeRequest(tok=token, args=struct({"vms": ["vm-1"]})), context)
    assert context.error == f"vc.example.com refused ann\n{DOCTOR}"
