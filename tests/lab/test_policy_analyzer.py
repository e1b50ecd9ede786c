"""The policy pack as its own process, asked over the engine's protocol and a real socket, without an engine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from lab import policy_runner
from lab.paths import ROOT, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
VM = "vsphere:index/virtualMachine:VirtualMachine"
GATE = "pulumi-python:dynamic/customization:CustomizationGate"
COMMAND = "command:remote:Command"
CALL_SECONDS = 30


@pytest.fixture(scope="module")
def pack() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    with policy_runner.running() as stub:
        yield stub


@pytest.fixture
def analyzer(pack: analyzer_pb2_grpc.AnalyzerStub) -> analyzer_pb2_grpc.AnalyzerStub:
    """Gives the pack without the configuration of an earlier test."""
    configure(pack)
    return pack


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def configure(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, **rules: tuple[analyzer_pb2.EnforcementLevel.ValueType, dict[str, Any]]
) -> None:
    """Configures rules, named with underscores, by enforcement level and properties."""
    policies = {
        name.replace("_", "-"): analyzer_pb2.PolicyConfig(enforcementLevel=level, properties=struct(properties))
        for name, (level, properties) in rules.items()
    }
    request = analyzer_pb2.ConfigureAnalyzerRequest(policyConfig=policies)
    assert empty_pb2.Empty() == analyzer.Configure(request, timeout=CALL_SECONDS)


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::shop::{kind}::{name}"


def resource(kind: str, name: str, properties: dict[str, Any], **by: list[str]) -> analyzer_pb2.AnalyzerResource:
    """Returns a resource as the engine sends it, `by` the URNs that its properties take values of."""
    return analyzer_pb2.AnalyzerResource(
        type=kind,
        urn=urn(kind, name),
        name=name,
        properties=struct(properties),
        dependencies=[other for others in by.values() for other in others],
        propertyDependencies={
            key: analyzer_pb2.AnalyzerPropertyDependencies(urns=others) for key, others in by.items()
        },
        provider=analyzer_pb2.AnalyzerProviderResource(type="pulumi:providers:any", urn=urn("any", "any"), name="any"),
    )


def vm() -> analyzer_pb2.AnalyzerResource:
    clone = {"customize": {"timeout": 0, "linuxOptions": {"hostName": UNKNOWN}}}
    return resource(VM, "web", {"name": UNKNOWN, "moid": UNKNOWN, "waitForGuestNetTimeout": 0, "clone": clone})


def gate(timeout: float = 1800) -> analyzer_pb2.AnalyzerResource:
    return resource(GATE, "gate", {"vms": [UNKNOWN], "timeout": timeout}, vms=[urn(VM, "web")])


def command(*after: str) -> analyzer_pb2.AnalyzerResource:
    return resource(COMMAND, "install", {"connection": {"host": "web.example.com"}}, connection=list(after))


def found(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, *resources: analyzer_pb2.AnalyzerResource
) -> list[tuple[str, str, int]]:
    """Returns rule, resource and enforcement level of every diagnostic."""
    response = analyzer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=resources), timeout=CALL_SECONDS)
    return [(item.policyName, item.urn.rpartition("::")[2], item.enforcementLevel) for item in response.diagnostics]


def test_describes_its_rules(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """The pack reports each rule's level and configuration schema to the engine."""
    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty(), timeout=CALL_SECONDS)
    assert info.name == "customization-gate"
    assert {
        policy.name: (policy.enforcementLevel, sorted(policy.configSchema.properties)) for policy in info.policies
    } == {
        "customized-vm-requires-gate": (analyzer_pb2.MANDATORY, ["allow", "exempt", "vmTypes"]),
        "guest-work-waits-for-gate": (analyzer_pb2.MANDATORY, ["allow", "exempt", "vmTypes", "workTypes"]),
        "address-comes-from-gate": (analyzer_pb2.MANDATORY, ["exempt", "vmTypes", "workTypes"]),
        "address-is-not-empty": (analyzer_pb2.MANDATORY, ["exempt", "workTypes"]),
        "gated-vm-does-not-wait-twice": (analyzer_pb2.ADVISORY, ["exempt", "vmTypes"]),
        "gate-timeout-is-sane": (analyzer_pb2.ADVISORY, ["bounds", "exempt", "vmTypes"]),
    }


