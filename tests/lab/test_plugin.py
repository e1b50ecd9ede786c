"""Which vSphere plugin the lab uses: the real one where it is available and works, otherwise the stand-in."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lab import bootstrap, plugin, plugin_trial
from lab.paths import Home, LabError

if TYPE_CHECKING:
    from pathlib import Path

UNREACHABLE = "vSphere plugin: the lab's stand-in, because the real one cannot be downloaded here."


@pytest.fixture(scope="module")
def pulumi() -> Path:
    return bootstrap.prepare(Home()).pulumi


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A lab on a VM without internet access, with the programs of the checkout's own lab."""
    monkeypatch.setattr(bootstrap, "reachable", lambda _url: False)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "mine"))
    monkeypatch.delenv(plugin.VARIABLE, raising=False)
    home = Home(tmp_path / "lab")
    (home.path / "bin").symlink_to(Home().path / "bin")
    return home


def a_real_one(tmp_path: Path, pulumi: Path) -> None:
    """Installs a program that is not a script, in place of the real plugin, into this person's PULUMI_HOME."""
    folder = tmp_path / "mine" / "plugins" / f"resource-vsphere-v{plugin.vsphere_version()}"
    folder.mkdir(parents=True)
    shutil.copy(pulumi, folder / plugin._PLUGIN)


def test_the_stand_in_comes_where_the_real_plugin_cannot_be_had(home: Home, tmp_path: Path, pulumi: Path) -> None:
    """The stand-in is installed only in the lab's own PULUMI_HOME, and the reason is printed."""
    assert plugin.choose(home, pulumi) == plugin.Choice(plugin.STAND_IN, UNREACHABLE)
    assert plugin._installed(home).read_text(encoding="utf-8").endswith('-m lab.offline.vsphere_plugin "$@"\n')
    assert not (tmp_path / "mine" / "plugins").exists()


def test_the_server_of_the_releases_is_asked_once(home: Home, monkeypatch: pytest.MonkeyPatch, pulumi: Path) -> None:
    """Later runs do not wait for a network that does not answer, unless the real plugin is requested."""
    asked: list[str] = []

    def unreachable(url: str) -> bool:
        asked.append(url)
        return False

    monkeypatch.setattr(bootstrap, "reachable", unreachable)
    for _ in range(2):
        plugin.choose(home, pulumi)
    assert asked == [bootstrap.RELEASES]
    monkeypatch.setenv(plugin.VARIABLE, plugin.REAL)
    with pytest.raises(LabError, match=r"not installed, and it cannot be downloaded"):
        plugin.choose(home, pulumi)
    assert len(asked) == 2


def test_a_real_plugin_that_is_installed_and_works_is_taken(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulumi: Path
) -> None:
    """It replaces the stand-in as soon as it is available, and is tried on the lab once."""
    tried: list[Path] = []

    def trial(home: Home, _pulumi: Path) -> str:
        tried.append(home.path)
        return ""

    monkeypatch.setattr(plugin, "_trial", trial)
    assert plugin.choose(home, pulumi).name == plugin.STAND_IN
    a_real_one(tmp_path, pulumi)
    real = plugin.Choice(plugin.REAL, f"vSphere plugin: the real one, {plugin.vsphere_version()}.")
    assert [plugin.choose(home, pulumi) for _ in range(2)] == [real, real]
    assert tried == [home.path]
    assert plugin._is_real(plugin._installed(home))


def test_a_real_plugin_that_fails_on_the_lab_gives_way_in_one_sentence(
    home: Home, tmp_path: Path, pulumi: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program that is not a plugin is tried with the engine; later runs remember the error."""
    a_real_one(tmp_path, pulumi)
    choices = [plugin.choose(home, pulumi) for _ in range(2)]
    assert [choice.name for choice in choices] == [plugin.STAND_IN] * 2
    assert choices[0] == choices[1]
    begin = f"vSphere plugin: the lab's stand-in, because the real {plugin.vsphere_version()} fails on the lab: "
    assert choices[0].sentence.startswith(begin)
    assert len(choices[0].sentence) > len(begin)
    assert len(choices[0].sentence.splitlines()) == 1
    assert capfd.readouterr().out.count("Trying the vSphere plugin") == 1


def test_a_trial_that_hangs_is_a_failure(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulumi: Path
) -> None:
    """A plugin that never answers holds `make up` up for the length of the trial, and no longer."""
    monkeypatch.setattr(plugin, "_TRIAL_SECONDS", 0.2)
    a_real_one(tmp_path, pulumi)
    choice = plugin.choose(home, pulumi)
    assert choice.name == plugin.STAND_IN
    assert "the trial" in choice.sentence


def test_the_variable_chooses(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulumi: Path) -> None:
    """Each plugin is used when it is requested, without a trial, and the real one is not downloaded again."""
    a_real_one(tmp_path, pulumi)
    monkeypatch.setattr(plugin, "_trial", None)
    for wish, real in ((plugin.REAL, True), (plugin.STAND_IN, False), (plugin.REAL, True)):
        monkeypatch.setenv(plugin.VARIABLE, wish)
        assert plugin.choose(home, pulumi).name == wish
        assert plugin._is_real(plugin._installed(home)) is real
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)  # what the lab has is enough


def test_another_choice_is_refused_by_name(home: Home, monkeypatch: pytest.MonkeyPatch, pulumi: Path) -> None:
    """A value that is not a plugin is refused with the values that are."""
    monkeypatch.setenv(plugin.VARIABLE, "terraform")
    with pytest.raises(LabError) as refused:
        plugin.choose(home, pulumi)
    assert str(refused.value) == 'LAB_PLUGIN: expected "real" or "stand-in", got \'terraform\''


def test_a_stack_keeps_the_plugin_that_made_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulumi: Path
) -> None:
    """A real plugin that becomes available is used after `make down`: it does not know the stand-in's resources."""
    a_real_one(tmp_path, pulumi)
    kept = plugin.choose(home, pulumi, made_with=plugin.STAND_IN)
    assert kept == plugin.Choice(
        plugin.STAND_IN, "vSphere plugin: the lab's stand-in, which made the stack that is there."
    )
    monkeypatch.setenv(plugin.VARIABLE, plugin.REAL)
    with pytest.raises(LabError, match=r"run `make down` first"):
        plugin.choose(home, pulumi, made_with=plugin.STAND_IN)


def test_the_first_error_of_the_engine_is_reported() -> None:
    """The engine repeats itself at length; one line of it is enough."""
    lines = ["Updating (lab):", " +  vm creating (0s) error: panic: nil pointer", "error: update failed"]
    assert plugin_trial.first_error(lines) == "panic: nil pointer"
    assert plugin_trial.first_error(["nothing"]) == "the engine failed without an error message"
