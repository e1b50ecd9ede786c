"""Which of the texts that a guest reports is an address at which others reach it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.addresses import first_usable, usable_addresses


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        pytest.param(["fe80::1%2", "169.254.1.1", "10.0.0.5", "10.0.0.6"], "10.0.0.5", id="the first usable one"),
        pytest.param(["unknown", "10.0.0.5/24", "a..b", "", "::1", "240.0.0.1"], "", id="none that is usable"),
        pytest.param(["2001:DB8::7"], "2001:db8::7", id="an IPv6 address"),
        pytest.param([], "", id="none"),
    ],
)
def test_the_first_usable_address(reported: list[str], expected: str) -> None:
    """What is not an address does not count, and no list is an error."""
    assert first_usable(reported) == expected


@given(st.lists(st.text() | st.ip_addresses().map(str)), st.sampled_from([None, 4, 6]))
def test_what_is_usable_is_an_address_outside_the_ignored_networks(reported: list[str], family: int | None) -> None:
    """Whatever is reported: each usable address is one that was reported, of the family, and not an ignored one."""
    ignored = [ipaddress.ip_network("0.0.0.0/1"), ipaddress.ip_network("::/1")]
    for text in usable_addresses(reported, ignored, family):
        address = ipaddress.ip_address(text)
        assert address in {ipaddress.ip_address(one.partition("%")[0]) for one in reported if _is_address(one)}
        assert family in {None, address.version}
        assert not any(address in network for network in ignored)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
