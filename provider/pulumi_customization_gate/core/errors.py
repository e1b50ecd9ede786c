"""The errors a user of the library can meet.

    GateError
    |-- ConfigurationError            a wrong or missing input
    |   `-- InvalidReferenceError     a text that is not a valid reference to a VM
    |-- ServerError                   the server could not be used
    |   |-- AuthenticationError       it refused the credentials: never tried again in this process
    |   |-- CertificateError          its certificate is not trusted
    |   `-- ApiError                  it answered with an error
    |-- CustomizationFailedError      the customization of a VM failed; holds the report
    |-- CustomizationTimeoutError     the wait ended before the customization did; holds the report
    `-- WaitCancelledError            the user ended the wait; holds the report

The text of each is complete: what happened, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import GateReport


class GateError(Exception):
    """Base of all expected errors of this library; `str()` is the whole message for the user."""


class ConfigurationError(GateError):
    """A wrong or missing input prevents the start of the wait."""


class InvalidReferenceError(ConfigurationError):
    """A text has none of the forms that name a VM.

    Args:
        expected: The forms that do.
        given: The text.
    """

    def __init__(self, expected: str, given: str) -> None:
        super().__init__(f"expected {expected}, got {given!r}")
        self.expected = expected


class ServerError(GateError):
    """The server could not be used."""


class AuthenticationError(ServerError):
    """The server refused the credentials. The same credentials are not sent again by this process."""


class CertificateError(ServerError):
    """The server's certificate is not trusted."""


class ApiError(ServerError):
    """The server answered with an error.

    Args:
        message: The whole message for the user.
        status: The HTTP status, or None where the protocol has none.
        code: The server's error code.
        request_id: The server's identifier of the request, for its log.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class _ReportError(GateError):
    """An error that holds the report of every VM."""

    def __init__(self, message: str, report: GateReport) -> None:
        super().__init__(message)
        self.report = report


class CustomizationFailedError(_ReportError):
    """The customization of at least one VM failed, or none was requested."""


class CustomizationTimeoutError(_ReportError):
    """The wait ended before the customization of every VM did."""


class WaitCancelledError(_ReportError):
    """The user ended the wait."""
