"""The wait for 200 VMs of Cloud Director, beside a fixed poll of each every 3 seconds, in the same run.

The fixed poll is go-vcloud-director's `BlockWhileGuestCustomizationStatus` as its documentation describes it, one loop
per VM, written anew here so that both run on the same sockets; unlike the original it waits for an end, because
the original takes the first change of the status for one. Both waits begin together, each at a server of its own.
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, Plan, SimulatedVm
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director.references import parse_reference
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.core.progress import Update

_FIXED = 3.0
"""Seconds between two questions of go-vcloud-director about one VM."""
_PASSWORD = "s3cret"  # noqa: S105 -- of a server that runs only for this measurement


@dataclass
class _Race:
    """One wait for all VMs of one server."""

    lab: Running
    vms: dict[str, SimulatedVm]
    seen: dict[str, float] = field(default_factory=dict)
    """When each VM was seen at its end, by the monotonic clock."""

    def row(self, client: str, seconds: float) -> dict[str, Any]:
        """Returns what the wait cost, and how late it saw each end."""
        late = [self.seen[name] - _end(vm) for name, vm in self.vms.items()]
        calls = self.lab.cloud.stats()["calls"]
        assert isinstance(calls, dict)
        return {
            "client": client,
            "vms": len(self.vms),
            "seconds": round(seconds, 1),
            "requests": sum(calls.values()),
            "requests_per_minute": round(sum(calls.values()) * 60 / seconds),
            "latency_median_seconds": round(statistics.median(late), 2),
            "latency_worst_seconds": round(max(late), 2),
            "sessions": self.lab.cloud.logins["ok"],
        }


def measure(vms: int = 200, seconds: float = 60.0) -> list[dict[str, Any]]:
    """Returns a row per client: requests in all and per minute, and the latency from each end to its being seen.

    Args:
        vms: How many VMs are customized at once.
        seconds: The longest customization; the shortest takes a quarter of it.
    """
    draw = random.Random(1)  # noqa: S311 -- the same durations in every run
    plans = [Plan("succeeded", 1.0, draw.uniform(seconds / 4, seconds)) for _ in range(vms)]
    rows: list[dict[str, Any]] = []

    def race(client: str, run: Callable[[_Race], None]) -> None:
        with serve(Cloud("acme", "ann", _PASSWORD), certificate(Home())) as lab:
            waiting = _Race(lab, {f"vm-{n}": lab.cloud.add(f"vm-{n}", plan=plan) for n, plan in enumerate(plans)})
            began = time.monotonic()
            run(waiting)
            rows.append(waiting.row(client, time.monotonic() - began))

    clients = {"customization gate": _gate, f"fixed poll, {_FIXED:g} s per VM": _fixed_poll}
    races = [threading.Thread(target=race, args=each) for each in clients.items()]
    for each in races:
        each.start()
    for each in races:
        each.join()
    return sorted(rows, key=lambda row: str(row["client"]))


def _gate(race: _Race) -> None:
    settings = CloudDirectorSettings(race.lab.url, "acme", "ann", _PASSWORD, ca_file=_authority())

    def listen(update: Update) -> None:
        now = time.monotonic()
        race.seen.update({outcome.key: now for outcome in update.changed if outcome.ready})

    references = {name: vm.urn for name, vm in race.vms.items()}
    targets = targets_of(references, partial(parse_reference, url=settings.address))
    source = CloudDirectorSource(settings, targets)
    wait(source, WaitRules(timeout=600), listener=listen)


def _fixed_poll(race: _Race) -> None:
    http = requests.Session()
    http.trust_env = False
    http.verify = _authority()
    http.mount("https://", HTTPAdapter(pool_maxsize=len(race.vms)))
    login = http.post(
        f"{race.lab.url}/cloudapi/1.0.0/sessions",
        auth=("ann@acme", _PASSWORD),
        headers={"Accept": "application/*;version=37.0"},
        timeout=10,
    )
    token = login.headers["X-VMWARE-VCLOUD-ACCESS-TOKEN"]
    headers = {"Accept": "application/*+xml;version=37.0", "Authorization": f"Bearer {token}"}

    def wait(name: str, vm: SimulatedVm) -> None:
        address = f"{race.lab.url}/api/vApp/vm-{vm.uuid}/guestcustomizationstatus"
        while name not in race.seen:
            time.sleep(_FIXED)
            status = http.get(address, headers=headers, timeout=10).text
            if any(f">{state}<" in status for state in ("GC_COMPLETE", "GC_FAILED")):
                race.seen[name] = time.monotonic()

    loops = [threading.Thread(target=wait, args=each) for each in race.vms.items()]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    http.close()


def _end(vm: SimulatedVm) -> float:
    assert vm.powered_on_at is not None
    return vm.powered_on_at + vm.plan.start_delay + vm.plan.duration


def _authority() -> str:
    return str(certificate(Home()) / "ca.pem")


def main() -> int:
    """Prints the rows as a table."""
    rows = measure()
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in rows[0]}
    for row in [{name: name for name in widths}, *rows]:
        print("  ".join(str(row[name]).ljust(width) for name, width in widths.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
