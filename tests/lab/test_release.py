"""The release as a user gets it: what wheel and sdist hold, and a program of theirs against the installed wheel."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from lab.paths import ROOT
from pulumi_customization_gate.plugin.schema import package_schema
from pulumi_customization_gate.version import __version__
from tests.pythons import SUPPORTED, interpreter

PACKAGES = {
    "pulumi_customization_gate": ROOT / "provider" / "pulumi_customization_gate",
    "pulumi_customization_components": ROOT / "components" / "pulumi_customization_components",
}
SECONDS = 240.0

PROGRAM = """\
import pulumi

from pulumi_customization_components import GatedVirtualMachine
from pulumi_customization_gate import CustomizationGate, CustomizationStatus, GateError

gate = CustomizationGate("gate", vms={"web-0": "vm-87"}, timeout=600, on_failure="report")
reveal_type(gate.ready)
reveal_type(gate.after("vm-87"))
VM: type[pulumi.ComponentResource] = GatedVirtualMachine
reveal_type(CustomizationStatus.CUSTOMIZATION_SUCCEEDED.is_terminal)
pulumi.export("statuses", gate.statuses)
"""
MISTAKES = """\
from pulumi_customization_gate import CustomizationGate, NoSuchName

CustomizationGate("gate", vms=["vm-87"], tiemout=600)
CustomizationGate("gate", vms=87)
"""


def run(*command: str | Path, cwd: Path = ROOT, fails: bool = False) -> str:
    """Runs a program to its end without this process's own packages; returns what it wrote."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(source: Path, folder: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=source)


def files(folder: Path) -> set[str]:
    """Returns the files below a folder but those that Python leaves there."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc"}


@dataclass(frozen=True)
class Release:
    """What one build made."""

    wheel: Path
    sdist: Path

    @property
    def wheel_files(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    @property
    def metadata(self) -> email.message.Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))

    @property
    def sdist_files(self) -> set[str]:
        """The files of the sdist, without the folder that holds them all."""
        with tarfile.open(self.sdist) as archive:
            return {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in archive.getnames()}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Release(wheel, sdist)


@pytest.fixture(scope="module")
def installed(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what the wheel needs comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("consumer") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(release.wheel)]
    run(sys.executable, *pip)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path file of a path file is not read, so the checkout itself, should it be installed here, stays out.
    (site / "needs.pth").write_text("\n".join(entry for entry in sys.path if "site-packages" in entry))
    return python


def test_the_wheel_holds_both_packages_whole_and_nothing_else(release: Release) -> None:
    """All files of the two packages are there, py.typed and pulumi-plugin.json among them, and no test or lab."""
    wanted = {f"{name}/{file}" for name, folder in PACKAGES.items() for file in files(folder)}
    about = {name for name in release.wheel_files if re.match(r"[^/]*\.(dist-info|data)/", name)}

    assert release.wheel_files - about == wanted
    assert {
        "pulumi_customization_gate/py.typed",
        "pulumi_customization_gate/pulumi-plugin.json",
        "pulumi_customization_components/py.typed",
    } <= wanted
    assert {name.partition("/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_sdist_builds_the_same_wheel(release: Release, tmp_path: Path) -> None:
    """Out of the sdist alone comes a wheel with the same files; documentation, examples and tests are in it, too."""
    shutil.unpack_archive(release.sdist, tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again")
    (again,) = (tmp_path / "again").glob("*.whl")

    assert Release(again, release.sdist).wheel_files == release.wheel_files
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "Makefile", "requirements.lock"}
    for folder in ("policy", "docs", "examples", "tests", "lab"):
        wanted |= {f"{folder}/{file}" for file in files(ROOT / folder) if file.endswith((".py", ".yaml", ".md"))}
    assert wanted - release.sdist_files == set()
    assert {name for name in release.sdist_files if name.startswith((".lab", ".venv", ".ci", ".github"))} == set()


def test_the_long_description_stands_alone(release: Release) -> None:
    """An index shows it without the files beside the README: each link is absolute, and there is no picture."""
    text = release.metadata.get_payload()
    assert isinstance(text, str)
    links = re.findall(r"\]\(([^)]*)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]*)"', text)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert text.startswith("# Customization gate\n")
    assert "(docs/failures.md)" not in text
    assert "docs/failures.md" in text


def test_the_version_is_the_same_everywhere(release: Release) -> None:
    """Wheel, schema, policy pack and the newest entry of the changelog have one version."""
    reported = release.metadata
    version = reported["Version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version)
    assert version == __version__ == package_schema()["version"]
    assert f"\nversion: {version}\n" in (ROOT / "policy" / "PulumiPolicy.yaml").read_text(encoding="utf-8")
    assert newest is not None
    assert newest[1] == version
    assert (reported["Name"], reported["Requires-Python"], reported["License-Expression"]) == (
        "pulumi-customization-gate",
        ">=3.10",
        "Apache-2.0",
    )


def test_a_program_is_checked_against_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """Mypy finds the types in the wheel: a valid program passes in strict mode, each mistake in another is reported."""
    (tmp_path / "good.py").write_text(PROGRAM)
    (tmp_path / "bad.py").write_text(MISTAKES)
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(installed),
        "--config-file",
        os.devnull,
    ]

    message = run(*mypy, "good.py", cwd=tmp_path)
    assert re.findall(r'Revealed type is "(.*)"', message) == [
        "pulumi.output.Output[bool]",
        "pulumi.output.Output[str]",
        "bool",
    ]
    assert "Success" in message
    assert "bad.py:1: error: Module" in (message := run(*mypy, "bad.py", cwd=tmp_path, fails=True))
    assert "tiemout" in message
    assert "bad.py:4: error: Argument" in message


def test_the_installed_command_knows_its_version(installed: Path) -> None:
    """The wheel's command runs where nothing of the checkout is."""
    assert run(installed.with_name("customization-gate"), "--version") == f"customization-gate {__version__}\n"


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_supported_python_reads_the_wheel(release: Release, version: str, tmp_path: Path) -> None:
    """All modules compile on each Python that is promised and present."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    shutil.unpack_archive(release.wheel, tmp_path, "zip")
    run(python, "-W", "error", "-m", "compileall", "-q", tmp_path)
