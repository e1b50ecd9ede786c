"""A vCenter on a socket that misbehaves as a test says: the vCenter of the unit tests, behind SOAP, TLS and cookies.

    vcenter = FakeVcenter()
    with SoapServer(vcenter).serving() as server:
        server.delays["Login"] = 12.0  # carried out at once, answered 12 s later
        server.reply("QueryEvents", server.refusal(vim.fault.NotAuthenticated(), cookie="other"), None)
        server.reply("ReadNextEvents", raw(head(200), b"<Envelope>"))  # every response is cut short
        ... Session(server.settings()) ...
        assert server.count("Login") == 1

What the vCenter contains and which calls fail is set on `FakeVcenter` (`state.add`, `events.happen`, `end_sessions`,
`failures`). How a response travels is set here, by the name of the method: `reply(method, first, second, ...)` with the
replies of `misbehaving` and `refusal`; the last one stays, and None is the usual one. `delays` and `edits` change usual
responses.
"""

from __future__ import annotations

import re
from datetime import datetime
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl
from typing_extensions import Self

from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.misbehaving import Reply, Request, ScriptedServer, answer, delayed
from tests.unit.vsphere.fake_vcenter import NOON, PASSWORD, FakeStub, FakeVcenter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

CERTIFICATE = Path(__file__).parents[1] / "unit" / "certificate"
COOKIE = "vmware_soap_session"
_NAMES = 'xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soapenv:Body>{}</soapenv:Body></soapenv:Envelope>"
)
_FAULT = (
    "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{0}</faultstring>"
    '<detail><{1}Fault {2} xsi:type="{1}"></{1}Fault></detail></soapenv:Fault>'
)


class SoapServer(ScriptedServer):
    """Answers SOAP calls from a vCenter in memory.

    Args:
        vcenter: What it answers.
    """

    def __init__(self, vcenter: FakeVcenter) -> None:
        super().__init__()
        self.vcenter = vcenter
        self.edits: dict[str, tuple[str, str]] = {}
        """By method, a text of its responses and what is sent instead: an event that cannot be parsed, for example."""
        self.delays: dict[str, float] = {}
        """By method, seconds between a call that is carried out and its response."""

    def serving(self, address: str = "127.0.0.1") -> AbstractContextManager[Self]:
        """Serves for the length of a `with` block, with the certificate of the unit tests."""
        return self.serving_with(CERTIFICATE / "localhost.pem", CERTIFICATE / "localhost-key.pem", address)

    def settings(self, user: str = "ann", password: str = PASSWORD) -> VsphereSettings:
        """Returns the settings of a client; the certificate is not verified."""
        return VsphereSettings(self.url.removeprefix("https://"), user, password, allow_unverified_ssl=True)

    def name(self, request: Request) -> str:
        """Returns the name of the called method."""
        call = _Call(request.body)
        return "RetrieveServiceContent" if call.method == "Fetch" else call.method

    def usual(self, request: Request) -> Reply:
        """Carries out a call; returns its answer, or the fault."""
        stub = FakeStub(self.vcenter, 0.0)
        stub.cookie = _cookie(request)
        name = self.name(request)
        try:
            result = self.vcenter.call(stub, *_Call(request.body).arguments(name))
        except (vmodl.MethodFault, vmodl.RuntimeFault) as fault:
            return self.refusal(fault)
        body = _answer(name, result)
        for method, (text, instead) in self.edits.items():
            body = body.replace(text, instead) if method == name else body
        # A session has its cookie from the answer to the login.
        reply = _soap(200, body, stub.cookie if stub.cookie != _cookie(request) else "")
        return delayed(self.delays.get(name, 0.0), reply)

    def answering(self, method: str, result: Any) -> Reply:
        """Returns the reply with a result of a method."""
        return _soap(200, _answer(method, result), "")

    def refusal(self, fault: Any, cookie: str = "") -> Reply:
        """Returns the reply with a fault.

        Args:
            fault: The fault.
            cookie: A session cookie that the answer sets, as a vCenter does for an unknown session.
        """
        wsdl_name = VmomiSupport.GetWsdlName(type(fault))
        return _soap(500, _FAULT.format(fault.msg or wsdl_name, wsdl_name, _NAMES), cookie)


def _cookie(request: Request) -> str:
    morsel = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
    return morsel.value if morsel else ""


