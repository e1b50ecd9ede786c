"""What a wait asks of the lab's vCenter, counted call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.vsphere import event_feed, history, inventory
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.session import VsphereSettings, acquire
from pulumi_customization_gate.vsphere.source import VsphereSource
from tests.lab.centre import Centre, linux, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    with running(tmp_path) as centre:
        yield centre


def settings_of(centre: Centre) -> VsphereSettings:
    lab = centre.lab
    return VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)


def source_of(centre: Centre, *machines: Any) -> VsphereSource:
    return VsphereSource(settings_of(centre), {moid_of(vm): moid_of(vm) for vm in machines})


def events(source: VsphereSource) -> list[str]:
    return [observation.name for observation in source.poll(1) if isinstance(observation, Event)]


def calls(centre: Centre) -> dict[str, int]:
    return dict(centre.lab.stats()["calls"])


def test_an_event_costs_a_ring_and_a_page(centre: Centre) -> None:
    """An event is heard by one answer of the long poll and read by one call, after which the poll is taken up again."""
    vm = centre.clone(custom=linux(), plan={"outcome": "never-ends"})
    source = source_of(centre, vm)
    try:
        source.start()
        until(lambda: "CustomizationStartedEvent" in centre.story(vm))
        until(lambda: not events(source))
        centre.lab.reset_stats()
        centre.lab.post_event(vm._GetMoId(), "CustomizationSucceeded")
        assert until(lambda: events(source)) == ["CustomizationSucceeded"]
        until(lambda: "WaitForUpdatesEx" in calls(centre))
        assert calls(centre) == {"ReadNextEvents": 1, "WaitForUpdatesEx": 1}
    finally:
        source.close()


def test_a_burst_is_read_whole(centre: Centre) -> None:
    """Of a burst of more events than one page holds, none is left unread."""
    vm = centre.clone(custom=linux(), plan={"outcome": "never-ends"})
    source = source_of(centre, vm)
    told: list[str] = []
    try:
        source.start()
        until(lambda: "CustomizationStartedEvent" in centre.story(vm))
        centre.done("POST", "/events", {"vm": vm._GetMoId(), "type": "CustomizationFailed", "count": 2500})

        def all_told() -> bool:
            told.extend(name for name in events(source) if name == "CustomizationFailed")
            return len(told) >= 2500

        until(all_told)
        assert len(told) == 2500
    finally:
        source.close()


def test_the_first_collector_leaves_the_past_to_the_history(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened before the wait is read once, by the query of the history, and not by the feed as well."""
    monkeypatch.setattr(event_feed, "FIRST_REACH", event_feed.FIRST_REACH * 0)
    vm = centre.clone(custom=linux(), plan={"outcome": "never-ends"})
    until(lambda: "CustomizationStartedEvent" in centre.story(vm))
    source = source_of(centre, vm)
    centre.lab.reset_stats()
    try:
        source.start()
        until(lambda: "WaitForUpdatesEx" in calls(centre))
        assert sorted(events(source)) == ["CustomizationStartedEvent", "VmStartingEvent"]
        assert "ReadNextEvents" not in calls(centre)
    finally:
        source.close()


def test_names_and_addresses_are_read_only_where_they_are_wanted(centre: Centre) -> None:
    """A read without them is half as long, and tells all the same what decides."""
    vm = centre.clone(custom=linux("192.0.2.7", host_name="web-7"))
    until(lambda: "CustomizationSucceeded" in centre.story(vm))
    lengths, told = [], []
    with acquire(settings_of(centre)) as session:
        for details in (False, True):
            before = centre.lab.stats()["bytes_out"]
            (snapshot,) = inventory.read(session, [moid_of(vm)], details=details)
            told.append((snapshot.state, snapshot.host_name, snapshot.ip_addresses))
            lengths.append(centre.lab.stats()["bytes_out"] - before)
    assert told == [
        ("TOOLSDEPLOYPKG_SUCCEEDED", "", ()),
        ("TOOLSDEPLOYPKG_SUCCEEDED", "web-7", ("192.0.2.7",)),
    ]
    assert lengths[0] < 0.7 * lengths[1]


@pytest.mark.parametrize(("machines", "queries"), [(1, 1), (history.FEW, history.FEW), (history.FEW + 1, 1)])
def test_few_machines_do_not_read_what_others_did(centre: Centre, machines: int, queries: int) -> None:
    """The past of a few machines is asked for one by one, so that many small waits do not read each other's events."""
    plan = {"outcome": "never-ends"}
    vms = [centre.clone(custom=linux(), plan=plan) for _ in range(history.FEW + 2)]
    until(lambda: all("CustomizationStartedEvent" in centre.story(vm) for vm in vms))
    ours = [moid_of(vm) for vm in vms[:machines]]
    with acquire(settings_of(centre)) as session:
        snapshots = inventory.read(session, ours)
        centre.lab.reset_stats()
        events = history.read(session, snapshots)
    assert sorted((event.vm, event.name) for event in events) == sorted(
        (vm, name) for vm in ours for name in ("VmStartingEvent", "CustomizationStartedEvent")
    )
    assert calls(centre)["QueryEvents"] == queries
