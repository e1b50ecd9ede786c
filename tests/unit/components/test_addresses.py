"""The address check of the components."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from pulumi_customization_components.addresses import with_address_check

PORT = {"kind": "tcp_port", "port": 22}
IPV6 = {"kind": "address", "family": 6}


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        pytest.param(None, True, {"checks": [{"kind": "address"}]}, id="no arguments"),
        pytest.param({"timeout": 5}, False, {"timeout": 5}, id="turned off"),
        pytest.param({"checks": [PORT]}, True, {"checks": [PORT, {"kind": "address"}]}, id="beside another check"),
        pytest.param({"checks": [IPV6]}, True, {"checks": [IPV6]}, id="in place of the user's own"),
        pytest.param({"checks": [PORT]}, False, {"checks": [PORT]}, id="turned off beside another check"),
    ],
)
def test_the_gate_waits_for_an_address(given: Any, wanted: bool, expected: Any) -> None:
    """The check is on by default, once, and the caller's arguments stay as they were."""
    before = repr(given)
    assert with_address_check(given, is_wanted=wanted) == expected
    assert repr(given) == before


async def _value(output: pulumi.Output[Any]) -> Any:
    return await output.future()


def test_checks_may_be_an_output() -> None:
    """The check is added once the others are known."""

    async def added() -> Any:
        checks = with_address_check({"checks": pulumi.Output.from_input([PORT])}, is_wanted=True)["checks"]
        return await _value(checks)

    # A loop of its own: asyncio.run would leave this thread without one, and the SDK's mocks take the thread's.
    loop = asyncio.new_event_loop()
    found = loop.run_until_complete(added())
    loop.close()
    assert found == [PORT, {"kind": "address"}]
