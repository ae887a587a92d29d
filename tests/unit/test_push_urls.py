"""Where a push goes is what git says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.configured import push_urls
from git_theta.remotes.pushed import check, pushed, record


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / ".gitconfig").write_text('[remote "everywhere"]\n\turl = /everywhere\n')
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    append(
        tmp_path / "repo" / ".git" / "config",
        '[remote "two"]\n\turl = /fetch\n\tpushurl = /first\n\tpushurl = /second\n'
        '[remote "hub"]\n\turl = hub:model\n'
        '[url "/mirror/"]\n\tpushInsteadOf = hub:\n[url "/other/"]\n\tinsteadOf = gh:\n',
    )
    return Repository(tmp_path / "repo")


@pytest.mark.parametrize(
    ("name", "urls"),
    [
        ("two", ["/first", "/second"]),
        ("hub", ["/mirror/model"]),
        ("hub:model", ["/mirror/model"]),
        ("gh:a b=c", ["/other/a b=c"]),
        ("everywhere", ["/everywhere"]),
        ("../beside", ["../beside"]),
    ],
)
def test_push_urls(repository: Repository, name: str, urls: list[str]) -> None:
    assert push_urls(repository, name) == urls


def test_what_was_pushed_is_remembered_once(repository: Repository) -> None:
    assert pushed(repository) == []
    for _ in range(2):
        assert record(repository, ["a" * 40, "b" * 40]) == ""
    assert pushed(repository) == ["a" * 40, "b" * 40]
    append(repository.theta / "pushed", "-n\n" + "c" * 7)  # a damaged end
    assert pushed(repository) == ["a" * 40, "b" * 40]


def test_damage_to_what_was_pushed_is_noticed(repository: Repository) -> None:
    check(repository)
    repository.theta.mkdir()
    append(repository.theta / "pushed", "a" * 40 + "\n")  # as older versions have written it
    record(repository, ["b" * 40])
    check(repository)
    file = repository.theta / "pushed"
    text = file.read_bytes()
    for bit in range(8 * (len(text) - 1)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        if bit >= 8 * 40:  # the first line has no checksum
            assert set(pushed(repository)) <= {"a" * 40, "b" * 40}
            with pytest.raises(ThetaError, match="so it is not known what must stay"):
                check(repository)
    file.write_bytes(text)
    record(repository, ["b" * 40])
    assert file.read_bytes() == text


def test_nothing_is_written_through_a_link(repository: Repository, tmp_path: Path) -> None:
    repository.theta.mkdir()
    (tmp_path / "private").write_text("text")
    (repository.theta / "pushed").symlink_to(tmp_path / "private")
    assert "cannot note what was pushed" in record(repository, ["a" * 40])
    assert (tmp_path / "private").read_text() == "text"
    assert pushed(repository) == []


def test_what_cannot_be_remembered_is_said(repository: Repository) -> None:
    repository.theta.write_text("no folder")
    assert "cannot note what was pushed" in record(repository, ["a" * 40])
