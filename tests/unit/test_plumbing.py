"""Questions to git's plumbing: what names mean, whatever they are, and what index and trees list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from test_architecture import modules
from test_git_repository import _alone, commit, folder, git, repository

from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.plumbing import PRESENT, literally
from git_theta.git.repository import Repository

__all__ = ["_alone", "folder", "repository"]  # fixtures

ASKED_ONCE = {
    "--verify": {"git.plumbing"},
    "--is-shallow-repository": {"git.plumbing"},
    "--show-prefix": {"git.plumbing"},
    "--parents": {"git.plumbing", "versions.history"},  # of one commit, and of a file's whole history
    "--octopus": {"git.plumbing"},
    "--raw": {"git.plumbing", "versions.past_versions", "drivers.purpose"},  # of a log, and what users type
    "symbolic-ref": {"git.plumbing", "versions.rewriting"},  # whether HEAD is a branch, of whatever name
    "hash-object": {"git.plumbing", "git.callers", "drivers.merge_driver"},  # it stores a file, too
    "ls-tree": {"git.plumbing", "git.repository"},  # whether a word is a path
    "--index-info": {"git.plumbing"},
    "MERGE_HEAD": {"git.operation", "merging.move", "merging.marked"},  # which write it, or name two commits
    "CHERRY_PICK_HEAD": {"git.operation"},
    "REBASE_HEAD": {"git.operation"},
    "rebase-merge": {"git.operation", "git.favoured_side", "drivers.interrupted"},
    ":(top,literal)": {"git.plumbing"},
}
"""What of git's words stands where: a question that is asked in two ways is answered in two ways."""


@pytest.fixture
def history(folder: Path) -> list[str]:
    """Two commits of a file."""
    (folder / "below").mkdir()
    found = []
    for text in ("one", "two"):
        (folder / "below" / "file").write_text(text)
        found.append(commit(folder))
    return found


