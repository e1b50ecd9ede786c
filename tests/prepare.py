"""Makes what only the tests need, once for a checkout: packages of other versions, a program in TypeScript, a client.

`make test` runs it before the tests. A test that is run alone makes what is missing itself.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from lab.cloud_director import real_client
from lab.environment import make_from
from lab.paths import ROOT, Home, digest, exit_status, locked, read_text
from lab.processes import run

if TYPE_CHECKING:
    from pathlib import Path

OTHER_PACKAGES = ("requirements-oldest.lock", "requirements-plain.lock")
"""The lock files whose packages are tested besides those of requirements.lock."""
_EXAMPLE = ROOT / "examples" / "typescript"
_TYPESCRIPT = [
    *(_EXAMPLE / name for name in ("package.json", "package-lock.json", "tsconfig.json", "customization-gate.ts")),
    _EXAMPLE / "index.ts",
    ROOT / "tests" / "stack" / "typescript" / "program.ts",
]


def typescript(npm: str, home: Home) -> Path:
    """Returns the compiled program, with the packages that it needs beside it.

    Args:
        npm: The path of npm.
        home: The lab.

    Raises:
        LabError: npm or the compiler failed; the text has the end of its output.
    """
    folder = home.path / "typescript"
    with locked(home.path / "typescript.lock", "setting up TypeScript"):
        stamp, wanted = folder / "digest", digest(files=_TYPESCRIPT)
        if read_text(stamp) != wanted:
            folder.mkdir(exist_ok=True)
            for source in _TYPESCRIPT:
                shutil.copy(source, folder)
            install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            run("npm ci", install, cwd=folder, seconds=300)
            run("tsc", [folder / "node_modules" / ".bin" / "tsc"], cwd=folder, seconds=120)
            stamp.write_text(wanted, encoding="utf-8")
    return folder / "program.js"


def everything() -> None:
    """Makes all of it; without npm, all but TypeScript.

    Raises:
        LabError: A step failed.
    """
    home = Home()
    for lock in OTHER_PACKAGES:
        make_from(lock, home)
    real_client.build(home)
    if npm := shutil.which("npm"):
        typescript(npm, home)


if __name__ == "__main__":
    sys.exit(exit_status(everything))
