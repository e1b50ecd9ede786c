"""Directories and archives that become a directory in a guest: what they hold, and what is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle import guest_sources
from pulumi_customization_gate.lifecycle.guest_sources import directories_of, read_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {"index.html": b"<p>", "css/site.css": b"p {}"}


def make_folder(path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def make_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def make_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def contents(inputs: dict[str, Any], kept: tuple[str, ...] = tuple(FILES)) -> dict[str, bytes | None]:
    """Returns what the files hold; None for a file whose content was not kept."""
    files = read_files({"path": "/srv/site", **inputs}, kept)
    found = {
        path: file.content if isinstance(file.content, bytes | None) else file.content.read_bytes()
        for path, file in files.items()
    }
    for path, content in found.items():
        assert content is None or files[path].sha256 == hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make_folder, id="directory"),
        pytest.param(make_zip, id="zip"),
        pytest.param(make_tar, id="tar.gz"),
    ],
)
def test_a_directory_and_its_archives_hold_the_same(tmp_path: Path, make: Callable[..., None]) -> None:
    """Each file with its path; the extension does not decide what it is."""
    make(tmp_path / "source", FILES)
    assert contents({"source": {"./": str(tmp_path / "source")}}) == FILES
    assert contents({"source": {"www/": str(tmp_path / "source")}}, ("www/index.html", "www/css/site.css")) == {
        f"www/{path}": content for path, content in FILES.items()
    }


def test_only_what_is_requested_is_held_in_memory(tmp_path: Path) -> None:
    """Of an archive, the contents of files that did not change are read and dropped."""
    make_zip(tmp_path / "a.zip", FILES)
    assert contents({"source": {"./": str(tmp_path / "a.zip")}}, ("index.html",)) == {**FILES, "css/site.css": None}


def test_texts_and_files_are_put_together(tmp_path: Path) -> None:
    """An AssetArchive of a text, a file and a directory."""
    make_folder(tmp_path / "css", {"site.css": b"p {}"})
    (tmp_path / "page").write_bytes(b"<p>")
    inputs = {
        "source": {"css/": str(tmp_path / "css"), "index.html": str(tmp_path / "page")},
        "texts": {"conf/port": "8080"},
    }
    assert contents(inputs, ("conf/port",)) == {**FILES, "conf/port": b"8080"}
    assert directories_of(contents(inputs)) == ["", "conf", "css"]


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        pytest.param("../passwd", "/srv", "'../passwd'", id="above"),
        pytest.param("a/../../passwd", "/srv", "'a/../../passwd'", id="above, later"),
        pytest.param("/etc/passwd", "/srv", "'./", id="absolute"),
        pytest.param("a\\b", "/srv", "'a\\\\b'", id="backslash"),
        pytest.param("a\nb", "/srv", "'a\\nb'", id="line end"),
        pytest.param("a:b", "C:\\srv", "'a:b'", id="stream"),
        pytest.param("a./b", "C:\\srv", "'a./b'", id="dot at the end"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, path: str, message: str) -> None:
    """The entry is named."""
    make_tar(tmp_path / "a.tar", {name: b"x"})
    with pytest.raises(ConfigurationError, match="expected paths within the directory") as caught:
        read_files({"path": path, "source": {"./": str(tmp_path / "a.tar")}})
    assert message.strip("'") in str(caught.value)


def test_links_are_refused(tmp_path: Path) -> None:
    """In a tar, a zip and a directory, by the name of the entry."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("bad/link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        link = zipfile.ZipInfo("bad/link")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "/etc/passwd")
    (tmp_path / "a" / "bad").mkdir(parents=True)
    (tmp_path / "a" / "bad" / "link").symlink_to("/etc/passwd")
    for name in ("a.tar", "a.zip", "a"):
        with pytest.raises(ConfigurationError, match="got a link or special file: 'bad/link'"):
            read_files({"path": "/srv", "source": {"./": str(tmp_path / name)}})


def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    """A file and a directory of one name, and on Windows two spellings of one name."""
    make_tar(tmp_path / "a.tar", {"a": b"", "a/b": b"", "C": b""})
    make_tar(tmp_path / "b.tar", {"a/b": b"", "A/c": b""})
    with pytest.raises(ConfigurationError, match="'a' is a file and a directory"):
        read_files({"path": "/srv", "source": {"./": str(tmp_path / "a.tar")}})
    assert list(read_files({"path": "/srv", "source": {"./": str(tmp_path / "b.tar")}})) == ["a/b", "A/c"]
    with pytest.raises(ConfigurationError, match="'A' and 'a' are the same path on Windows"):
        read_files({"path": "C:\\srv", "source": {"./": str(tmp_path / "b.tar")}})


def test_what_is_not_an_archive_or_is_damaged_is_named(tmp_path: Path) -> None:
    """Another file, and an archive that was cut."""
    (tmp_path / "page").write_bytes(b"<p>")
    make_tar(tmp_path / "cut.tar.gz", {"a": bytes(range(256)) * 999})
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "cut.tar.gz").read_bytes()[:-40])
    with pytest.raises(ConfigurationError, match=r"expected a directory, or a \.zip, \.tar or \.tar\.gz archive, got"):
        read_files({"path": "/srv", "source": {"./": str(tmp_path / "page")}})
    with pytest.raises(ConfigurationError, match=r"cut\.tar\.gz cannot be unpacked"):
        read_files({"path": "/srv", "source": {"./": str(tmp_path / "cut.tar.gz")}})


@pytest.mark.parametrize("limit", ["MOST_FILES", "MOST_BYTES"])
def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The number of files and of bytes has a limit, which the message has."""
    monkeypatch.setattr(guest_sources, limit, 1)
    make_folder(tmp_path, FILES)
    with pytest.raises(ConfigurationError, match=r"expected at most .* files with .* MiB in total, got more"):
        read_files({"path": "/srv", "source": str(tmp_path)})
