"""The gate on the real engine, against a simulated vCenter in which customization takes time."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere
import pytest

from lab.fault_proxy import proxy_for
from lab.order_probe import OrderProbe
from pulumi_customization_gate import CustomizationGate
from tests.lab.vcenter_fixture import running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.stack.engine import Engine, Stack

    Program = Callable[[], None]

SUCCEEDED, FAILED = "CustomizationSucceeded", "CustomizationFailed"
TYPE = "pulumi-python:dynamic/customization:CustomizationGate"


def gate(vms: Sequence[str] | Mapping[str, str], work: Mapping[str, str] | None = None, **arguments: Any) -> Program:
    """Returns a program of one gate, and of a probe behind it for each VM that `work` names."""

    def program() -> None:
        made = CustomizationGate("gate", vms, **arguments)
        for name, moid in (work or {}).items():
            OrderProbe(name, vm=made.after(moid))
        pulumi.export("ready", made.ready)

    return program


def outputs(stack: Stack) -> dict[str, Any]:
    return dict(stack.resource("gate")["outputs"])


def without_numbers(text: str) -> str:
    """Returns a text whose times of day and lengths of time are the same in every run."""
    text = re.sub(r"\d\d:\d\d:\d\dZ", "12:00:00Z", text)
    return re.sub(r"\b[\d.]+ s\b", "1 s", text)


# ---- the whole story, with the VMs in the program


def fleet(names: Sequence[str]) -> Program:
    """Returns a program that clones VMs, holds the work on each of them at one gate, and exports its outputs."""

    def program() -> None:
        datacenter = vsphere.get_datacenter(name="DC0")
        cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
        datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
        template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
        vms = {
            name: vsphere.VirtualMachine(
                name,
                name=name,
                resource_pool_id=cluster.resource_pool_id,
                datastore_id=datastore.id,
                disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
                clone=vsphere.VirtualMachineCloneArgs(
                    template_uuid=template.id,
                    customize=vsphere.VirtualMachineCloneCustomizeArgs(
                        timeout=0,
                        linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                            host_name=name, domain="example.com"
                        ),
                        network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
                    ),
                ),
                wait_for_guest_net_timeout=0,
                opts=pulumi.ResourceOptions(delete_before_replace=True),
            )
            for name in names
        }
        made = CustomizationGate("gate", vms=vms)
        for name, vm in vms.items():
            OrderProbe(f"work-{name}", vm=made.after(vm.moid))
        pulumi.export("results", made.results)
        pulumi.export("opened_at", made.opened_at)

    return program


def test_a_vm_is_replaced_and_only_its_work_runs_again(engine: Engine) -> None:
    """Previewed with unknown IDs, brought up, one VM replaced: the others keep verdict and work."""
    names = [engine.unique("web") for _ in range(3)]
    works = [f"work-{name}" for name in names]
    stack = engine.stack(fleet(names))

    preview = stack.preview()
    assert preview.steps == {name: ["create"] for name in (*names, "gate", *works)}, preview.output

    up = stack.up()
    assert up.succeeded, up.output
    before = stack.outputs["results"]
    ran = {work: stack.resource(work)["outputs"]["ran_at"] for work in works}
    for name in names:
        result = before[name]
        times = [result["powered_on_at"], result["started_at"], result["completed_at"], stack.outputs["opened_at"]]
        assert times == sorted(times), result
        assert result["completed_at"][:19] <= ran[f"work-{name}"][:19]
        assert (result["status"], result["evidence"], result["host_name"]) == (SUCCEEDED, "event", name)
        assert result["moid"] == stack.resource(name)["outputs"]["moid"]

    replaced, kept = names[1], [names[0], names[2]]
    again = stack.up(replace=[stack.resource(replaced)["urn"]])
    assert again.succeeded, again.output
    assert again.changes.keys() == {replaced, "gate", f"work-{replaced}"}, again.output
    assert again.changes["gate"] == ["update"]
    after = stack.outputs["results"]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after[replaced]["moid"] != before[replaced]["moid"]
    assert after[replaced]["powered_on_at"] > before[replaced]["completed_at"]
    assert {work: stack.resource(work)["outputs"]["ran_at"] == ran[work] for work in works} == {
        work: work != f"work-{replaced}" for work in works
    }

    assert stack.destroy().succeeded


# ---- what is a change of a gate, and what it costs


def test_an_opened_gate_costs_nothing(engine: Engine) -> None:
    """Another up, another order, longer times, a refresh and a destroy of an open gate make no call to vCenter."""
    a, b = (engine.vm(engine.unique("web")) for _ in range(2))
    stack = engine.stack(gate([a, b], work={"work": a}))
    first = stack.up()
    assert first.succeeded, first.output
    assert "does not allow" not in first.output
    opened = outputs(stack)
    assert opened["ready"] is True
    assert opened["wait_seconds"] > 0
    assert stack.resource("gate")["type"] == TYPE
    engine.lab.reset_stats()

    same = stack.up()
    assert same.changes == {}, same.output
    reordered = stack.up(gate([b, a], work={"work": a}))
    assert reordered.changes == {}, reordered.output
    longer = stack.up(gate([b, a], work={"work": a}, timeout=3600, start_timeout=900, settle=60))
    assert longer.changes == {"gate": ["update"]}, longer.output
    assert outputs(stack) == {**opened, "timeout": 3600, "start_timeout": 900, "settle": 60, "vms": [b, a]}
    refreshed = stack.refresh()
    assert refreshed.changes == {}, refreshed.output
    assert stack.destroy().succeeded
    assert engine.lab.stats()["calls"] == {}


def test_vms_come_and_go_though_the_server_forgets(engine: Engine) -> None:
    """After a purge only an added VM is judged, a removed one is dropped without a call; triggers judge all."""
    names = [engine.unique("web") for _ in range(3)]
    a, b = (engine.vm(name) for name in names[:2])
    stack = engine.stack(gate([a, b]))
    assert stack.up().succeeded
    before = outputs(stack)["results"]
    engine.lab.purge_events()
    c = engine.vm(names[2])

    added = stack.up(gate([a, b, c]))
    assert added.succeeded, added.output
    assert added.changes == {"gate": ["update"]}
    grown = outputs(stack)
    assert {name: grown["results"][name] for name in names[:2]} == before
    assert grown["statuses"] == dict.fromkeys(names, SUCCEEDED)
    assert grown["results"][names[2]]["evidence"] == "event"

    engine.lab.reset_stats()
    removed = stack.up(gate([a, c]))
    assert removed.changes == {"gate": ["update"]}, removed.output
    assert engine.lab.stats()["calls"] == {}
    shrunk = outputs(stack)
    assert shrunk["results"] == {name: grown["results"][name] for name in (names[0], names[2])}
    assert (shrunk["ready"], shrunk["opened_at"]) == (True, grown["opened_at"])

    judged = stack.up(gate([a, c], triggers={"image": "2026-11"}))
    assert judged.succeeded, judged.output
    assert judged.changes == {"gate": ["update"]}
    assert {name: result["evidence"] for name, result in outputs(stack)["results"].items()} == {
        names[0]: "state",
        names[2]: "event",
    }


# ---- failures


def test_a_failure_is_reported_kept_and_fixed(engine: Engine) -> None:
    """A failed customization is reported in full and kept in state; the next runs judge the failed VM alone."""
    names = [engine.unique("web") for _ in range(3)]
    engine.lab.plan(
        names[1],
        outcome="CustomizationSysprepFailed",
        message="Sysprep gave up on the domain\n\u202eEXAMPLE",
        logLocation="C:\\Windows\\Temp\\vmware-imc",
    )
    a, b, c = (engine.vm(name) for name in names)
    stack = engine.stack(gate({"web-a": a, "web-b": b, "web-c": c}, work={"work-a": a, "work-b": b}))

    failed = stack.up()
    assert not failed.succeeded
    assert failed.steps == {"gate": ["create"]}
    report = f"""\
