"""A service account's API token, which Cloud Director replaces at each use, against the lab's server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director.client import certificate
from lab.cloud_director.cloud import Cloud, Plan
from lab.cloud_director.server import Running, serve
from lab.paths import Home
from pulumi_customization_gate.cloud_director import api_tokens, refused_logins
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import AuthenticationError
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.wait import wait
from tests.lab.sources import cloud_director_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.core.model import GateReport


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    new_process(monkeypatch)
    cloud = Cloud("acme", "ann", "s3cret", token_life=2.0)
    cloud.rotates_api_token = True
    with serve(cloud, certificate(Home())) as running:
        yield running


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clears what the process remembers of logins."""
    monkeypatch.setattr(refused_logins, "_refused", {})
    monkeypatch.setattr(api_tokens, "_newest", {})


def run(lab: Running, api_token: str, seconds: float = 0.0) -> GateReport:
    vm = lab.cloud.add("web-0", plan=Plan(start_delay=0.0, duration=seconds))
    ca_file = str(certificate(Home()) / "ca.pem")
    settings = CloudDirectorSettings(lab.url, "acme", api_token=api_token, ca_file=ca_file)
    return wait(cloud_director_source(settings, {"web-0": vm.urn}), WaitRules(timeout=20))


def test_the_first_run_says_that_it_consumed_the_token(lab: Running) -> None:
    """A run whose login replaced the API token succeeds, and warns that the configured one is not valid any more."""
    report = run(lab, lab.cloud.api_token)
    assert report.ready
    (note,) = report.notes
    assert "`vcd:apiToken` or VCD_API_TOKEN has been consumed" in note
    assert "an API token that belongs to a user" in note


def test_the_next_run_says_why_it_is_refused(lab: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of a consumed API token names the service account as a cause, after one attempt."""
    configured = lab.cloud.api_token
    run(lab, configured)
    new_process(monkeypatch)
    with pytest.raises(AuthenticationError, match="an earlier run may have consumed this one"):
        run(lab, configured)
    assert lab.cloud.logins == {"ok": 1, "failed": 1}


def test_later_logins_of_one_process_use_the_newest_token(lab: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Renewals during a wait and later waits of the same process succeed, and no token reaches a log."""
    caplog.set_level(logging.DEBUG)
    configured = lab.cloud.api_token
    tokens = [configured]
    for seconds in (3.0, 0.0):
        assert run(lab, configured, seconds).ready
        tokens.append(lab.cloud.api_token)
    assert lab.cloud.logins["failed"] == 0
    assert lab.cloud.logins["ok"] > 2
    assert "replaced the API token" in caplog.text
    assert [token for token in tokens if token in caplog.text] == []


def test_the_token_of_a_user_stays_valid(lab: Running) -> None:
    """An API token that the server does not replace is used again without a warning."""
    lab.cloud.rotates_api_token = False
    reports = [run(lab, lab.cloud.api_token) for _ in range(2)]
    assert [(report.ready, report.notes) for report in reports] == [(True, ()), (True, ())]
