"""Every rule about a gate's inputs, without an engine or a server."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.lifecycle.arguments import GateArguments, examine
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.inputs import reasons
from pulumi_customization_gate.platforms import VSPHERE
from pulumi_customization_gate.vsphere.references import parse_reference

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"
VMS = (
    "expected a list of references, or a map of your own keys to them, for example "
    '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]'
)
TIMEOUT = 'timeout: expected 1 or more seconds or a duration such as "30m"'


def problems(**given: Any) -> list[str]:
    inputs = {"vms": ["vm-87"], **given}
    return reasons(examine(inputs)[0], inputs)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"vms": ["vm-87", UUID, "/DC0/vm/web-1", "DC0/vm/web-2"]}, id="references of every form"),
        pytest.param({"vms": {"web": "vm-87"}}, id="a map"),
        pytest.param({"vms": ["vm-87", UNKNOWN, UNKNOWN]}, id="IDs that preview does not know"),
        pytest.param({"vms": {"web": UNKNOWN}}, id="an unknown ID in a map"),
        pytest.param({"vms": UNKNOWN}, id="unknown VMs"),
        pytest.param({"timeout": 1, "start_timeout": 0.5, "settle": 0}, id="the smallest times"),
        pytest.param({"timeout": UNKNOWN, "start_timeout": 10**6}, id="an unknown timeout"),
        pytest.param({"platform": UNKNOWN, "expect": UNKNOWN, "on_failure": UNKNOWN}, id="unknown choices"),
        pytest.param({"config_namespace": UNKNOWN, "triggers": UNKNOWN}, id="unknown namespace and triggers"),
        pytest.param({"expect": "optional", "on_failure": "report", "ready_when": "customized"}, id="other choices"),
        pytest.param({"config_namespace": "east", "triggers": {"image": 3}}, id="namespace and triggers"),
        pytest.param({"triggers": ["2026-11", {"image": 3}]}, id="a list of triggers"),
        pytest.param({"timeout": "1h30m", "start_timeout": "90s", "settle": "0.5m"}, id="durations"),
        pytest.param({"vms": [f"urn:vcloud:vm:{UUID}"], "platform": "cloud_director"}, id="Cloud Director"),
    ],
)
def test_good_inputs_have_no_problem(inputs: dict[str, Any]) -> None:
    """Inputs that a gate can work with, and those that preview does not know, are let pass."""
    assert problems(**inputs) == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("vms", None, f"vms: {VMS}, got nothing", id="no VMs"),
        pytest.param("vms", [], f"vms: {VMS}, got []", id="an empty list"),
        pytest.param("vms", {}, f"vms: {VMS}, got {{}}", id="an empty map"),
        pytest.param("vms", "vm-87", f"vms: {VMS}, got 'vm-87'", id="a text"),
        pytest.param("vms", 87, f"vms: {VMS}, got 87", id="a number"),
        pytest.param("vms", [""], f"vms[0]: {VMS}, got ''", id="an empty reference"),
        pytest.param("vms", {"web": None}, f"vms['web']: {VMS}, got nothing", id="nothing under a key"),
        pytest.param(
            "vms",
            {"": "vm-1"},
            "vms: expected keys that are not empty, for example \"web-1\", got ''",
            id="an empty key",
        ),
        pytest.param(
            "vms",
            ["vm-1", "vm-1"],
            "vms[1]: expected each VM once, got 'vm-1'; vms[0] is the same VM",
            id="a duplicate",
        ),
        pytest.param(
            "vms",
            {"a": "vm-1", "b": "vm-1"},
            "vms['b']: expected each VM once, got 'vm-1'; vms['a'] is the same VM",
            id="a duplicate in a map",
        ),
        pytest.param(
            "vms",
            [UUID, UUID.upper()],
            f"vms[1]: expected each VM once, got '{UUID.upper()}'; vms[0] is the same VM",
            id="two spellings of a UUID",
        ),
        pytest.param(
            "vms",
            ["/DC0/vm/web", "DC0/vm/web"],
            "vms[1]: expected each VM once, got 'DC0/vm/web'; vms[0] is the same VM",
            id="two spellings of a path",
        ),
        pytest.param(
            "vms",
            ["web-1"],
            "vms[0]: expected a managed object ID (vm-87), an instance or BIOS UUID "
            "(4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e), an inventory path (/Datacenter/vm/folder/web-1), "
            "or a resource with a moid, got 'web-1'",
            id="a bare name",
        ),
        pytest.param("timeout", 0, f"{TIMEOUT}, got 0", id="no time"),
        pytest.param("timeout", 0.9, f"{TIMEOUT}, got 0.9", id="less than a second"),
        pytest.param("timeout", -1.0, f"{TIMEOUT}, got -1", id="negative time"),
        pytest.param("timeout", "soon", f"{TIMEOUT}, got 'soon'", id="no number"),
        pytest.param("timeout", "0m", f"{TIMEOUT}, got '0m'", id="a duration of nothing"),
        pytest.param("timeout", "", f"{TIMEOUT}, got ''", id="an empty text"),
        pytest.param("timeout", "30 minutes", f"{TIMEOUT}, got '30 minutes'", id="a duration in words"),
        pytest.param("timeout", True, f"{TIMEOUT}, got True", id="a boolean"),
        pytest.param("timeout", float("inf"), f"{TIMEOUT}, got inf", id="without end"),
        pytest.param("timeout", float("nan"), f"{TIMEOUT}, got nan", id="not a number"),
        pytest.param(
            "timeout", 10**5000, f"{TIMEOUT}, got a number with hundreds of digits", id="more than a float can hold"
        ),
        pytest.param(
            "start_timeout",
            0,
            'start_timeout: expected a positive number of seconds or a duration such as "10m", got 0',
            id="no time to start",
        ),
        pytest.param(
            "settle",
            -1,
            'settle: expected 0 or more seconds or a duration such as "30s", got -1',
            id="negative settle",
        ),
        pytest.param(
            "platform",
            "vSphere",
            "platform: expected 'vsphere' or 'cloud_director', got 'vSphere'; did you mean 'vsphere'?",
            id="platform",
        ),
        pytest.param("expect", "any", "expect: expected 'required' or 'optional', got 'any'", id="expect"),
        pytest.param(
            "expect",
            ["optional"],
            "expect: expected 'required' or 'optional', got ['optional']",
            id="a list of choices",
        ),
        pytest.param(
            "ready_when",
            "customised",
            "ready_when: expected 'customized' or 'guest_operations', got 'customised'; did you mean 'customized'?",
            id="ready_when",
        ),
        pytest.param("on_failure", "warn", "on_failure: expected 'fail' or 'report', got 'warn'", id="on_failure"),
        pytest.param(
            "config_namespace",
            "",
            "config_namespace: expected a namespace of stack config without a colon, for example \"east\", got ''",
            id="an empty namespace",
        ),
        pytest.param(
            "triggers",
            "s3cret",
            'triggers: expected a map or a list of anything, for example {"image": "2026-11"}, got a string '
            "(not shown, it may be a secret)",
            id="triggers, not shown",
        ),
        pytest.param(
            "checks",
            {"kind": "network_adapters_connected"},
            'checks: expected a list of maps, for example [{"kind": "tcp_port", "port": 22}], '
            "got {'kind': 'network_adapters_connected'}",
            id="checks that are no list",
        ),
    ],
)
def test_invalid_input_is_refused_with_what_is_expected(name: str, value: object, reason: str) -> None:
    """Each sentence names the argument, what is expected with an example, and what was given."""
    assert problems(**{name: value}) == [reason]


def test_start_timeout_is_held_against_the_given_timeout() -> None:
    """A start_timeout above timeout is refused; the same start_timeout within a longer timeout is not."""
    assert problems(timeout=600, start_timeout=700) == [
        "start_timeout: expected a time that is not longer than timeout (600), got 700"
    ]
    assert problems(timeout=700, start_timeout=700) == []
    assert problems(timeout=600, start_timeout=700, secret_inputs=["timeout"]) == [
        "start_timeout: expected a time that is not longer than timeout, got 700"
    ]


def test_each_problem_is_reported() -> None:
    """One look reports everything that is wrong, one text per argument."""
    found = problems(vms=["vm-1", "web", "vm-1"], timeout=0, expect="no")
    assert [text.partition(":")[0] for text in found] == ["vms[1]", "timeout", "expect"]
    assert [line.partition(":")[0] for line in found[0].splitlines()] == ["vms[1]", "vms[2]"]


def test_the_guest_can_be_asked_on_vsphere_only() -> None:
    """Cloud Director shows nothing of a guest but its customization."""
    asked = {"ready_when": "guest_operations", "checks": [{"kind": "network_adapters_connected"}]}
    assert problems(**asked) == []
    assert problems(vms=[], platform="cloud_director", **asked)[-2:] == [
        (
            "ready_when: expected 'customized', because Cloud Director does not report guest operations, "
            "got 'guest_operations'"
        ),
        "checks: expected no checks, because Cloud Director reports nothing to check",
    ]


@pytest.mark.parametrize(
    ("platform", "given", "start_timeout"),
    [
        pytest.param("vsphere", {}, 600.0, id="vsphere"),
        pytest.param("vsphere", {"timeout": 300}, 300.0, id="vsphere, a shorter wait"),
        pytest.param("cloud_director", {}, 1800.0, id="cloud director"),
        pytest.param("cloud_director", {"timeout": "2h"}, 7200.0, id="cloud director, a longer wait"),
        pytest.param("cloud_director", {"start_timeout": 60}, 60.0, id="cloud director, given"),
    ],
)
def test_the_default_of_start_timeout(platform: str, given: dict[str, Any], start_timeout: float) -> None:
    """start_timeout is ten minutes at most; Cloud Director does not report a start, so there it is the timeout."""
    urn = f"urn:vcloud:vm:{UUID}"
    arguments = GateArguments.of({"vms": ["vm-2" if platform == "vsphere" else urn], "platform": platform, **given})
    assert arguments.rules.start_timeout == start_timeout


def test_defaults() -> None:
    """A gate that names its VMs only waits half an hour, and ten minutes for a start."""
    arguments = GateArguments.of({"vms": ["vm-2", "vm-1"]})
    assert arguments == GateArguments(
        targets=targets_of(["vm-2", "vm-1"], parse_reference),
        platform=VSPHERE,
        rules=WaitRules(timeout=1800.0, start_timeout=600.0, requires_customization=True, stop_on_missing=True),
        on_failure="fail",
    )
    assert not arguments.has_keys


def test_what_is_given_counts() -> None:
    """Everything that is given arrives; a map is in the order of its keys, which are how people look for VMs."""
    arguments = GateArguments.of(
        {
            "vms": {"web-2": "vm-2", "web-1": "vm-1"},
            "timeout": "1m",
            "expect": "optional",
            "on_failure": "report",
            "settle": "5s",
        }
    )
    assert arguments.targets == targets_of({"web-1": "vm-1", "web-2": "vm-2"}, parse_reference)
    assert (arguments.has_keys, arguments.on_failure, arguments.settle) == (True, "report", 5.0)
    assert arguments.rules == WaitRules(
        timeout=60.0, start_timeout=60.0, requires_customization=False, stop_on_missing=False
    )


@pytest.mark.parametrize(
    ("given", "custom_timeout", "timeouts"),
    [
        pytest.param({}, 3600, (3600.0, 600.0), id="custom_timeouts"),
        pytest.param({}, 60, (60.0, 60.0), id="short custom_timeouts"),
        pytest.param({"timeout": "1h30m"}, 60, (5400.0, 600.0), id="timeout before custom_timeouts"),
        pytest.param({"start_timeout": 3000}, 0, (1800.0, 1800.0), id="no longer than the default"),
        pytest.param({"start_timeout": "50m"}, 3600, (3600.0, 3000.0), id="within custom_timeouts"),
    ],
)
def test_how_long_a_wait_takes(given: dict[str, Any], custom_timeout: float, timeouts: tuple[float, float]) -> None:
    """`timeout` decides, else `custom_timeouts`, else half an hour; nothing may start later than that."""
    rules = GateArguments.of({"vms": ["vm-1"], **given}, None, custom_timeout).rules
    assert (rules.timeout, rules.start_timeout) == timeouts


def test_a_misspelled_platform_hides_no_other_problem() -> None:
    """The references are still checked."""
    found = problems(vms=["web"], platform="vspere")
    assert [text.partition(":")[0] for text in found] == ["vms[0]", "platform"]


def test_a_key_that_is_its_reference_is_a_key() -> None:
    """A map's keys are the user's, whatever they are; a list has none."""
    assert [target.key for target in GateArguments.of({"vms": {"vm-87": "vm-87"}}).targets] == ["vm-87"]
    assert [target.key for target in GateArguments.of({"vms": ["vm-87"]}).targets] == [None]


def test_an_address_is_accepted_while_its_server_is_not_known() -> None:
    """In a preview that does not know the namespace, an href may be one of the configured server."""
    vms = [f"https://vcd.example.com/api/vApp/vm-{UUID}"]
    inputs = {"vms": vms, "platform": "cloud_director", "config_namespace": UNKNOWN}
    assert problems(**inputs) == []


def test_a_value_that_preview_did_not_know_is_judged_before_the_wait() -> None:
    """An input that turns out bad only when it is known stops the gate before it asks any server."""
    with pytest.raises(ConfigurationError) as refusal:
        GateArguments.of({"vms": ["web"], "timeout": 0})
    assert [line.partition(":")[0] for line in str(refusal.value).splitlines()] == ["vms[0]", "timeout"]