customization failed on 1 of 3 VMs after 1 s
  web-b ({names[1]}, {b})  CustomizationSysprepFailed at 12:00:00Z: Sysprep gave up on the domain EXAMPLE; \
guest log: C:\\Windows\\Temp\\vmware-imc
  web-a ({names[0]}, {a})  CustomizationSucceeded in 1 s
  web-c ({names[2]}, {c})  CustomizationSucceeded in 1 s
The customization specification was consumed by this attempt. Fix it, then replace web-b: `pulumi up --replace URN`; \
`pulumi stack --show-urns` lists the URN of each VM."""
    assert report in without_numbers(failed.errors), failed.errors
    assert "Traceback" not in failed.errors
    closed = outputs(stack)
    assert closed["statuses"] == {"web-a": SUCCEEDED, "web-b": FAILED, "web-c": SUCCEEDED}
    assert (closed["ready"], closed["opened_at"]) == (False, "")
    assert closed["results"]["web-b"]["failure"]["event"] == "CustomizationSysprepFailed"

    rerun = stack.up()
    assert not rerun.succeeded
    assert rerun.steps == {"gate": ["update"]}
    assert re.search(r"customization failed on 1 of 3 VMs after .* s; 2 were already ready", rerun.errors)
    still = outputs(stack)
    assert {key: still["results"][key] for key in ("web-a", "web-c")} == {
        key: closed["results"][key] for key in ("web-a", "web-c")
    }

    new = engine.vm(engine.unique("web"))
    fixed = stack.up(gate({"web-a": a, "web-b": new, "web-c": c}, work={"work-a": a, "work-b": new}))
    assert fixed.succeeded, fixed.output
    assert fixed.changes == {"gate": ["update"], "work-a": ["create"], "work-b": ["create"]}
    opened = outputs(stack)
    assert opened["results"]["web-b"]["moid"] == new
    assert {key: opened["results"][key] for key in ("web-a", "web-c")} == {
        key: closed["results"][key] for key in ("web-a", "web-c")
    }
    assert stack.up().changes == {}


def test_a_time_out_shows_what_was_known_and_can_be_reported_instead(engine: Engine) -> None:
    """The deadline fails the gate with a diagnosis; with on_failure="report" the gate opens, and stays as it is."""
    slow, good = engine.unique("web"), engine.unique("web")
    vms = {"slow": engine.vm(slow, outcome="never-ends"), "good": engine.vm(good)}
    stack = engine.stack(gate(vms, work={"work": vms["good"]}, timeout=1.5))

    late = stack.up()
    assert not late.succeeded
    assert "customization did not finish on 1 of 2 VMs after 1" in late.errors
    assert f"slow ({slow}, {vms['slow']})  Timeout in CustomizationStarted" in late.errors
    assert "likely cause: the customization does not end in the guest" in late.errors
    assert (
        "slow may still become ready: run `pulumi up` again to resume waiting, and increase `timeout` to wait longer."
        in late.errors
    )
    assert outputs(stack)["statuses"] == {"slow": "CustomizationStarted", "good": SUCCEEDED}

    reported = stack.up(gate(vms, work={"work": vms["good"]}, timeout=1.5, on_failure="report"))
    assert reported.succeeded, reported.output
    assert reported.changes == {"gate": ["update"], "work": ["create"]}
    report = outputs(stack)
    assert (report["ready"], report["statuses"]["slow"]) == (False, "CustomizationStarted")
    assert report["opened_at"] > report["results"]["good"]["completed_at"]
    assert stack.up().changes == {}


def test_a_vm_without_a_requested_customization(engine: Engine) -> None:
    """With expect="required" it fails early and says so; "optional" lets it pass; "required" again judges it again."""
    name = engine.unique("web")
    plain = engine.vm(name, specification=False)
    stack = engine.stack(gate([plain]))

    began = time.monotonic()
    refused = stack.up()
    assert time.monotonic() - began < 60
    assert not refused.succeeded
    assert f"{name} ({plain})  NoCustomization" in refused.errors
    advice = f'Clone {name} again with a customization specification, or set `expect` to "optional"'
    assert advice in refused.errors
    assert outputs(stack)["statuses"] == {name: "NotCustomized"}

    passed = stack.up(gate([plain], expect="optional"))
    assert passed.succeeded, passed.output
    assert (outputs(stack)["statuses"], outputs(stack)["ready"]) == ({name: "NotCustomized"}, True)

    assert not stack.up(gate([plain], expect="required")).succeeded


def test_a_customization_that_never_starts_fails_early(engine: Engine) -> None:
    """After start_timeout, long before timeout, the gate reports what prevents a customization from starting."""
    name, good = engine.unique("web"), engine.unique("web")
    idle, fine = engine.vm(name, outcome="never-starts"), engine.vm(good)
    stack = engine.stack(gate([idle, fine], timeout=600, start_timeout=1))

    late = stack.up()
    assert not late.succeeded
    assert f"{name} ({idle})  StartTimeout in CustomizationNotStarted" in late.errors
    assert "likely cause: VMware Tools are running but do not apply the specification" in late.errors
    assert outputs(stack)["wait_seconds"] < 30
    assert outputs(stack)["statuses"] == {name: "CustomizationNotStarted", good: SUCCEEDED}


def test_an_id_that_does_not_exist_fails_by_name_at_once(engine: Engine) -> None:
    """A reference that names nothing ends the wait at once; what is known of the other VMs is kept."""
    good, slow = engine.unique("web"), engine.unique("web")
    done, going = engine.vm(good), engine.vm(slow, duration="1h")
    stack = engine.stack(gate({"good": done, "slow": going, "lost": "vm-999999", "typo": "/DC0/vm/nobody"}))

    failed = stack.up()
    assert not failed.succeeded
    assert "2 of 4 VMs not found" in failed.errors
    server = engine.lab.server
    assert f"lost (vm-999999)  NotFound: {server} has no virtual machine vm-999999 that " in failed.errors
    assert f"typo (/DC0/vm/nobody)  NotFound: {server} has no virtual machine '/DC0/vm/nobody' that " in failed.errors
    assert "Correct the reference of lost and typo in `vms`, then run `pulumi up` again." in failed.errors
    kept = outputs(stack)
    assert kept["statuses"]["lost"] == "VmRemoved"
    assert kept["results"]["slow"]["moid"] == going
    assert kept["wait_seconds"] < 20


# ---- which VM was judged


def test_a_vm_replaced_behind_its_path_is_judged(engine: Engine) -> None:
    """A path costs an up without changes one login and one read; a VM that was replaced there is judged."""
    name = engine.unique("web")
    first = engine.vm(name)
    program = gate({"web": f"/DC0/vm/{name}"}, work={"work": first})
    stack = engine.stack(program)
    up = stack.up()
    assert up.succeeded, up.output
    result = outputs(stack)["results"]["web"]
    assert (result["moid"], len(result["instance_uuid"])) == (first, 36)

    engine.lab.reset_stats()
    assert stack.up().changes == {}
    calls = engine.lab.stats()["calls"]
    assert (calls["Login"], calls["RetrievePropertiesEx"]) == (1, 1), calls
    assert "FindByInventoryPath" not in calls

    engine.lab.power(name, "off")
    engine.lab.destroy(name)
    second = engine.vm(name, outcome="CustomizationSysprepFailed", message="no domain")
    changed = gate({"web": f"/DC0/vm/{name}"}, work={"work": second})
    preview = stack.preview(changed)
    assert preview.changes["gate"] == ["update"], preview.output
    failed = stack.up(changed)
    assert not failed.succeeded
    assert "no domain" in failed.errors
    assert outputs(stack)["results"]["web"]["moid"] == second
    assert stack.resource("work")["outputs"]["vm"] == first


def test_an_unreachable_vcenter_is_a_warning_of_a_preview(engine: Engine) -> None:
    """A preview that cannot look up a path warns that it did not compare the VMs, and shows no change."""
    name = engine.unique("web")
    engine.vm(name)
    stack = engine.stack(gate({"web": f"/DC0/vm/{name}"}))
    with proxy_for(engine.lab.server) as proxy:
        stack.configure(vsphereServer=proxy.address, thumbprint=engine.lab.thumbprint)
        assert stack.up().succeeded
        proxy.refuse()
        proxy.reset()
        preview = stack.preview()
    assert preview.succeeded, preview.output
    assert preview.changes == {}
    assert "cannot check whether the references in vms still name the same VMs" in preview.output


class VmOfAnotherVcenter(pulumi.ComponentResource):
    """A VM with the managed object ID of one on the lab's vCenter, and another UUID."""

    def __init__(self, moid: str) -> None:
        super().__init__("test:index:Vm", "vm")
        self.moid = pulumi.Output.from_input(moid)
        self.uuid = pulumi.Output.from_input("4237ab16-53f0-41c3-8a40-d8cd21c7a2d2")


