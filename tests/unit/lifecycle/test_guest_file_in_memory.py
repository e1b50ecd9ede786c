"""A guest file from its creation to its deletion, in a guest in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.errors import ApiError, ConfigurationError
from pulumi_customization_gate.lifecycle import guest_file
from tests.unit.lifecycle.guest_resource import GuestResource
from tests.unit.vsphere.guest.fake_guest import VM, FakeFile, FakeGuest, guest_of

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/etc/motd"
CANARY = "canary-content"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    return guest_of(monkeypatch)


def file(path: str = PATH, content: str | None = "one", **inputs: Any) -> GuestResource:
    """Returns a file that is not created yet."""
    return GuestResource(guest_file, path=path, **inputs, **({} if content is None else {"content": content}))


def test_a_file_is_written_once_and_again_where_its_content_changes(fake: FakeGuest) -> None:
    """A second `up` carries nothing; the size and the guest are outputs."""
    resource = file(permissions="0640")
    assert (resource.up(), resource.up()) == ("", "")
    assert (fake.text(PATH), fake.files[PATH].permissions) == ("one", 0o640)
    assert (resource.outputs["size"], resource.outputs["guest_id"].split("/")[1], len(fake.addresses)) == (3, VM, 1)

    assert resource.up(content="two, longer") == ""
    assert (fake.text(PATH), resource.outputs["size"], fake.below("/etc")) == ("two, longer", 11, {"motd"})


def test_what_the_guest_does_not_see_is_stored_without_a_transfer(fake: FakeGuest) -> None:
    """A changed time-out carries nothing; changed permissions do."""
    resource = file()
    resource.up()
    assert resource.up(timeout=30) == ""
    assert (resource.outputs["timeout"], len(fake.addresses)) == (30, 1)
    assert resource.up(permissions="600") == ""
    assert fake.files[PATH].permissions == 0o600


def test_a_file_is_replaced_whole(fake: FakeGuest) -> None:
    """Until the upload is complete, the path has its old content; the upload has a random name."""
    fake.files[PATH] = FakeFile(b"before")
    seen: list[tuple[str, set[str]]] = []
    fake.on_block = lambda _: seen.append((fake.text(PATH), set(fake.below("/etc"))))
    moved: list[str] = []
    move = fake.vcenter.methods["MoveFileInGuest"]

    def remember(mo: Any, vm: Any, login: Any, source: str, *more: Any) -> Any:
        moved.append(source)
        return move(mo, vm, login, source, *more)

    fake.vcenter.methods["MoveFileInGuest"] = remember
    assert file(content="x" * 100_000).up() == ""

    assert {text for text, _ in seen} == {"before"}
    (draft,) = moved
    assert draft.startswith("/etc/.motd.customization-gate-")
    assert len(fake.text(PATH)) == 100_000


def test_missing_parents_are_made(fake: FakeGuest) -> None:
    """The folder of a file need not be there."""
    assert file("/srv/a/b/note").up() == ""
    assert fake.text("/srv/a/b/note") == "one"


def test_a_local_file_is_what_it_holds(fake: FakeGuest, tmp_path: Path) -> None:
    """Another source of the same bytes is not a change; other bytes are."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"\0one")
    second.write_bytes(b"\0one")
    resource = file(content=None, source=str(first))
    assert resource.up() == ""
    assert (fake.files[PATH].content, resource.outputs["size"]) == (b"\0one", 4)
    resource.inputs["source"] = str(second)
    assert not resource.difference().changes
    second.write_bytes(b"\0two")
    assert resource.up() == ""
    assert fake.files[PATH].content == b"\0two"


def test_a_local_file_that_changes_after_the_preview_is_not_carried(fake: FakeGuest, tmp_path: Path) -> None:
    """What was shown is what is written, or nothing."""
    source = tmp_path / "source"
    source.write_text("shown")
    resource = file(content=None, source=str(source))
    inputs = resource.checked()
    source.write_text("changed")
    with pytest.raises(ConfigurationError, match="has changed since the preview"):
        guest_file.create(resource.engine, resource.config.get, inputs)
    assert PATH not in fake.files


@pytest.mark.parametrize(
    ("old", "new", "is_another"),
    [
        pytest.param("/etc/motd", "/etc//./motd", False, id="slashes"),
        pytest.param("/etc/motd", "/etc/Motd", True, id="case on Linux"),
        pytest.param("C:\\a\\B.txt", "c:/A/b.TXT", False, id="case and slashes on Windows"),
        pytest.param("/etc/motd", "/etc/x/../motd", True, id="a parent may follow a link"),
    ],
)
def test_another_path_is_another_file(fake: FakeGuest, old: str, new: str, is_another: bool) -> None:
    """Another spelling of one path replaces nothing."""
    resource = file(old)
    resource.outputs = {**resource.inputs, "size": 3}
    assert (resource.difference(path=new).replaces == ["path"]) == is_another
    assert fake.addresses == []


def test_a_file_is_removed_with_its_resource(fake: FakeGuest) -> None:
    """One that is gone already is removed."""
    resource = file()
    resource.up()
    assert resource.delete() == []
    assert PATH not in fake.files
    assert resource.delete() == []


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("password", "refuses the user name or password of deploy", id="password changed"),
        pytest.param("another", "vm-1 now refers to another VM", id="another VM"),
    ],
)
def test_a_guest_that_cannot_be_used_is_a_warning_at_deletion(fake: FakeGuest, case: str, expected: str) -> None:
    """The file stays, and the stack can be destroyed."""
    resource = file()
    resource.up()
    if case == "password":
        fake.password = "changed"
    else:
        fake.vcenter.state.entities[VM]["config.instanceUuid"] = "6000"
    (line,) = resource.delete()
    assert line.startswith("warning: the file stays in the guest: ")
    assert expected in line
    assert fake.text(PATH) == "one"


