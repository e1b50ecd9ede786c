"""What a wait asks of the lab's vCenter, counted call by call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import gates_at_once
from benchmarks.vms import vms_by_name
from pulumi_customization_gate.core.model import Event, Snapshot
from pulumi_customization_gate.vsphere import event_feed, history, inventory
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.sources import vsphere_source
from tests.lab.vcenter_fixture import VCenter, linux, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulumi_customization_gate.vsphere.source import VsphereSource


@pytest.fixture
def vcenter(tmp_path: Path) -> Iterator[VCenter]:
    with running(tmp_path) as vcenter:
        yield vcenter


def settings_of(vcenter: VCenter) -> VsphereSettings:
    lab = vcenter.lab
    return VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)


def source_of(vcenter: VCenter, *vms: Any) -> VsphereSource:
    return vsphere_source(settings_of(vcenter), {moid_of(vm): moid_of(vm) for vm in vms})


def events(source: VsphereSource) -> list[str]:
    return [observation.name for observation in source.poll(1) if isinstance(observation, Event)]


def calls(vcenter: VCenter) -> dict[str, int]:
    return dict(vcenter.lab.stats()["calls"])


def test_an_event_costs_a_ring_and_a_page(vcenter: VCenter) -> None:
    """An event costs one response of the long poll and one read, after which the next poll starts."""
    vm = vcenter.clone(custom=linux(), plan={"outcome": "never-ends"})
    source = source_of(vcenter, vm)
    try:
        source.start()
        until(lambda: "CustomizationStartedEvent" in vcenter.story(vm))
        until(lambda: not events(source))
        vcenter.lab.reset_stats()
        vcenter.lab.post_event(vm._GetMoId(), "CustomizationSucceeded")
        assert until(lambda: events(source)) == ["CustomizationSucceeded"]
        until(lambda: "WaitForUpdatesEx" in calls(vcenter))
        assert calls(vcenter) == {"ReadNextEvents": 1, "WaitForUpdatesEx": 1}
    finally:
        source.close()


def test_a_burst_is_read_whole(vcenter: VCenter) -> None:
    """Of a burst of more events than one page holds, none is left unread."""
    vm = vcenter.clone(custom=linux(), plan={"outcome": "never-ends"})
    source = source_of(vcenter, vm)
    reported: list[str] = []
    try:
        source.start()
        until(lambda: "CustomizationStartedEvent" in vcenter.story(vm))
        until(lambda: not events(source))
        vcenter.done("POST", "/events", {"vm": vm._GetMoId(), "type": "CustomizationFailed", "count": 2500})

        def all_told() -> bool:
            reported.extend(name for name in events(source) if name == "CustomizationFailed")
            return len(reported) >= 2500

        until(all_told)
        assert len(reported) == 2500
    finally:
        source.close()


def test_the_first_collector_leaves_the_past_to_the_history(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened before the wait is read once, by the query of the history, and not by the feed as well."""
    monkeypatch.setattr(event_feed, "FIRST_REACH", event_feed.FIRST_REACH * 0)
    vm = vcenter.clone(custom=linux(), plan={"outcome": "never-ends"})
    until(lambda: "CustomizationStartedEvent" in vcenter.story(vm))
    source = source_of(vcenter, vm)
    vcenter.lab.reset_stats()
    try:
        source.start()
        assert sorted(events(source)) == ["CustomizationStartedEvent", "VmPoweredOnEvent", "VmStartingEvent"]
        assert events(source) == []
        until(lambda: calls(vcenter).get("WaitForUpdatesEx", 0) > 1)
        assert events(source) == []
        assert calls(vcenter)["ReadNextEvents"] == 1  # It returned nothing: that is how an empty collector is known.
    finally:
        source.close()


def test_names_and_addresses_are_read_only_where_they_are_wanted(tmp_path: Path) -> None:
    """A read without them is half as long, and still has everything that decides. This version does not compress."""
    with running(tmp_path, "-api-version", "8.0.2.0") as vcenter:
        _reads_of_names_and_addresses(vcenter)


def _reads_of_names_and_addresses(vcenter: VCenter) -> None:
    vm = vcenter.clone(custom=linux("192.0.2.7", host_name="web-7"))
    until(lambda: "CustomizationSucceeded" in vcenter.story(vm))
    lengths, reported = [], []
    with acquire(settings_of(vcenter)) as session:
        for details in (False, True):
            before = vcenter.lab.stats()["bytes_out"]
            (snapshot,) = inventory.read(session, [moid_of(vm)], details=details)
            assert isinstance(snapshot, Snapshot)
            reported.append((snapshot.state, snapshot.host_name, snapshot.ip_addresses))
            lengths.append(vcenter.lab.stats()["bytes_out"] - before)
    assert reported == [
        ("TOOLSDEPLOYPKG_SUCCEEDED", "", ()),
        ("TOOLSDEPLOYPKG_SUCCEEDED", "web-7", ("192.0.2.7",)),
    ]
    assert lengths[0] < 0.7 * lengths[1]


