"""What happened before the wait: which queries are made, and what is done with what they return."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim, vmodl

from pulumi_customization_gate.vsphere import events, history, inventory
from pulumi_customization_gate.vsphere.faults import MalformedResponseError
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter, connected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pulumi_customization_gate.vsphere.session import Session

STARTED, SUCCEEDED = vim.event.CustomizationStartedEvent, vim.event.CustomizationSucceeded
MANY = [f"vm-{number}" for number in range(history.FEW + 2)]
FEW = MANY[:2]


@pytest.fixture
def vcenter(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    fake = connected(monkeypatch)
    for moid in MANY:
        fake.state.add(moid, guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_RUNNING")
    return fake


def pages_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE", size)
    monkeypatch.setattr(history, "PAGE", size)


def read(
    session: Session, moids: list[str], known: Mapping[str, datetime | None] | None = None
) -> dict[str, list[int]]:
    found = history.read(session, inventory.read(session, moids), known or {}).events
    return {moid: sorted(event.key for event in reported) for moid, reported in found.items()}


def test_many_vms_share_one_query(vcenter: FakeVcenter, session: Session) -> None:
    """The events of others that it returns are left out."""
    ours = [vcenter.events.happen(STARTED, moid, NOON) for moid in MANY]
    vcenter.events.happen(STARTED, "vm-foreign", NOON)

    assert read(session, MANY) == {moid: [key] for moid, key in zip(MANY, ours, strict=True)}
    assert vcenter.calls["QueryEvents"] == 1


def test_few_vms_have_a_query_each(vcenter: FakeVcenter, session: Session) -> None:
    """Two VMs are asked for by two queries, which return nothing of others."""
    ours = [vcenter.events.happen(STARTED, moid, NOON) for moid in FEW]

    assert read(session, FEW) == {moid: [key] for moid, key in zip(FEW, ours, strict=True)}
    assert vcenter.calls["QueryEvents"] == 2


@pytest.mark.parametrize("is_newest_first", [True, False])
def test_no_event_is_lost_in_either_order(
    vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch, is_newest_first: bool
) -> None:
    """A server may leave out the oldest events or the newest ones of a result that is longer than a page."""
    pages_of(7, monkeypatch)
    vcenter.events.is_newest_first = is_newest_first
    keys = [vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(seconds=60 - number)) for number in range(40)]

    assert read(session, ["vm-0"]) == {"vm-0": keys}


def test_the_whole_history_says_what_it_lacks(vcenter: FakeVcenter, session: Session) -> None:
    """What could be read of one VM is there, and why the other one's events are not."""
    keys = [vcenter.events.happen(STARTED, moid, NOON) for moid in FEW]
    vcenter.events.unreadable = {keys[0]}
    events, incomplete = history.read_all(session, FEW)

    assert [event.key for event in events] == keys[1:]
    assert incomplete == {FEW[0]: "malformed response (InvalidXmlError: not well-formed (invalid token))"}


def test_migrations_are_no_part_of_the_first_read(vcenter: FakeVcenter, session: Session) -> None:
    """DRS moves VMs often, which decides nothing; the command's history has these events."""
    moved = vcenter.events.happen(vim.event.DrsVmMigratedEvent, "vm-0", NOON)
    key = vcenter.events.happen(STARTED, "vm-0", NOON)

    assert read(session, ["vm-0"]) == {"vm-0": [key]}
    assert [event.key for event in history.read_all(session, ["vm-0"])[0]] == [moved, key]


@pytest.mark.parametrize("vms", [9, 40, 200])
def test_events_of_others_at_most_double_the_cost(
    vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch, vms: int
) -> None:
    """The shared query reads no more events of others than a query per VM costs, a page counting as twenty queries."""
    pages_of(20, monkeypatch)
    ours = [vcenter.state.add(f"vm-{number}") for number in range(vms)]
    with vcenter.events.changed:
        for _ in range(100 + 2 * vms):
            vcenter.events.happen(STARTED, "vm-foreign", NOON)
    returned: list[int] = []
    query = vcenter.events.query

    def counted(*arguments: object) -> list[object]:
        found = query(*arguments)
        returned.append(len(found))
        return found

    monkeypatch.setitem(vcenter.methods, "QueryEvents", counted)
    read(session, ours)
    assert len(returned) >= vms
    assert sum(returned) <= vms


