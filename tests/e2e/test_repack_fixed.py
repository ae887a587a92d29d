"""git theta repack rewrites nothing that others may have, or that something other than a branch names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes


def wasteful(repo: GitRepo) -> list[bytes]:
    """Three versions, each stored whole."""
    random = np.random.default_rng(0)
    value = random.standard_normal((128, 256), np.float32)
    repo.git("config", "theta.maxChainDepth", "0")
    files = []
    for number in range(3):
        files.append(safetensors_bytes({"w": value + np.float32(1e-4 * number)}))
        repo.write("model.safetensors", files[-1])
        repo.commit(f"version {number}")
    repo.git("config", "--unset", "theta.maxChainDepth")
    return files


@pytest.fixture
def files(repo: GitRepo) -> list[bytes]:
    return wasteful(repo)


def pushed_by_url(repo: GitRepo) -> None:
    repo.git("init", "-q", "--bare", "../remote.git")
    repo.git("push", "-q", "../remote.git", "HEAD~1:refs/heads/main")


def pushed_and_forgotten(repo: GitRepo) -> None:
    """The branch was merged and deleted at the remote, and pruned here."""
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "HEAD~1:refs/heads/work")
    bare.git("update-ref", "-d", "refs/heads/work")
    repo.git("fetch", "-q", "--prune", "origin")


def objects_pushed(repo: GitRepo) -> None:
    repo.git("init", "-q", "--bare", "../remote.git")
    repo.theta("push", "../remote.git", "HEAD~1")


def annotated_tag_of_a_tag(repo: GitRepo) -> None:
    repo.git("tag", "-a", "-m", "tag", "inner", "HEAD~1")
    repo.git("tag", "-a", "-m", "tag of a tag", "outer", "inner")
    repo.git("tag", "-d", "inner")


def note(repo: GitRepo) -> None:
    repo.git("notes", "--ref", "review", "add", "-m", "good", "HEAD~1")


def detached_work_tree(repo: GitRepo) -> None:
    repo.git("worktree", "add", "-q", "--detach", "../tree", "HEAD~1")


def work_tree_with_a_branch(repo: GitRepo) -> None:
    repo.git("worktree", "add", "-q", "-b", "other", "../tree", "HEAD~1")


def rebase_in_a_work_tree(repo: GitRepo) -> None:
    repo.git("worktree", "add", "-q", "-b", "other", "../tree", "HEAD~1")
    tree = GitRepo(repo.path.parent / "tree")
    assert tree.git("rebase", "-q", "-x", "false", "HEAD~2", check=False).returncode


def stash(repo: GitRepo) -> None:
    repo.git("checkout", "-q", "--detach", "HEAD~1")
    repo.write("model.safetensors", safetensors_bytes({"w": np.zeros((8, 8), np.float32)}))
    repo.git("stash", "-q")
    repo.git("checkout", "-q", "main")


def replaced(repo: GitRepo) -> None:
    repo.git("replace", "--graft", "HEAD~1")


def grafted(repo: GitRepo) -> None:
    (repo.path / ".git" / "info").mkdir(exist_ok=True)
    (repo.path / ".git" / "info" / "grafts").write_text(f"{repo.head('HEAD~1')}\n")


SITUATIONS = [
    pushed_by_url,
    pushed_and_forgotten,
    objects_pushed,
    annotated_tag_of_a_tag,
    note,
    detached_work_tree,
    work_tree_with_a_branch,
    rebase_in_a_work_tree,
    stash,
    replaced,
    grafted,
]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_named_elsewhere_stays(
    repo: GitRepo, files: list[bytes], situation: Callable[[GitRepo], None]
) -> None:
    situation(repo)
    fixed, old, refs = repo.head("HEAD~1"), repo.head(), others(repo)
    done = repo.theta("repack")
    assert "1 tensor takes" in done.stdout
    assert "stay as they are, which others have or something names: " in done.stdout
    assert repo.head("HEAD~1") == fixed
    assert repo.head() != old
    assert others(repo) == refs
    assert repo.status() == []
    repo.theta("fsck")
    for revision, data in zip(("main~1", "main"), files[1:], strict=True):
        repo.git("checkout", "-q", "--detach", revision)
        assert (repo.path / "model.safetensors").read_bytes() == data


def others(repo: GitRepo) -> str:
    """All refs but main, and where all work trees are."""
    listed = repo.git("for-each-ref").stdout.splitlines()
    trees = repo.git("worktree", "list", "--porcelain").stdout.split("\n\n")[1:]
    kept = [row for row in listed if not row.endswith(("refs/heads/main", "refs/original/theta/heads/main"))]
    return "\n".join(kept + trees)


def test_other_work_trees_stay_clean(repo: GitRepo, files: list[bytes]) -> None:
    repo.git("worktree", "add", "-q", "../tree")
    tree = GitRepo(repo.path.parent / "tree")
    assert "Nothing could be stored better" in repo.theta("repack").stdout
    assert tree.status() == []
    tree.write("more.txt", "more")
    tree.commit("more")
    done = repo.theta("repack", "main", "tree")
    assert f"the work tree of {tree.path}" in done.stdout
    assert tree.status() == []
    assert repo.status() == []


def test_repack_in_a_linked_work_tree_leaves_the_main_one(repo: GitRepo, files: list[bytes]) -> None:
    repo.git("worktree", "add", "-q", "-b", "work", "../tree")
    tree = GitRepo(repo.path.parent / "tree")
    old = repo.head()
    assert "Nothing could be stored better" in tree.theta("repack").stdout
    assert repo.head() == old
    repo.git("checkout", "-q", "--detach", "HEAD~3")
    repo.git("branch", "-q", "-D", "main")
    assert "2 tensors take" in tree.theta("repack").stdout
    assert tree.status() == []
    assert repo.status() == []


def test_commit_that_a_superproject_records_stays(repo: GitRepo, files: list[bytes]) -> None:
    outer = GitRepo(repo.path.parent / "outer")
    outer.path.mkdir()
    outer.git("init", "-q")
    outer.git("submodule", "--quiet", "add", str(repo.path), "model")
    outer.git("commit", "-q", "-m", "model")
    inner = GitRepo(outer.path / "model")
    inner.git("remote", "remove", "origin")
    old = inner.head()
    assert f"the superproject {outer.path}" in inner.theta("repack").stdout
    assert inner.head() == old


def test_replaced_manifest_and_tree_stay(repo: GitRepo, files: list[bytes]) -> None:
    repo.git("replace", repo.head("HEAD~1:model.safetensors"), repo.head("HEAD~2:model.safetensors"))
    repo.git("replace", repo.head("HEAD^{tree}"), repo.head("HEAD~1^{tree}"))
    before = repo.head("HEAD^{tree}"), repo.head("HEAD~1:model.safetensors")
    repo.git("read-tree", "HEAD")
    repo.theta("repack")
    assert (repo.head("HEAD^{tree}"), repo.head("HEAD~1:model.safetensors")) == before


def test_branch_that_is_another_name_moves_with_it(repo: GitRepo, files: list[bytes]) -> None:
    repo.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert "2 tensors take" in repo.theta("repack").stdout
    assert repo.head("alias") == repo.head("main")
    assert repo.status() == []


def test_revision_that_is_none(repo: GitRepo, files: list[bytes]) -> None:
    done = repo.theta("repack", "no-such-branch", check=False)
    assert done.returncode == 1
    assert "no-such-branch" in done.stderr


def test_sparse_checkout_stays_sparse(repo: GitRepo, files: list[bytes]) -> None:
    repo.write("kept/notes.txt", "notes")
    repo.commit("notes")
    repo.git("sparse-checkout", "set", "--no-cone", "kept")
    assert not (repo.path / "model.safetensors").exists()
    assert "2 tensors take" in repo.theta("repack").stdout
    assert repo.status() == []
    repo.git("sparse-checkout", "disable")
    assert (repo.path / "model.safetensors").read_bytes() == files[2]