@pytest.mark.parametrize(
    ("method", "error", "is_lost"),
    [
        pytest.param("MoveFileInGuest", ConnectionResetError(), True, id="answer to the rename"),
        pytest.param("MoveFileInGuest", vmodl.fault.HostCommunication(), True, id="the host's answer to the rename"),
        pytest.param("PUT", requests.ConnectionError(), False, id="the transfer"),
        pytest.param("ListFilesInGuest", vim.fault.GuestOperationsUnavailable(), False, id="Tools not running"),
    ],
)
def test_what_is_lost_on_the_way_is_overcome(fake: FakeGuest, method: str, error: Exception, is_lost: bool) -> None:
    """The file is there, and nothing beside it."""
    (fake.vcenter.lost_answers if is_lost else fake.vcenter.failures)[method] = [error]
    assert file().up() == ""
    assert (fake.text(PATH), fake.below("/etc")) == ("one", {"motd"})


def test_an_answer_that_stays_lost_is_written_again(fake: FakeGuest) -> None:
    """The state has no size then, so that the next `up` writes."""
    fake.vcenter.lost_answers["MoveFileInGuest"] = [vim.fault.GuestPermissionDenied()]
    resource = file()
    assert "/etc/motd in name of vm-1 (vm-1) may have been written" in resource.up()
    sizes = [resource.outputs["size"]]
    assert resource.difference().changes
    assert resource.up() == ""
    sizes.append(resource.outputs["size"])
    assert (sizes, len(fake.addresses)) == ([None, 3], 2)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(vim.fault.GuestPermissionDenied(), "does not allow deploy to do this", id="permission"),
        pytest.param(
            vim.fault.NoPermission(privilegeId="VirtualMachine.GuestOperations.Modify"),
            "grant the privilege",
            id="role",
        ),
        pytest.param(
            vmodl.fault.NotSupported(msg="No space left on device"), "No space left on device", id="disk full"
        ),
    ],
)
def test_an_upload_that_is_refused_leaves_nothing(fake: FakeGuest, fault: Any, expected: str) -> None:
    """The resource does not exist then, and no content is in the error."""
    fake.vcenter.failures["InitiateFileTransferToGuest"] = [fault]
    resource = file(content=CANARY)
    error = resource.up()
    assert expected in error
    assert CANARY not in error
    assert (resource.id, fake.below("/etc")) == ("", set())


def test_ctrl_c_ends_an_upload_and_leaves_nothing(fake: FakeGuest) -> None:
    """The path has what it had."""
    fake.files[PATH] = FakeFile(b"before")
    resource = file(content="x" * 200_000)
    fake.on_block = lambda _: setattr(resource.engine, "is_cancelled", True)
    assert resource.up() == "the update was cancelled"
    assert (fake.text(PATH), fake.below("/etc"), resource.id) == ("before", {"motd"}, "")


def test_what_a_killed_update_left_is_removed_by_the_next(fake: FakeGuest) -> None:
    """Only the uploads for this path: another file's may be under way."""
    ours, others = "/etc/.motd.customization-gate-0123abcd", "/etc/.issue.customization-gate-0123abcd"
    fake.files |= {path: FakeFile(b"half") for path in (ours, others)}
    assert file().up() == ""
    assert fake.below("/etc") == {"motd", ".issue.customization-gate-0123abcd"}


def test_a_missing_privilege_keeps_the_resource_at_deletion(fake: FakeGuest) -> None:
    """What can be granted is an error: the file would stay unseen."""
    resource = file()
    resource.up()
    fake.vcenter.failures["DeleteFileInGuest"] = [vim.fault.NoPermission(privilegeId="X")]
    with pytest.raises(ApiError, match="grant the privilege X"):
        resource.delete()
    assert fake.text(PATH) == "one"


def test_a_directory_is_what_its_source_is(fake: FakeGuest, tmp_path: Path) -> None:
    """Files come, change and go with the source; what others put there stays, and so does their folder."""
    source = tmp_path / "site"
    (source / "css").mkdir(parents=True)
    (source / "index").write_text("one")
    (source / "css" / "main").write_text("red")
    resource = file("/srv/site", None, source=str(source))
    assert resource.up() == ""
    assert fake.below("/srv/site") == {"index", "css", "css/main"}

    (source / "index").write_text("two")
    (source / "css" / "main").unlink()
    (source / "new").write_text("three")
    assert resource.up() == ""
    assert fake.below("/srv/site") == {"index", "new"}
    assert (fake.text("/srv/site/index"), fake.text("/srv/site/new")) == ("two", "three")

    fake.files["/srv/site/theirs"] = FakeFile(b"stays")
    assert resource.delete() == []
    assert fake.below("/srv/site") == {"theirs"}


def test_an_owner_is_found_by_its_name(fake: FakeGuest) -> None:
    """The guest alone knows the numbers; nothing of the question is left there."""
    assert file(owner="www").up() == ""
    assert (fake.text(PATH), fake.files[PATH].owner) == ("one", 33)
    assert fake.below("/home/deploy/.customization-gate") == set()


def test_an_owner_that_the_guest_does_not_know_is_named(fake: FakeGuest) -> None:
    """Nothing is written then."""
    assert "does not accept 'nobody-here' (exit code 1 of chown)" in file(owner="nobody-here").up()
    assert (PATH in fake.files, fake.below("/home/deploy/.customization-gate")) == (False, set())
