"""Runs the calls of go-vcloud-director against a Cloud Director: how the lab's fidelity is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab import go
from lab.paths import ROOT, Home, digest, locked, read_text
from lab.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MODULE = ROOT / "lab" / "vcd_client"


def build(home: Home) -> Path:
    """Builds the client where its sources have changed, and returns the program."""
    program = home.path / "bin" / "vcd-client"
    stamp = program.with_suffix(".digest")
    wanted = digest(files=[_MODULE / name for name in ("main.go", "go.mod", "go.sum")])
    with locked(home.path / "vcd-client.lock", "building the real client"):
        if not program.exists() or read_text(stamp) != wanted:
            print("Building go-vcloud-director's client (usually half a minute) ...", flush=True)
            go.build(home, _MODULE, ".", program)
            stamp.write_text(wanted, encoding="utf-8")
    return program


def ask(program: Path, variables: Mapping[str, str], href: str, *, blocking_on: str, timeout: int) -> dict[str, Any]:
    """Asks for one VM and returns what the real client understood.

    Args:
        program: What `build` returned.
        variables: VCD_URL, VCD_ORG, the credentials, and SSL_CERT_FILE for the lab's certificate authority.
        href: The VM's address.
        blocking_on: The status that BlockWhileGuestCustomizationStatus waits to be left; empty asks only once.
        timeout: The seconds that it waits at most.

    Raises:
        LabError: The client failed, with what it said.
    """
    command = [str(program), "-vm", href, "-while", blocking_on, "-timeout", str(timeout)]
    empty = dict.fromkeys(("VCD_USER", "VCD_PASSWORD", "VCD_API_TOKEN"), "")
    output = run("the real client", command, env={**empty, **variables}, seconds=timeout + 30.0)
    found: dict[str, Any] = json.loads(output)
    return found
