"""IP addresses as guests report them: any text may come, and not every address can be used."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address | None:
    """Returns the address, without the zone of a link-local one, or None where the text is not an address."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_usable(address: Address, ignored: Sequence[Network] = ()) -> bool:
    """Returns whether others can reach a guest at an address.

    Args:
        address: The address.
        ignored: Networks whose addresses do not count, for example that of a template.
    """
    is_special = (
        address.is_link_local
        or address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)  # noqa: PLR2004 -- IPv4; most of IPv6 is "reserved"
    )
    return not is_special and not any(address in network for network in ignored)


def usable_addresses(texts: Iterable[str], ignored: Sequence[Network] = (), family: int | None = None) -> list[str]:
    """Returns the addresses at which others can reach a guest, in their order.

    Args:
        texts: What the guest reports.
        ignored: Networks whose addresses do not count.
        family: 4 or 6; both by default.
    """
    found = [address for address in map(parse_address, texts) if address is not None and is_usable(address, ignored)]
    return [str(address) for address in found if family in {None, address.version}]


def first_usable(texts: Iterable[str]) -> str:
    """Returns the first address at which others can reach a guest, empty where there is none."""
    return next(iter(usable_addresses(texts)), "")