def test_a_gate_on_another_vcenter_than_its_vm_is_found_out(engine: Engine) -> None:
    """The VM with the managed object ID of a resource and another UUID is not the resource: nothing is judged."""
    moid = engine.vm(engine.unique("web"))

    def program() -> None:
        CustomizationGate("gate", {"web": VmOfAnotherVcenter(moid)})

    up = engine.stack(program).up()
    assert not up.succeeded
    assert "web: expected the VM with the UUID 4237ab16-53f0-41c3-8a40-d8cd21c7a2d2" in up.errors


def test_work_alone_does_not_pass_a_gate_that_has_not_judged_its_vm(engine: Engine) -> None:
    """With --target of the work alone the gate stays as it was, and `after` refuses the VM that it does not know."""
    old, new = engine.vm(engine.unique("web")), engine.vm(engine.unique("web"), outcome="never-ends")
    stack = engine.stack(gate({"web": old}, work={"work": old}))
    assert stack.up().succeeded

    replaced = gate({"web": new}, work={"work": new}, timeout=2)
    refused = stack.up(replaced, target=[stack.resource("work")["urn"]])
    assert not refused.succeeded
    assert f"{new} is in the vms of this gate, and the gate has not judged it" in refused.output + refused.errors
    assert f"--target '{stack.resource('gate')['urn']}'" in refused.output + refused.errors
    assert stack.resource("work")["outputs"]["vm"] == old


