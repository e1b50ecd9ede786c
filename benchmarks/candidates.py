"""One waiter alone in a process: `python -m benchmarks.candidates NAME READY_FILE SECONDS`.

It waits for all VMs of a lab except the template and prints the JSON of `benchmarks.progress`. Ansible's module is not
here, because it runs in an environment of its own: see `benchmarks.ansible_module`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.progress import FAILED, NOT_CUSTOMIZED, NOT_STARTED, SUCCEEDED, TIMED_OUT, Progress
from benchmarks.reference_waiters import powercli, terraform
from benchmarks.vms import list_vms
from pulumi_customization_gate.core.model import targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.hosting.limits import prepare_interpreter
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from pulumi_customization_gate.vsphere.source import VsphereSource

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import VmOutcome
    from pulumi_customization_gate.core.progress import Update

_VERDICTS = {
    CustomizationStatus.CUSTOMIZATION_SUCCEEDED: SUCCEEDED,
    CustomizationStatus.CUSTOMIZATION_FAILED: FAILED,
    CustomizationStatus.NOT_CUSTOMIZED: NOT_CUSTOMIZED,
}


def gate(lab: dict[str, Any], seconds: float, progress: Progress) -> None:
    """Runs this project's wait as the resource does."""
    prepare_interpreter()
    settings = VsphereSettings(lab["server"], lab["user"], lab["password"], ca_file=lab["ca_file"])
    with acquire(settings) as session:
        references = {moid: moid for moid in map(moid_of, list_vms(session.content))}
    is_watching = False
    progress.began()

    def listen(update: Update) -> None:
        nonlocal is_watching
        if not is_watching:
            progress.watching()
            is_watching = True
        for outcome in update.changed:
            if outcome.ready:
                progress.report(outcome.id, SUCCEEDED)

    report = wait(
        VsphereSource(settings, targets_of(references, parse_reference)),
        WaitRules(timeout=seconds, start_timeout=seconds),
        listener=listen,
    )
    for outcome in report.outcomes:
        progress.report(outcome.id, _verdict(outcome), outcome.failure.name if outcome.failure else "")


def _verdict(outcome: VmOutcome) -> str:
    if outcome.failure is not None and outcome.failure.name in ("Timeout", "StartTimeout"):
        return TIMED_OUT
    return _VERDICTS.get(outcome.status, NOT_STARTED)


CANDIDATES = {"gate": gate, "powercli": powercli, "terraform": terraform}


def main() -> None:
    """Runs one waiter and prints its report."""
    name, ready, seconds = sys.argv[1:]
    lab = json.loads(Path(ready).read_text(encoding="utf-8"))
    progress = Progress()
    CANDIDATES[name](lab, float(seconds), progress)
    progress.finish()


if __name__ == "__main__":
    main()
