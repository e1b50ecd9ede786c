"""Builds the Pulumi CLI from its Go modules, for a VM that reaches package registries but not the releases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lab import go

if TYPE_CHECKING:
    from lab.paths import Home

_MODULE = Path(__file__).parent / "cli"
_LAUNCHER = "pulumi-resource-pulumi-python"


def build(home: Home, root: Path, version: str) -> None:
    """Builds the CLI and the launcher of Python's dynamic resources into `root`/bin.

    Args:
        home: The lab, which keeps a Go toolchain where the computer has none.
        root: The folder of the CLI; what it held is removed.
        version: The version that the CLI reports; the module file pins the same one.

    Raises:
        LabError: The build failed.
    """
    print(
        f"Building the Pulumi CLI {version} from its Go modules (usually four minutes on two cores, under a minute\n"
        "with a warm Go cache) ...",
        flush=True,
    )
    shutil.rmtree(root, ignore_errors=True)
    flags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}"
    go.build(home, _MODULE, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", root / "bin" / "pulumi", linker_flags=flags)
    # The SDK's module contains the launcher as a plain script; in the module cache it is read-only and not executable.
    launcher = go.module_folder(home, _MODULE, "github.com/pulumi/pulumi/sdk/v3") / "python" / "dist" / _LAUNCHER
    copy = root / "bin" / _LAUNCHER
    shutil.copyfile(launcher, copy)
    copy.chmod(0o755)
