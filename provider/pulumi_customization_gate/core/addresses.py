"""Which of the IP addresses that a guest reports can be used from elsewhere."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_usable(text: str) -> bool:
    """Whether a text is an IP address that other computers can reach: not a link-local, loopback or multicast one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified)


def first_usable(addresses: Iterable[str]) -> str:
    """Returns the first address that can be used, empty where there is none."""
    return next(filter(is_usable, addresses), "")
