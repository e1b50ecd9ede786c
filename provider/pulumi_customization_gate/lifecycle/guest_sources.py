"""The local files, directories and archives that a guest file is made of. Opens no connection."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.inputs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

MOST_FILES = 1000
"""Files that a directory in the guest may have: each takes several requests to vCenter."""
MOST_BYTES = 256 * 1024 * 1024
"""Bytes that the files of a directory may have in total: those that changed in an archive are held in memory."""
TEXTS = "texts"
"""The input with the texts of an AssetArchive, by the paths of their files. It is a secret."""
_BLOCK = 1024 * 1024
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What the libraries raise about an archive that is damaged, encrypted, or compressed in an unknown way."""


@dataclass(frozen=True)
class LocalFile:
    """One file for the directory in the guest."""

    size: int
    sha256: str
    content: bytes | Path | None
    """The bytes, or where they are; None where the bytes are in an archive and were not asked for."""


def is_directory(inputs: Mapping[str, Any]) -> bool:
    """Whether the inputs are of a directory in the guest, by what there is on this computer."""
    source = inputs.get("source")
    if not isinstance(source, str):
        return bool(source or inputs.get(TEXTS))
    return is_there(source, Path.is_dir)


def is_there(path: str, is_kind: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether there is such a file or directory."""
    try:
        return is_kind(Path(path))
    except (OSError, ValueError):
        return False  # too long for a path, in a folder that may not be read, or with a NUL


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file.

    Raises:
        ConfigurationError: If it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        raise ConfigurationError(f"source: {path} cannot be read: {error.strerror}") from None
    return found.hexdigest()


def read_files(inputs: Mapping[str, Any], kept: Collection[str] = ()) -> dict[str, LocalFile]:
    """Returns the files of a directory in the guest by their paths in it, with `/` between names.

    Args:
        inputs: `source`, a local directory or a map: a path that ends with `/` is a directory into which a local
            directory or archive is unpacked, another one is a file. And `texts`, files by their contents.
        kept: The paths of the files whose contents are returned, where those are in an archive.

    Raises:
        ConfigurationError: If something cannot be read, has no place in a directory, or is too much.
    """
    is_windows = not str(inputs.get("path")).startswith("/")
    found = _Collection(is_windows, kept)
    source = inputs.get("source")
    places: Mapping[str, str] = {"./": source} if isinstance(source, str) else source or {}
    for place, local in places.items():
        path = Path(local)
        try:
            for name, size, content in _unpacked(path) if place.endswith("/") else [("", path.stat().st_size, path)]:
                found.add(place + name, size, content)
        except OSError as error:
            raise ConfigurationError(f"source: {path} cannot be read: {error.strerror or error}") from None
        except _DAMAGED as error:
            raise ConfigurationError(f"source: {path} cannot be unpacked: {shown(str(error))}") from None
    for place, text in (inputs.get(TEXTS) or {}).items():
        data = text.encode()
        found.add(place, len(data), partial(bytes, data))
    _reject_conflicts(found.files, is_windows=is_windows)
    return found.files


class _Collection:
    """The files that were read so far.

    Args:
        is_windows: Whether the names have to be good on Windows.
        kept: The paths of the files whose contents are kept.
    """

    def __init__(self, is_windows: bool, kept: Collection[str]) -> None:
        self._is_windows, self._kept = is_windows, kept
        self._total = 0
        self.files: dict[str, LocalFile] = {}

    def add(self, name: str, size: int, content: Path | Callable[[], bytes]) -> None:
        """Takes one file, of which `content` is where it is, or reads it."""
        path = _clean(name, is_windows=self._is_windows)
        self._total += size
        if len(self.files) >= MOST_FILES or self._total > MOST_BYTES:
            raise ConfigurationError(
                f"source: expected at most {MOST_FILES} files with {MOST_BYTES // 2**20} MiB in total, got more; put "
                "the archive into the guest as one file, and unpack it with a GuestScript"
            )
        if isinstance(content, Path):
            self.files[path] = LocalFile(size, digest(content), content)
        else:
            data = content()
            kept = data if path in self._kept else None
            self.files[path] = LocalFile(size, hashlib.sha256(data).hexdigest(), kept)


def directories_of(files: Collection[str]) -> list[str]:
    """Returns the directories that files need, parents first; the empty string is the directory itself."""
    found = {""}
    for path in files:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[:length]) for length in range(1, len(parts) + 1))
    return sorted(found)


_Entry: TypeAlias = "tuple[str, int, Path | Callable[[], bytes]]"
"""A path, a size, and where the file is or what reads it."""


def _unpacked(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        yield from _in_folder(path)
    elif zipfile.is_zipfile(path):
        yield from _in_zip(path)
    elif tarfile.is_tarfile(path):
        yield from _in_tar(path)
    else:
        raise ConfigurationError(f"source: expected a directory, or a .zip, .tar or .tar.gz archive, got {path}")


def _in_folder(path: Path, above: str = "") -> Iterator[_Entry]:
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        name = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(Path(entry.path), f"{name}/")
        else:
            _require_file(name, is_file=entry.is_file(follow_symlinks=False))
            yield name, entry.stat().st_size, Path(entry.path)


def _in_zip(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if not entry.is_dir():
                _require_file(entry.filename, is_file=kind in (0, stat.S_IFREG))
                yield entry.filename, entry.file_size, partial(archive.read, entry)


def _in_tar(path: Path) -> Iterator[_Entry]:
    with tarfile.open(path) as archive:
        for entry in archive:
            if not entry.isdir():
                _require_file(entry.name, is_file=entry.isreg())
                yield entry.name, entry.size, partial(_read_member, archive, entry)


def _read_member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    return b"" if file is None else file.read()


def _require_file(name: str, *, is_file: bool) -> None:
    if not is_file:
        raise ConfigurationError(f"source: expected files and directories, got a link or special file: {shown(name)}")


def _clean(name: str, *, is_windows: bool) -> str:
    """Returns the path in the directory; it leads nowhere else."""
    parts = [part for part in name.removeprefix("./").split("/") if part != "."]
    forbidden = '\\:*?"<>|' if is_windows else "\\"
    is_bad = (
        not all(parts)
        or ".." in parts
        or not name.isprintable()
        or any(character in name for character in forbidden)
        or any(part.endswith((" ", ".")) for part in parts if is_windows)
    )
    if is_bad or not parts:
        raise ConfigurationError(
            f"source: expected paths within the directory, for example conf.d/site.conf, without .. and {forbidden}, "
            f"got {shown(name)}"
        )
    return "/".join(parts)


def _reject_conflicts(files: Collection[str], *, is_windows: bool) -> None:
    folders = [folder for folder in directories_of(files) if folder]
    for folder in folders:
        if folder in files:
            raise ConfigurationError(f"source: {shown(folder)} is a file and a directory")
    spellings: dict[str, str] = {}
    for path in (*folders, *files) if is_windows else ():
        if (other := spellings.setdefault(path.lower(), path)) != path:
            raise ConfigurationError(f"source: {shown(other)} and {shown(path)} are the same path on Windows")
