"""Every rule about a gate's checks."""

from __future__ import annotations

import json

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.arguments import GateArguments, examine
from pulumi_customization_gate.lifecycle.checks import EXAMPLES
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.vsphere.checks import PATHS

HOST_NAME = {"kind": "host_name", "value": "web"}


def _problems(*checks: object, vms: object = UNKNOWN) -> list[str]:
    return [problem.sentence(is_hidden=False) for problem in examine({"vms": vms, "checks": list(checks)})[0]]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_example_is_good(kind: str) -> None:
    """What a message shows as an example is accepted, and known to what judges it."""
    assert _problems(json.loads(EXAMPLES[kind])) == []
    assert kind in PATHS


@pytest.mark.parametrize(
    ("check", "place", "message"),
    [
        pytest.param("tcp_port", "", "a map with a kind", id="a word"),
        pytest.param({"port": 22}, ".kind", "got nothing", id="no kind"),
        pytest.param({"kind": "tcp-port"}, ".kind", "got 'tcp-port'; did you mean 'tcp_port'?", id="nearly a kind"),
        pytest.param({"kind": []}, ".kind", "got []", id="a list for a kind"),
        pytest.param({"kind": {}}, ".kind", "got {}", id="a map for a kind"),
        pytest.param({"kind": "x" * 10**6}, ".kind", "xxx...xxx", id="a million characters for a kind"),
        pytest.param({"kind": "tcp_port"}, ".port", "a whole number from 1 to 65535", id="no port"),
        pytest.param({"kind": "tcp_port", "port": 0}, ".port", "got 0", id="port 0"),
        pytest.param({"kind": "tcp_port", "port": 10**400}, ".port", "got a number with", id="a port of 400 digits"),
        pytest.param({"kind": "tcp_port", "port": "22"}, ".port", "got '22'", id="a port in words"),
        pytest.param(
            {"kind": "tcp_port", "port": 22, "ports": 1},
            "",
            "got 'ports'; did you mean 'port'?",
            id="an unknown option",
        ),
        pytest.param({"kind": "guest_heartbeat", "color": "pink"}, ".color", "'green' or 'yellow'", id="a color"),
        pytest.param({"kind": "guest_info", "key": "ready"}, ".key", "begins with guestinfo.", id="a key of others"),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.a", "value": "("},
            ".value",
            "got '('; missing )",
            id="a pattern",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.a", "value": "a{9999}"},
            ".value",
            "got 'a{9999}'; invalid repetition size",
            id="a pattern with too large a number",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.a", "value": {"web": "(?=secret)"}},
            ".value['web']",
            "RE2 syntax (no lookaround, no backreference), or a map",
            id="a pattern that only an engine with backtracking can match",
        ),
        pytest.param({"kind": "address", "family": 5}, ".family", "4 or 6", id="a family"),
        pytest.param({"kind": "address", "family": [4]}, ".family", "got [4]", id="a list of families"),
        pytest.param({"kind": "address", "ignore": ["10.9"]}, ".ignore[0]", "CIDR notation", id="half a network"),
        pytest.param({"kind": "address", "ignore": []}, ".ignore", "got []", id="no network to ignore"),
        pytest.param({"kind": "command"}, ".script", "got nothing", id="no script"),
        pytest.param({"kind": "command", "script": " "}, ".script", "got ' '", id="an empty script"),
        pytest.param(
            {"kind": "command", "script": "true", "exit_code": 2**32}, ".exit_code", "got 4294967296", id="an exit code"
        ),
        pytest.param({"kind": "cloud_init", "script": "x"}, "", "got 'script'", id="an option that there is not"),
        pytest.param({"kind": "guest_info", "key": "guestinfo.a", "value": {}}, ".value", "got {}", id="no pattern"),
        pytest.param({"kind": "host_name", "value": {"web": 1}}, ".value['web']", "got 1", id="a number for a name"),
        pytest.param({"kind": "host_name", "value": {}}, ".value", "got {}", id="no host name"),
        pytest.param({"kind": "host_name", "value": {"web": None}}, ".value['web']", "got nothing", id="nobody's name"),
        pytest.param({"kind": "ip_in_network", "network": "10/x"}, ".network", "CIDR notation", id="no network"),
        pytest.param({"kind": "ip_in_network", "network": {}}, ".network", "got {}", id="an empty map of networks"),
        pytest.param({"kind": "network_adapters_connected", "vms": []}, ".vms", "a list of keys", id="about no VM"),
        pytest.param({"kind": "network_adapters_connected", "vms": [1]}, ".vms[0]", "got 1", id="a number for a key"),
    ],
)
def test_what_is_wrong_is_named(check: object, place: str, message: str) -> None:
    """One short sentence, with the check's place, what is expected and an example."""
    found = _problems({"kind": "network_adapters_connected"}, check)
    assert len(found) == 1
    assert found[0].startswith(f"checks[1]{place}: expected ")
    assert message in found[0]
    assert len(found[0]) < 400


