"""The programs of `examples/` run as they are, and print what docs/examples.md shows."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from lab import vcenter_client
from lab.bootstrap import build_vcenter
from lab.cloud_director import client, example
from lab.paths import ROOT, Home
from tests.lab.test_docs import as_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cloud_director.client import CloudDirectorLab
    from tests.stack.engine import Engine, Stack

PAGE = ROOT / "docs" / "examples.md"


def program(name: str) -> None:
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def shown(name: str) -> list[str]:
    """Returns the lines of the output that the page shows of an example."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n## {name}.py\n")
    block = re.search(r"^```\n(.*?)^```$", section.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    assert block, f"docs/examples.md has no output of {name}.py"
    return block[1].splitlines()


def up(stack: Stack, name: str, failure: str = "") -> None:
    """Runs an example on a stack, and compares what it prints.

    Args:
        stack: The stack.
        name: The example.
        failure: What the engine reports where the lab cannot do what the example does.
    """
    result = stack.up(lambda: program(name))
    assert result.succeeded == (not failure), result.output
    assert failure in result.errors
    written = [as_shape(line) for line in result.output.splitlines()]
    assert [line for line in map(as_shape, shown(name)) if line not in written] == [], result.output


def stack_of(engine: Engine, name: str, **options: Any) -> Stack:
    """Returns a new stack of an example, on which it has run."""
    stack = engine.stack(lambda: program(name), **options)
    up(stack, name)
    return stack


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vcenter_client.Lab]:
    """Another vCenter, whose guests have cloud-init."""
    folder = tmp_path_factory.mktemp("second")
    cloud_init = folder / "cloud-init"
    cloud_init.write_text("#!/bin/sh\necho status: done\n", encoding="utf-8")
    cloud_init.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_GUEST_PATH", str(folder))
        lab = vcenter_client.start(build_vcenter(Home()), folder, ("-start-delay", "100ms", "-duration", "300ms"))
    yield lab
    vcenter_client.stop(build_vcenter(Home()), folder)


@pytest.fixture(scope="module")
def cloud_director(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudDirectorLab]:
    folder = tmp_path_factory.mktemp("cloud-director")
    yield client.start(Home(), folder, ["--vms", "2", "--powered-off"])
    client.stop(folder)


def connection(namespace: str, lab: vcenter_client.Lab) -> dict[str, str | None]:
    """Returns the settings of a namespace."""
    return {
        f"{namespace}:vsphereServer": lab.server,
        f"{namespace}:user": lab.user,
        f"{namespace}:password": lab.password,
        ("customization" if namespace == "vsphere" else namespace) + ":caFile": lab.ca_file,
    }


def test_fleet(engine: Engine) -> None:
    """Two roles, a file and a script in each."""
    stack = stack_of(engine, "fleet")
    assert stack.outputs["output"] == {"web": "shop-web is a web\n", "db": "shop-db is a db\n"}


def test_existing_vms(engine: Engine) -> None:
    """A VM of the stack and one of vCenter get a gate; neither is replaced or restarted."""
    source = (ROOT / "examples" / "existing_vms.py").read_text(encoding="utf-8")
    # As it was: neither a gate nor `ignore_changes`.
    before = source.partition("\n# Made by hand")[0].replace('ignore_changes=["clone"]', "")
    stack = engine.stack(lambda: exec(compile(before, "before", "exec"), {}))  # noqa: S102 -- our own example
    first = stack.up()
    assert first.succeeded, first.output
    moids = [stack.resource("old-0")["outputs"]["moid"], engine.vm("old-1")]
    engine.lab.reset_stats()

    up(stack, "existing_vms")

    results = stack.resource("old")["outputs"]["results"]
    assert [results[name]["moid"] for name in ("old-0", "old-1")] == moids
    changing = {"PowerOnVM_Task", "PowerOffVM_Task", "CloneVM_Task", "Destroy_Task", "ResetVM_Task"}
    assert engine.lab.stats()["calls"].keys() & changing == set()
    assert stack.outputs["statuses"] == dict.fromkeys(("old-0", "old-1"), "CustomizationSucceeded")
    again = stack.up()
    assert (again.succeeded, again.changes) == (True, {}), again.output


