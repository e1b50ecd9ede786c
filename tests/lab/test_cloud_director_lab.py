"""The lab's Cloud Director itself: a real client takes it for one, and it can be steered from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from lab.cloud_director import client, real_client
from lab.cloud_director.client import LabVm
from lab.cloud_director.cloud import OUTCOMES, Cloud, Plan, vapp_uuid
from lab.cloud_director.server import Running, serve
from lab.paths import Home, LabError
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from tests.lab.sources import cloud_director_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def real_program() -> Path:
    return real_client.build(Home())


@pytest.fixture(scope="module", params=["acme", "System"])
def lab(request: pytest.FixtureRequest) -> Iterator[Running]:
    with serve(Cloud(request.param, "ann", "s3cret"), client.certificate(Home())) as running:
        yield running


def ask(real_program: Path, lab: Running, uuid: str, **changes: Any) -> dict[str, Any]:
    variables = {
        "VCD_URL": lab.url,
        "VCD_ORG": lab.cloud.org,
        "VCD_USER": lab.cloud.user,
        "VCD_PASSWORD": lab.cloud.password,
        "SSL_CERT_FILE": str(client.certificate(Home()) / "ca.pem"),
        **changes.pop("variables", {}),
    }
    href = f"{lab.url}/api/vApp/vm-{uuid}"
    return real_client.ask(real_program, variables, href, **{"blocking_on": "", "timeout": 10, **changes})


@pytest.mark.parametrize("state", ["GC_PENDING", "REBOOT_PENDING", "POST_GC_PENDING", "GC_COMPLETE", "GC_FAILED"])
def test_the_real_client_reads_every_state(real_program: Path, lab: Running, state: str) -> None:
    """go-vcloud-director logs in, reads VM, section, status and record, and logs out."""
    vm = lab.cloud.add("web-0")
    vm.set_state = state
    lab.cloud.reset_stats()
    found = ask(real_program, lab, vm.uuid)
    assert {"name": "web-0", "power": "POWERED_ON", "enabled": True, "before": state, "record": state} == {
        name: found[name] for name in ("name", "power", "enabled", "before", "record")
    }
    assert (lab.cloud.logins["ok"], lab.cloud.logouts) == (1, 1)


@pytest.mark.parametrize(("outcome", "end"), [("succeeded", "GC_COMPLETE"), ("failed", "GC_FAILED")])
def test_the_real_client_blocks_while_customization_is_pending(
    real_program: Path, lab: Running, outcome: str, end: str
) -> None:
    """go-vcloud-director's own wait sees the VM leave GC_PENDING, by success and by failure alike."""
    vm = lab.cloud.add("web-0", plan=Plan(outcome, 0.0, 1.5))
    found = ask(real_program, lab, vm.uuid, blocking_on="GC_PENDING")
    assert (found["before"], found["after"]) == ("GC_PENDING", end)


def test_the_real_client_logs_in_by_api_token(real_program: Path, lab: Running) -> None:
    """go-vcloud-director exchanges an API token as it would at a real server."""
    vm = lab.cloud.add("web-0", on=False)
    variables = {"VCD_API_TOKEN": lab.cloud.api_token, "VCD_PASSWORD": ""}
    assert ask(real_program, lab, vm.uuid, variables=variables)["power"] == "POWERED_OFF"


@pytest.mark.parametrize(
    ("variables", "uuid", "message"),
    [
        pytest.param({"VCD_PASSWORD": "wr0ng"}, "", "credentials", id="wrong-password"),
        pytest.param({"SSL_CERT_FILE": "/dev/null"}, "", "certificate", id="untrusted"),
        pytest.param({}, vapp_uuid("nobody"), "API Error: 403", id="unknown-vm"),
    ],
)
def test_the_real_client_is_refused_as_by_a_real_server(
    real_program: Path, lab: Running, variables: dict[str, str], uuid: str, message: str
) -> None:
    """go-vcloud-director understands the lab's refusals."""
    vm = lab.cloud.add("web-0")
    with pytest.raises(LabError, match=message):
        ask(real_program, lab, uuid or vm.uuid, variables=variables)


def test_documents_come_in_json_as_well(lab: Running) -> None:
    """A client that asks for JSON gets the same document in JSON."""
    vm = lab.cloud.add("web-0")
    vm.set_state = "REBOOT_PENDING"
    cloud = lab.cloud
    token = cloud.log_in(f"{cloud.user}@{cloud.org}", cloud.password, as_provider=cloud.org == "System")
    headers = {"Accept": "application/*+json;version=38.0", "Authorization": f"Bearer {token}"}
    with requests.Session() as http:
        http.trust_env = False
        answer = http.get(
            f"{lab.url}/api/vApp/vm-{vm.uuid}/guestcustomizationstatus",
            headers=headers,
            verify=str(client.certificate(Home()) / "ca.pem"),
            timeout=10,
        )
    assert answer.json() == {"guestCustStatus": "REBOOT_PENDING"}


def test_the_lab_runs_as_a_process_and_is_controlled_from_outside(tmp_path: Path) -> None:
    """`python -m lab.cloud_director` serves, accepts plans and faults, counts calls, is found, and ends on request."""
    lab = client.start(Home(), tmp_path, ["--vms", "2", "--start-delay", "0", "--duration", "0.2"])
    try:
        assert client.find(tmp_path) == lab
        assert sorted(lab.vms) == ["web-0", "web-1"]
        failing = lab.plan("web-1", outcome="failed", start_delay=0.0, duration=0.2)
        assert lab.vms["web-1"] == failing
        lab.fault("status", path="guestcustomizationstatus", times=1, status=503)
        settings = CloudDirectorSettings(lab.url, lab.org, lab.user, lab.password, thumbprint=lab.thumbprint)
        report = wait(cloud_director_source(settings, lab.vms), WaitRules(timeout=20))
        assert [(o.key, o.ready) for o in report.outcomes] == [("web-0", True), ("web-1", False)]
        known = lab.current_vms()
        assert {name: vm.urn for name, vm in known.items()} == dict(lab.vms)
        assert known["web-0"].powered_on is not None
        assert known["web-0"].completed is not None
        took = known["web-0"].completed - known["web-0"].powered_on
        assert (took.total_seconds(), known["web-1"].completed) == (0.2, None)
        assert (lab.stats()["sessions"], lab.stats()["answers"]["503"]) == (0, 1)
        lab.remove("web-1")
        successor = lab.plan("web-1", on=False)
        assert successor not in lab.vms.values()
        assert lab.current_vms()["web-1"] == LabVm(successor, powered_on=None, completed=None)
        with pytest.raises(requests.HTTPError):
            lab.plan("web-2", outcome="no such outcome")
    finally:
        client.stop(tmp_path)
    assert client.find(tmp_path) is None


def test_the_control_endpoint_wants_its_token(lab: Running) -> None:
    """The lab cannot be controlled without the token."""
    with requests.Session() as http:
        http.trust_env = False
        assert http.get(f"{lab.control}/stats", timeout=10).status_code == 401


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_plan_only_ever_moves_forward(outcome: str) -> None:
    """Whatever the outcome, the states of a plan come in the documented order."""
    plan = Plan(outcome, 1.0, 10.0)
    order = ["GC_PENDING", "GC_TO_BE_INVENTED", "REBOOT_PENDING", "POST_GC_PENDING", "GC_COMPLETE", "GC_FAILED"]
    ranks = [order.index(plan.state(age / 10)) for age in range(-10, 200)]
    assert ranks == sorted(ranks)