def test_a_failure_that_was_repaired_is_accepted(engine: Engine) -> None:
    """The gate opens with the reason in its outputs and in a warning; the next run changes nothing."""
    name = engine.unique("web")
    a = engine.vm(name, outcome="CustomizationSysprepFailed", message="no domain")
    stack = engine.stack(gate({"web": a}, work={"work": a}))
    assert not stack.up().succeeded

    accept = {"web": "joined by hand, ticket 4711"}
    accepted = stack.up(gate({"web": a}, work={"work": a}, accept=accept))
    assert accepted.succeeded, accepted.output
    assert accepted.changes == {"gate": ["update"], "work": ["create"]}
    assert re.search(r"web: the customization failed at .*Z, accepted: joined by hand, ticket 4711", accepted.output)
    opened = outputs(stack)
    assert (opened["ready"], opened["statuses"]) == (True, {"web": FAILED})
    assert opened["results"]["web"]["accepted"] == accept["web"]
    assert opened["results"]["web"]["failure"]["message"] == "no domain"
    assert stack.up().changes == {}

    misspelled = stack.preview(gate({"web": a}, accept={"wen": "joined by hand"}))
    assert "accept: expected keys of the gate's vms, got 'wen'; did you mean 'web'?" in misspelled.errors


# ---- another server


