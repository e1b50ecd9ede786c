"""The lab's cloud: VMs that move through the states of guest customization, accounts and tokens."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

PENDING, REBOOT, POST, COMPLETE, FAILED = (
    "GC_PENDING",
    "REBOOT_PENDING",
    "POST_GC_PENDING",
    "GC_COMPLETE",
    "GC_FAILED",
)
OUTCOMES = ("succeeded", "failed", "never-starts", "never-ends", "disabled", "unknown-state")
UNKNOWN = "GC_TO_BE_INVENTED"
"""The state that no documentation knows, for clients that must tolerate one."""


@dataclass(frozen=True)
class Plan:
    """What happens to a VM after its power-on."""

    outcome: str = "succeeded"
    start_delay: float = 0.5
    """Seconds from power-on until VMware Tools run and customization begins."""
    duration: float = 3.0
    """Seconds that customization takes."""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"no such outcome: {self.outcome!r}; there are {', '.join(OUTCOMES)}")

    def state(self, age: float) -> str:
        """Returns the state at a number of seconds after the power-on."""
        done = (age - self.start_delay) / self.duration if self.duration else float(age >= self.start_delay)
        if self.outcome in ("never-starts", "disabled") or done < _CUSTOMIZED:
            return PENDING
        if self.outcome == "failed":
            return PENDING if done < 1 else FAILED
        if self.outcome == "unknown-state" and done < 1:
            return UNKNOWN
        if done < _REBOOTED:
            return REBOOT
        return POST if done < 1 or self.outcome == "never-ends" else COMPLETE

    def tools_run(self, age: float) -> bool:
        """Returns whether VMware Tools run then: not before the guest is up, and not while it reboots."""
        return age >= self.start_delay and self.state(age) != REBOOT


_CUSTOMIZED, _REBOOTED = 0.6, 0.8
"""The parts of the duration after which the guest wants to reboot, and has rebooted."""


@dataclass
class SimulatedVm:
    """One VM. Its state follows from its plan and the time since its power-on, or is set by hand."""

    name: str
    vapp: str
    plan: Plan
    powered_on_at: float | None = None
    set_state: str = ""
    record_state: str | None = None
    """The state that the query service reports: None for the real one, empty for none, else an outdated word."""
    reports_tools: bool = True
    """Whether the server reports whether VMware Tools run: older servers do not."""
    ip_address: str = ""
    predecessors: int = 0
    """How many VMs of its name were deleted before it, which were other VMs."""
    uuid: str = field(init=False)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)

    def __post_init__(self) -> None:
        # The same name is the same VM after a restart, so that a stack's references stay good.
        successor = f"/{self.predecessors}" if self.predecessors else ""
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"vm/{self.vapp}/{self.name}{successor}"))

    @property
    def urn(self) -> str:
        """The identifier that clients keep."""
        return f"urn:vcloud:vm:{self.uuid}"

    @property
    def age(self) -> float:
        """Seconds since the power-on; negative where it is off."""
        return -1.0 if self.powered_on_at is None else time.monotonic() - self.powered_on_at

    @property
    def state(self) -> str:
        """The customization state now."""
        return self.set_state or self.plan.state(self.age)

    @property
    def tools_run(self) -> bool:
        """Whether VMware Tools run now."""
        return self.powered_on_at is not None and self.plan.tools_run(self.age)

    @property
    def completed_after(self) -> float | None:
        """Seconds from the power-on to the good end of the customization, if that has come."""
        if self.set_state or self.state != COMPLETE:
            return None
        return self.plan.start_delay + self.plan.duration

    @property
    def is_enabled(self) -> bool:
        """Whether guest customization is enabled."""
        return self.plan.outcome != "disabled"


@dataclass(frozen=True)
class _Token:
    value: str
    ends_at: float


class Cloud:
    """VMs, accounts and tokens. Safe to use from many threads.

    Args:
        org: The organization whose user logs in; "System" for a provider's administrator.
        user: The user.
        password: Its password.
        token_life: Seconds for which a token is good.
    """

    def __init__(self, org: str, user: str, password: str, token_life: float = 86400.0) -> None:
        self.org, self.user, self.password = org, user, password
        self.empty_vapps: set[str] = set()
        self.api_token = secrets.token_urlsafe(24)
        self.rotates_api_token = False
        """Whether the API token is a service account's: it is good for one login, which returns the next one."""
        self.token_life = token_life
        self._lock = threading.Lock()
        self._vms: dict[str, SimulatedVm] = {}
        self._deleted: Counter[tuple[str, str]] = Counter()
        self._addresses = 0
        self._tokens: dict[str, _Token] = {}
        self.calls: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.under_way = 0
        """Calls that have come and are not answered yet."""
        self.logins: Counter[str] = Counter()
        self.logouts = 0

    def add(self, name: str, vapp: str = "web", plan: Plan | None = None, *, on: bool = True) -> SimulatedVm:
        """Adds a VM, powered on by default."""
        with self._lock:
            predecessors = self._deleted[vapp, name]
            vm = SimulatedVm(name, vapp, plan or Plan(), time.monotonic() if on else None, predecessors=predecessors)
            old = self._vms.get(vm.uuid)
            self._addresses += old is None
            vm.ip_address = old.ip_address if old else f"192.168.20.{9 + self._addresses % 240}"
            self._vms[vm.uuid] = vm
        return vm

    def remove(self, vm: SimulatedVm) -> None:
        """Deletes a VM."""
        with self._lock:
            if self._vms.pop(vm.uuid, None):
                self._deleted[vm.vapp, vm.name] += 1

    def vm(self, uuid_or_name: str) -> SimulatedVm | None:
        """Returns a VM by its UUID or name."""
        return next((m for m in self.vms() if uuid_or_name in (m.uuid, m.name)), None)

    def vms(self, vapp: str = "") -> list[SimulatedVm]:
        """Returns the VMs, all or those of one vApp."""
        with self._lock:
            return [m for m in self._vms.values() if not vapp or vapp == m.vapp]

    def vapp(self, uuid_text: str) -> str | None:
        """Returns the name of the vApp of this UUID."""
        with self._lock:
            names = {m.vapp for m in self._vms.values()} | self.empty_vapps
            return next((name for name in names if vapp_uuid(name) == uuid_text), None)

    def log_in(self, user_at_org: str, password: str, *, as_provider: bool) -> str:
        """Returns a new token, or an empty string where the credentials are not valid at this address."""
        good = secrets.compare_digest(f"{self.user}@{self.org}".encode(), user_at_org.encode())
        good &= secrets.compare_digest(self.password.encode(), password.encode())
        return self._admit(good and as_provider == (self.org.lower() == "system"))

    def exchange(self, api_token: str) -> str:
        """Returns a new token for an API token, or an empty string where that is not valid."""
        value = self._admit(secrets.compare_digest(self.api_token.encode(), api_token.encode()))
        if value and self.rotates_api_token:
            self.api_token = secrets.token_urlsafe(24)
        return value

    def _admit(self, good: bool) -> str:
        with self._lock:
            self.logins["ok" if good else "failed"] += 1
            if not good:
                return ""
            # As long as a real token: clients distinguish it from the older kind by its length.
            token = _Token(secrets.token_urlsafe(450), time.monotonic() + self.token_life)
            self._tokens[token.value] = token
            return token.value

    def is_good(self, token: str) -> bool:
        """Returns whether a token is good now."""
        with self._lock:
            found = self._tokens.get(token)
            return found is not None and time.monotonic() < found.ends_at

    def log_out(self, token: str) -> None:
        """Ends one session."""
        with self._lock:
            if self._tokens.pop(token, None):
                self.logouts += 1

    def end_sessions(self) -> None:
        """Ends all sessions, as an administrator or a restart does."""
        with self._lock:
            self._tokens.clear()

    def count(self, route: str) -> None:
        """Counts a call that has come."""
        with self._lock:
            self.calls[route] += 1
            self.under_way += 1

    def leave(self) -> None:
        """Counts a call that has been answered."""
        with self._lock:
            self.under_way -= 1

    def count_answer(self, status: int) -> None:
        """Counts an answer by its HTTP status."""
        with self._lock:
            self.answers[status] += 1

    def stats(self) -> dict[str, object]:
        """Returns what was counted, and how many sessions there are."""
        with self._lock:
            sessions = sum(time.monotonic() < token.ends_at for token in self._tokens.values())
            return {
                "sessions": sessions,
                "calls": dict(self.calls),
                "answers": {str(status): count for status, count in self.answers.items()},
                "logins": {"ok": self.logins["ok"], "failed": self.logins["failed"]},
                "logouts": self.logouts,
            }

    def clear(self) -> None:
        """Removes all VMs, sessions and counts."""
        self.end_sessions()
        self.reset_stats()
        with self._lock:
            self._vms.clear()
            self._deleted.clear()
            self.empty_vapps.clear()

    def reset_stats(self) -> None:
        """Resets the counts."""
        with self._lock:
            self.calls.clear()
            self.answers.clear()
            self.logins.clear()
            self.logouts = 0


def vapp_uuid(name: str) -> str:
    """Returns the UUID of the vApp of this name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"vapp/{name}"))
