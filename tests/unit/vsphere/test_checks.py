"""Conditions beside the customization, judged on facts."""

from __future__ import annotations

import ipaddress
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.lifecycle.checks import EXAMPLES
from pulumi_customization_gate.vsphere.checks import IN_GUEST, Check
from pulumi_customization_gate.vsphere.guest_facts import GuestFacts
from pulumi_customization_gate.vsphere.readiness import LONGEST_GAP, Conditions, Stability

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
READY: dict[str, Any] = {
    "at": NOON,
    "powered_on": True,
    "tools_running": True,
    "guest_running": True,
    "guest_operations_ready": True,
    "heartbeat": "green",
    "host_name": "WEB-1.example.com",
    "addresses": ("fe80::1%2", "192.168.10.11"),
    "network_adapters": {"Network adapter 1": True, "Network adapter 2": False},
    "guest_info": {"guestinfo.ready": "yes\x1b[31m"},
}


def _facts(**changes: Any) -> GuestFacts:
    return GuestFacts(**{**READY, **changes})


def _answers(address: str, port: int) -> str:
    return "" if (address, port) == ("192.168.10.11", 22) else "connection refused"


@pytest.mark.parametrize(
    ("check", "facts", "message"),
    [
        pytest.param({"kind": "tcp_port", "port": 22}, {}, "", id="a port answers at one address"),
        pytest.param(
            {"kind": "tcp_port", "port": 80},
            {},
            "tcp_port: port 80 is not reachable: 192.168.10.11 connection refused",
            id="a port answers nowhere",
        ),
        pytest.param(
            {"kind": "tcp_port", "port": 22.0},
            {"addresses": ()},
            "tcp_port: expected an IP address, got none",
            id="no address",
        ),
        pytest.param(
            {"kind": "tcp_port", "port": 22},
            {"addresses": ("localhost", "192.168.10.11/24", "a..b", "unknown")},
            "tcp_port: expected an IP address, got localhost, 192.168.10.11/24, a..b, unknown",
            id="a name is never resolved",
        ),
        pytest.param(
            {"kind": "tcp_port", "port": 22}, {"addresses": ("unknown", "192.168.10.11")}, "", id="one of them is one"
        ),
        pytest.param(
            {"kind": "tcp_port", "port": 80},
            {"addresses": tuple(f"10.0.0.{number}" for number in range(100))},
            "tcp_port: port 80 is not reachable: "
            + ", ".join(f"10.0.0.{number} connection refused" for number in range(8)),
            id="a guest with a hundred addresses",
        ),
        pytest.param({"kind": "address"}, {}, "", id="a usable address"),
        pytest.param({"kind": "address", "family": 4.0}, {}, "", id="a usable IPv4 address"),
        pytest.param(
            {"kind": "address", "family": 6},
            {},
            "address: expected a usable IPv6 address, got fe80::1%2, 192.168.10.11",
            id="a link-local IPv6 address",
        ),
        pytest.param({"kind": "address", "family": 6}, {"addresses": ("2001:db8::7",)}, "", id="an IPv6 address"),
        pytest.param(
            {"kind": "address"},
            {"addresses": ("169.254.3.4", "127.0.0.1", "::1", "224.0.0.1", "0.0.0.0", "::", "unknown", "a..b", "")},  # noqa: S104
            "address: expected a usable address, "
            "got 169.254.3.4, 127.0.0.1, : :1, 224.0.0.1, 0.0.0.0, : :, unknown, a..b and 1 more",
            id="addresses at which nobody reaches the guest",
        ),
        pytest.param(
            {"kind": "address", "ignore": ["192.168.0.0/16", "2001:db8::/32"]},
            {"addresses": ("192.168.10.11", "2001:db8::7")},
            "address: expected a usable address outside 192.168.0.0/16, 2001:db8::/32, got 192.168.10.11, 2001:db8::7",
            id="the addresses of the template",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.ready", "value": "(a+)+$"},
            {"guest_info": {"guestinfo.ready": "a" * 60_000 + "b"}},
            f"guest_info: expected guestinfo.ready to match '(a+)+$', got {'a' * 99 + '…'!r}",
            id="a pattern that takes for ever by backtracking",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.ready", "value": ".*"},
            {"guest_info": {"guestinfo.ready": "a" * 70_000}},
            "guest_info: expected guestinfo.ready to have at most 65536 characters, got 70000",
            id="a value that is too long",
        ),
        pytest.param({"kind": "guest_heartbeat"}, {}, "", id="the heartbeat is green"),
        pytest.param(
            {"kind": "guest_heartbeat", "color": "yellow"},
            {"heartbeat": ""},
            "guest_heartbeat: expected yellow, got unknown",
            id="no heartbeat",
        ),
        pytest.param({"kind": "guest_info", "key": "guestinfo.ready"}, {}, "", id="a key is there"),
        pytest.param({"kind": "guest_info", "key": "guestinfo.x"}, {}, "guest_info: guestinfo.x is not set", id="none"),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.ready", "value": "yes|true"},
            {},
            "guest_info: expected guestinfo.ready to match 'yes|true', got 'yes'",
            id="a pattern is for the whole value, shown without control characters",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.ready", "value": {"web-1": "yes.*"}}, {}, "", id="by the key"
        ),
        pytest.param({"kind": "network_adapters_connected"}, {"network_adapters": {}}, "", id="no network adapter"),
        pytest.param(
            {"kind": "network_adapters_connected"},
            {},
            "network_adapters_connected: Network adapter 2 is not connected",
            id="loose",
        ),
        pytest.param({"kind": "host_name", "value": "web-1"}, {}, "", id="the first label"),
        pytest.param({"kind": "host_name", "value": {"web-1": "web-1.example.com"}}, {}, "", id="the whole name"),
        pytest.param({"kind": "host_name", "value": {"web-2": "x"}}, {}, "", id="nothing about this VM"),
        pytest.param(
            {"kind": "host_name", "value": "web"},
            {},
            "host_name: expected 'web', got 'WEB-1.example.com'",
            id="another",
        ),
        pytest.param({"kind": "ip_in_network", "network": "192.168.10.7/24"}, {}, "", id="an address in the network"),
        pytest.param(
            {"kind": "ip_in_network", "network": "10.0.0.0/8"},
            {},
            "ip_in_network: expected an address in 10.0.0.0/8, got fe80::1%2, 192.168.10.11",
            id="none in the network",
        ),
    ],
)
def test_a_check_says_why_it_does_not_hold(check: dict[str, Any], facts: dict[str, Any], message: str) -> None:
    """Nothing is missing, or a sentence that begins with the check's kind."""
    assert Check.of(check).unmet("web-1", _facts(**facts), _answers) == message