def test_another_server_is_another_gate(engine: Engine) -> None:
    """A change of config_namespace replaces the gate; all keys are in that namespace then."""
    a = engine.vm(engine.unique("web"))
    lab = engine.lab
    east = {
        "east:vsphereServer": lab.server,
        "east:user": lab.user,
        "east:password": lab.password,
        "east:thumbprint": lab.thumbprint,
    }
    stack = engine.stack(gate([a]), config=east)
    assert stack.up().succeeded
    before = stack.resource("gate")["id"]

    moved = stack.up(gate([a], config_namespace="east"))
    assert moved.succeeded, moved.output
    assert sorted(moved.changes["gate"]) == ["create-replacement", "delete-replaced", "replace"]
    assert stack.resource("gate")["id"] != before


def test_another_address_is_another_server_by_its_uuid(engine: Engine, tmp_path: Path) -> None:
    """The same vCenter by another name keeps the verdict; on another vCenter, the VM with the ID is judged."""
    a = engine.vm(engine.unique("web"))
    stack = engine.stack(gate({"web": a}))
    assert stack.up().succeeded
    before = outputs(stack)

    stack.configure(vsphereServer=engine.lab.server.replace("127.0.0.1", "localhost"), thumbprint=engine.lab.thumbprint)
    alias = stack.up()
    assert alias.succeeded, alias.output
    assert alias.changes == {"gate": ["update"]}
    after = outputs(stack)
    assert (after["results"], after["opened_at"]) == (before["results"], before["opened_at"])
    assert (before["server"]["id"], before["server"]["address"]) == (after["server"]["id"], engine.lab.server)
    assert stack.up().changes == {}

    with running(tmp_path) as other:
        lab = other.lab
        stack.configure(vsphereServer=lab.server, password=lab.password, thumbprint=lab.thumbprint)
        elsewhere = stack.up()
    assert not elsewhere.succeeded
    assert f"web ({a})  NotFound: {lab.server} has no virtual machine {a}" in elsewhere.errors
    assert outputs(stack)["ready"] is False


