"""The control endpoint of the lab's Cloud Director."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from flask import Flask, jsonify, request

from lab.cloud_director.cloud import Cloud, Plan
from lab.cloud_director.faults import Fault, Faults

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


class Control:
    """The control endpoint of one cloud; `app` is the application that serves it to clients with the token."""

    def __init__(self, cloud: Cloud, faults: Faults, token: str) -> None:
        self._cloud, self._faults, self._token = cloud, faults, token
        self.app = app = Flask("control")
        app.before_request(self._check)
        app.register_error_handler(ValueError, _complain)
        app.register_error_handler(TypeError, _complain)
        for rule, view, method in (
            ("/vms", self._vms, "GET"),
            ("/vms/<name>", self._plan, "PUT"),
            ("/vms/<name>", self._remove, "DELETE"),
            ("/faults", self._add_fault, "POST"),
            ("/faults", self._clear_faults, "DELETE"),
            ("/stats", self._stats, "GET"),
            ("/stats/reset", self._reset_stats, "POST"),
            ("/sessions/terminate", self._end_sessions, "POST"),
        ):
            app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _check(self) -> ResponseReturnValue | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return None if secrets.compare_digest(given.encode(), self._token.encode()) else ("", 401)

    def _vms(self) -> ResponseReturnValue:
        """Returns what the API does not report of a VM: when it was powered on, and when it was customized."""
        now = datetime.now(timezone.utc)
        reported = {}
        for vm in self._cloud.vms():
            powered_on = None if vm.powered_on_at is None else now - timedelta(seconds=vm.age)
            took = vm.completed_after
            completed = None if powered_on is None or took is None else powered_on + timedelta(seconds=took)
            reported[vm.name] = {
                "urn": vm.urn,
                "powered_on_at": powered_on and powered_on.isoformat(),
                "completed_at": completed and completed.isoformat(),
            }
        return jsonify(reported)

    def _plan(self, name: str) -> ResponseReturnValue:
        """Creates a VM or restarts its customization, by `{"outcome", "start_delay", "duration", "vapp", "on"}`."""
        given = request.get_json()
        on = bool(given.pop("on", True))
        old = self._cloud.vm(name)
        vapp = str(given.pop("vapp", old.vapp if old else "web"))
        plan = Plan(**given)
        if old is not None and old.vapp != vapp:
            self._cloud.remove(old)
        return jsonify(urn=self._cloud.add(name, vapp, plan, on=on).urn)

    def _remove(self, name: str) -> ResponseReturnValue:
        vm = self._cloud.vm(name)
        if vm is None:
            return "", 404
        self._cloud.remove(vm)
        return "", 204

    def _add_fault(self) -> ResponseReturnValue:
        self._faults.add(Fault(**request.get_json()))
        return "", 204

    def _clear_faults(self) -> ResponseReturnValue:
        self._faults.clear()
        return "", 204

    def _stats(self) -> ResponseReturnValue:
        return jsonify(self._cloud.stats())

    def _reset_stats(self) -> ResponseReturnValue:
        self._cloud.reset_stats()
        return "", 204

    def _end_sessions(self) -> ResponseReturnValue:
        self._cloud.end_sessions()
        return "", 204


def _complain(error: Exception) -> ResponseReturnValue:
    return jsonify(error=str(error)), 400
