"""A conflict whose versions are symbolic links or submodules is Git's, though its name is a checkpoint's."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, does, version
from merge_cases import MODEL


def link(repo: GitRepo, target: str) -> None:
    (repo.path / MODEL).unlink(missing_ok=True)
    (repo.path / MODEL).symlink_to(target)


@pytest.fixture
def links(repo: GitRepo) -> GitRepo:
    """A merge of two branches that have moved a link."""
    for branch, target in (("main", "base"), ("side", "theirs"), ("main", "ours")):
        repo.git("checkout", "-q", "-B" if branch == "side" else "-f", branch)
        link(repo, target)
        repo.commit(target)
    repo.refused("git", "merge", "side")
    return repo


def test_links(links: GitRepo) -> None:
    assert "resolve" not in links.theta("status", check=False).stdout
    for command in (["resolve", MODEL, "--ours"], ["checkout", "--theirs", MODEL]):
        said = links.refused("git", "theta", *command)
        assert f"{MODEL} is a symbolic link on one side, and no checkpoint" in said
    links.remedy(said, f"git checkout --ours -- {MODEL}")
    links.remedy(said, f"git add {MODEL}")
    links.git("commit", "-q", "--no-edit")
    assert links.blob(f"HEAD:{MODEL}") == b"ours"
    assert links.git("ls-tree", "HEAD", MODEL).stdout.startswith("120000")


def test_a_submodule(repo: GitRepo) -> None:
    other = GitRepo(repo.path.parent / "other")
    other.path.mkdir()
    other.git("init", "-q")
    commits = [other.commit(name) for name in ("base", "theirs", "ours") if other.write("file", name)]
    entry = "160000,{}," + MODEL
    repo.git("update-index", "--add", "--cacheinfo", entry.format(commits[0]))
    repo.git("commit", "-q", "-m", "base")
    repo.git("branch", "side")
    tree = ["commit", "-q", "-m"]
    repo.git("update-index", "--cacheinfo", entry.format(commits[2]))
    repo.git(*tree, "ours")
    repo.git("checkout", "-q", "side")
    repo.git("update-index", "--cacheinfo", entry.format(other.head("HEAD~2")))
    repo.git("update-index", "--cacheinfo", entry.format("1" * 40))
    repo.git(*tree, "theirs")
    repo.git("checkout", "-q", "main")
    repo.refused("git", "merge", "side")
    assert "resolve" not in repo.theta("status", check=False).stdout
    said = repo.refused("git", "theta", "resolve", MODEL, "--ours")
    does(said, f"check out there what is wanted, then: git add {MODEL}")
    repo.git("clone", "-q", str(other.path), MODEL)
    repo.git("add", MODEL)
    repo.git("commit", "-q", "--no-edit")


def test_a_link_against_a_file(repo: GitRepo) -> None:
    repo.write(MODEL, version(0))
    repo.commit("base")
    repo.git("checkout", "-q", "-b", "side")
    repo.write(MODEL, version(1))
    repo.commit("theirs")
    repo.git("checkout", "-q", "main")
    link(repo, "elsewhere")
    repo.commit("ours")
    repo.refused("git", "merge", "side")
    status = repo.git("ls-files", "-u").stdout
    for path in {line.partition("\t")[2] for line in status.splitlines()}:
        modes = {line[:6] for line in status.splitlines() if line.endswith(f"\t{path}")}
        if "120000" in modes:
            said = repo.refused("git", "theta", "resolve", path, "--ours")
            assert f"{path} is a symbolic link on one side" in said