# ---- bad input


NONSENSE: dict[str, Any] = {
    "vms": ["vm-1", "vm-1", "web 1"],
    "platform": "vspere",
    "config_namespace": "a:b",
    "timeout": -1,
    "start_timeout": "soon",
    "settle": -1,
    "expect": "maybe",
    "ready_when": "later",
    "on_failure": "ignore",
    "triggers": "x",
}
REFERENCES = (
    "a managed object ID (vm-87), an instance or BIOS UUID (4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e), "
    "an inventory path (/Datacenter/vm/folder/web-1), or a resource with a moid"
)
VMS = (
    "a list of references, or a map of your own keys to them, for example "
    '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]'
)


def problems(errors: str) -> list[str]:
    """Returns the sentences about a resource's inputs; the engine puts the resource's name before the first."""
    lines = (re.sub(r"^.* has a problem: ", "", line.strip()) for line in errors.splitlines())
    return [line for line in lines if ": expected " in line]


def test_invalid_input_is_refused_at_preview(engine: Engine) -> None:
    """A preview names everything that is wrong with a gate's arguments, each with what is expected."""
    stack = engine.stack(gate(**NONSENSE))
    engine.lab.reset_stats()

    refused = stack.preview()
    assert not refused.succeeded
    hidden = "(not shown, it may be a secret)"
    assert problems(refused.errors) == [
        f"vms[2]: expected {REFERENCES}, got 'web 1'",
        "vms[1]: expected each VM once, got 'vm-1'; vms[0] is the same VM",
        "platform: expected 'vsphere' or 'cloud_director', got 'vspere'; did you mean 'vsphere'?",
        "config_namespace: expected a namespace of stack config without a colon, for example \"east\", got 'a:b'",
        'timeout: expected 1 or more seconds or a duration such as "30m", got -1',
        "start_timeout: expected a positive number of seconds or a duration such as \"10m\", got 'soon'",
        "expect: expected 'required' or 'optional', got 'maybe'",
        "ready_when: expected 'customized' or 'guest_operations', got 'later'",
        'settle: expected 0 or more seconds or a duration such as "30s", got -1',
        "on_failure: expected 'fail' or 'report', got 'ignore'",
        f'triggers: expected a map or a list of anything, for example {{"image": "2026-11"}}, got a string {hidden}',
    ]

    impatient = stack.preview(gate([], timeout=600, start_timeout=700))
    assert problems(impatient.errors) == [
        f"vms: expected {VMS}, got []",
        "start_timeout: expected a time that is not longer than timeout (600), got 700",
    ]
    assert engine.lab.stats()["calls"] == {}