@pytest.mark.parametrize(("count", "queries"), [(1, 1), (history.FEW, history.FEW), (history.FEW + 1, 1)])
def test_few_vms_do_not_read_what_others_did(vcenter: VCenter, count: int, queries: int) -> None:
    """The events of a few VMs are read with a query per VM, so that small waits do not read each other's events."""
    plan = {"outcome": "never-ends"}
    vms = [vcenter.clone(custom=linux(), plan=plan) for _ in range(history.FEW + 2)]
    until(lambda: all("CustomizationStartedEvent" in vcenter.story(vm) for vm in vms))
    ours = [moid_of(vm) for vm in vms[:count]]
    with acquire(settings_of(vcenter)) as session:
        snapshots = inventory.read(session, ours)
        vcenter.lab.reset_stats()
        events = history.read(session, snapshots).events
    assert sorted((vm, event.name) for vm, reported in events.items() for event in reported) == sorted(
        (vm, name) for vm in ours for name in ("VmStartingEvent", "VmPoweredOnEvent", "CustomizationStartedEvent")
    )
    assert calls(vcenter)["QueryEvents"] == queries


def test_a_query_that_returns_mostly_the_events_of_others_is_given_up(
    vcenter: VCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a page of others' events each VM gets a query, which costs at most twice as much."""
    monkeypatch.setattr(history, "PAGE", 5)
    vms = [vcenter.clone(custom=linux(), plan={"outcome": "never-ends"}) for _ in range(history.FEW + 2)]
    until(lambda: all("CustomizationStartedEvent" in vcenter.story(vm) for vm in vms))
    busy, *ours = map(moid_of, vms)
    vcenter.done("POST", "/events", {"vm": busy, "type": "CustomizationFailed", "count": 50})
    with acquire(settings_of(vcenter)) as session:
        snapshots = inventory.read(session, ours)
        vcenter.lab.reset_stats()
        found = history.read(session, snapshots).events
    names = {vm: sorted(event.name for event in reported) for vm, reported in found.items()}
    assert names == {vm: ["CustomizationStartedEvent", "VmPoweredOnEvent", "VmStartingEvent"] for vm in ours}
    assert calls(vcenter)["QueryEvents"] == 1 + len(ours)


def test_waits_that_start_together_read_together(tmp_path: Path) -> None:
    """Twelve waits of nine VMs each read state and history a few times at their start and end, not twelve times."""
    with running(tmp_path, "-vms", "109", "-customize", "-duration", "2s") as vcenter:
        vcenter.lab.power("*", "on")
        names = vms_by_name(vcenter.service.content)
        vcenter.lab.reset_stats()
        gates_at_once.wait(settings_of(vcenter), [moid_of(vm) for vm in names.values()][:108], 12)
        counted = calls(vcenter)
    assert counted["RetrievePropertiesEx"] < 12
    assert counted["QueryEvents"] < 12
    assert counted["Login"] == 1


def test_the_end_of_a_wait_reads_only_what_is_new(vcenter: VCenter) -> None:
    """What a wait has read at its start is not read again at its end."""
    vms = [vcenter.clone(custom=linux(), plan={"outcome": "never-ends"}) for _ in range(2)]
    until(lambda: all("CustomizationStartedEvent" in vcenter.story(vm) for vm in vms))
    with acquire(settings_of(vcenter)) as session:
        now = session.current_time()
        snapshots = [
            replace(state, at=now + 3 * history.LATENESS) for state in inventory.read(session, map(moid_of, vms))
        ]
        known = {moid_of(vms[0]): now + 2 * history.LATENESS, moid_of(vms[1]): None}
        vcenter.lab.post_event(moid_of(vms[0]), "CustomizationSucceeded")
        found = history.read(session, snapshots, known).events
    assert {vm: len(reported) for vm, reported in found.items()} == {moid_of(vms[0]): 0, moid_of(vms[1]): 3}


def test_no_end_of_a_burst_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of customizations that end at the same time are all noticed at once, not at a read minutes later."""
    monkeypatch.setattr(gates_at_once, "TIMEOUT", 60.0)
    with running(tmp_path, "-vms", "601", "-customize", "-duration", "3s") as vcenter:
        names = vms_by_name(vcenter.service.content)
        vcenter.lab.power("*", "on")
        gates_at_once.wait(settings_of(vcenter), [moid_of(vm) for vm in names.values()], 1)
