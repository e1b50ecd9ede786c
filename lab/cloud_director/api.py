"""The lab's routes of Cloud Director's API."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from flask import Flask, Response, g, jsonify, request

from lab.cloud_director import documents
from lab.cloud_director.cloud import Cloud, SimulatedVm, vapp_uuid

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from flask.typing import ResponseReturnValue

    from lab.cloud_director.faults import Faults

VERSIONS = ("36.3", "37.0", "37.1", "37.2", "37.3", "38.0", "38.1")
"""Those of Cloud Director 10.5."""
_DOOR = "/cloudapi/1.0.0/sessions"
_VERSION = re.compile(r"version=([\d.]+)")
_VM = "/api/vApp/vm-<uuid_text>"


class _RefusalError(Exception):
    """An answer other than a good one."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Api:
    """The API over one cloud; `app` is the application that serves it."""

    def __init__(self, cloud: Cloud, faults: Faults) -> None:
        self._cloud, self._faults = cloud, faults
        self.app = app = Flask("cloud-director")
        app.before_request(self._receive)
        app.after_request(self._send)
        app.teardown_request(lambda _: cloud.leave())
        app.register_error_handler(_RefusalError, _refuse)
        for rule, view, methods in (
            ("/api/versions", self._versions, ["GET"]),
            ("/cloudapi/1.0.0/sessions", self._log_in, ["POST"]),
            ("/cloudapi/1.0.0/sessions/provider", self._log_in, ["POST"]),
            ("/cloudapi/1.0.0/sessions/current", self._session, ["GET"]),
            ("/cloudapi/1.0.0/sessions/current", self._log_out, ["DELETE"]),
            ("/cloudapi/1.0.0/sessions", self._log_out, ["DELETE"]),
            ("/cloudapi/1.0.0/sessions/provider", self._log_out, ["DELETE"]),
            ("/oauth/tenant/<org>/token", self._exchange, ["POST"]),
            ("/oauth/provider/token", self._exchange, ["POST"]),
            ("/api/org/", self._orgs, ["GET"]),
            ("/api/query", self._query, ["GET"]),
            ("/api/vApp/vapp-<uuid_text>", self._vapp, ["GET"]),
            (_VM, self._vm, ["GET"]),
            (f"{_VM}/guestcustomizationstatus", self._status, ["GET"]),
            (f"{_VM}/guestCustomizationSection", self._section, ["GET"]),
        ):
            app.add_url_rule(rule, f"{methods[0]} {rule}", view, methods=methods, strict_slashes=False)

    def _receive(self) -> ResponseReturnValue | None:
        own = str(uuid.uuid4())
        wished = re.sub("[^A-Za-z0-9-]", "", request.headers.get("X-VMWARE-VCLOUD-CLIENT-REQUEST-ID", ""))[:128]
        g.request_id = f"{wished}-{own}" if wished else own
        path = request.path.rstrip("/")
        self._cloud.count(f"{request.method} {_without_identifiers(path)}")
        if (faulty := self._faults.strike(path, self._cloud)) is not None:
            return faulty
        if path == "/api/versions" or path.startswith("/oauth/"):
            return None
        asked = _VERSION.search(request.headers.get("Accept", ""))
        if asked is None or asked[1] not in VERSIONS:
            raise _RefusalError(406, "NOT_ACCEPTABLE", "The request has invalid accept header: no supported version")
        g.version = asked[1]
        if not (request.method == "POST" and path.startswith(_DOOR)) and not self._cloud.is_good(_token()):
            raise _RefusalError(401, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", "Authentication failed or token expired")
        return None

    def _send(self, response: Response) -> Response:
        self._cloud.count_answer(response.status_code)
        response.headers["X-VMWARE-VCLOUD-REQUEST-ID"] = g.get("request_id", "")
        return response

    def _versions(self) -> ResponseReturnValue:
        return _answer(documents.versions(_address(), VERSIONS))

    def _log_in(self) -> ResponseReturnValue:
        given = request.authorization
        as_provider = request.path.endswith("provider")
        value = ""
        if given is not None and given.type == "basic":
            value = self._cloud.log_in(given.username or "", given.password or "", as_provider=as_provider)
        if not value:
            raise _RefusalError(401, "UNAUTHORIZED", "Unauthorized")
        response = jsonify(_session(self._cloud))
        response.headers["X-VMWARE-VCLOUD-ACCESS-TOKEN"] = value
        response.headers["X-VMWARE-VCLOUD-TOKEN-TYPE"] = "Bearer"
        return response

    def _session(self) -> ResponseReturnValue:
        return jsonify(_session(self._cloud))

    def _log_out(self) -> ResponseReturnValue:
        self._cloud.log_out(_token())
        return "", 204

    def _exchange(self, org: str = "System") -> ResponseReturnValue:
        good = request.form.get("grant_type") == "refresh_token" and org.lower() == self._cloud.org.lower()
        value = self._cloud.exchange(request.form.get("refresh_token", "")) if good else ""
        if not value:
            return jsonify(error="invalid_grant", error_description="The refresh token is not valid"), 400
        answer = {"access_token": value, "token_type": "Bearer", "expires_in": int(self._cloud.token_life)}
        if self._cloud.rotates_api_token:
            answer["refresh_token"] = self._cloud.api_token
        return jsonify(answer)

    def _orgs(self) -> ResponseReturnValue:
        return _answer(documents.org_list(_address(), self._cloud.org))

    def _query(self) -> ResponseReturnValue:
        is_provider = self._cloud.org.lower() == "system"
        if request.args.get("type") != ("adminVM" if is_provider else "vm"):
            raise _RefusalError(400, "BAD_REQUEST", "This user may query its VMs, and nothing else")
        wanted = set(re.findall(r"id==(?:urn:vcloud:vm:)?([0-9a-f-]{36})", request.args.get("filter", "")))
        page, size = int(request.args.get("page", 1)), min(int(request.args.get("pageSize", 25)), 128)
        vms = [vm for vm in self._cloud.vms() if not wanted or vm.uuid in wanted]
        return _answer(documents.records(_address(), vms, page, size, is_provider=is_provider))

    def _vapp(self, uuid_text: str) -> ResponseReturnValue:
        name = self._cloud.vapp(uuid_text)
        if name is None:
            raise _forbidden("vapp", uuid_text)
        return _answer(documents.vapp(_address(), name, self._cloud.vms(name)))

    def _vm(self, uuid_text: str) -> ResponseReturnValue:
        return _answer(documents.vm_document(_address(), self._found(uuid_text)))

    def _status(self, uuid_text: str) -> ResponseReturnValue:
        return _answer(documents.status(self._found(uuid_text)))

    def _section(self, uuid_text: str) -> ResponseReturnValue:
        return _answer(documents.section(_address(), self._found(uuid_text)))

    def _found(self, uuid_text: str) -> SimulatedVm:
        vm = self._cloud.vm(uuid_text)
        if vm is None or vm.uuid != uuid_text:
            raise _forbidden("vm", uuid_text)
        return vm


def _refuse(error: _RefusalError) -> Response:
    response = _answer(documents.error(error.status, error.code, error.message))
    response.status_code = error.status
    return response


def _forbidden(kind: str, uuid_text: str) -> _RefusalError:
    """Returns how the server hides whether there is such a thing."""
    entity = f'[ {g.request_id} ] No access to entity "com.vmware.vcloud.entity.{kind}:{uuid_text}".'
    return _RefusalError(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", entity)


def _answer(root: Element) -> Response:
    if "+json" in request.headers.get("Accept", "") or request.path.startswith("/cloudapi"):
        return jsonify(documents.as_json(root))
    kind = root.get("type", "application/*+xml")
    return Response(documents.as_xml(root), content_type=f"{kind};version={g.get('version', VERSIONS[-1])}")


def _address() -> str:
    return f"https://{request.host}"


def _token() -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else request.headers.get("X-VMWARE-VCLOUD-ACCESS-TOKEN", "")


def _session(cloud: Cloud) -> dict[str, object]:
    role = {"name": "Organization Administrator", "id": f"urn:vcloud:role:{vapp_uuid('role')}"}
    return {
        "id": f"urn:vcloud:session:{uuid.uuid4()}",
        "user": {"name": cloud.user, "id": f"urn:vcloud:user:{vapp_uuid(cloud.user)}"},
        "org": {"name": cloud.org, "id": f"urn:vcloud:org:{vapp_uuid(cloud.org)}"},
        "location": "lab",
        "roles": [role["name"]],
        "roleRefs": [role],
        "sessionIdleTimeoutMinutes": 30,
    }


def _without_identifiers(path: str) -> str:
    """Returns a path to count calls by."""
    return re.sub(r"/(vm|vapp)-[^/]+", r"/\1", re.sub(r"/tenant/[^/]+", "/tenant", path))