def test_missing_settings_are_named_by_key_and_variable(engine: Engine) -> None:
    """At preview, a missing setting is reported with its key, its variable and a command; a variable is enough."""
    missing: dict[str, str | None] = {"vsphere:vsphereServer": None, "vsphere:user": None, "vsphere:password": None}
    refused = engine.stack(gate(["vm-1"]), config=missing).preview()
    assert not refused.succeeded
    assert (
        "resource 'gate' has a problem: missing `vsphere:vsphereServer` or VSPHERE_SERVER, `vsphere:user` or "
        "VSPHERE_USER, `vsphere:password` or VSPHERE_PASSWORD, for example: "
        "pulumi config set vsphere:vsphereServer vcenter.example.com; "
        "pulumi config set vsphere:user administrator@vsphere.local; "
        "pulumi config set vsphere:password --secret"
    ) in refused.errors, refused.errors

    variables = {
        "VSPHERE_SERVER": engine.lab.server,
        "VSPHERE_USER": engine.lab.user,
        "VSPHERE_PASSWORD": engine.lab.password,
    }
    stack = engine.stack(gate([engine.vm(engine.unique("web"))]), config=missing, environment=variables)
    assert stack.up().succeeded


def test_a_wrong_password_is_sent_once(engine: Engine) -> None:
    """Three gates of one stack send a wrong password once between them, and say what to correct."""
    moid = engine.vm(engine.unique("web"))

    def program() -> None:
        for number in range(3):
            CustomizationGate(f"gate-{number}", [moid])

    engine.lab.reset_stats()
    refused = engine.stack(program, config={"vsphere:password": "wrong-" + engine.unique("password")}).up()
    assert not refused.succeeded
    assert engine.lab.stats()["logins"] == {"ok": 0, "failed": 1}
    assert f"{engine.lab.server} refused the user name or password of {engine.lab.user}" in refused.errors
    assert "Traceback" not in refused.errors


# ---- secrets


def leaks(stack: Stack, texts: Sequence[str], secret: str) -> list[str]:
    """Returns which of the places contain a secret in plain text."""
    places = {"state": json.dumps(stack.resources), **{str(number): text for number, text in enumerate(texts)}}
    return [place for place, text in places.items() if secret in text]


@pytest.mark.parametrize("outcome", ["succeeded", "CustomizationFailed"])
def test_no_secret_is_reported_or_kept(engine: Engine, outcome: str) -> None:
    """Neither the password nor a secret trigger is in state, output or events, however the wait ends."""
    secret, password = "the-secret-of-a-trigger", engine.lab.password
    moid = engine.vm(engine.unique("web"), outcome=outcome)
    leak: list[str] = []

    def program() -> None:
        CustomizationGate("gate", [moid], triggers={"token": pulumi.Output.secret(secret)})
        for number, text in enumerate(leak):
            OrderProbe(f"leak-{number}", vm=text)

    stack = engine.stack(program)
    reported = []
    for result in (stack.preview(), stack.up(), stack.up(), stack.refresh()):
        assert result.events
        reported += [result.output, *(repr(event) for event in result.events)]
    assert outputs(stack)["triggers"].keys() == {"token"}
    assert leaks(stack, reported, secret) == []
    assert leaks(stack, reported, password) == []

    leak += [secret, password]
    planted = stack.up()
    reported = [planted.output, *(repr(event) for event in planted.events)]
    assert leaks(stack, reported, secret) != []
    assert leaks(stack, reported, password) != []


# ---- the log


def test_the_log_is_shown_where_it_is_enabled_and_holds_no_secret(engine: Engine) -> None:
    """CUSTOMIZATION_GATE_LOG=debug shows login, long poll and verdict among the diagnostics, and no password."""
    moid = engine.vm(engine.unique("web"))
    shown = engine.stack(gate([moid]), environment={"CUSTOMIZATION_GATE_LOG": "debug"}).up()
    silent = engine.stack(gate([moid])).up()

    assert (shown.succeeded, silent.succeeded) == (True, True), shown.output
    expected = [
        f"pulumi_customization_gate.vsphere.session: logged in to {engine.lab.server} as {engine.lab.user}",
        "pulumi_customization_gate.vsphere.event_listener: event collector for the whole inventory",
        f"pulumi_customization_gate.core.tracking: {moid}: CustomizationSucceeded",
    ]
    assert [line for line in expected if line not in shown.output] == []
    assert "pulumi_customization_gate." not in silent.output
    assert engine.lab.password not in shown.output
