"""Every rule about a gate's inputs, without an engine or a server."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.watch import WaitRules
from pulumi_customization_gate.resources.arguments import GateArguments, gate_problems

UUID = "4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e"
MACHINES = (
    "wanted is a list of references, or a map of your own keys to them, for example "
    '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]'
)
TWICE = "name each machine once"


def problems(**inputs: Any) -> list[tuple[str, str]]:
    return list(gate_problems({"vms": ["vm-87"], **inputs}, lambda value: value == UNKNOWN))


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"vms": ["vm-87", UUID, "/DC0/vm/web-1", "DC0/vm/web-2"]}, id="references of every form"),
        pytest.param({"vms": {"web": "vm-87"}}, id="a map"),
        pytest.param({"vms": ["vm-87", UNKNOWN, UNKNOWN]}, id="IDs that preview does not know"),
        pytest.param({"vms": {"web": UNKNOWN}}, id="an unknown ID in a map"),
        pytest.param({"vms": UNKNOWN}, id="unknown machines"),
        pytest.param({"timeout": 0.5, "start_timeout": 0.5, "settle": 0}, id="the smallest times"),
        pytest.param({"timeout": UNKNOWN, "start_timeout": 10**6}, id="an unknown timeout"),
        pytest.param({"platform": UNKNOWN, "expect": UNKNOWN, "on_failure": UNKNOWN}, id="unknown choices"),
        pytest.param({"config_namespace": UNKNOWN, "triggers": UNKNOWN}, id="unknown namespace and triggers"),
        pytest.param({"expect": "auto", "on_failure": "report", "ready_when": "customized"}, id="other choices"),
        pytest.param({"config_namespace": "east", "triggers": {"image": 3}}, id="namespace and triggers"),
        pytest.param({"vms": [f"urn:vcloud:vm:{UUID}"], "platform": "cloud_director"}, id="Cloud Director"),
    ],
)
def test_good_inputs_have_no_problem(inputs: dict[str, Any]) -> None:
    """Inputs that a gate can work with, and those that preview does not know, are let pass."""
    assert problems(**inputs) == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        pytest.param("vms", None, f"it is None; {MACHINES}", id="no machines"),
        pytest.param("vms", [], f"it is []; {MACHINES}", id="an empty list"),
        pytest.param("vms", {}, f"it is {{}}; {MACHINES}", id="an empty map"),
        pytest.param("vms", "vm-87", f"it is 'vm-87'; {MACHINES}", id="a text"),
        pytest.param("vms", 87, f"it is 87; {MACHINES}", id="a number"),
        pytest.param("vms", [""], f"vms[0] is ''; {MACHINES}", id="an empty reference"),
        pytest.param("vms", {"web": None}, f"vms['web'] is None; {MACHINES}", id="nothing under a key"),
        pytest.param("vms", ["vm-1", "vm-1"], f"vms[1] is 'vm-1', which vms[0] is already; {TWICE}", id="a duplicate"),
        pytest.param(
            "vms",
            {"a": "vm-1", "b": "vm-1"},
            f"vms['b'] is 'vm-1', which vms['a'] is already; {TWICE}",
            id="a duplicate in a map",
        ),
        pytest.param(
            "vms",
            [UUID, UUID.upper()],
            f"vms[1] is '{UUID.upper()}', which vms[0] is already; {TWICE}",
            id="two spellings of a UUID",
        ),
        pytest.param(
            "vms",
            ["/DC0/vm/web", "DC0/vm/web"],
            f"vms[1] is 'DC0/vm/web', which vms[0] is already; {TWICE}",
            id="two spellings of a path",
        ),
        pytest.param(
            "vms",
            ["web-1"],
            "vms[0]: 'web-1' names no virtual machine; wanted is a managed object ID (vm-87), an instance or BIOS UUID "
            "(4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e), an inventory path (/Datacenter/vm/folder/web-1), "
            "or a resource with a moid",
            id="a bare name",
        ),
        pytest.param("timeout", 0, "it is 0; wanted is a number of seconds above 0, for example 1800", id="no time"),
        pytest.param(
            "timeout", -1.0, "it is -1; wanted is a number of seconds above 0, for example 1800", id="negative time"
        ),
        pytest.param(
            "timeout", "10m", "it is '10m'; wanted is a number of seconds above 0, for example 1800", id="no number"
        ),
        pytest.param(
            "timeout", True, "it is True; wanted is a number of seconds above 0, for example 1800", id="a boolean"
        ),
        pytest.param(
            "timeout",
            float("inf"),
            "it is inf; wanted is a number of seconds above 0, for example 1800",
            id="without end",
        ),
        pytest.param(
            "timeout",
            float("nan"),
            "it is nan; wanted is a number of seconds above 0, for example 1800",
            id="not a number",
        ),
        pytest.param(
            "start_timeout",
            0,
            "it is 0; wanted is a number of seconds above 0, for example 600",
            id="no time to start",
        ),
        pytest.param(
            "start_timeout",
            1801,
            "it is 1801; wanted is at most timeout, 1800, for example 600",
            id="start_timeout above the default timeout",
        ),
        pytest.param(
            "settle", -1, "it is -1; wanted is a number of seconds of 0 or more, for example 30", id="negative settle"
        ),
        pytest.param(
            "platform",
            "vSphere",
            "it is 'vSphere'; wanted is 'vsphere' or 'cloud_director'; did you mean 'vsphere'?",
            id="platform",
        ),
        pytest.param("expect", "any", "it is 'any'; wanted is 'required' or 'auto'", id="expect"),
        pytest.param("expect", ["auto"], "it is ['auto']; wanted is 'required' or 'auto'", id="a list of choices"),
        pytest.param(
            "ready_when",
            "customised",
            "it is 'customised'; wanted is 'customized' or 'guest_operations'; did you mean 'customized'?",
            id="ready_when",
        ),
        pytest.param("on_failure", "warn", "it is 'warn'; wanted is 'fail' or 'report'", id="on_failure"),
        pytest.param(
            "config_namespace",
            "",
            "it is ''; wanted is a namespace of stack config without a colon, for example \"east\"",
            id="an empty namespace",
        ),
        pytest.param(
            "triggers",
            "s3cret",
            'it is a str; wanted is a map of anything, for example {"image": "2026-11"}',
            id="triggers, not shown",
        ),
        pytest.param(
            "checks",
            {"kind": "cards_connected"},
            "it is {'kind': 'cards_connected'}; wanted is a list of maps, for example "
            '[{"kind": "tcp_port", "port": 22}]',
            id="checks that are no list",
        ),
    ],
)
def test_bad_input_is_told_with_what_is_wanted(name: str, value: object, reason: str) -> None:
    """Each bad input is told alone, by its name: what it is, what is wanted, and an example."""
    assert problems(**{name: value}) == [(name, reason)]


def test_start_timeout_is_held_against_the_given_timeout() -> None:
    """A start_timeout above timeout is refused; the same start_timeout within a longer timeout is not."""
    assert problems(timeout=600, start_timeout=700) == [
        ("start_timeout", "it is 700; wanted is at most timeout, 600, for example 600")
    ]
    assert problems(timeout=700, start_timeout=700) == []


def test_each_problem_is_told() -> None:
    """One look tells everything that is wrong, not the first thing only."""
    found = problems(vms=["vm-1", "web", "vm-1"], timeout=0, expect="no")
    assert [name for name, _ in found] == ["expect", "vms", "vms", "timeout"]


def test_the_guest_can_be_asked_on_vsphere_only() -> None:
    """Cloud Director shows nothing of a guest but its customization."""
    asked = {"ready_when": "guest_operations", "checks": [{"kind": "cards_connected"}]}
    assert problems(**asked) == []
    assert problems(vms=[], platform="cloud_director", **asked)[-2:] == [
        ("ready_when", 'it is "guest_operations", which Cloud Director does not tell; wanted is "customized"'),
        ("checks", "Cloud Director tells nothing to check; leave them out"),
    ]


def test_defaults() -> None:
    """A gate that names its machines only waits half an hour, and ten minutes for a start."""
    arguments = GateArguments.of({"vms": ["vm-2", "vm-1"]})
    assert arguments == GateArguments(
        references={"vm-2": "vm-2", "vm-1": "vm-1"},
        is_map=False,
        platform="vsphere",
        config_namespace="vsphere",
        rules=WaitRules(timeout=1800.0, start_timeout=600.0, expect="required", stop_on_missing=True),
        on_failure="fail",
    )
    assert list(arguments.references) == ["vm-2", "vm-1"]


def test_what_is_given_counts() -> None:
    """Everything that is given arrives; a map is in the order of its keys, which are how people look for machines."""
    arguments = GateArguments.of(
        {
            "vms": {"web-2": "vm-2", "web-1": "vm-1"},
            "config_namespace": "east",
            "timeout": 60,
            "expect": "auto",
            "on_failure": "report",
            "settle": 5,
            "triggers": {"image": "2026-11"},
        }
    )
    assert list(arguments.references.items()) == [("web-1", "vm-1"), ("web-2", "vm-2")]
    assert (arguments.is_map, arguments.config_namespace, arguments.on_failure) == (True, "east", "report")
    assert arguments.rules == WaitRules(timeout=60.0, start_timeout=60.0, expect="auto", stop_on_missing=False)
    assert (arguments.settle, arguments.triggers) == (5.0, {"image": "2026-11"})


def test_a_value_that_preview_did_not_know_is_judged_before_the_wait() -> None:
    """An input that turns out bad only when it is known stops the gate before it asks any server."""
    with pytest.raises(ConfigurationError) as refusal:
        GateArguments.of({"vms": ["web"], "timeout": 0})
    assert [line.partition(":")[0] for line in str(refusal.value).splitlines()] == ["vms", "timeout"]
