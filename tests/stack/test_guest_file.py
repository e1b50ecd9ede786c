"""Guest files on the real engine: what is written, when it is written again, and what becomes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from pulumi_customization_gate import GuestFile, GuestScript

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stack.engine import Engine


def _program(moid: str, **arguments: Any) -> Callable[[], None]:
    """Writes a file, and has the guest report what it finds whenever the content changes."""

    def program() -> None:
        made = GuestFile("file", moid, "/etc/note.txt", **arguments)
        look = GuestScript(
            "look",
            moid,
            'cd "$HOME/../etc" && stat -c %a note.txt && cat note.txt',
            triggers={"arguments": str(arguments.get("triggers", arguments))},
            opts=pulumi.ResourceOptions(depends_on=[made]),
        )
        pulumi.export("found", look.stdout)
        pulumi.export("size", made.size)

    return program


def test_a_text_is_written_with_its_permissions_and_changed_in_place(engine: Engine) -> None:
    """Content and mode arrive; another content is an update, the same one is none; deletion removes the file."""
    moid = engine.vm(engine.unique("web"))
    stack = engine.stack(_program(moid, content="Grüße\r\n", permissions="0640"))
    first = stack.up()
    assert first.succeeded, first.output
    assert stack.outputs == {"found": "640\nGrüße\r\n", "size": 9}
    assert stack.up().changes == {}

    changed = stack.up(_program(moid, content="two", permissions="0640"))
    assert changed.succeeded, changed.output
    assert changed.changes == {"file": ["update"], "look": ["update"]}
    assert stack.outputs["found"] == "640\ntwo"

    def without() -> None:
        GuestScript("gone", moid, 'test ! -e "$HOME/../etc/note.txt" && ls "$HOME/../etc"')

    removed = stack.up(lambda: None)
    assert removed.succeeded, removed.output
    after = engine.stack(without).up()
    assert after.succeeded, after.output


def test_what_a_local_file_holds_decides(engine: Engine, tmp_path: Path) -> None:
    """A binary file is transferred unchanged; the same content elsewhere is not a change, other content is."""
    content = bytes(range(256)) * 4096
    (tmp_path / "a").mkdir()
    for place in (tmp_path / "a" / "x.bin", tmp_path / "y.bin"):
        place.write_bytes(content)
    moid = engine.vm(engine.unique("web"))

    def program(source: Any) -> Callable[[], None]:
        def write() -> None:
            GuestFile("file", moid, "/srv/x.bin", source=source)

        return write

    stack = engine.stack(program(tmp_path / "a" / "x.bin"))
    first = stack.up()
    assert first.succeeded, first.output
    assert stack.resource("file")["outputs"]["size"] == len(content)
    assert "content" not in stack.resource("file")["outputs"]
    moved = stack.up(program(pulumi.FileAsset(str(tmp_path / "y.bin"))))
    assert moved.changes == {}, moved.output

    (tmp_path / "y.bin").write_bytes(content[::-1])
    changed = stack.up()
    assert changed.changes == {"file": ["update"]}, changed.output
    as_text = stack.up(program(pulumi.StringAsset("short")))
    assert as_text.changes == {"file": ["update"]}, as_text.output
    assert stack.resource("file")["outputs"]["size"] == 5
    (tmp_path / "y.bin").unlink()
    missing = stack.preview(program(tmp_path / "y.bin"))
    assert not missing.succeeded
    assert "source: expected the path of a local file or directory that exists" in missing.errors


def test_a_secret_content_and_a_password_stay_out_of_state(engine: Engine) -> None:
    """Neither secret content, a hash of it nor the password is in state; another path replaces the resource."""
    moid = engine.vm(engine.unique("web"), guestUser="deploy", guestPassword="only-for-this-guest")

    def program(path: str) -> Callable[[], None]:
        def write() -> None:
            content = pulumi.Output.secret("s3cret-content")
            GuestFile("file", moid, path, content=content, username="deploy", password="only-for-this-guest")

        return write

    stack = engine.stack(program("/srv/a"))
    result = stack.up()
    assert result.succeeded, result.output
    state = json.dumps(stack.resources)
    assert "s3cret-content" not in state
    assert "only-for-this-guest" not in state + result.output
    assert "sha256" not in stack.resource("file")["outputs"]
    replaced = stack.up(program("/srv/b"))
    assert replaced.succeeded, replaced.output
    assert "create-replacement" in replaced.changes["file"]


def test_an_archive_becomes_a_directory(engine: Engine, tmp_path: Path) -> None:
    """Files, a directory and a text; the preview names the file that changed; no content is in state in plain text."""
    (tmp_path / "conf.d").mkdir()
    for name, text in {"index.html": "<p>one</p>", "conf.d/a.conf": "a=1", "conf.d/b.conf": "b=1"}.items():
        (tmp_path / name).write_text(text)
    moid = engine.vm(engine.unique("web"))

    def program() -> None:
        archive = pulumi.AssetArchive(
            {
                "index.html": pulumi.FileAsset(str(tmp_path / "index.html")),
                "etc": pulumi.AssetArchive({"conf.d": pulumi.FileArchive(str(tmp_path / "conf.d"))}),
                "motd": pulumi.StringAsset("the-text-of-the-asset"),
            }
        )
        made = GuestFile("site", moid, "/srv/site", source=archive, permissions="0644")
        look = GuestScript(
            "look",
            moid,
            'cd "$HOME/../srv/site" && find . -type f | sort | xargs tail -n +1',
            triggers=[made.files],
            opts=pulumi.ResourceOptions(depends_on=[made]),
        )
        pulumi.export("found", look.stdout)
        pulumi.export("files", made.files)

    stack = engine.stack(program)
    first = stack.up()
    assert first.succeeded, first.output
    assert set(stack.outputs["files"]) == {"index.html", "etc/conf.d/a.conf", "etc/conf.d/b.conf"}
    assert "==> ./etc/conf.d/b.conf <==\nb=1" in stack.outputs["found"]
    assert "==> ./motd <==\nthe-text-of-the-asset" in stack.outputs["found"]
    assert "the-text-of-the-asset" not in json.dumps(stack.resource("site"))
    assert stack.up().changes == {}

    (tmp_path / "conf.d" / "a.conf").write_text("a=2")
    (tmp_path / "conf.d" / "b.conf").unlink()
    preview = stack.preview()
    assert preview.succeeded, preview.output
    changed = stack.up()
    assert changed.changes == {"site": ["update"], "look": ["update"]}, changed.output
    assert "==> ./etc/conf.d/a.conf <==\na=2" in stack.outputs["found"]
    assert "b.conf" not in stack.outputs["found"]

    def as_file() -> None:
        GuestFile("site", moid, "/srv/site", content="a file now")

    replaced = stack.up(as_file)
    assert replaced.succeeded, replaced.output
    assert "create-replacement" in replaced.changes["site"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({}, "expected one of content and source", id="neither"),
        pytest.param({"content": "a", "source": "b"}, "expected one of content and source", id="both"),
        pytest.param({"source": pulumi.RemoteAsset("https://example.com")}, "got a RemoteAsset", id="from afar"),
        pytest.param({"source": pulumi.RemoteArchive("https://example.com")}, "got a RemoteArchive", id="far archive"),
    ],
)
def test_one_source_is_given(arguments: dict[str, Any], message: str) -> None:
    """What does not go together is refused before anything is registered."""
    with pytest.raises(TypeError, match=message):
        GuestFile("file", "vm-1", "/etc/motd", **arguments)