def words(module: Path) -> set[str]:
    """The strings in a module that are no docstrings."""
    return {
        node.value
        for node in ast.walk(ast.parse(module.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    }


@pytest.mark.parametrize("word", ASKED_ONCE)
def test_a_question_to_git_is_written_once(word: str) -> None:
    asking = {
        name.removeprefix("git_theta.")
        for name, path in modules().items()
        if any(one == word or (word.startswith(":") and one.startswith(word)) for one in words(path))
    }
    assert asking == ASKED_ONCE[word], "there is a verb in git/plumbing.py or git/operation.py"


def test_what_names_mean(folder: Path, history: list[str], repository: Repository) -> None:
    first, second = history
    assert repository.head == repository.oid("HEAD") == second
    assert repository.commit_of("HEAD~1") == first
    assert repository.commit_of("HEAD^{tree}") == ""
    assert repository.tree_of("HEAD") == git(folder, "rev-parse", "HEAD^{tree}")
    assert repository.oid("HEAD:below/file") == git(folder, "rev-parse", "HEAD:below/file")
    assert repository.oid(":below/file") == repository.write(b"two")
    assert repository.parents_of(second) == [first]
    assert repository.parents_of(first) == []
    assert not repository.shallow
    assert not repository.unborn


@pytest.mark.parametrize(
    "name",
    [
        "",
        "--output=x",
        "-h",
        "--all",
        "^HEAD",
        "HEAD~1..HEAD",
        "HEAD^@",
        "HEAD\0",
        "\ud800",
        "HEAD:none",
        "a\nb",
    ],
)
def test_names_that_mean_nothing(history: list[str], repository: Repository, folder: Path, name: str) -> None:
    assert repository.oid(name) == ""
    assert repository.commit_of(name) == ""
    assert repository.blob(name) is None
    assert not (folder / "x").exists()


def test_before_the_first_commit(repository: Repository) -> None:
    assert repository.unborn
    assert repository.head == ""


def test_where_git_runs(folder: Path, history: list[str]) -> None:
    assert Repository(folder).prefix() == ""
    assert Repository(folder / "below").prefix() == "below/"
    assert Repository(folder).prefix("below") == "below/"


def test_paths_are_from_the_top_wherever_git_runs(folder: Path, history: list[str]) -> None:
    (folder / "*").write_text("beside")
    commit(folder)
    for place in (folder, folder / "below", folder / ".git"):
        asked = Repository(place)
        assert [entry.path for entry in asked.index_entries()] == ["*", "below/file"]
        assert [entry.path for entry in asked.index_entries(literally("*"))] == ["*"]
        assert [entry.path for entry in asked.tree_entries("HEAD")] == ["*", "below/file"]
        assert [entry.path for entry in asked.tree_entries("HEAD", ["*"])] == ["*"]
        assert [entry.path for entry in asked.tree_entries("HEAD", trees=True)] == [
            "*",
            "below",
            "below/file",
        ]
        assert [entry.size for entry in asked.tree_entries("HEAD", sizes=True)] == [6, 3]


def test_a_tree_that_is_an_option(history: list[str], repository: Repository) -> None:
    with pytest.raises(ThetaError, match="Not a valid object name --name-only"):
        repository.tree_entries("--name-only")


def test_entries_go_into_the_index_and_out_of_it(folder: Path, history: list[str]) -> None:
    asked = Repository(folder / "below")
    oid = asked.write(b"new")
    asked.update_index([("100755", oid, "a\tb\n"), ("0", oid, "below/file")])
    assert asked.index_entries() == [("100755", oid, 0, "a\tb\n")]


def test_what_is_under_way(folder: Path, history: list[str], repository: Repository) -> None:
    assert operation.merging(repository) == []
    assert operation.other_head(repository) == ""
    git(folder, "checkout", "-q", "-b", "side", "HEAD~1")
    (folder / "other").write_text("other")
    side = commit(folder)
    assert repository.merge_bases("main", "side") == repository.merge_bases("side", "main", "side")
    assert repository.merge_bases("main", "side") == [history[0]]
    assert repository.merge_bases("main", "--all") == []
    git(folder, "merge", "-q", "--no-commit", "main")
    assert operation.merging(repository) == [history[1]]
    assert operation.other_head(repository) == "MERGE_HEAD"
    git(folder, "merge", "--abort")
    git(folder, "checkout", "-q", "main")
    git(folder, "cherry-pick", "--no-commit", side)
    assert operation.other_head(repository) == ""


def test_the_branch(folder: Path, history: list[str], repository: Repository) -> None:
    git(folder, "tag", "a/branch")  # `--short` would call the branch heads/a/branch
    git(folder, "switch", "-q", "-c", "a/branch")
    assert repository.branch == "a/branch"
    git(folder, "switch", "-q", "--detach")
    assert repository.branch == ""


def test_raw_changes(folder: Path, history: list[str], repository: Repository) -> None:
    git(folder, "mv", "below/file", "below/a b\nc")
    (folder / "new").symlink_to("elsewhere")
    commit(folder)
    two, gone = git(folder, "rev-parse", "HEAD:below/a b\nc"), "0" * 40
    link = git(folder, "rev-parse", "HEAD:new")
    trees = ("-r", "HEAD~1", "HEAD")
    renamed, added = repository.raw_changes("diff-tree", "-M", *trees)
    assert renamed == ("100644", "100644", two, two, "R100", "below/file", "below/a b\nc")
    assert added == ("000000", "120000", gone, link, "A", "new", "new")
    found = [(one.status, one.path) for one in repository.raw_changes("diff-tree", *trees)]
    assert found == [("A", "below/a b\nc"), ("D", "below/file"), ("A", "new")]
    below = Repository(folder / "below")
    assert [one.path for one in below.raw_changes("diff-tree", *trees)] == [path for _, path in found]
    assert list(repository.raw_changes("diff-tree", "-r", "none", "HEAD", check=False)) == []


def test_listed_paths(folder: Path, history: list[str]) -> None:
    (folder / ".gitignore").write_text("ignored\n")
    for name in ("ignored", "untracked"):
        (folder / name).write_text("")
    for place in (folder, folder / "below"):
        asked = Repository(place)
        assert asked.paths() == ["below/file"]
        assert asked.paths(*PRESENT) == [".gitignore", "below/file", "untracked"]
        assert asked.paths("-o", within=[literally("ignored")]) == ["ignored"]
    assert Repository(folder / "below").paths(within=["file"]) == ["below/file"]