def _soap(status: int, body: str, cookie: str) -> Reply:
    headers = ["Content-Type: text/xml; charset=utf-8"]
    headers += [f'Set-Cookie: {COOKIE}="{cookie}"; Path=/; HttpOnly; Secure; '] if cookie else []
    return answer(status, _ENVELOPE.format(body).encode(), *headers)


class _Call:
    """A call as it came: the method, and the XML of each argument."""

    def __init__(self, body: bytes) -> None:
        self.method, self._body, self._elements = "", body, list[tuple[str, int, int]]()
        self._path: list[tuple[str, int]] = []
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        self.this = ("", "")
        parser.Parse(body, True)  # noqa: FBT003 -- expat's

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._path) == 2:
            self.method = tag
        self._path.append((tag, self._parser.CurrentByteIndex))
        if tag == "_this":
            self._kind = attributes["type"]

    def _end(self, tag: str) -> None:
        _, begin = self._path.pop()
        if len(self._path) == 3:
            end = self._body.index(b">", self._parser.CurrentByteIndex) + 1
            self._elements.append((tag, begin, end))

    def arguments(self, name: str) -> tuple[Any, str, tuple[Any, ...]]:
        """Returns the object, the method's name and the arguments, as pyVmomi would have been given them."""
        texts: dict[str, str] = {}
        for tag, begin, end in self._elements:
            texts[tag] = texts.get(tag, "") + self._body[begin:end].decode()
        this = VmomiSupport.GetWsdlType("urn:vim25", self._kind)(re.sub("<[^>]*>", "", texts["_this"]))
        if self.method == "Fetch":
            return this, name, ()
        method = VmomiSupport.GetWsdlMethod("urn:vim25", self.method)
        return this, name, tuple(_parsed(texts.get(param.name), param.type) for param in method.info.params)


def _parsed(text: str | None, kind: Any) -> Any:
    if text is None:
        return None
    return SoapAdapter.SoapResponseDeserializer(None).Deserialize(
        f"<xResponse {_NAMES}>{text}</xResponse>", kind, {None: ["urn:vim25"]}
    )


def _answer(name: str, result: Any) -> str:
    info = VmomiSupport.GetWsdlMethod("urn:vim25", name).info
    kind, text = info.result, ""
    if result is None and kind is not type(None) and not info.resultFlags & VmomiSupport.F_OPTIONAL:
        result = _required(kind)
    if result is not None and kind is not type(None):
        field = VmomiSupport.Object(name="returnval", type=kind, version="vim.version.version1", flags=0)
        typed = _typed(result, kind)
        # An answer without elements is how SOAP writes an empty list.
        text = (
            ""
            if isinstance(typed, list) and not typed
            else SoapAdapter.SerializeToStr(typed, field, NEWEST, {"urn:vim25": ""})
        )
    return f"<{name}Response {_NAMES}>{text}</{name}Response>"


NEWEST = VmomiSupport.newestVersions.Get("vim")


def _typed(value: Any, kind: Any) -> Any:
    """Returns pyVmomi's object for one of the vCenter's in memory, which has only the fields that are read."""
    if isinstance(value, SimpleNamespace):
        if issubclass(kind, VmomiSupport.ManagedObject):
            return kind("parts")  # Its own properties are not read through this server.
        made = kind()
        for field in kind._GetPropertyList():
            given = getattr(value, field.name, None)
            if given is None and not field.flags & VmomiSupport.F_OPTIONAL:
                given = _required(field.type)
            if given is not None:
                setattr(made, field.name, _typed(given, field.type))
        return made
    if isinstance(value, (list, tuple)) and not isinstance(value, VmomiSupport.Array):
        if kind is object:
            kind = _array_of(value)
        return kind([_typed(one, kind.Item) for one in value])
    return value


def _array_of(values: Any) -> Any:
    first = next(iter(values), "")
    if isinstance(first, vim.event.Event):
        return vim.event.Event.Array
    return VmomiSupport.GetVmodlType("string[]") if isinstance(first, str) else type(first).Array


def _required(kind: Any) -> Any:
    """Returns a value for a field that may not be missing and that nobody reads."""
    if issubclass(kind, VmomiSupport.ManagedObject):
        return kind("none")
    if kind is datetime:
        return NOON
    if issubclass(kind, VmomiSupport.Enum):
        return kind.values[0]
    return SimpleNamespace() if issubclass(kind, VmomiSupport.DataObject) else kind()
