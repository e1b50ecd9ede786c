"""Faults on demand."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Response

from lab.cloud_director import documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cloud_director.cloud import Cloud

KINDS = (
    "expire",
    "status",
    "forbidden-page",
    "no-entity",
    "no-right",
    "slow",
    "hang",
    "drip",
    "redirect",
    "broken-xml",
    "other-xml",
    "entity-bomb",
    "huge",
)
LONGEST = 60.0
"""Seconds after which even a hanging request ends."""

_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + ']><GuestCustomizationStatusSection xmlns="http://www.vmware.com/vcloud/v1.5">'
    "<GuestCustStatus>&j;</GuestCustStatus></GuestCustomizationStatusSection>"
)
_REFUSALS = {
    "no-entity": "[ 0 ] Either you need some or all of the following rights [Base] to perform operations "
    "[VAPP_VM_VIEW] for 0 or the target entity is invalid.",
    "no-right": "[ 0 ] Either you need some or all of the following rights [vApp: View VM metrics] to perform "
    "operations [VAPP_VM_METRICS] for 0 or the target entity is invalid.",
}
"""How a Cloud Director refuses a VM that is not there, or hidden, and an operation that the user has no right to."""
_HUGE = 10 * 1024 * 1024


@dataclass
class Fault:
    """One thing that goes wrong for calls whose path holds `path`, after `after` calls, `times` times."""

    kind: str
    path: str = ""
    after: int = 0
    times: int = 1_000_000
    status: int = 503
    """For `status`: the HTTP status."""
    retry_after: str = ""
    """For `status`: the Retry-After header."""
    seconds: float = 1.0
    """For `slow`: how long the answer takes."""
    location: str = ""
    """For `redirect`: where to."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}; there are {', '.join(KINDS)}")


class Faults:
    """The faults that are due. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._released = threading.Event()

    def add(self, fault: Fault) -> None:
        """Lets something go wrong from now on."""
        with self._lock:
            self._faults.append(fault)
            self._released.clear()

    def clear(self) -> None:
        """Lets all be well again; hanging requests end."""
        with self._lock:
            self._faults.clear()
            self._released.set()

    def strike(self, path: str, cloud: Cloud) -> Response | None:
        """Returns the faulty answer to a call, after whatever delay belongs to it, or None where all is well."""
        fault = self._due(path)
        if fault is None:
            return None
        if fault.kind in ("slow", "hang"):
            self._released.wait(fault.seconds if fault.kind == "slow" else LONGEST)
            return None
        if fault.kind == "expire":
            cloud.end_sessions()
            return None
        return self._answer(fault)

    def _due(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.path not in path:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times > 0:
                    fault.times -= 1
                    return fault
            return None

    def _answer(self, fault: Fault) -> Response:
        xml = "application/vnd.vmware.vcloud.guestcustomizationstatussection+xml"
        if fault.kind == "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return Response("the service is busy", fault.status, headers, mimetype="text/plain")
        if fault.kind in ("forbidden-page", *_REFUSALS):
            return _forbidden(fault.kind)
        if fault.kind == "redirect":
            return Response("", 302, {"Location": fault.location})
        if fault.kind == "huge":
            return Response((b" " * 65536 for _ in range(_HUGE // 65536)), mimetype=xml)
        if fault.kind == "drip":
            return Response(self._drops(), mimetype=xml)
        body = {
            "broken-xml": "<GuestCustomizationStatusSection><GuestCustStatus>GC_COMPL",
            "other-xml": "<Task xmlns='http://www.vmware.com/vcloud/v1.5' status='running'/>",
            "entity-bomb": _BOMB,
        }[fault.kind]
        return Response(body, mimetype=xml)

    def _drops(self) -> Iterator[bytes]:
        until = time.monotonic() + LONGEST
        while time.monotonic() < until and not self._released.wait(0.2):
            yield b" "


def _forbidden(kind: str) -> Response:
    if kind == "forbidden-page":
        return Response("<html>This request was blocked.</html>", 403, mimetype="text/html")
    error = documents.error(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", _REFUSALS[kind])
    return Response(documents.as_xml(error), 403, mimetype="application/vnd.vmware.vcloud.error+xml")
