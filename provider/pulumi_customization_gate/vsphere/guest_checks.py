"""Checks that are made in the guest, by guest operations: a command, and cloud-init."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestLoginError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.guest.program import Script
from pulumi_customization_gate.vsphere.guest.run import Attempt, remove_runs, run_script
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.vsphere.checks import Check
    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
    from pulumi_customization_gate.vsphere.guest.outcome import Outcome
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

PAUSE = 5.0
"""Seconds from one try in a guest to the next."""
TRY_TIMEOUT = 120.0
"""Seconds that one try may take; its script is stopped then."""
GUESTS_AT_ONCE = 32
OUTPUT_LIMIT = 4096
CLOUD_INIT = Script(
    "command -v cloud-init >/dev/null || { echo 'cloud-init is not installed' >&2; exit 127; }\ncloud-init status\n",
    interpreter="sh",
    output_limit=OUTPUT_LIMIT,
)
"""Says `status: done`, `running`, `not started`, `error` or `disabled`; the exit code depends on the version."""


@dataclass(eq=False)
class Made:
    """The tries of the checks of one guest, from one customization or power-on to the next."""

    key: str = field(default_factory=lambda: secrets.token_hex(8))
    """What names their files in the guest."""
    attempts: int = 0
    held: set[int] = field(default_factory=set)
    """The positions of the checks that have held."""


class GuestChecks:
    """Makes checks in guests, each guest's in turn until they hold. What has held is not tried again.

    Args:
        settings: Which vCenter, and as whom.
        credentials: Who works in the guests.
    """

    def __init__(self, settings: VsphereSettings, credentials: GuestCredentials) -> None:
        self._settings, self._credentials = settings, credentials
        self._closing = threading.Event()
        self._tries = Tries("customization-gate-guest-checks", GUESTS_AT_ONCE, PAUSE)
        self._refused: dict[str, str] = {}

    def missing(self, moid: str, checks: Sequence[Check], made: Made) -> str:
        """Returns at once what the last try in a guest found missing, or nothing once all of its checks have held.

        Args:
            moid: The VM's managed object ID.
            checks: The checks.
            made: The tries so far. With another object all checks are made anew, whatever an earlier try finds.
        """
        if not checks:
            return ""
        if refusal := self.refusal(moid):
            return refusal
        reason = self._tries.ask(made, partial(self._try, moid, checks, made))
        return "" if not reason else reason if ":" in reason else f"{checks[0]}: {reason}"

    def refusal(self, moid: str) -> str:
        """Returns that the guest refused the user name or password, which are not sent to it again, or nothing."""
        return self._refused.get(moid, "")

    def close(self) -> None:
        """Stops the scripts that run, and makes no further try."""
        self._closing.set()
        self._tries.close()

    def _try(self, moid: str, checks: Sequence[Check], made: Made) -> str:
        check = checks[0]
        try:
            with acquire(self._settings) as session:
                guest = Guest(session, moid, self._credentials, Deadline(TRY_TIMEOUT, self._closing.is_set))
                guest.check_login()
                for number, check in enumerate(checks):
                    if number not in made.held:
                        if reason := self._unmet(guest, check, made):
                            return f"{check}: {reason}"
                        made.held.add(number)
        except GuestLoginError as error:
            # Another try could lock the account.
            self._refused[moid] = f"{check}: {error}"
            return self._refused[moid]
        except GateError as error:
            return f"{check}: {error}"
        return ""

    def _unmet(self, guest: Guest, check: Check, made: Made) -> str:
        if check.kind == "cloud_init":
            if guest.is_windows:
                return "expected a guest with cloud-init, got Windows"
            return cloud_init_fault(self._run(guest, CLOUD_INIT, made))
        script = Script(str(check.options["script"]), output_limit=OUTPUT_LIMIT)
        expected = int(check.options.get("exit_code") or 0)
        outcome = self._run(guest, script, made)
        if outcome.exit_code is not None and outcome.exit_code % 2**32 == expected % 2**32:
            return ""
        last_line = _last_line(outcome)
        return f"expected exit code {expected}, got {outcome.exit_code}" + (
            f"; last line of output: {last_line}" if last_line else ""
        )

    def _run(self, guest: Guest, script: Script, made: Made) -> Outcome:
        made.attempts += 1
        attempt = Attempt(made.key, made.attempts, hashlib.sha256(script.text.encode()).hexdigest())
        try:
            outcome = run_script(guest, script, attempt).outcome
        finally:
            if not self._closing.is_set():
                remove_runs(guest, attempt.key)
        assert outcome is not None
        return outcome


def cloud_init_fault(outcome: Outcome) -> str:
    """Returns why cloud-init is not done, or nothing if it is, by what `cloud-init status` wrote."""
    found = re.findall(r"^status: *(.+?) *$", outcome.stdout, re.MULTILINE)
    if not found:
        last_line = _last_line(outcome)
        return f"expected a status of cloud-init, got exit code {outcome.exit_code}" + (
            f" and {last_line!r}" if last_line else ""
        )
    status = str(found[-1])
    return "" if status == "done" else f"expected the status done, got {sanitize(status, 100)}"


def _last_line(outcome: Outcome) -> str:
    lines = [line for text in (outcome.stdout, outcome.stderr) for line in map(sanitize, text.splitlines()) if line]
    return lines[-1] if lines else ""
