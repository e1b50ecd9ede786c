"""The rules of the policy pack, each with what it lets pass, what it stops, what is exempt and what is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy import (
    EnforcementLevel,
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from pulumi_customization_gate import CustomizationGate, policies
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.arguments import DEFAULT_TIMEOUT
from pulumi_customization_gate.policies.graph import WaitGraph

UNKNOWN = UNKNOWN_STRING_VALUE
VM = "vsphere:index/virtualMachine:VirtualMachine"
GATE = "pulumi-python:dynamic/customization:CustomizationGate"
SCRIPT = "pulumi-python:dynamic/customization:GuestScript"
FILE = "pulumi-python:dynamic/customization:GuestFile"
COMMAND = "command:remote:Command"
LINUX = {"linuxOptions": {"hostName": "web", "domain": "lab"}, "timeout": 0}


def provider(kind: str, **props: Any) -> PolicyProviderResource:
    urn = f"urn:pulumi:dev::shop::pulumi:providers:{kind}::{kind}"
    return PolicyProviderResource(f"pulumi:providers:{kind}", unknown_checking_proxy(props), urn, kind)


def resource(
    kind: str,
    name: str,
    props: dict[str, Any] | None = None,
    *,
    after: list[PolicyResource] | None = None,
    by: dict[str, list[PolicyResource]] | None = None,
    parent: PolicyResource | None = None,
    provided_by: PolicyProviderResource | None = None,
) -> PolicyResource:
    """Returns a resource as the SDK hands it to a rule: `after` by an option, `by` through the values of properties."""
    options = PolicyResourceOptions(
        protect=False,
        ignore_changes=[],
        delete_before_replace=None,
        aliases=[],
        custom_timeouts=PolicyCustomTimeouts(0, 0, 0),
        additional_secret_outputs=[],
        parent=parent and parent.urn,
    )
    dependencies = [*(after or []), *(other for others in (by or {}).values() for other in others)]
    custom = provided_by or (None if kind.startswith(("shop:", "pulumi:", "customization-gate:")) else provider("any"))
    return PolicyResource(
        kind,
        unknown_checking_proxy(props or {}),
        f"urn:pulumi:dev::shop::{kind}::{name}",
        name,
        options,
        custom,
        parent,
        dependencies,
        by or {},
    )


def machine(name: str = "web", customize: Any = LINUX, **props: Any) -> PolicyResource:
    options = {key: props.pop(key) for key in ("parent", "after", "by") if key in props}
    clone = {"templateUuid": "t"} | ({} if customize is None else {"customize": customize})
    known = {"name": name, "moid": UNKNOWN, "uuid": UNKNOWN, "waitForGuestNetTimeout": 0, "clone": clone}
    return resource(VM, name, known | props, **options)


def gate(*vms: PolicyResource, name: str = "gate", **props: Any) -> PolicyResource:
    return resource(GATE, name, {"vms": [UNKNOWN] * len(vms)} | props, by={"vms": list(vms)})


def judge(policy: StackValidationPolicy, *resources: PolicyResource, **config: Any) -> list[tuple[str, str]]:
    """Returns name and message of every violation. The order of resources, arbitrary in the engine, is turned round."""
    found: list[tuple[str, str]] = []
    policy.validate(
        StackValidationArgs(list(reversed(resources)), config),
        lambda message, urn=None: found.append((str(urn).rpartition("::")[2], message)),
    )
    return found


def violators(policy: StackValidationPolicy, *resources: PolicyResource, **config: Any) -> list[str]:
    return [name for name, _ in judge(policy, *resources, **config)]


class TestCustomizedVmRequiresGate:
    rule = policies.CUSTOMIZED_VM_REQUIRES_GATE

    def test_stops_a_customized_machine_without_a_gate(self) -> None:
        """The violation names the machine, says why and gives the line to write."""
        [(name, message)] = judge(self.rule, machine("web-0"))
        assert name == "web-0"
        assert message == (
            '"web-0" must be watched by a CustomizationGate: it is customized, and whatever depends on it can run '
            "before its guest is ready.\n"
            'Write: gate = CustomizationGate("web-0-gate", vms=[web_0.moid])'
        )

    def test_names_a_gate_that_could_watch_the_machine(self) -> None:
        """Where the stack has a gate, the line adds the machine to it."""
        other = machine("db")
        [(_, message)] = judge(self.rule, machine(), other, gate(other, name="all"))
        assert 'Write: add web.moid to the vms of CustomizationGate "all", or gate = ' in message

    @pytest.mark.parametrize(
        "clone",
        [
            pytest.param({"customize": {}}, id="an empty customization"),
            pytest.param({"customizationSpec": {"id": "linux"}}, id="a specification of vCenter"),
            pytest.param({"customize": UNKNOWN}, id="an unknown customization"),
            pytest.param(UNKNOWN, id="an unknown clone"),
            pytest.param([{"customize": [{"timeout": 0}]}], id="blocks as lists"),
        ],
    )
    def test_takes_for_customized(self, clone: Any) -> None:
        """Whatever asks for a customization counts, and so does what a preview cannot tell."""
        assert violators(self.rule, machine(clone=clone)) == ["web"]

    def test_says_when_it_cannot_tell(self) -> None:
        """A customization that is unknown in preview is called unknown."""
        [(_, message)] = judge(self.rule, machine(clone=UNKNOWN))
        assert "whether it is customized is not known before the update" in message

    @pytest.mark.parametrize(
        "clone",
        [
            pytest.param({"templateUuid": "t"}, id="a plain clone"),
            pytest.param({"customize": None}, id="null"),
            pytest.param({"customize": []}, id="no block"),
            pytest.param(None, id="no clone"),
        ],
    )
    def test_leaves_an_uncustomized_machine_alone(self, clone: Any) -> None:
        """A machine without a customization needs no gate."""
        assert violators(self.rule, machine(clone=clone)) == []

    def test_judges_a_machine_whose_provider_is_unknown(self) -> None:
        """The engine tells nothing of a machine while its provider's configuration is unknown: it counts."""
        unknown = provider("vsphere", vsphereServer=UNKNOWN)
        assert violators(self.rule, resource(VM, "web", {}, provided_by=unknown)) == ["web"]
        assert violators(self.rule, resource(VM, "web", {}, provided_by=provider("vsphere", user="u"))) == []

    def test_passes_by_input(self) -> None:
        """A gate whose `vms` take an output of the machine watches it, though every value is unknown."""
        vm = machine()
        assert violators(self.rule, vm, gate(vm)) == []
        assert violators(self.rule, vm, resource(GATE, "gate", {"vms": UNKNOWN}, by={"vms": [vm]})) == []

    @pytest.mark.parametrize(
        "reference",
        [
            pytest.param("vm-87", id="managed object ID"),
            pytest.param("4218A1B2-0000-0000-0000-00000000AAAA", id="UUID in capitals"),
            pytest.param("/DC0/vm/shop/web", id="inventory path"),
        ],
    )
    @pytest.mark.parametrize(
        "shape", [pytest.param(lambda r: [r], id="list"), pytest.param(lambda r: {"k": r}, id="map")]
    )
    def test_passes_by_value(self, reference: str, shape: Any) -> None:
        """A gate that holds a known reference of the machine watches it without any dependency."""
        vm = machine(moid="vm-87", uuid="4218a1b2-0000-0000-0000-00000000aaaa", folder="/shop")
        assert violators(self.rule, vm, resource(GATE, "gate", {"vms": shape(reference)})) == []

    @pytest.mark.parametrize("reference", ["vm-8", "/DC0/vm/other/web", "web", ""])
    def test_stops_a_reference_of_another_machine(self, reference: str) -> None:
        """A reference that means another machine is no watch."""
        vm = machine(moid="vm-87", uuid="", folder="shop")
        assert violators(self.rule, vm, resource(GATE, "gate", {"vms": [reference]})) == ["web"]

    def test_passes_by_dependency(self) -> None:
        """A gate over a reference from elsewhere watches the machine that it depends on by an option."""
        vm = machine()
        by_option = resource(GATE, "gate", {"vms": ["vm-1"]}, after=[vm])
        assert violators(self.rule, vm, by_option) == []
        more = machine("db")
        unknown = resource(GATE, "gate", {"vms": UNKNOWN}, after=[vm, more])
        assert violators(self.rule, vm, more, unknown) == []

    def test_stops_a_gate_that_only_runs_later(self) -> None:
        """A gate over other machines that merely runs after this one does not watch it, and the message says so."""
        vm, other = machine(), machine("db")
        later = resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": [other]}, after=[vm])
        [(name, message)] = judge(self.rule, vm, other, later)
        assert name == "web"
        assert 'CustomizationGate "gate" runs after it, but its vms are others' in message

    def test_the_verb_agrees_with_several_gates(self) -> None:
        """Two gates that only run later are told of in the plural."""
        vm, other = machine(), machine("db")
        later = [resource(GATE, f"each-{n}", {"vms": [UNKNOWN]}, by={"vms": [other]}, after=[vm]) for n in (0, 1)]
        [(_, message)] = judge(self.rule, vm, other, *later)
        assert '. CustomizationGates "each-0" and "each-1" run after it, but their vms are others' in message

    def test_stops_a_gate_with_fewer_references_than_machines(self) -> None:
        """One reference from elsewhere does not stand for two machines."""
        vms = [machine("a"), machine("b")]
        both = resource(GATE, "gate", {"vms": ["vm-1"]}, after=vms)
        assert violators(self.rule, *vms, both) == ["a", "b"]

    def test_stops_a_machine_in_triggers_only(self) -> None:
        """A machine whose output only triggers a gate is not watched by it."""
        vm = machine()
        trigger = resource(GATE, "gate", {"vms": ["vm-1"], "triggers": {"ip": UNKNOWN}}, by={"triggers": [vm]})
        assert violators(self.rule, vm, trigger) == ["web"]

    def test_passes_by_component(self) -> None:
        """A gate over a component watches the machines inside it, however deep."""
        outer = resource("shop:index:Tier", "tier")
        inner = resource("shop:index:Node", "node", parent=outer)
        vm = machine(parent=inner)
        assert violators(self.rule, outer, inner, vm, gate(outer)) == []

    @pytest.mark.parametrize("kind", ["GatedVirtualMachine", "GatedFleet"])
    def test_passes_the_components_of_the_library(self, kind: str) -> None:
        """Machine and gate inside one of the library's components hang together as outside of it."""
        component = resource(f"customization-gate:index:{kind}", "web")
        vm = machine("web-vm", parent=component)
        inner = resource(GATE, "web-gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
        assert violators(self.rule, component, vm, inner) == []
        assert violators(self.rule, component, vm) == ["web-vm"]

    def test_leaves_the_children_of_custom_resources_out(self) -> None:
        """A machine that is the child of another machine, or of a folder, is not part of it."""
        vm, folder = machine(), resource("vsphere:index/folder:Folder", "folder")
        children = [machine("a", parent=vm), machine("b", parent=folder)]
        watch = resource(GATE, "gate", {"vms": UNKNOWN}, by={"vms": [vm, folder]})
        assert violators(self.rule, vm, folder, *children, watch) == ["a", "b"]

    @pytest.mark.parametrize("kind", ["vcd:index/vm:Vm", "vcd:index/vappVm:VappVm"])
    def test_knows_cloud_director(self, kind: str) -> None:
        """A Cloud Director machine with guest customization enabled needs a gate of its platform."""
        on = resource(kind, "web", {"customization": {"enabled": True}, "href": "https://vcd/api/vApp/vm-1"})
        off = resource(kind, "db", {"customization": {"enabled": False}})
        [(name, message)] = judge(self.rule, on, off)
        assert name == "web"
        assert 'CustomizationGate("web-gate", vms=[web.id], platform="cloud_director")' in message
        assert violators(self.rule, on, resource(GATE, "gate", {"vms": ["https://vcd/api/vApp/vm-1"]})) == []

    def test_takes_more_types(self) -> None:
        """A configured type needs a gate where one of its properties is set, or always where it lists none."""
        always = resource("acme:index:Vm", "always")
        some = [
            resource("acme:index/box:Box", name, {"prep": prep}) for name, prep in (("on", {"os": "x"}), ("off", None))
        ]
        types = {"acme:index:Vm": [], "acme:index/*": ["prep"]}
        assert violators(self.rule, always, *some, vmTypes=types) == ["on", "always"]
        assert violators(self.rule, always, *some) == []
        assert violators(self.rule, machine(), vmTypes=types) == ["web"]

    @pytest.mark.parametrize(
        ("exempt", "found"),
        [
            pytest.param({"name": "legacy-*"}, ["web"], id="name"),
            pytest.param({"tag": "ungated"}, ["web"], id="name of a tag made by the program"),
            pytest.param({"tag": "urn:vmomi:*"}, ["web"], id="ID of a tag"),
            pytest.param({"name": "legacy-*", "tag": "other"}, ["legacy-1", "web"], id="name and another tag"),
            pytest.param({"name": "LEGACY-*"}, ["legacy-1", "web"], id="capitals differ"),
        ],
    )
    def test_exempts(self, exempt: dict[str, str], found: list[str]) -> None:
        """An exemption covers what all of its patterns match, and nothing else."""
        tag = resource("vsphere:index/tag:Tag", "t", {"name": "ungated"})
        legacy = machine("legacy-1", tags=[UNKNOWN, "urn:vmomi:1"], by={"tags": [tag]})
        exemption = {**exempt, "reason": "moves out in May"}
        assert violators(self.rule, tag, legacy, machine(), exempt=[exemption]) == found

    def test_exempts_by_a_map_of_tags(self) -> None:
        """A map of tags is matched by key, or by key and value."""
        vm = resource("vcd:index/vm:Vm", "web", {"customization": {"enabled": True}, "metadata": {"gate": "none"}})
        assert violators(self.rule, vm, exempt=[{"tag": "gate=none", "reason": "r"}]) == []
        assert violators(self.rule, vm, exempt=[{"tag": "gate", "reason": "r"}]) == []
        assert violators(self.rule, vm, exempt=[{"tag": "gate=yes", "reason": "r"}]) == ["web"]


class TestGuestWorkWaitsForGate:
    rule = policies.GUEST_WORK_WAITS_FOR_GATE

    @pytest.mark.parametrize("kind", [SCRIPT, FILE, COMMAND, "command:remote:CopyToRemote"])
    def test_stops_work_beside_the_gate(self, kind: str) -> None:
        """Work that takes the machine's output and not the gate's is stopped, and the cure names the gate."""
        vm = machine("web-0")
        work = resource(kind, "install", {"connection": {"host": UNKNOWN}}, by={"connection": [vm]})
        [(name, message)] = judge(self.rule, vm, gate(vm), work)
        assert name == "install"
        assert message == (
            '"install" must wait for the gate of "web-0": it depends on "web-0", and not on a '
            'CustomizationGate that watches it. CustomizationGate "gate" does.\n'
            "Write: gate.after(web_0.moid) in place of web_0.moid, and so with its other outputs, or "
            "opts=pulumi.ResourceOptions(depends_on=[gate])"
        )

    def test_the_verb_agrees_with_several_gates(self) -> None:
        """Work behind two machines, each with a gate of its own, is told that both gates watch them."""
        vms = [machine("web-0"), machine("web-1")]
        gates = [gate(vm, name=f"each-{number}") for number, vm in enumerate(vms)]
        work = resource(SCRIPT, "install", {"vm": UNKNOWN}, by={"vm": vms})
        [(_, message)] = judge(self.rule, *vms, *gates, work)
        assert '. CustomizationGates "each-0" and "each-1" do.\n' in message

    def test_stops_work_where_there_is_no_gate(self) -> None:
        """Without any gate, the cure makes one."""
        vm = machine()
        [(_, message)] = judge(self.rule, vm, resource(COMMAND, "install", after=[vm]))
        assert 'No gate of the stack watches "web".\nWrite: gate = CustomizationGate("web-gate"' in message

    def test_passes_work_after_the_gate(self) -> None:
        """`gate.after(value)` makes a consumer depend on the gate and on the machine: that is enough."""
        vm = machine()
        watch = gate(vm)
        work = resource(SCRIPT, "install", {"vm": UNKNOWN}, by={"vm": [vm, watch]})
        assert violators(self.rule, vm, watch, work) == []
        assert violators(self.rule, vm, watch, resource(COMMAND, "by-option", after=[vm, watch])) == []

    def test_follows_others(self) -> None:
        """What stands between work and machine is followed, and named."""
        vm = machine()
        record = resource("dns:index:Record", "record", by={"address": [vm]})
        work = resource(COMMAND, "install", by={"connection": [record]})
        [(name, message)] = judge(self.rule, vm, gate(vm), record, work)
        assert name == "install"
        assert 'it depends on "web" through "record", and not on' in message

    def test_passes_a_gate_further_up(self) -> None:
        """A gate anywhere before the work holds it back."""
        vm = machine()
        watch = gate(vm)
        record = resource("dns:index:Record", "record", by={"address": [vm]}, after=[watch])
        first = resource(COMMAND, "first", by={"connection": [record]})
        assert violators(self.rule, vm, watch, record, first, resource(COMMAND, "second", after=[first])) == []

    def test_wants_the_gate_of_that_machine(self) -> None:
        """The gate of another machine does not count."""
        vms = [machine("a"), machine("b")]
        gates = [gate(vm, name=f"gate-{vm.name}") for vm in vms]
        work = resource(COMMAND, "install", by={"connection": [vms[0]]}, after=[gates[1]])
        assert violators(self.rule, *vms, *gates, work) == ["install"]

    def test_wants_a_gate_for_every_machine(self) -> None:
        """Work on many machines waits for the gates of all, and the message names the ones it misses."""
        vms = [machine(name) for name in "abcdef"]
        watch = gate(vms[0])
        work = resource(COMMAND, "install", by={"connection": vms}, after=[watch])
        fine = resource(COMMAND, "fine", by={"connection": vms[:1]}, after=[watch])
        [(_, message)] = judge(self.rule, *vms, watch, work, fine)
        assert 'gate of "b", "c", "d" and 2 more: it depends' in message

    def test_follows_a_literal_reference(self) -> None:
        """A guest script that names its machine by a known ID depends on it like one that takes its output."""
        vm = machine(moid="vm-87")
        assert violators(self.rule, vm, gate(vm), resource(SCRIPT, "install", {"vm": "vm-87"})) == ["install"]

    def test_follows_the_parent(self) -> None:
        """Children wait for their parent: for a gate as parent, and for what their component depends on."""
        vm = machine()
        watch = gate(vm)
        child = resource(COMMAND, "child", by={"connection": [vm]}, parent=watch)
        component = resource("shop:index:App", "app", after=[watch])
        inner = resource(COMMAND, "inner", by={"connection": [vm]}, parent=component)
        assert violators(self.rule, vm, watch, child, component, inner) == []

    def test_follows_into_a_component(self) -> None:
        """Work that depends on a component waits for all of its children, the machine and the gate."""
        component = resource("customization-gate:index:GatedVirtualMachine", "web")
        vm = machine("web-vm", parent=component)
        work = resource(COMMAND, "install", after=[component])
        assert violators(self.rule, component, vm, work) == ["install"]
        inner = resource(GATE, "web-gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
        assert violators(self.rule, component, vm, inner, work) == []

    def test_keeps_siblings_apart(self) -> None:
        """Work in the same component as a gate does not wait for it only because of that."""
        component = resource("shop:index:App", "app")
        vm = machine(parent=component)
        inner = resource(GATE, "gate", {"vms": [UNKNOWN]}, by={"vms": [vm]}, parent=component)
        work = resource(COMMAND, "install", by={"connection": [vm]}, parent=component)
        assert violators(self.rule, component, vm, inner, work) == ["install"]

    def test_follows_the_provider(self) -> None:
        """Work by a provider whose configuration comes from the machine waits for the machine."""
        vm = machine()
        explicit = provider("postgresql", host=UNKNOWN)
        itself = resource("pulumi:providers:postgresql", "postgresql", by={"host": [vm]})
        itself.urn = explicit.urn
        database = resource("postgresql:index:Database", "shop", provided_by=explicit)
        types = ["postgresql:*"]
        assert violators(self.rule, vm, gate(vm), itself, database, workTypes=types) == ["shop"]
        assert violators(self.rule, vm, gate(vm), itself, database) == []

    def test_leaves_work_elsewhere_alone(self) -> None:
        """Work without a customized machine before it needs no gate."""
        plain = machine("plain", customize=None)
        assert (
            violators(self.rule, machine(), plain, resource(COMMAND, "a"), resource(COMMAND, "b", after=[plain])) == []
        )

    def test_exempts_work_and_machines(self) -> None:
        """An exemption matches the work or the machine."""
        vm = machine()
        work = [resource(COMMAND, name, after=[vm]) for name in ("install", "probe")]
        assert violators(self.rule, vm, *work, exempt=[{"name": "probe", "reason": "waits itself"}]) == ["install"]
        assert violators(self.rule, vm, *work, exempt=[{"name": "web", "reason": "cloud-init"}]) == []


class TestGatedVmDoesNotWaitTwice:
    rule = policies.GATED_VM_DOES_NOT_WAIT_TWICE

    def test_names_every_wait(self) -> None:
        """Both waits at their defaults are named, with the lines that turn them off."""
        vm = resource(VM, "web", {"clone": {"customize": {}}})
        [(name, message)] = judge(self.rule, vm, gate(vm))
        assert name == "web"
        assert message == (
            '"web" must leave the wait to CustomizationGate "gate": '
            "clone.customize.timeout is left at its default of 10 minutes and waitForGuestNetTimeout is left at its "
            "default of 5 minutes, so the machine's own wait comes first and can fail before the gate starts.\n"
            "Write: customize=VirtualMachineCloneCustomizeArgs(timeout=0, ...), wait_for_guest_net_timeout=0\n"
            "A machine that exists keeps its clone as it is, because pulumi-vsphere replaces a machine when anything "
            'in it changes: give it opts=pulumi.ResourceOptions(ignore_changes=["clone"])'
        )

    def test_warns_of_a_replacement_only_where_one_threatens(self) -> None:
        """The wait for the network is updated in place, so its message says nothing of replacements."""
        vm = machine(customize=None, waitForGuestNetTimeout=5)
        [(_, message)] = judge(self.rule, vm, gate(vm))
        assert message.endswith("\nWrite: wait_for_guest_net_timeout=0")

    @pytest.mark.parametrize("ignored", ["clone", "clone.customize", "clone.customize.timeout"])
    def test_passes_a_machine_that_keeps_its_clone(self, ignored: str) -> None:
        """Who follows the advice for machines that exist is not advised again."""
        vm = machine(customize={"timeout": 10})
        vm.opts.ignore_changes = [ignored]
        assert violators(self.rule, vm, gate(vm)) == []
        vm.opts.ignore_changes = ["cloned", "memory"]
        assert violators(self.rule, vm, gate(vm)) == ["web"]

    @pytest.mark.parametrize(
        ("props", "said"),
        [
            pytest.param({"customize": {"timeout": 20}}, "clone.customize.timeout is 20 minutes,", id="customize"),
            pytest.param({"customize": {"timeout": UNKNOWN}}, "timeout is not known before the update", id="unknown"),
            pytest.param({"customize": None, "waitForGuestNetTimeout": 5.0}, "NetTimeout is 5 minutes,", id="network"),
            pytest.param(
                {"clone": {"customizationSpec": {"id": "s"}}},
                "clone.customizationSpec.timeout is left at its default of 10 minutes",
                id="specification of vCenter",
            ),
        ],
    )
    def test_stops(self, props: dict[str, Any], said: str) -> None:
        """A wait of the machine's own that is on, or may be on, is a violation."""
        vm = machine(**props)
        [(_, message)] = judge(self.rule, vm, gate(vm))
        assert said in message

    @pytest.mark.parametrize("off", [0, 0.0, -1, "0"])
    def test_passes_waits_that_are_off(self, off: Any) -> None:
        """Zero and less turn a wait off, as they do in pulumi-vsphere."""
        vm = machine(customize={"timeout": off}, waitForGuestNetTimeout=off)
        assert violators(self.rule, vm, gate(vm)) == []

    def test_leaves_machines_without_own_waits_alone(self) -> None:
        """A Cloud Director machine has no wait of its own to turn off."""
        vm = resource("vcd:index/vm:Vm", "web", {"customization": {"enabled": True}})
        assert violators(self.rule, vm, gate(vm)) == []

    def test_leaves_ungated_machines_alone(self) -> None:
        """A machine without a gate needs its own wait."""
        assert violators(self.rule, machine(customize={"timeout": 10})) == []

    def test_exempts(self) -> None:
        """An exempt machine may wait twice."""
        vm = machine(customize={"timeout": 10})
        assert violators(self.rule, vm, gate(vm), exempt=[{"name": "web", "reason": "r"}]) == []


class TestGateTimeoutIsSane:
    rule = policies.GATE_TIMEOUT_IS_SANE

    @pytest.mark.parametrize(
        ("guest", "timeout", "sane"),
        [
            pytest.param({"guestId": "ubuntu64Guest"}, 119, False, id="linux, short"),
            pytest.param({"guestId": "ubuntu64Guest"}, 120, True, id="linux, shortest"),
            pytest.param({"guestId": "otherLinux64Guest"}, 3600, True, id="linux, longest"),
            pytest.param({"guestId": "rhel9_64Guest"}, 3601, False, id="linux, long"),
            pytest.param({"guestId": "windows2022srvNext_64Guest"}, 300, False, id="windows, short"),
            pytest.param({"guestId": "winNetStandardGuest"}, 5400, True, id="windows, long enough"),
            pytest.param({"guestId": "freebsd14_64Guest"}, 7200, True, id="other, longest"),
            pytest.param({"guestId": UNKNOWN}, 7201, False, id="unknown, long"),
            pytest.param({"guestId": UNKNOWN, "customize": {"windowsOptions": {}}}, 300, False, id="by customization"),
        ],
    )
    def test_has_bounds_by_family(self, guest: dict[str, Any], timeout: float, sane: bool) -> None:
        """The guest's family, told by the customization or else by the guest ID, decides."""
        vm = machine(**{"customize": {}} | guest)
        assert violators(self.rule, vm, gate(vm, timeout=timeout)) == ([] if sane else ["gate"])

    def test_gives_the_nearest_bound(self) -> None:
        """The message names family, bounds and machines; the line to write is the nearest sane value."""
        vm = machine("web-0")
        [(_, message)] = judge(self.rule, vm, gate(vm, timeout=30))
        assert message == (
            '"gate" must have a timeout from 120 s to 3600 s for linux machines ("web-0"): it is 30 s.'
            "\nWrite: timeout=120"
        )

    def test_suits_the_slowest_guest(self) -> None:
        """A gate over two families keeps the larger of their bounds."""
        vms = [machine("a"), machine("b", customize={"windowsOptions": {}})]
        assert violators(self.rule, *vms, gate(*vms, timeout=7200)) == []
        assert violators(self.rule, *vms, gate(*vms, timeout=300)) == ["gate"]

    def test_takes_bounds_from_the_configuration(self) -> None:
        """Configured bounds replace the built-in ones, one by one."""
        vm = machine()
        bounds = {"linux": {"maximum": 900}}
        assert violators(self.rule, vm, gate(vm, timeout=900), bounds=bounds) == []
        assert violators(self.rule, vm, gate(vm), bounds=bounds) == ["gate"]
        assert violators(self.rule, vm, gate(vm, timeout=60), bounds=bounds) == ["gate"]

    def test_judges_a_gate_over_foreign_machines(self) -> None:
        """A gate over machines of elsewhere keeps the bounds of other guests."""
        for timeout, found in ((10, ["gate"]), (7200, [])):
            foreign = resource(GATE, "gate", {"vms": ["vm-1"], "timeout": timeout})
            assert violators(self.rule, foreign) == found

    def test_says_that_a_timeout_is_unknown(self) -> None:
        """An unknown timeout is reported, not passed over."""
        vm = machine()
        [(_, message)] = judge(self.rule, vm, gate(vm, timeout=UNKNOWN))
        assert "it is not known before the update.\nWrite: timeout=1800" in message

    def test_exempts(self) -> None:
        """An exempt gate may wait as long as it likes."""
        vm = machine()
        assert violators(self.rule, vm, gate(vm, timeout=1), exempt=[{"name": "gate", "reason": "r"}]) == []


class TestLibrary:
    def test_knows_the_type_of_the_gate(self) -> None:
        """The rules look for the very type that the library's resource has in every stack."""
        assert f"pulumi-python:{CustomizationGate._resource_type_name}" == GATE

    def test_knows_the_default_timeout_of_the_gate(self) -> None:
        """A gate without a timeout is judged by the one it takes."""
        vm = machine()
        bounds = {"linux": {"minimum": DEFAULT_TIMEOUT, "maximum": DEFAULT_TIMEOUT}}
        assert violators(policies.GATE_TIMEOUT_IS_SANE, vm, gate(vm), bounds=bounds) == []


class TestConfiguration:
    def test_has_the_enforcement_of_the_documentation(self) -> None:
        """The first two rules stop an update, the others advise."""
        assert {policy.name: policy.enforcement_level for policy in policies.POLICIES} == {
            "customized-vm-requires-gate": EnforcementLevel.MANDATORY,
            "guest-work-waits-for-gate": EnforcementLevel.MANDATORY,
            "gated-vm-does-not-wait-twice": EnforcementLevel.ADVISORY,
            "gate-timeout-is-sane": EnforcementLevel.ADVISORY,
        }

    @pytest.mark.parametrize("policy", policies.POLICIES, ids=lambda policy: str(policy.name))
    @pytest.mark.parametrize(
        ("config", "said"),
        [
            pytest.param({"exemptions": []}, "has no key exemptions: there are .*exempt", id="misspelt key"),
            pytest.param({"exempt": [{"name": "web"}]}, 'needs a "reason"', id="no reason"),
            pytest.param({"exempt": [{"reason": "r"}]}, 'a "name" or a "tag"', id="no pattern"),
        ],
    )
    def test_refuses_what_means_nothing(self, policy: StackValidationPolicy, config: dict[str, Any], said: str) -> None:
        """A configuration that would be ignored in silence fails instead."""
        with pytest.raises(ConfigurationError, match=said):
            judge(policy, **config)

    def test_refuses_the_key_of_another_rule(self) -> None:
        """A key that only another rule knows is refused by name."""
        with pytest.raises(ConfigurationError, match="customized-vm-requires-gate has no key bounds"):
            judge(policies.CUSTOMIZED_VM_REQUIRES_GATE, bounds={})

    def test_refuses_crossed_bounds(self) -> None:
        """A minimum above its maximum, be it the built-in one, is refused."""
        with pytest.raises(ConfigurationError, match="minimum of 9000 s is above the maximum of 3600 s"):
            judge(policies.GATE_TIMEOUT_IS_SANE, bounds={"linux": {"minimum": 9000}})

    def test_strips_control_characters(self) -> None:
        """A resource's name cannot move the cursor of whoever reads the violation."""
        [(_, message)] = judge(policies.CUSTOMIZED_VM_REQUIRES_GATE, machine("web\x1b[2J"))
        assert "\x1b" not in message


class TestWaitGraph:
    def test_follows_a_chain_longer_than_the_stack_is_deep(self) -> None:
        """A chain of thousands of resources is walked to its end."""
        chain = [resource(COMMAND, "0")]
        for at in range(1, 5000):
            chain.append(resource(COMMAND, str(at), after=[chain[-1]]))
        assert WaitGraph(chain).gather({chain[0].urn: 1})[chain[-1].urn] == 1

    def test_gathers_around_a_cycle(self) -> None:
        """Resources that wait for each other share what they gather, from whichever the walk begins."""
        first, second = resource(COMMAND, "first"), resource(COMMAND, "second")
        third = resource(COMMAND, "third", after=[second])
        first.dependencies, second.dependencies = [second], [first, third]
        seeds = {first.urn: 1, third.urn: 4}
        assert set(WaitGraph([first, second, third]).gather(seeds).values()) == {5}

    def test_ignores_what_is_not_in_the_stack(self) -> None:
        """A dependency, a parent or a provider outside of the list does no harm."""
        elsewhere = resource("shop:index:App", "elsewhere")
        alone = resource(COMMAND, "alone", after=[elsewhere], parent=elsewhere)
        assert WaitGraph([alone]).gather({elsewhere.urn: 1}) == {alone.urn: 0}
