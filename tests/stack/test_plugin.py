"""The native provider on the real engine, from Python programs: what it does beyond the dynamic one, or unlike it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi

from lab.order_probe import OrderProbe
from pulumi_customization_components import GatedVirtualMachine
from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript
from tests.stack.hosts import DYNAMIC, NATIVE
from tests.stack.test_components import _vm

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.resources.movable import Host
    from tests.stack.engine import Engine, Result

SUCCEEDED, FAILED = "CustomizationSucceeded", "CustomizationFailed"


def test_resources_move_between_the_hosts_as_they_are(engine: Engine) -> None:
    """The other host takes a gate, its script and its file over: nothing is judged, run or written, in both ways."""
    moid = engine.vm(engine.unique("web"))
    path = f"/srv/{engine.unique('motd')}"

    def program(host: Host) -> Callable[[], None]:
        def run() -> None:
            gate = CustomizationGate("gate", {"web": moid}, start_timeout=60, host=host)
            script = GuestScript("script", gate.after(moid), "date", working_directory="/", host=host)
            GuestFile("file", gate.after(moid), path, content="welcome\n", host=host)
            pulumi.export("waited", gate.wait_seconds)
            pulumi.export("uuid", gate.results["web"]["instance_uuid"])
            pulumi.export("ran", [script.started_at, script.stdout, script.exit_code])

        return run

    stack = engine.stack(program("dynamic"))
    made = stack.up()
    assert made.succeeded, made.output
    outputs = stack.outputs
    engine.lab.reset_stats()
    preview = stack.preview(program("plugin"))
    assert preview.changes == {}, preview.output
    hosts: list[tuple[Host, str]] = [("plugin", NATIVE), ("dynamic", DYNAMIC)]
    for host, types in hosts:
        moved = stack.up(program(host))
        assert moved.succeeded, moved.output
        assert moved.changes == {}, moved.output
        kinds = {name: stack.resource(name)["type"] for name in ("gate", "script", "file")}
        assert kinds == {
            "gate": f"{types}CustomizationGate",
            "script": f"{types}GuestScript",
            "file": f"{types}GuestFile",
        }
        assert stack.outputs == outputs
    assert engine.lab.stats()["calls"] == {}
    destroyed = stack.destroy()
    assert destroyed.succeeded, destroyed.output


def test_a_failure_is_stored_and_judged_again(engine: Engine) -> None:
    """Outputs of a failed gate are in the state; a refresh keeps them, and the next up judges the bad VM alone."""
    good, bad = engine.unique("web"), engine.unique("web")
    vms = {"good": engine.vm(good), "bad": engine.vm(bad, outcome=FAILED, message="the domain refused")}

    def program() -> None:
        gate = CustomizationGate("gate", vms, host="plugin")
        OrderProbe("work", vm=gate.after(vms["good"]))

    stack = engine.stack(program)
    failed = stack.up()
    assert not failed.succeeded
    assert f"bad ({bad}, {vms['bad']})  CustomizationFailed at " in failed.errors
    assert "Traceback" not in failed.errors
    closed = stack.resource("gate")["outputs"]
    assert (closed["ready"], closed["statuses"]) == (False, {"good": SUCCEEDED, "bad": FAILED})
    assert closed["results"]["bad"]["failure"]["message"] == "the domain refused"

    assert stack.refresh().succeeded
    assert stack.resource("gate")["outputs"] == closed
    vms["bad"] = engine.vm(engine.unique("web"))
    opened = stack.up()
    assert opened.succeeded, opened.output
    assert opened.changes == {"gate": ["update"], "work": ["create"]}
    assert stack.resource("gate")["outputs"]["results"]["good"] == closed["results"]["good"]
    assert stack.up().changes == {}
    refreshed = stack.refresh()
    assert refreshed.changes == {}, refreshed.output
    assert stack.destroy().succeeded


def test_a_preview_knows_what_an_update_does_not_change(engine: Engine) -> None:
    """Where an update judges no VM, its outputs are known in the preview; where it judges one they are not."""
    moid, seen = engine.vm(engine.unique("web")), list[Any]()

    def program(**arguments: Any) -> Callable[[], None]:
        def run() -> None:
            gate = CustomizationGate("gate", {"web": moid}, host="plugin", **arguments)
            gate.statuses.apply(seen.append)

        return run

    stack = engine.stack(program())
    assert stack.up().succeeded
    seen.clear()
    stored = stack.preview(program(settle="1m"))
    assert (stored.changes, seen) == ({"gate": ["update"]}, [{"web": SUCCEEDED}])
    seen.clear()
    judged = stack.preview(program(triggers=["again"]))
    assert (judged.changes, seen) == ({"gate": ["update"]}, [])


def test_two_servers_are_two_providers_and_no_password_is_in_plain_text(engine: Engine) -> None:
    """A provider's arguments are its connection; a password is encrypted in its inputs, or only in the environment."""
    moid, password = engine.vm(engine.unique("web")), engine.lab.password
    connection = {"vsphereServer": engine.lab.server, "user": engine.lab.user, "caFile": engine.lab.ca_file}
    names = ("vsphereServer", "user", "password", "caFile")
    no_config = dict.fromkeys([f"customization-gate:{name}" for name in names])

    def program() -> None:
        here = pulumi.ProviderResource("customization-gate", "here", {**connection, "password": password})
        there = pulumi.ProviderResource(
            "customization-gate", "there", {**connection, "vsphereServer": "vcenter.invalid", "password": "other-0815"}
        )
        from_environment = pulumi.ProviderResource("customization-gate", "environment", connection)
        for name, provider in (("here", here), ("environment", from_environment), ("there", there)):
            CustomizationGate(f"gate-{name}", [moid], host="plugin", opts=pulumi.ResourceOptions(provider=provider))

    stack = engine.stack(program, config=no_config, environment={"VSPHERE_PASSWORD": password})
    result = stack.up(continue_on_error=True)
    assert not result.succeeded
    assert "vcenter.invalid did not respond within" in result.errors, result.errors
    assert [stack.resource(f"gate-{name}")["outputs"]["ready"] for name in ("here", "environment")] == [True, True]
    state = json.dumps(stack.resources)
    assert engine.lab.user in state
    assert password not in state + result.output
    assert "other-0815" not in state + result.output
    assert "password" in stack.resource("here")["inputs"]
    assert "password" not in stack.resource("environment")["inputs"]


