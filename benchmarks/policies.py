"""How long the rules take to judge a stack: `python -m benchmarks.policies`.

A stack of n resources has n/4 VMs, a gate for every ten of them except for one ten in five, and guest work of which
each waits for the one before: the longest possible chain, so work has hundreds of VMs before it. The VMs without a gate
and most of the work break a rule. The properties are wrapped by the SDK, like those of a preview.

The first time is that of the rules alone. The second is that of the whole request of an engine: the running pack, its
socket, and the SDK, which decodes the stack again for each rule.

Ends with status 1 if 2000 resources with 500 VMs take a second or more either way, or if a time grows much faster
than the number of resources.
"""

from __future__ import annotations

import math
import sys
import time

from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import PolicyResource, StackValidationArgs, StackValidationPolicy
from pulumi_policy.deserialize import serialize_properties
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from lab import policy_runner
from pulumi_customization_gate.policies import POLICIES
from tests.unit.policies.stacks import COMMAND, GATE, VM, resource

SIZES = (500, 1000, 2000, 4000, 8000)
JUDGED_SIZE = 2000
JUDGED_SECONDS = 1.0
STEEPEST = 1.4
"""The largest exponent e of n^e that still counts as near linear: 1 is linear, 2 is quadratic."""
REPEATS = 3
CALL_SECONDS = 60
VMS_OF_A_GATE = 10


def stack_of(size: int) -> list[PolicyResource]:
    """Returns a stack of so many resources, a quarter of them VMs."""
    clone = {"templateUuid": "t", "customize": {"timeout": 0, "linuxOptions": {"hostName": UNKNOWN_STRING_VALUE}}}
    common = {"moid": UNKNOWN_STRING_VALUE, "uuid": UNKNOWN_STRING_VALUE, "guestId": "ubuntu64Guest", "clone": clone}
    vms = [resource(VM, f"vm-{at}", common | {"name": f"vm-{at}"}) for at in range(size // 4)]
    gates = {}
    for at in range(0, len(vms), VMS_OF_A_GATE):
        watched = vms[at : at + VMS_OF_A_GATE]
        if at // VMS_OF_A_GATE % 5 < 4:  # noqa: PLR2004 -- one ten in five goes without
            props = {"vms": [UNKNOWN_STRING_VALUE] * len(watched), "timeout": 1800}
            gates[at // VMS_OF_A_GATE] = resource(GATE, f"gate-{at}", props, by={"vms": watched})
    work: list[PolicyResource] = []
    while len(vms) + len(gates) + len(work) < size:
        at = len(work) % len(vms)
        by = {"connection": [vms[at], *work[-1:]]}
        if gate := gates.get(at // VMS_OF_A_GATE):
            by["triggers"] = [gate]
        work.append(resource(COMMAND, f"work-{len(work)}", {"connection": UNKNOWN_STRING_VALUE}, by=by))
    return [*work, *gates.values(), *vms]


def judge(resources: list[PolicyResource]) -> tuple[float, int]:
    """Returns the seconds that all the rules took together, the fastest of some runs, and the violations they found."""
    fastest = math.inf
    violations: list[str] = []
    for _ in range(REPEATS):
        violations.clear()
        started = time.perf_counter()
        for policy in (rule for rule in POLICIES if isinstance(rule, StackValidationPolicy)):
            policy.validate(StackValidationArgs(resources), lambda message, _urn=None: violations.append(message))
        fastest = min(fastest, time.perf_counter() - started)
    return fastest, len(violations)


def ask(analyzer: analyzer_pb2_grpc.AnalyzerStub, resources: list[PolicyResource]) -> float:
    """Returns the seconds until a running pack has answered, the fastest of some runs."""
    request = analyzer_pb2.AnalyzeStackRequest(resources=[_message(resource) for resource in resources])
    fastest = math.inf
    for _ in range(REPEATS):
        started = time.perf_counter()
        analyzer.AnalyzeStack(request, timeout=CALL_SECONDS)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def _message(resource: PolicyResource) -> analyzer_pb2.AnalyzerResource:
    properties = struct_pb2.Struct()
    properties.update(serialize_properties(resource.props))
    return analyzer_pb2.AnalyzerResource(
        type=resource.resource_type,
        name=resource.name,
        urn=resource.urn,
        properties=properties,
        provider=analyzer_pb2.AnalyzerProviderResource(type="pulumi:providers:any", urn="urn:any", name="any"),
        dependencies=[other.urn for other in resource.dependencies],
        propertyDependencies={
            key: analyzer_pb2.AnalyzerPropertyDependencies(urns=[other.urn for other in others])
            for key, others in resource.property_dependencies.items()
        },
    )


def main() -> int:
    """Prints a table and returns the exit status."""
    print("resources       VMs  violations  rules alone  whole question")
    alone, whole = {}, {}
    with policy_runner.running() as analyzer:
        for size in SIZES:
            resources = stack_of(size)
            alone[size], violations = judge(resources)
            whole[size] = ask(analyzer, resources)
            row = f"{len(resources):9}  {size // 4:8}  {violations:10}"
            print(f"{row}  {alone[size]:9.3f} s  {whole[size]:12.3f} s", flush=True)
    exponents = [_exponent(seconds) for seconds in (alone, whole)]
    print(f"the times grow as n^{exponents[0]:.2f} and n^{exponents[1]:.2f}")
    slow = max(alone[JUDGED_SIZE], whole[JUDGED_SIZE]) >= JUDGED_SECONDS
    return int(slow or max(exponents) > STEEPEST)


def _exponent(seconds: dict[int, float]) -> float:
    return math.log(seconds[SIZES[-1]] / seconds[SIZES[0]]) / math.log(SIZES[-1] / SIZES[0])


if __name__ == "__main__":
    sys.exit(main())
