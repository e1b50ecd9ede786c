"""What the engine prints of inputs that are refused: what is wrong, no secret, and never much."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from pulumi_customization_gate import CustomizationGate, GuestFile, GuestScript

if TYPE_CHECKING:
    from tests.stack.engine import Engine

CANARY = "c4n4ry"
BAD = f"{CANARY}:\0("
"""No argument accepts this text: it is not a choice, a reference or a namespace, and has a NUL."""
HIDDEN: dict[str, Any] = {
    "script": BAD,
    "environment": {"A-B": "x", "C": BAD},
    "on_delete": BAD,
    "password": BAD,
    "triggers": BAD,
}
"""Arguments that are secrets by what they are for."""
GUEST = {"GUEST_USER": "root", "GUEST_PASSWORD": "pa55word"}

Wrap = Callable[[Any], Any]
"""Makes an input of a value."""


def _gate(secret: Wrap) -> None:
    CustomizationGate(
        "refused",
        vms={"web": secret(BAD)},
        checks=[
            {"kind": "guest_info", "key": secret(BAD), "value": secret(BAD)},
            {"kind": "host_name", "value": {"web": secret([CANARY])}},
            {"kind": secret(BAD)},
        ],
        **{name: secret(BAD) for name in ("platform", "config_namespace", "timeout", "start_timeout", "settle")},
        **{name: secret(BAD) for name in ("expect", "ready_when", "on_failure", "triggers")},
    )


def _script(secret: Wrap) -> None:
    names = ("interpreter", "working_directory", "username", "password", "timeout", "on_delete", "triggers")
    GuestScript(
        "refused",
        secret(BAD),
        secret(BAD),
        arguments=["--x", secret(BAD)],
        environment={"A-B": secret(CANARY), "C": secret(BAD)},
        expected_exit_codes=[0, secret(BAD)],
        output_limit=secret(BAD),
        config_namespace=secret(BAD),
        **{name: secret(BAD) for name in names},
    )


def _file(secret: Wrap) -> None:
    names = ("permissions", "username", "password", "timeout", "config_namespace")
    GuestFile("refused", secret(BAD), secret(BAD), content=secret([CANARY]), **{name: secret(BAD) for name in names})


GATE_ARGUMENTS = (
    *("vms", "platform", "config_namespace", "timeout", "start_timeout", "expect", "ready_when", "settle", "checks"),
    *("on_failure", "triggers"),
)
SCRIPT_ARGUMENTS = (
    *("vm", "script", "interpreter", "arguments", "environment", "working_directory", "username", "password"),
    *("timeout", "triggers", "on_delete", "expected_exit_codes", "output_limit", "config_namespace"),
)
FILE_ARGUMENTS = ("vm", "path", "content", "permissions", "username", "password", "timeout", "config_namespace")
RESOURCES = [
    pytest.param(_gate, GATE_ARGUMENTS, id="gate"),
    pytest.param(_script, SCRIPT_ARGUMENTS, id="script"),
    pytest.param(_file, FILE_ARGUMENTS, id="file"),
]


def _named(errors: str) -> set[str]:
    """Returns the arguments that the errors are about."""
    return set(re.findall(r"(?:^\s*|has a problem: )(\w+)[^:\n]*: expected ", errors, re.MULTILINE))


@pytest.mark.parametrize(("make", "arguments"), RESOURCES)
def test_a_refused_secret_is_not_printed(
    engine: Engine, make: Callable[[Wrap], None], arguments: tuple[str, ...]
) -> None:
    """Preview names every argument of a resource and shows none of their values, for all are secrets."""
    result = engine.stack(lambda: make(pulumi.Output.secret), environment=GUEST).preview()
    assert not result.succeeded
    assert _named(result.errors) == set(arguments)
    assert CANARY not in result.output + str([event.__dict__ for event in result.events])


@pytest.mark.parametrize(("make", "arguments"), RESOURCES)
def test_a_secret_that_is_refused_during_up_is_not_printed(
    engine: Engine, make: Callable[[Wrap], None], arguments: tuple[str, ...]
) -> None:
    """What preview does not know is refused in `up` in the same way, and is not in state in clear."""
    moid = engine.vm(engine.unique("web"))

    def program() -> None:
        gate = CustomizationGate("first", vms=[moid])
        make(lambda value: gate.after(pulumi.Output.secret(value)))

    stack = engine.stack(program, environment=GUEST)
    assert stack.preview().succeeded
    result = stack.up()
    assert not result.succeeded
    assert stack.resource("first")["outputs"]["ready"] is True
    assert _named(result.errors) == set(arguments)
    assert CANARY not in result.output + str([event.__dict__ for event in result.events])
    assert CANARY not in json.dumps(stack.resources)


def test_what_is_a_secret_by_its_use_is_not_printed(engine: Engine) -> None:
    """A script, a password, a variable's value and triggers are hidden though the program did not mark them."""

    def program() -> None:
        GuestScript("refused", "vm-1", **HIDDEN)

    result = engine.stack(program, environment=GUEST).preview()
    assert not result.succeeded
    assert _named(result.errors) == HIDDEN.keys()
    assert CANARY not in result.output


def test_a_secret_that_is_good_and_does_not_hold_is_not_printed(engine: Engine) -> None:
    """A check's reason and a reference that leads to no VM quote what they were given, unless it is a secret."""
    moid = engine.vm(engine.unique("web"))
    secret = pulumi.Output.secret

    def program() -> None:
        checks = [{"kind": "host_name", "value": {"web": secret(CANARY)}}]
        CustomizationGate("unmet", vms={"web": moid}, checks=checks, timeout=3)
        CustomizationGate("unknown", vms={"web": secret(f"/DC0/vm/{CANARY}")})
        GuestScript("script", secret(f"/DC0/vm/{CANARY}"), "true")

    stack = engine.stack(program, environment=GUEST)
    result = stack.up()
    assert not result.succeeded
    assert "host_name: expected " in result.errors
    assert CANARY not in result.output
    assert CANARY not in json.dumps(stack.resource("unmet"))


def test_ten_thousand_invalid_references_are_a_page(engine: Engine) -> None:
    """The engine prints no value of `vms`, and of all that is wrong with them ten lines and a number."""

    def program() -> None:
        CustomizationGate("refused", vms=[f"web {number}" for number in range(10_000)])

    result = engine.stack(program).preview()
    assert not result.succeeded
    assert "vms: and 9990 more" in result.errors
    assert len(result.output) < 10_000
