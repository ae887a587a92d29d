"""git push, fetch and clone bring the true history; so do the objects, whatever git shows here alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, version, weights

THIRD = safetensors_bytes(changed(weights(0), "layer.2.weight", seed=7))


def graft(repo: GitRepo) -> None:
    """HEAD has no parents any more."""
    repo.git("replace", "--graft", "HEAD")


def grafts_file(repo: GitRepo) -> None:
    (repo.path / ".git" / "info").mkdir(exist_ok=True)
    (repo.path / ".git" / "info" / "grafts").write_text(f"{repo.head()}\n")


def replaced_manifest(repo: GitRepo) -> None:
    """The oldest manifest is shown as the newest."""
    repo.git("replace", repo.head("v0:model.safetensors"), repo.head("HEAD:model.safetensors"))


def replaced_tree(repo: GitRepo) -> None:
    repo.git("replace", repo.head("v0^{tree}"), repo.head("HEAD^{tree}"))


def replaced_commit(repo: GitRepo) -> None:
    repo.git("replace", repo.head("v1"), repo.head("HEAD"))


def wrong_commit_graph(repo: GitRepo) -> None:
    """A commit-graph in which no commit has parents (gitformat-commit-graph(5)); git takes it for true."""
    repo.git("commit-graph", "write", "--reachable")
    graph = repo.path / ".git" / "objects" / "info" / "commit-graph"
    data = bytearray(graph.read_bytes())
    chunks = {
        bytes(data[at : at + 4]): int.from_bytes(data[at + 4 : at + 12], "big")
        for at in range(8, 8 + 12 * (data[6] + 1), 12)
    }
    for start in range(chunks[b"CDAT"], chunks[b"CDAT"] + 36 * 4, 36):
        data[start + 20 : start + 28] = (0x70000000).to_bytes(4, "big") * 2
    graph.chmod(0o644)
    graph.write_bytes(data)
    assert len(repo.git("rev-list", "HEAD").stdout.split()) == 1


SITUATIONS = [graft, grafts_file, replaced_manifest, replaced_tree, replaced_commit, wrong_commit_graph]


@pytest.fixture
def three(history: GitRepo) -> GitRepo:
    history.write("model.safetensors", THIRD)
    history.commit("version 2")
    return history


@pytest.mark.parametrize("command", [("push", "-q", "origin", "main"), ("theta", "push", "--all", "origin")])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_objects_of_the_true_history_are_pushed(
    three: GitRepo, situation: Callable[[GitRepo], None], command: tuple[str, ...]
) -> None:
    bare = three.add_remote("origin")
    situation(three)
    three.git(*command, check=situation not in (grafts_file, wrong_commit_graph))  # the server may refuse
    (three.path / ".git" / "info" / "grafts").unlink(missing_ok=True)
    (three.path / ".git" / "objects" / "info" / "commit-graph").unlink(missing_ok=True)
    three.git("push", "-q", "--no-verify", "origin", "main", "--tags")
    three.path.rename(three.path.with_name("gone"))
    clone = bare.clone("clone", "--no-checkout")
    for revision, data in (("v0", version(0)), ("v1", version(1)), ("main", THIRD)):
        clone.git("checkout", "-q", revision)
        assert (clone.path / "model.safetensors").read_bytes() == data


def test_what_is_put_in_place_is_pushed_with_the_refs_that_say_so(three: GitRepo) -> None:
    bare = three.add_remote("origin")
    three.git("switch", "-q", "--orphan", "aside")
    three.write("model.safetensors", safetensors_bytes(weights(50)))
    aside = three.commit("aside", "model.safetensors")
    three.git("switch", "-q", "main")
    three.git("replace", three.head("v0"), aside)
    three.git("branch", "-q", "-D", "aside")
    three.git("push", "-q", "origin", "main", "refs/replace/*")
    three.path.rename(three.path.with_name("gone"))
    clone = bare.clone("clone", "--no-checkout")
    clone.git("fetch", "-q", "origin", "refs/replace/*:refs/replace/*")
    clone.git("checkout", "-q", "main~2")
    assert (clone.path / "model.safetensors").read_bytes() == safetensors_bytes(weights(50))


@pytest.mark.parametrize("situation", [graft, grafts_file, replaced_manifest, replaced_tree])
def test_fsck_and_fetch_see_the_true_history(three: GitRepo, situation: Callable[[GitRepo], None]) -> None:
    bare = three.add_remote("origin")
    three.git("push", "-q", "origin", "main", "--tags")
    situation(three)
    three.git("tag", "-d", "v0", "v1")
    for path in three.objects():
        path.unlink()
    three.theta("fetch", "--all")
    assert {path.name for path in three.objects()} == {path.name for path in bare.objects()}
    assert "3 manifests" in three.theta("fsck", "--fast").stdout
