"""Every rule about a gate's checks."""

from __future__ import annotations

import json

import pytest

from pulumi_customization_gate.resources.check_arguments import EXAMPLES, check_problems
from pulumi_customization_gate.vsphere.checks import PATHS

UNKNOWN = object()


def _problems(*checks: object) -> list[str]:
    return [reason for _, reason in check_problems(list(checks), lambda value: value is UNKNOWN)]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_example_is_good(kind: str) -> None:
    """What a message shows as an example is accepted, and known to what judges it."""
    assert _problems(json.loads(EXAMPLES[kind])) == []
    assert kind in PATHS


@pytest.mark.parametrize(
    ("check", "said"),
    [
        pytest.param("tcp_port", "'tcp_port'; wanted is a map with a kind", id="a word"),
        pytest.param({"port": 22}, "wanted is a map with a kind", id="no kind"),
        pytest.param({"kind": "tcp-port"}, "did you mean 'tcp_port'?", id="a kind that is nearly one"),
        pytest.param({"kind": "tcp_port"}, "port is missing", id="no port"),
        pytest.param({"kind": "tcp_port", "port": 0}, "port is 0; wanted is a whole number from 1", id="port 0"),
        pytest.param({"kind": "tcp_port", "port": "22"}, "port is '22'", id="a port in words"),
        pytest.param({"kind": "tcp_port", "port": 22, "host": "x"}, "'host' is no option", id="an unknown option"),
        pytest.param({"kind": "guest_heartbeat", "color": "pink"}, "'green' or 'yellow'", id="a colour"),
        pytest.param({"kind": "guest_info", "key": "ready"}, "begins with guestinfo.", id="a key of others"),
        pytest.param({"kind": "guest_info", "key": "guestinfo.a", "value": "("}, "regular expression", id="a pattern"),
        pytest.param({"kind": "host_name", "value": {"web": 1}}, "a map of strings", id="a number for a name"),
        pytest.param({"kind": "ip_in_network", "network": "10/x"}, "CIDR notation", id="no network"),
        pytest.param({"kind": "cards_connected", "vms": []}, "a list of the keys", id="about no machine"),
    ],
)
def test_what_is_wrong_is_named(check: object, said: str) -> None:
    """One problem, with the check's place, what is wanted and an example."""
    found = _problems({"kind": "cards_connected"}, check)
    assert len(found) == 1
    assert found[0].startswith("checks[1]: ")
    assert said in found[0]
    assert "wanted is" in found[0]


def test_what_preview_does_not_know_is_not_wrong() -> None:
    """An unknown check, kind or option passes."""
    assert _problems(UNKNOWN, {"kind": UNKNOWN}, {"kind": "tcp_port", "port": UNKNOWN}) == []
    assert (
        _problems({"kind": "host_name", "value": {"a": UNKNOWN}}, {"kind": "cards_connected", "vms": [UNKNOWN]}) == []
    )
    assert list(check_problems(UNKNOWN, lambda value: value is UNKNOWN)) == []