def test_secrets_are_encrypted_in_the_state_and_nowhere_in_plain_text(engine: Engine) -> None:
    """Guest passwords, variables, input, files and triggers, also of a program that marks nothing and of a provider."""
    begin = "secret-of-the"
    moid = engine.vm(engine.unique("web"), guestUser="deploy", guestPassword=f"{begin}-guest")
    connection = {"vsphereServer": engine.lab.server, "user": engine.lab.user, "caFile": engine.lab.ca_file}
    path = f"/srv/{engine.unique('file')}"

    def program(password: str) -> Callable[[], None]:
        def run() -> None:
            triggers = {"token": pulumi.Output.secret(f"{begin}-gate")}
            vm = CustomizationGate("gate", [moid], triggers=triggers, host="plugin").after(moid)
            login: dict[str, Any] = {"username": "deploy", "password": password}
            GuestScript("script", vm, "true # shown", environment={"A": f"{begin}-variable"}, host="plugin", **login)
            GuestFile("file", vm, path, content=pulumi.Output.secret(f"{begin}-file"), host="plugin", **login)
            # The class of this library marks what is a secret; a program in YAML does not.
            unmarked = {"vm": vm, "script": "true", "stdin": f"{begin}-input", **login}
            pulumi.CustomResource(f"{NATIVE}GuestScript", "unmarked", unmarked)
            arguments = {**connection, "guestUser": "deploy", "guestPassword": password}
            guests = pulumi.ProviderResource("customization-gate", "guests", arguments)
            GuestScript("other", vm, "true", host="plugin", opts=pulumi.ResourceOptions(provider=guests))

        return run

    variables = {"CUSTOMIZATION_GATE_LOG": "debug", "VSPHERE_PASSWORD": engine.lab.password}
    stack = engine.stack(program(f"{begin}-guest"), environment=variables)
    written: list[str] = []

    def keep(result: Result) -> str:
        written.extend([json.dumps(stack.resources), result.output, *(repr(event) for event in result.events)])
        return result.output

    assert "# shown" in keep(stack.preview(diff=True))
    for operation in (stack.up, stack.up, stack.refresh):
        result = operation()
        assert result.succeeded, result.output
        keep(result)
    state = {name: stack.resource(name)["inputs"] for name in ("gate", "script", "file", "unmarked", "guests")}
    assert state["script"]["script"] == "true # shown"
    encrypted = [
        state["gate"]["triggers"]["token"],
        state["file"]["content"],
        *(state[name]["password"] for name in ("script", "file", "unmarked")),
        state["script"]["environment"],
        state["unmarked"]["stdin"],
        state["guests"]["guestPassword"],
    ]
    assert [value for value in encrypted if "ciphertext" not in value] == []
    refused = stack.up(program(f"{begin}-other"), continue_on_error=True, replace=[stack.resource("script")["urn"]])
    assert "refuses the user name or password of deploy" in refused.errors, refused.output
    keep(refused)
    keep(stack.destroy())
    everything = "\n".join(written)
    assert "pulumi_customization_gate.vsphere" in everything, "the log of the provider is not among it"
    assert begin not in everything


def test_functions_judge_and_look_now(engine: Engine) -> None:
    """A program asks for the status of VMs, where an unfinished customization is no failure, and for a preflight."""
    moid = engine.vm(engine.unique("web"), outcome="never-ends")
    found = list[Any]()

    def program() -> None:
        result = pulumi.runtime.invoke(
            "customization-gate:index:getCustomizationStatus", {"vms": {"web": moid}, "platform": "vsphere"}
        )
        found.append(result.value)
        found.append(pulumi.runtime.invoke("customization-gate:index:preflight", {"vms": [moid]}).value)

    result = engine.stack(program).up()
    assert result.succeeded, result.output
    answer, looked = found[-2:]
    assert looked["ok"], looked
    assert {"login", "vm"} <= {finding["check"] for finding in looked["findings"]}
    assert (answer["ready"], answer["results"]["web"]["moid"]) == (False, moid)
    assert answer["statuses"]["web"] in {"CustomizationStarted", "CustomizationNotStarted"}
    assert answer["results"]["web"].get("failure") is None


def test_components_run_on_the_native_provider(engine: Engine) -> None:
    """A component hands its host on to its gate and to the work in its guest."""
    name = engine.unique("single")

    def program() -> None:
        web = GatedVirtualMachine("web", _vm(name), host="plugin")
        web.script("greet", 'echo "$HOSTNAME says hello"')
        pulumi.export("address", web.address)

    stack = engine.stack(program)
    result = stack.up()
    assert result.succeeded, result.output
    assert stack.resource("web-greet")["type"] == f"{NATIVE}GuestScript"
    assert stack.resource("web-greet")["outputs"]["stdout"] == f"{name} says hello\n"
    assert stack.outputs["address"] == "192.168.10.10"
