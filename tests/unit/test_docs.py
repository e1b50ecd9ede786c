"""What the documentation says of the code is what the code says."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from lab.paths import ROOT
from pulumi_customization_gate.cloud_director import vocabulary as cloud_director
from pulumi_customization_gate.core.verdict import TABLE
from pulumi_customization_gate.vsphere import vocabulary as vsphere

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
GENERATED = {"benchmarks.md"}
"""What `make bench` writes in an hour: a checkout may be without it."""
pages = pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """Returns a page without its blocks of code and output."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def test_the_page_shows_the_table_of_the_verdict() -> None:
    """The same rows in the same order, with the same status, evidence and reason."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) ?\| (.*) \|$", text_of(DOCS / "how-it-decides.md"), re.MULTILINE)
    expected = [
        (str(number), f"`{rule.status.value}`", f"`{rule.evidence.value}`" if rule.evidence else "", rule.because)
        for number, rule in enumerate(TABLE, start=1)
    ]
    assert rows == expected


def test_the_pages_name_every_state() -> None:
    """Each event and state of a server in the table is explained on one of the two pages."""
    text = text_of(DOCS / "how-it-decides.md") + text_of(DOCS / "cloud-director.md")
    states = {*vsphere.STATES, *cloud_director.STATES} - {cloud_director.DISABLED}
    assert [state for state in sorted(states) if f"`{state}`" not in text] == []


@functools.cache
def sentences() -> list[str]:
    """Returns every string of the library's code; what a run fills in is left out."""
    found = []
    for module in sorted((ROOT / "provider" / "pulumi_customization_gate").rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(module))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def quoted(heading: str) -> Iterator[str]:
    """Yields what the first column of a table of the failure guide quotes."""
    _, _, section = text_of(DOCS / "failures.md").partition(f"\n## {heading}\n")
    for quotes in re.findall(r"^\| `(.*?)` \|", section.partition("\n## ")[0], re.MULTILINE):
        yield from str(quotes).split("`, `")


@pytest.mark.parametrize(
    "heading", ["The customization does not start", "All other sentences", "Warnings during a wait"]
)
def test_the_failure_guide_quotes_what_the_library_says(heading: str) -> None:
    """Each quoted sentence is in the code, apart from what a run fills in."""
    message = sentences()
    wanted = [part.strip(" ,;") for quote in quoted(heading) for part in quote.split("...") if part.strip(" ,;")]
    assert wanted
    ours = {"a traceback of Python"}
    assert [part for part in wanted if part not in ours and not any(part in sentence for sentence in message)] == []


def anchors_of(page: Path) -> set[str]:
    """Returns what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_have_a_target(page: Path) -> None:
    """Each link within the project leads to a file that is there, and to a heading that is in it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        path, _, anchor = str(target).partition("#")
        if "://" in path or Path(path).name in GENERATED:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


@pages
def test_commands_of_make_exist(page: Path) -> None:
    """What a page says to `make` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    message = set(re.findall(r"(?:`|^)make (?:[A-Z]+=\S+ )*([a-z-]+)", text_of(page), re.MULTILINE))
    assert message - targets == set()


def test_the_structure_names_files_that_exist() -> None:
    """Each folder and file of CONTRIBUTING's map is there."""
    block = text_of(ROOT / "CONTRIBUTING.md").partition("## The structure\n\n```\n")[2].partition("```")[0]
    there = {path.name for top in ROOT.iterdir() if top.name[0] != "." for path in (top, *top.rglob("*"))}
    named = {name.strip("/") for name in re.findall(r"(?<![\w*])(?:\w+/|\w+\.(?:py|json|yaml)\b)", block)}
    assert len(named) > 50
    assert named - there == set()


def test_the_readme_is_short() -> None:
    """Someone with ten minutes reads it."""
    assert len(text_of(ROOT / "README.md").split()) <= 1800


def test_the_quick_start_is_complete() -> None:
    """The project file of the README names the environment that its commands make, and their extra exists."""
    install = text_of(ROOT / "README.md").partition("\n## Install\n")[2].partition("\n## ")[0]
    project = yaml.safe_load(install.partition("```yaml\n")[2].partition("```")[0])
    folder = project["runtime"]["options"]["virtualenv"]
    assert project.keys() == {"name", "runtime"}
    assert f"python3 -m venv {folder}\n{folder}/bin/pip install '/path/to/clone[cli]'\n" in install
    assert '\ncli = ["typer' in text_of(ROOT / "pyproject.toml")


def test_the_index_names_every_page() -> None:
    """Every page is in the index."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", text_of(DOCS / "README.md")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md"} | GENERATED