def test_what_preview_does_not_know_is_not_wrong() -> None:
    """An unknown check, kind or option passes."""
    assert _problems(UNKNOWN, {"kind": UNKNOWN}, {"kind": "tcp_port", "port": UNKNOWN}) == []
    assert (
        _problems(
            {"kind": "host_name", "value": {"a": UNKNOWN}}, {"kind": "network_adapters_connected", "vms": [UNKNOWN]}
        )
        == []
    )
    assert examine({"vms": UNKNOWN, "checks": UNKNOWN}) == ([], [])


IN_MAP = "expected keys of the gate's vms, got"
IN_LIST = "expected references of the gate's vms, which are a list (give a map to choose keys of your own), got"


@pytest.mark.parametrize(
    ("check", "vms", "message"),
    [
        pytest.param(
            {"kind": "host_name", "value": {"web-1": "a", "wbe-2": "b"}},
            {"web-1": "vm-1", "web-2": UNKNOWN},
            f"checks[0].value: {IN_MAP} 'wbe-2'; did you mean 'web-2'?",
            id="value",
        ),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.a", "value": {"db": "a"}},
            {"web": "vm-1"},
            f"checks[0].value: {IN_MAP} 'db'",
            id="value, nothing near",
        ),
        pytest.param(
            {"kind": "ip_in_network", "network": {"": "10.0.0.0/8"}},
            {"web": "vm-1"},
            f"checks[0].network: {IN_MAP} ''",
            id="network, an empty key",
        ),
        pytest.param(
            {"kind": "network_adapters_connected", "vms": ["web-3"]},
            {"web-1": "vm-1"},
            f"checks[0].vms: {IN_MAP} 'web-3'; did you mean 'web-1'?",
            id="vms",
        ),
        pytest.param(
            {"kind": "network_adapters_connected", "vms": ["vm-88"]},
            ["vm-87"],
            f"checks[0].vms: {IN_LIST} 'vm-88'; did you mean 'vm-87'?",
            id="a list",
        ),
        pytest.param(
            {"kind": "network_adapters_connected", "vms": ["web-1"]},
            [UNKNOWN],
            f"checks[0].vms: {IN_LIST} 'web-1'",
            id="a list that is not known, and a key that can never be in it",
        ),
        pytest.param(
            {"kind": "host_name", "value": {"a": "x", "b": "y"}, "vms": ["a"]},
            {"a": "vm-1", "b": "vm-2"},
            "checks[0].value: expected keys that the check's vms names too, got 'b'",
            id="an entry for a VM that the check is not about",
        ),
        pytest.param(
            {"kind": "ip_in_network", "network": {"a": "10.0.0.0/8"}, "vms": ["a", "b"]},
            {"a": "vm-1", "b": "vm-2"},
            "checks[0].network: expected an entry for each VM in the check's vms, also for 'b', "
            "got {'a': '10.0.0.0/8'}",
            id="no entry for a VM that the check is about",
        ),
    ],
)
def test_a_key_under_which_nothing_is_judged_is_refused(check: object, vms: object, message: str) -> None:
    """Such a check would never be judged, and the gate would call the VM ready."""
    assert _problems(check, vms=vms) == [message]


@pytest.mark.parametrize(
    ("check", "vms"),
    [
        pytest.param({**HOST_NAME, "vms": ["a"]}, {"a": "vm-1", "b": "vm-2"}, id="one of a map"),
        pytest.param({"kind": "host_name", "value": {"a": "x"}}, {"a": UNKNOWN, "b": "vm-2"}, id="an unknown VM"),
        pytest.param({"kind": "host_name", "value": {"vm-1": "x"}}, ["vm-1", "vm-2"], id="a reference of a list"),
        pytest.param({"kind": "host_name", "value": {"vm-1": "x"}}, [UNKNOWN], id="a list that is not known"),
        pytest.param({"kind": "host_name", "value": {"a": "x"}}, UNKNOWN, id="unknown VMs"),
        pytest.param({**HOST_NAME, "vms": [UNKNOWN]}, {"a": "vm-1"}, id="an unknown key"),
        pytest.param(
            {"kind": "guest_info", "key": "guestinfo.a", "value": {"a": "x"}, "vms": ["a", "b"]},
            {"a": "vm-1", "b": "vm-2"},
            id="a key of guest info that may have any value on one VM",
        ),
    ],
)
def test_a_key_that_is_or_may_be_there_passes(check: object, vms: object) -> None:
    """What preview cannot know is not refused."""
    assert _problems(check, vms=vms) == []


def test_a_key_that_turns_out_wrong_stops_the_gate_before_any_wait() -> None:
    """Once every reference is known, a key that matches none is an error, not a check that is never evaluated."""
    check = {"kind": "host_name", "value": {"vm-2": "web"}}
    assert _problems(check, vms=[UNKNOWN]) == []
    with pytest.raises(ConfigurationError, match=r"^checks\[0\]\.value: expected references .* got 'vm-2'"):
        GateArguments.of({"vms": ["vm-1"], "checks": [check]})