TEXTS = st.text() | st.sampled_from(["unknown", "10.0.0.5/24", "a..b", "::ffff:10.0.0.1%x", "10.9.1.1", "\ud800"])
CHECKS = [json.loads(example) for kind, example in EXAMPLES.items() if kind not in IN_GUEST]


@given(
    addresses=st.lists(TEXTS, max_size=12),
    others=st.fixed_dictionaries(
        {
            "host_name": TEXTS,
            "heartbeat": TEXTS,
            "network_adapters": st.dictionaries(TEXTS, st.booleans()),
            "guest_info": st.dictionaries(TEXTS | st.just("guestinfo.ready"), TEXTS),
        }
    ),
)
def test_no_guest_can_break_the_judgement(addresses: list[str], others: dict[str, Any]) -> None:
    """Whatever a guest reports, each check holds or says in one bounded line why not; a port is tried at IPs only."""
    asked: list[str] = []

    def answers(address: str, _port: int) -> str:
        asked.append(address)
        return "connection refused"

    facts = _facts(addresses=tuple(addresses), **others)
    for check in CHECKS:
        reason = Check.of(check).unmet("web-1", facts, answers)
        assert len(reason) < 3000
        assert "\n" not in reason
    assert [str(ipaddress.ip_address(address)) for address in asked] == asked


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        pytest.param({}, "", id="ready"),
        pytest.param({"powered_on": False}, "the VM is powered off", id="off"),
        pytest.param({"tools_running": False}, "VMware Tools are not running", id="no Tools"),
        pytest.param(
            {"guest_operations_ready": False}, "VMware Tools are running, but guest operations are not ready", id="not"
        ),
        pytest.param(
            {"guest_running": False}, "VMware Tools are running, but guest operations are not ready", id="halting"
        ),
    ],
)
def test_why_guest_operations_are_not_ready(facts: dict[str, Any], message: str) -> None:
    """The most direct cause is reported."""
    assert _facts(**facts).no_guest_operations() == message


def _story(conditions: Conditions, *readings: tuple[float, bool]) -> list[str]:
    stability = Stability(conditions, "web-1")
    return [stability.learn(_facts(guest_operations_ready=ready), now, _answers) for now, ready in readings]


def test_guest_operations_must_stay_ready() -> None:
    """The time starts again after every gap, so the reboot after a success is waited for."""
    missing = _story(
        Conditions(guest_operations=True, settle=5), (0, True), (4, True), (5, False), (6, True), (11, True)
    )
    assert missing == [
        "guest operations have been ready for 0 s of 5 s",
        "guest operations have been ready for 4 s of 5 s",
        "VMware Tools are running, but guest operations are not ready",
        "guest operations have been ready for 0 s of 5 s",
        "",
    ]


def test_a_time_without_readings_is_not_a_proof() -> None:
    """The time while the server did not answer does not count."""
    late = 1 + LONGEST_GAP * 2
    missing = _story(Conditions(guest_operations=True, settle=5), (0, True), (1, True), (late, True), (late + 5, True))
    assert missing[2:] == ["guest operations have been ready for 0 s of 5 s", ""]


def test_checks_without_guest_operations_do_not_wait_for_them() -> None:
    """Only requested checks are evaluated; each unmet check is named, and `vms` limits a check to VMs."""
    checks = (
        Check.of({"kind": "network_adapters_connected"}),
        Check.of({"kind": "tcp_port", "port": 80, "vms": ["web-2"]}),
        Check.of({"kind": "host_name", "value": "db"}),
    )
    conditions = Conditions(checks=checks)
    unmet = (
        "network_adapters_connected: Network adapter 2 is not connected; "
        "host_name: expected 'db', got 'WEB-1.example.com'"
    )
    assert _story(conditions, (0, False)) == [unmet]
    assert "config.hardware.device" in conditions.paths
    assert "config.extraConfig" not in conditions.paths


def test_a_vm_that_was_ready_is_judged_again_without_settling() -> None:
    """The look before the gate opens asks what holds now; what does not hold any more must settle again."""
    conditions = Conditions(guest_operations=True, settle=5, checks=[Check.of({"kind": "host_name", "value": "web-1"})])
    stability = Stability(conditions, "web-1")
    assert stability.confirm(_facts(), _answers) == ""
    lost = stability.confirm(_facts(guest_operations_ready=False, host_name="db"), _answers)
    assert lost == (
        "VMware Tools are running, but guest operations are not ready; host_name: expected 'web-1', got 'db'"
    )
    assert stability.learn(_facts(), 100, _answers) == "guest operations have been ready for 0 s of 5 s"
