"""Reads what the command line names as input: a file, or standard input where the name is `-`."""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIB = 1024 * 1024
_LONGEST_JSON = 100 * _MIB
"""Bytes; the export of a stack of 5000 VMs is a tenth of it."""
_LONGEST_TEXT = _MIB
"""Bytes of a list of VMs, and of a password file."""


def read_json(name: str) -> Any:
    """Returns the JSON document of a file or of standard input; every number in it is a float.

    Raises:
        ConfigurationError: If it cannot be read, is too large, or is not JSON (RFC 8259, so NaN is not).
    """
    text = read_text(name, _LONGEST_JSON)
    try:
        # int() refuses more than 4300 digits, which are JSON all the same; float() reads them.
        return json.loads(text, parse_int=float, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        problem = f"{error.msg}: line {error.lineno}, column {error.colno}"
    except ValueError as error:
        problem = str(error)
    except RecursionError:
        problem = "arrays or objects are nested too deeply"
    except MemoryError:
        problem = "it does not fit in memory"
    raise ConfigurationError(f"{label(name)} is not readable JSON: {problem}")


def read_text(name: str | Path, limit: int = _LONGEST_TEXT) -> str:
    """Returns the text of a file or of standard input: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes.

    Args:
        name: The file; `-` is standard input.
        limit: The most bytes that are read.

    Raises:
        ConfigurationError: If it cannot be read, is larger, or is not text.
    """
    try:
        data = _read(name, limit + 1)
    except OSError as error:
        raise ConfigurationError(f"{label(name)} cannot be read: {error.strerror or error}") from None
    if len(data) > limit:
        raise ConfigurationError(f"{label(name)} is too large: expected at most {limit // _MIB} MiB")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        kind = "UTF-8" if encoding == "utf-8-sig" else "UTF-16"
        raise ConfigurationError(f"{label(name)} is not {kind} text: {error.reason} at byte {error.start}") from None


def words_of(arguments: Sequence[str]) -> list[str]:
    """Returns the references to VMs; `-` means the lines of standard input, without comments and blank lines.

    Raises:
        ConfigurationError: If there is none, or standard input cannot be read.
    """
    words: list[str] = []
    for argument in arguments:
        lines = read_text("-").splitlines() if argument == "-" else [argument]
        words += (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not words:
        raise ConfigurationError("expected at least one VM, for example web-1 or /DC/vm/web/*, got none")
    return list(dict.fromkeys(words))


def label(name: str | Path) -> str:
    """Returns how a sentence names an input."""
    return "standard input" if str(name) == "-" else repr(str(name))


def _read(name: str | Path, size: int) -> bytes:
    if str(name) != "-":
        with Path(name).open("rb") as file:
            return file.read(size)
    if sys.stdin is None:  # The program was started with a closed standard input.
        raise ConfigurationError("standard input is closed")
    return sys.stdin.buffer.read(size)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