def test_the_shared_query_may_have_as_many_pages_as_queries_for_each_would_cost(
    vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of VMs have dozens of pages of events that are all their own: no VM is queried by itself."""
    pages_of(4, monkeypatch)
    monkeypatch.setattr(history, "MOST_PAGES", 2)
    monkeypatch.setattr(history, "QUERIES_PER_PAGE", 1)
    keys = {
        moid: [vcenter.events.happen(STARTED, moid, NOON + timedelta(seconds=2 * n + twice)) for twice in range(2)]
        for n, moid in enumerate(MANY)
    }
    queried: list[object] = []

    def query(mo: object, spec: Any, *more: object) -> list[Any]:
        queried.append(spec.entity)
        return vcenter.events.query(mo, spec, *more)

    vcenter.methods["QueryEvents"] = query

    assert read(session, MANY) == keys
    assert len(queried) > 2
    assert set(queried) == {None}


def test_pages_overlap_by_an_instant(vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that share an instant across two pages are each read once."""
    pages_of(3, monkeypatch)
    keys = [
        vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(seconds=number // 2)) for number in range(7, -1, -1)
    ]

    assert read(session, ["vm-0"]) == {"vm-0": sorted(keys)}


@pytest.mark.parametrize("refusal", ["foreign pages", "no permission", "invalid XML"])
def test_a_query_for_all_gives_way_to_one_for_each(
    vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    """Pages of others' events, a missing privilege and an event that is not XML cost a query per VM, and no event."""
    if refusal == "foreign pages":
        pages_of(3, monkeypatch)
    ours = [vcenter.events.happen(STARTED, moid, NOON) for moid in MANY]
    foreign = [vcenter.events.happen(STARTED, "vm-foreign", NOON + timedelta(seconds=n)) for n in range(10)]
    vcenter.events.allowed = set() if refusal == "no permission" else None
    vcenter.events.unreadable = {foreign[0]} if refusal == "invalid XML" else set()

    assert read(session, MANY) == {moid: [key] for moid, key in zip(MANY, ours, strict=True)}


def test_an_unreadable_event_of_one_vm_costs_that_vm_only(vcenter: FakeVcenter, session: Session) -> None:
    """Its pages are skipped, which is reported; the others' events are read, and nothing is raised."""
    keys = [vcenter.events.happen(STARTED, moid, NOON) for moid in FEW]
    vcenter.events.unreadable = {keys[0]}
    found = history.read(session, inventory.read(session, FEW))

    assert {vm: [event.key for event in reported] for vm, reported in found.events.items()} == {
        FEW[0]: [],
        FEW[1]: [keys[1]],
    }
    assert found.incomplete == {FEW[0]: "malformed response (InvalidXmlError: not well-formed (invalid token))"}


@pytest.mark.parametrize("moids", [FEW, MANY], ids=["few", "many"])
def test_what_was_read_before_an_unreadable_page_counts(
    vcenter: FakeVcenter, session: Session, monkeypatch: pytest.MonkeyPatch, moids: list[str]
) -> None:
    """The events of the pages before it are returned, and the VM's history is incomplete."""
    pages_of(2, monkeypatch)
    vcenter.events.is_newest_first = False
    keys = [vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(seconds=9 - number)) for number in range(4)]
    vcenter.events.unreadable = {keys[-1]}
    found = history.read(session, inventory.read(session, moids))

    assert [event.key for event in found.events["vm-0"]] == keys[:3]
    assert list(found.incomplete) == ["vm-0"]


@pytest.mark.parametrize("moids", [["vm-0"], MANY], ids=["few", "many"])
def test_a_query_of_a_single_vm_that_fails_takes_nothing_away(
    vcenter: FakeVcenter, session: Session, moids: list[str]
) -> None:
    """The events since the boot were read; those before it, which the state calls for, may not be."""
    vcenter.state.add("vm-0", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    key = vcenter.events.happen(STARTED, "vm-0", NOON)
    query = vcenter.methods["QueryEvents"]

    def refused(mo: object, spec: Any, *more: object) -> list[Any]:
        if spec.time.beginTime is None:
            raise vim.fault.NoPermission
        return list(query(mo, spec, *more))

    vcenter.methods["QueryEvents"] = refused
    found = history.read(session, inventory.read(session, moids))

    assert [event.key for event in found.events["vm-0"]] == [key]
    assert found.incomplete == {"vm-0": "NoPermission"}


def test_a_history_is_complete_once_a_later_query_has_read_it(vcenter: FakeVcenter, session: Session) -> None:
    """A server that restarts may refuse the first query of a VM, and answer the one without a beginning."""
    vcenter.state.add("vm-0", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    key = vcenter.events.happen(SUCCEEDED, "vm-0", NOON)
    vcenter.failures["QueryEvents"] = [vmodl.fault.ManagedObjectNotFound()]
    found = history.read(session, inventory.read(session, ["vm-0"]))

    assert [event.key for event in found.events["vm-0"]] == [key]
    assert found.incomplete == {}


@pytest.mark.parametrize("error", [MalformedResponseError("no element found"), ConnectionResetError("reset")])
def test_a_query_that_fails_is_made_again_alone(vcenter: FakeVcenter, session: Session, error: Exception) -> None:
    """A response that is cut short is not skipped, and the other VMs' queries are not repeated."""
    ours = [vcenter.events.happen(STARTED, moid, NOON) for moid in FEW]
    vcenter.failures["QueryEvents"] = [error]

    assert read(session, FEW) == {moid: [key] for moid, key in zip(FEW, ours, strict=True)}
    assert vcenter.calls["QueryEvents"] == len(FEW) + 1


def test_a_vm_that_is_removed_between_state_and_history_costs_that_vm_only(
    vcenter: FakeVcenter, session: Session
) -> None:
    """The next read of the state reports it; the others' events are read."""
    ours = {vcenter.events.happen(STARTED, moid, NOON): moid for moid in FEW}
    vcenter.failures["QueryEvents"] = [vmodl.fault.ManagedObjectNotFound()]

    found = [key for keys in read(session, FEW).values() for key in keys]
    assert len(found) == 1
    assert found[0] in ours


def test_one_vm_that_is_read_for_the_first_time_does_not_have_the_others_read_again(
    vcenter: FakeVcenter, session: Session
) -> None:
    """It has a query of its own; that of the others begins where their events are known."""
    old = [vcenter.events.happen(STARTED, moid, NOON - timedelta(minutes=1)) for moid in MANY]
    new = vcenter.events.happen(SUCCEEDED, MANY[1], NOON)

    found = read(session, MANY, {MANY[0]: None, **dict.fromkeys(MANY[1:], NOON)})

    assert {moid: keys for moid, keys in found.items() if keys} == {MANY[0]: old[:1], MANY[1]: [new]}
    assert vcenter.calls["QueryEvents"] == 2


def test_what_is_known_is_not_read_again(vcenter: FakeVcenter, session: Session) -> None:
    """A later read begins a little before the one before it."""
    vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(seconds=30))
    new = vcenter.events.happen(SUCCEEDED, "vm-0", NOON + timedelta(seconds=1))

    assert read(session, ["vm-0"], {"vm-0": NOON}) == {"vm-0": [new]}


def test_a_vm_that_has_run_for_long_is_read_only_where_its_state_does_not_decide(
    vcenter: FakeVcenter, session: Session
) -> None:
    """An end decides; a specification that is pending does not, and IDLE says nothing of an earlier customization."""
    ago = NOON - timedelta(days=3)
    succeeded = "TOOLSDEPLOYPKG_SUCCEEDED"
    vcenter.state.add("vm-0", summary__runtime__bootTime=ago, guest__customizationInfo__customizationStatus=succeeded)
    vcenter.state.add("vm-2", summary__runtime__bootTime=ago)
    vcenter.state.add("vm-1", summary__runtime__bootTime=ago, config__tools__pendingCustomization="/spec")
    key = vcenter.events.happen(STARTED, "vm-1", ago)
    failure = vcenter.events.happen(vim.event.CustomizationFailed, "vm-2", ago)

    assert read(session, ["vm-0", "vm-1", "vm-2"]) == {"vm-1": [key], "vm-2": [failure]}


def test_an_idle_vm_is_read_back_to_its_last_end(vcenter: FakeVcenter, session: Session) -> None:
    """It failed two hours ago and was restarted since: its boot is not where its events begin."""
    vcenter.state.add("vm-0")
    failure = vcenter.events.happen(vim.event.CustomizationFailed, "vm-0", NOON - timedelta(hours=2))
    for moids in (["vm-0"], MANY):
        assert read(session, moids)["vm-0"] == [failure]


@pytest.mark.parametrize("moids", [["vm-0"], MANY], ids=["few", "many"])
def test_an_end_that_a_wrong_clock_dated_before_the_boot_is_found(
    vcenter: FakeVcenter, session: Session, moids: list[str]
) -> None:
    """The state shows that there was an end, so its event is looked for without a bound, by one query for that VM."""
    ended = {"guest__customizationInfo__customizationStatus": "TOOLSDEPLOYPKG_SUCCEEDED"}
    vcenter.state.add("vm-0", **ended)
    begin = vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(minutes=1))
    end = vcenter.events.happen(SUCCEEDED, "vm-0", NOON - timedelta(hours=7))

    assert sorted(read(session, moids)["vm-0"]) == [begin, end]


@pytest.mark.parametrize("moids", [["vm-0"], MANY], ids=["few", "many"])
def test_an_earlier_end_does_not_hide_one_that_a_wrong_clock_dated(
    vcenter: FakeVcenter, session: Session, moids: list[str]
) -> None:
    """The boot is newer than the end that was read, and the state shows that there was another one since."""
    vcenter.state.add("vm-0", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    minute = timedelta(minutes=1)
    failure = vcenter.events.happen(vim.event.CustomizationFailed, "vm-0", NOON - 3 * minute)
    power_on = vcenter.events.happen(vim.event.VmStartingEvent, "vm-0", NOON - minute)
    success = vcenter.events.happen(SUCCEEDED, "vm-0", NOON - timedelta(hours=7))

    assert read(session, moids)["vm-0"] == [failure, power_on, success]


def test_a_clock_that_was_set_back_has_all_read_again(vcenter: FakeVcenter, session: Session) -> None:
    """What is known until a time that is yet to come says nothing of the events since."""
    key = vcenter.events.happen(SUCCEEDED, "vm-0", NOON - timedelta(minutes=1))

    assert read(session, ["vm-0"], {"vm-0": NOON + timedelta(hours=7)}) == {"vm-0": [key]}


def test_the_whole_history_and_the_part_since_a_time(vcenter: FakeVcenter, session: Session) -> None:
    """The command reads all of some VMs; the feed what happened since it last heard, of all or of each."""
    old = vcenter.events.happen(STARTED, "vm-0", NOON - timedelta(days=9))
    new = vcenter.events.happen(SUCCEEDED, "vm-0", NOON)

    assert [event.key for event in history.read_all(session, ["vm-0"])[0]] == [old, new]
    assert [event.key for event in history.since(session, NOON)] == [new]
    assert [event.key for event in history.since_for_each(session, ["vm-0", "vm-1"], NOON)] == [new]