def test_windows_domain(engine: Engine) -> None:
    """The gate opens after Sysprep; the script in PowerShell needs a Windows guest, which the lab does not have."""
    config: dict[str, str | None] = {
        "tests:template": "linux-template",
        "tests:settle": "1s",
        "tests:adminPassword": engine.lab.guest_password,
        "tests:joinPassword": "joiner",
    }
    engine.lab.plan("win-0", guestUser="Administrator")
    stack = engine.stack(lambda: program("windows_domain"), config=config)
    up(stack, "windows_domain", failure="the script in win-0 (")
    assert stack.outputs["statuses"] == {"win-0": "CustomizationSucceeded"}


def test_cloud_init(engine: Engine, second: vcenter_client.Lab) -> None:
    """Without a customization the gate waits for cloud-init."""
    environment = {"SSL_CERT_FILE": second.ca_file, "GUEST_PASSWORD": second.guest_password}
    stack = stack_of(engine, "cloud_init", config=connection("vsphere", second), environment=environment)
    assert stack.outputs["statuses"] == {"ci-0": "NotCustomized"}


def test_two_vcenters(engine: Engine, second: vcenter_client.Lab, tmp_path: Path) -> None:
    """Each gate asks its own vCenter."""
    both = tmp_path / "both.pem"
    both.write_text("".join(Path(lab.ca_file).read_text() for lab in (engine.lab, second)), encoding="utf-8")
    config = {**connection("east", engine.lab), **connection("west", second)}
    for namespace, lab in (("east", engine.lab), ("west", second)):
        config |= {f"{namespace}:guestUser": lab.guest_user, f"{namespace}:guestPassword": lab.guest_password}
    config |= dict.fromkeys(("vsphere:vsphereServer", "vsphere:user", "vsphere:password"))
    stack = stack_of(engine, "two_vcenters", config=config, environment={"SSL_CERT_FILE": str(both)})
    assert sorted(stack.outputs) == ["east", "west"]


def test_other_stack(engine: Engine) -> None:
    """The references come out of another stack."""
    moids = {name: engine.vm(name) for name in ("far-0", "far-1")}
    vms = engine.stack(lambda: pulumi.export("moids", moids))
    assert vms.up().succeeded
    stack = stack_of(engine, "other_stack", config={"tests:vmStack": f"organization/tests/{vms.name}"})
    assert stack.outputs == {name: f"hello from {name}\n" for name in moids}


def test_cloud_director(engine: Engine, cloud_director: CloudDirectorLab) -> None:
    """The same gate over URNs."""
    example.power_on(cloud_director, start_delay=0.2, duration=1.0)
    config = {**example.connection(cloud_director), "tests:vms": json.dumps(dict(cloud_director.vms))}
    environment = {"VCD_PASSWORD": cloud_director.password}
    stack = stack_of(engine, "cloud_director", config=config, environment=environment)
    assert set(stack.outputs["statuses"].values()) == {"CustomizationSucceeded"}


NAMES = ("cloud_director", "cloud_init", "existing_vms", "fleet", "other_stack", "two_vcenters", "windows_domain")


def test_every_example_is_run() -> None:
    """A program of the folder has a test here, and a section on the page; the README's own is in test_docs.py."""
    programs = {file.stem for file in (ROOT / "examples").glob("*.py")}
    assert programs == {*NAMES, "quick_start"}
    assert [name for name in NAMES if not shown(name)] == []


def test_the_quick_start_is_the_program_of_the_readme() -> None:
    """Word for word, apart from its docstring."""
    source = (ROOT / "examples" / "quick_start.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert f"```python\n{source}```" in (ROOT / "README.md").read_text(encoding="utf-8")
