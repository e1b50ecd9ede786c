"""Passwords that guests refuse: how often they are sent, and to which guests."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.vsphere.guest import refused_logins
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestLoginError

DOMAIN, LOCAL = r"EXAMPLE\deploy", "root"


class Guests:
    """Guests that accept a password from a given login on."""

    def __init__(self, accepted_from: float = float("inf")) -> None:
        self.accepted_from = accepted_from
        self.sent: list[str] = []
        self.reported: list[str] = []
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def log_in(self, moid: str, user: str) -> bool:
        """Logs in as a script does; returns whether the guest let it in."""

        def send() -> None:
            self.sent.append(moid)
            if len(self.sent) < self.accepted_from:
                raise GuestLoginError(f"the guest of {moid} refuses the user name or password of {user}")

        deadline = Deadline(600, clock=lambda: self.now, sleep=self.sleep)
        try:
            refused_logins.log_in(
                f"server/{moid}/uuid", user, "wrong", deadline, send=send, notify=self.reported.append
            )
        except GuestLoginError:
            return False
        return True


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_logins, "_accounts", {})
    monkeypatch.setattr(refused_logins, "_opened", {})


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        pytest.param(DOMAIN, ["vm-0"], id="one account for all VMs"),
        pytest.param("deploy@example.com", ["vm-0"], id="one account for all VMs, with an at sign"),
        pytest.param(LOCAL, ["vm-0", "vm-1", "vm-2"], id="an account in each VM"),
        pytest.param(r".\deploy", ["vm-0", "vm-1", "vm-2"], id="an account in each Windows VM"),
    ],
)
def test_a_refused_password_is_sent_once_per_account(user: str, expected: list[str]) -> None:
    """Three scripts in each of three VMs send the password of a domain account once, of local accounts once per VM."""
    guests = Guests()
    let_in = [guests.log_in(f"vm-{vm}", user) for _ in range(3) for vm in range(3)]
    assert (let_in, guests.sent) == ([False] * 9, expected)


def test_a_refusal_after_a_gate_opened_is_tried_again() -> None:
    """An account that the guest sets up in the first minute lets the script in, which says what it waits for."""
    refused_logins.gate_opened("SERVER", "vm-0")
    guests = Guests(accepted_from=3)
    assert guests.log_in("vm-0", LOCAL)
    assert (guests.sent, guests.now) == (["vm-0"] * 3, 2 * refused_logins.RETRY_INTERVAL)
    assert "the account may not be set up yet" in guests.reported[0]


def test_retries_after_a_gate_opened_are_bounded_for_a_domain_account() -> None:
    """Fifty VMs send the wrong password of one domain account four times in all."""
    for vm in range(50):
        refused_logins.gate_opened("server", f"vm-{vm}")
    guests = Guests()
    let_in = [guests.log_in(f"vm-{vm}", DOMAIN) for vm in range(50)]
    assert (any(let_in), guests.sent) == (False, ["vm-0"] * (1 + refused_logins.RETRIES))


def test_a_domain_account_that_worked_is_refused_in_one_vm_alone() -> None:
    """A VM that has not joined the domain does not keep the others from being used."""
    guests = Guests(accepted_from=0)
    assert guests.log_in("vm-0", DOMAIN)
    guests.accepted_from = float("inf")
    assert not guests.log_in("vm-1", DOMAIN)
    assert not guests.log_in("vm-1", DOMAIN)
    guests.accepted_from = 0
    assert [guests.log_in(vm, DOMAIN) for vm in ("vm-2", "vm-0")] == [True, True]
    assert guests.sent == ["vm-0", "vm-1", "vm-2", "vm-0"]


def test_the_error_says_that_the_password_is_not_sent_again() -> None:
    """The second error names the first refusal, and not the password."""
    guests = Guests()
    guests.log_in("vm-0", DOMAIN)
    with pytest.raises(GuestLoginError, match=r"the guest of vm-0 refuses .*not sent again by this run") as caught:
        refused_logins.log_in("server/vm-1", DOMAIN, "wrong", Deadline(1), send=lambda: None, notify=lambda _: None)
    assert '"wrong"' not in str(caught.value)
