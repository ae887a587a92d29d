"""A few kilobytes of objects that would become a very large file are not written back without being asked."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from git_repo import GitRepo, does

SIZE = 300 << 20
NAME = "zeros.safetensors"


def write_zeros(path: Path, size: int) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


@pytest.fixture
def published(repo: GitRepo, tmp_path: Path) -> Path:
    """A repository with a file of zeros, which takes nothing to store."""
    write_zeros(repo.path / NAME, SIZE)
    said = repo.git("add", NAME).stderr
    assert f"{NAME}: it is stored, but checkouts will refuse it: it would become 315 MB" in said
    does(said, "git config theta.maxExpansion 0")
    repo.git("commit", "-q", "-m", "zeros")
    remote = tmp_path / "remote.git"
    repo.git("init", "-q", "--bare", str(remote))
    repo.git("push", "-q", str(remote), "main")
    return remote


def test_a_large_file_of_small_objects(published: Path, tmp_path: Path) -> None:
    here = GitRepo(tmp_path)
    said = here.refused("git", "clone", "-q", "-b", "main", str(published), "clone")
    clone = GitRepo(tmp_path / "clone")
    assert f"{NAME}: it would become 315 MB, and its objects take " in said
    assert not (clone.path / NAME).exists()
    clone.remedy(said, "git config theta.maxExpansion 0")
    clone.remedy(said, "git restore --source=HEAD --staged --worktree :/")
    assert (clone.path / NAME).stat().st_size > SIZE
    assert clone.status() == []


def test_many_files_of_one_object(repo: GitRepo, tmp_path: Path) -> None:
    for number in range(2):
        write_zeros(repo.path / f"{number}.safetensors", 200 << 20)
    assert "refuse" not in repo.git("add", ".").stderr
    repo.git("commit", "-q", "-m", "twice")
    said = GitRepo(tmp_path).refused("git", "clone", "-q", "repo", "clone")
    clone = GitRepo(tmp_path / "clone")
    assert "what is written with it would become 419 MB, and its objects take " in said
    assert len(list(clone.path.glob("*.safetensors"))) == 1
    clone.remedy(said, "git config theta.maxExpansion 0")
    clone.remedy(said, "git restore --source=HEAD --staged --worktree :/")
    assert clone.status() == []


def test_where_there_is_no_room(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "sitecustomize.py").write_text(
        "import shutil, collections\n"
        "shutil.disk_usage = lambda _: collections.namedtuple('Usage', 'total used free')(9, 9, 1000)\n"
    )
    here = GitRepo(tmp_path)
    clone = ["git", "clone", "-q", "-b", "main", "-c", "theta.maxExpansion=0", str(published), "clone"]
    said = here.refused(*clone, PYTHONPATH=str(full))
    assert f"{NAME}: it takes 315 MB, and " in said
    assert "has room for 1.0 KB" in said
    does(said, "make room there, then the same again")
    cloned = GitRepo(tmp_path / "clone")
    cloned.remedy(said, "git restore --source=HEAD --staged --worktree :/")
    assert cloned.status() == []
    monkeypatch.setenv("PYTHONPATH", str(full))
    assert len(cloned.run("bash", "-c", f"git archive main {NAME} | wc -c").stdout) > 8


def test_a_view_that_repeats_one_element_is_not_read(history: GitRepo) -> None:
    """A pickle of some hundred bytes says so of a tensor that would fill all disks."""
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(1).expand(1 << 57)}, history.path / "w.pt")
    history.git("add", "w.pt")
    history.git("commit", "-q", "-m", "small")
    torch.save({"w": torch.ones(1).expand(1 << 57)}, history.path / "w.pt")
    for command in (["theta", "show", "w.pt"], ["diff", "w.pt"], ["theta", "diff", "HEAD", "--", "w.pt"]):
        done = history.git(*command, check=False)
        assert "repeats elements" in done.stdout + done.stderr
    assert "new checkpoint" in history.theta("log", "w.pt").stdout