def test_stops_a_stack_without_a_gate(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """A VM and work in its guest without a gate are two mandatory violations, each at its resource."""
    assert found(analyzer, vm(), command(urn(VM, "web"))) == [
        ("customized-vm-requires-gate", "web", analyzer_pb2.MANDATORY),
        ("guest-work-waits-for-gate", "install", analyzer_pb2.MANDATORY),
    ]


def test_passes_a_gated_stack_of_unknown_values(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """Unknown values neither hide a valid graph nor prevent a rule from running: there is no diagnostic."""
    assert found(analyzer, command(urn(VM, "web"), urn(GATE, "gate")), gate(), vm()) == []


def test_judges_by_the_graph_where_no_value_is_known(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """A stack of which nothing is known is judged by all the rules; none gives up on an unknown value."""
    unknown = resource(
        VM, "web", {"clone": UNKNOWN, "waitForGuestNetTimeout": UNKNOWN, "tags": UNKNOWN, "name": UNKNOWN}
    )
    watch = resource(GATE, "gate", {"vms": UNKNOWN, "timeout": UNKNOWN}, vms=[urn(VM, "web")])
    other = resource(VM, "db", {"clone": UNKNOWN})
    assert found(analyzer, unknown, watch, other, command(urn(VM, "db"))) == [
        ("customized-vm-requires-gate", "db", analyzer_pb2.MANDATORY),
        ("guest-work-waits-for-gate", "install", analyzer_pb2.MANDATORY),
        ("gated-vm-does-not-wait-twice", "web", analyzer_pb2.ADVISORY),
        ("gate-timeout-is-sane", "gate", analyzer_pb2.ADVISORY),
    ]


def test_stops_the_address_of_a_vm_in_preview_and_an_empty_one_before_the_work_is_created(
    analyzer: analyzer_pb2_grpc.AnalyzerStub,
) -> None:
    """The stack's graph shows the source of an unknown address; a known empty one is stopped whatever its source."""
    taken = {"connection": [urn(VM, "web")], "triggers": [urn(GATE, "gate")]}
    work = resource(COMMAND, "install", {"connection": {"host": UNKNOWN}}, **taken)
    assert found(analyzer, work, gate(), vm()) == [("address-comes-from-gate", "install", analyzer_pb2.MANDATORY)]
    for host, message in (("10.0.0.1", []), (UNKNOWN, []), ("", ["address-is-not-empty"])):
        request = analyzer_pb2.AnalyzeRequest(
            type=COMMAND, urn=urn(COMMAND, "install"), name="install", properties=struct({"connection": {"host": host}})
        )
        response = analyzer.Analyze(request, timeout=CALL_SECONDS)
        assert [item.policyName for item in response.diagnostics] == message


def test_takes_enforcement_from_the_configuration(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """A level in the configuration replaces the built-in one; a disabled rule does not run."""
    configure(
        analyzer,
        customized_vm_requires_gate=(analyzer_pb2.ADVISORY, {}),
        guest_work_waits_for_gate=(analyzer_pb2.DISABLED, {}),
    )
    assert found(analyzer, vm(), command(urn(VM, "web"))) == [
        ("customized-vm-requires-gate", "web", analyzer_pb2.ADVISORY)
    ]


def test_takes_exemptions_and_bounds_from_the_configuration(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """Each rule has a configuration of its own."""
    exempt = {"exempt": [{"name": "we?", "reason": "cloud-init"}]}
    configure(
        analyzer,
        customized_vm_requires_gate=(analyzer_pb2.MANDATORY, exempt),
        gate_timeout_is_sane=(analyzer_pb2.MANDATORY, {"bounds": {"other": {"minimum": 10, "maximum": 20}}}),
    )
    alone = resource(GATE, "gate", {"vms": ["vm-1"], "timeout": 30})
    assert found(analyzer, vm(), alone) == [("gate-timeout-is-sane", "gate", analyzer_pb2.MANDATORY)]


def test_says_that_a_pack_did_not_start(tmp_path: Path) -> None:
    """A pack that ends before it serves is an error, not a wait."""
    (tmp_path / "__main__.py").write_text("print('no port')")
    with pytest.raises(LabError, match="did not start"), policy_runner.running(tmp_path):
        pass


def test_fails_on_a_configuration_that_means_nothing(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    """A misspelt key fails the call, so that the engine stops the update, with the keys there are."""
    configure(analyzer, gate_timeout_is_sane=(analyzer_pb2.ADVISORY, {"bound": {}}))
    with pytest.raises(
        grpc.RpcError, match="gate-timeout-is-sane: expected only the keys bounds, exempt, vmTypes, got bound"
    ):
        found(analyzer, vm())


def test_the_pack_starts_in_the_environment_that_it_names_although_none_is_active() -> None:
    """The engine runs the Python of `virtualenv`, seen from the pack, which is the environment of the example too."""
    runtime = yaml.safe_load((policy_runner.PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))["runtime"]
    program = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["runtime"]
    environment = policy_runner.PACK / runtime["options"]["virtualenv"]
    assert (ROOT / program["options"]["virtualenv"]).resolve() == environment.resolve()

    command = [environment / "bin" / "python", "-u", "-m", "pulumi.policy", "127.0.0.1:1", policy_runner.PACK]
    plain = {"PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, cwd=ROOT.parent, env=plain, stdout=subprocess.PIPE) as pack:
        try:
            assert policy_runner._port(pack) > 0
        finally:
            pack.kill()
