"""The messages of commits say how their checkpoints were merged, whatever command has merged them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_repo import GitRepo, Once, digest, does
from merge_cases import MODEL, commit, diverge, model

from git_theta.commands.merge_redo import redo
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository

SAME = f"{MODEL}: the same result"
BASE, OURS, THEIRS = model(a=1, b=1), model(a=2, b=3), model(a=5, b=1)


def trailers(repo: GitRepo, revision: str = "HEAD") -> list[str]:
    return repo.git("log", "-1", "--format=%(trailers:only=true)", revision).stdout.split("\n")[:-2]


def again(repo: GitRepo, revision: str = "HEAD") -> str:
    return repo.theta("merge", "--redo", revision).stdout


@pytest.fixture
def forked(once: Once) -> GitRepo:
    return once(fork)


def fork(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, THEIRS)


def test_plain_merge(forked: GitRepo) -> None:
    forked.git("config", "theta.merge", "linear weight=0.25,0.75")
    forked.git("merge", "-q", "-m", "Merge", "theirs")
    assert trailers(forked) == [
        f"Theta-Path: {MODEL}",
        "Theta-Strategy: linear weight=0.25,0.75",
        "Theta-One-sided: take",
    ]
    assert forked.digest(MODEL) == digest(model(a=4.25, b=3))
    forked.git("config", "theta.merge", "average")
    assert again(forked).startswith(SAME)


def test_message_that_is_edited(forked: GitRepo) -> None:
    """Trailers come before the comments that the editor shows, and after those that are there."""
    forked.git("config", "theta.merge", "average")
    script = forked.path.parent / "editor"
    script.write_text('#!/bin/sh\ncp "$1" "$1.seen"\n')
    script.chmod(0o755)
    forked.run("git", "merge", "--edit", "-m", "Merge\n\nReviewed-by: B", "theirs", GIT_EDITOR=str(script))
    assert trailers(forked) == [
        "Reviewed-by: B",
        f"Theta-Path: {MODEL}",
        "Theta-Strategy: average",
        "Theta-One-sided: take",
    ]
    seen = (forked.path / ".git" / "MERGE_MSG.seen").read_text()
    assert seen.index("Theta-Path") < seen.index("\n#")


@pytest.mark.parametrize(
    "operation",
    [
        ("cherry-pick", "theirs"),
        ("rebase", "-q", "main", "theirs"),
        ("rebase", "-q", "--apply", "main", "theirs"),
        ("merge", "-q", "--squash", "theirs"),
    ],
    ids=lambda operation: " ".join(operation[:3]),
)
def test_applied_change(forked: GitRepo, operation: tuple[str, ...]) -> None:
    forked.git("config", "theta.merge", "average")
    before = [forked.head(f"{revision}:{MODEL}") for revision in ("base", "main", "theirs")]
    forked.git(*operation)
    squashed = "--squash" in operation
    if squashed:
        forked.git("commit", "-q", "-m", "Squash")
    if "--apply" in operation:
        assert trailers(forked) == []  # git am has no prepare-commit-msg
        return
    how = ["Theta-Strategy: average", "Theta-One-sided: take"] if squashed else ["Theta-Strategy: apply"]
    assert [line for line in trailers(forked) if "One-sided" not in line or squashed] == [
        f"Theta-Path: {MODEL}",
        *how,
        f"Theta-Versions: {' '.join(before)}",
    ]
    assert forked.digest(MODEL) == digest(model(a=3.5 if squashed else 6, b=3))
    assert again(forked).startswith(SAME)


def test_change_that_is_applied_twice(forked: GitRepo) -> None:
    """Only the last time is in the message."""
    forked.git("branch", "second", "base")
    forked.git("rebase", "-q", "main", "theirs")
    forked.git("switch", "-q", "second")
    commit(forked, MODEL, model(a=10, b=1), "second")
    forked.git("cherry-pick", "theirs")
    assert trailers(forked)[0] == f"Theta-Path: {MODEL}"
    assert sum(line.startswith("Theta-Path") for line in trailers(forked)) == 1
    assert forked.head(f"second~1:{MODEL}") in trailers(forked)[-1]
    assert again(forked).startswith(SAME)


def test_revert(repo: GitRepo) -> None:
    for data in (BASE, THEIRS, model(a=7, b=3)):
        commit(repo, MODEL, data, "version")
    repo.git("revert", "--no-edit", "HEAD~1")
    assert repo.digest(MODEL) == digest(model(a=3, b=3))
    assert "Theta-Strategy: apply" in trailers(repo)
    assert again(repo).startswith(SAME)


def resolved(repo: GitRepo) -> None:
    repo.theta("resolve", MODEL, "--strategy", "linear weight=0.5,0.5")


def resolved_in_steps(repo: GitRepo) -> None:
    repo.theta("resolve", MODEL, "--tensor", "a", "--strategy", "average", check=False)
    repo.theta("resolve", MODEL, "--theirs")


def resolved_by_rules(repo: GitRepo) -> None:
    repo.theta("resolve", MODEL, "--strategy", "theirs", "--rule", "a: average")


def answered(repo: GitRepo) -> None:
    (repo.path.parent / "answers").write_text("average\ntheirs\n")
    repo.theta("mergetool", "--answers", str(repo.path.parent / "answers"))


@pytest.mark.parametrize(
    ("how", "finish", "said"),
    [
        (resolved, "commit -q --no-edit", ["*: linear weight=0.5,0.5"]),
        (resolved_in_steps, "merge --continue", ["a: average", "*: theirs"]),
        (resolved_by_rules, "commit -q -m merged", ["a: average", "*: theirs"]),
        (answered, "commit -q -a", ["c: theirs", "a: average"]),
    ],
)
def test_resolution(repo: GitRepo, how: Callable[[GitRepo], None], finish: str, said: list[str]) -> None:
    diverge(repo, model(a=1, b=1, c=1), model(a=2, b=3, c=2), model(a=5, b=1, c=3))
    assert repo.git("merge", "theirs", check=False).returncode
    how(repo)
    repo.run("git", *finish.split(), GIT_EDITOR=":")
    found = [line.partition(": ")[2] for line in trailers(repo) if line.startswith("Theta-Resolution")]
    assert found == said
    assert repo.digest(MODEL) == digest(model(a=3.5, b=3, c=2.5 if how is resolved else 3))
    assert again(repo).startswith(SAME)


def test_resolution_of_a_cherry_pick(repo: GitRepo) -> None:
    diverge(repo, model(a=1, b=1), model(a=2, b=3), model(a=5, b=1))
    repo.git("config", "theta.apply", "merge")
    assert repo.git("cherry-pick", "theirs", check=False).returncode
    repo.theta("resolve", MODEL, "--theirs")
    repo.run("git", "cherry-pick", "--continue", GIT_EDITOR=":")
    assert "Theta-Resolution: *: theirs" in trailers(repo)
    assert again(repo).startswith(SAME)


def test_files_made_otherwise_have_no_word_about_them(forked: GitRepo) -> None:
    """By hand, after an abort, or amended."""
    forked.git("config", "theta.merge", "average")
    forked.git("merge", "-q", "--no-commit", "theirs")
    forked.write(MODEL, model(a=9, b=9))
    forked.git("commit", "-q", "-a", "-m", "By hand")
    assert trailers(forked) == []
    forked.git("reset", "-q", "--hard", "HEAD~1")
    forked.git("merge", "-q", "--no-commit", "theirs")
    forked.git("merge", "--abort")
    commit(forked, "other", b"text", "Something else")
    assert trailers(forked) == []


def test_versions_that_are_gone(forked: GitRepo) -> None:
    other = forked.clone("other", source=str(forked.path))
    forked.git("cherry-pick", "theirs")
    forked.git("branch", "-q", "-D", "theirs")
    forked.git("tag", "-d", "base")
    forked.git("reflog", "expire", "--expire=now", "--all")
    forked.git("gc", "-q", "--prune=now")
    said = forked.refused("git", "theta", "merge", "--redo", "HEAD")
    assert f"{MODEL} cannot be merged again: its version" in said
    does(said, "fetch the branch that the change was taken from, then this again")
    forked.git("fetch", "-q", str(other.path), "origin/theirs")
    assert again(forked).startswith(SAME)


def test_message_that_leaves_conflicts(repo: GitRepo) -> None:
    diverge(repo, model(a=1, b=1), model(a=2, b=3), model(a=5, b=1))
    repo.git("config", "theta.apply", "merge")
    repo.git("cherry-pick", "theirs", check=False)
    repo.theta("resolve", MODEL, "--theirs")
    repo.run("git", "cherry-pick", "--continue", GIT_EDITOR=":")
    message = repo.git("log", "-1", "--format=%B").stdout
    repo.git("commit", "-q", "--amend", "-m", message.replace("Resolution: *", "Resolution: other"))
    said = repo.refused("git", "theta", "merge", "--redo", "HEAD")
    assert f"{MODEL}: what HEAD says leaves some tensors in conflict" in said
    assert "Theta-Resolution: other: theirs" in repo.remedy(said, "git log -1 HEAD").stdout


def test_checkpoint_merged_by_hand_beside_one_by_rule(repo: GitRepo) -> None:
    other = "other.safetensors"
    repo.write(other, model(x=1))
    diverge(repo, BASE, OURS, THEIRS)
    for branch, value in (("theirs", 3), ("main", 2)):
        repo.git("switch", "-q", branch)
        commit(repo, other, model(x=value), "other")
    repo.git("config", "theta.merge", "average")
    repo.git("merge", "-q", "--no-commit", "theirs")
    repo.write(other, model(x=100))
    repo.git("commit", "-q", "-a", "-m", "Merge")
    assert trailers(repo)[0] == f"Theta-Path: {MODEL}"
    said = again(repo)
    assert f"{other}: the commit does not say how it was merged" in said
    assert SAME in said


HOSTILE = (
    *("Base: --output=x", "Base: HEAD", "Base: -", f"Base: {'0' * 40}", "Base: \u202e", "Base: HEAD^{tree}"),
    *("Versions: --output=x - -", "Versions: - - -", "Versions: HEAD:x", "Versions: :/x HEAD HEAD"),
    *(f"Versions: - {'0' * 40} {'0' * 40}", f"Versions: {' '.join(['1' * 40] * 4)}"),
    *("Device: --help", "Device: cuda:999999999999999999999", "Device: \x1b[2J"),
    *("Strategy: --output=x", "Strategy: average weight=1e999999", "Strategy: fisher fisher=--output=x,-h"),
    *("Strategy: fisher fisher=HEAD:none,:0:none", "Strategy: \\", 'Strategy: "'),
    *("Rule: -*: --output=x", "Rule: [", "Rule: *", "Rename: -> ->", "Rename: x", "Rows: --all"),
    *("One-sided: -h", "Resolution: x", "Resolution: *: none", "Unheard-of: --output=x", "Strict: true"),
)


def with_trailer(repo: GitRepo, line: str) -> str:
    """HEAD again, with a trailer that somebody has made up, after that of a path."""
    message = repo.git("log", "-1", "--format=%B").stdout.rstrip("\n")
    kept = [one for one in message.split("\n") if not one.startswith(line.partition(":")[0])]
    made = [word for parent in ("HEAD^1", "HEAD^2") for word in ("-p", parent)]
    text = "\n".join([*kept, line, ""])
    return repo.git("commit-tree", *made, "-m", text, "HEAD^{tree}").stdout.strip()


def test_what_others_say_about_merges_is_no_command(forked: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    forked.git("config", "theta.merge", "average")
    forked.git("merge", "-q", "-m", "Merge", "theirs")
    monkeypatch.chdir(forked.path)
    before = sorted(forked.path.iterdir())
    said: list[str] = []
    refused: dict[str, ThetaError] = {}
    for line in HOSTILE:
        commit = with_trailer(forked, f"Theta-{line}")
        try:
            redo(Repository.here(), commit, "auto", said.append)
        except ThetaError as error:
            refused[line] = error
    assert [line for line, error in refused.items() if not error.remedy] == []
    assert [line for line, error in refused.items() if error.message.startswith("git ")] == []
    assert {line for line in HOSTILE if line.startswith(("Base", "Versions"))} <= refused.keys()
    for name in ('"a\\u0000b"', '"\\ud800"', '""', "../../x", "--output=x", '"'):
        commit = with_trailer(forked, f"Theta-Path: {name}")
        assert redo(Repository.here(), commit, "auto", said.append) == 1
    assert sorted(forked.path.iterdir()) == before


def test_bases_that_are_none(forked: GitRepo) -> None:
    forked.git("config", "theta.merge", "average")
    forked.git("merge", "-q", "-m", "Merge", "theirs")
    commit = with_trailer(forked, "Theta-Base: --output=x")
    said = forked.refused("git", "theta", "merge", "--redo", commit)
    assert "names no object with Theta-Base: --output=x" in said
    assert "--output=x" in forked.remedy(said, f"git log -1 {commit}").stdout
    other = forked.clone("other", source=str(forked.path))
    other.write("text", b"text")
    base = other.commit()
    commit = with_trailer(forked, f"Theta-Base: {base}")
    said = forked.refused("git", "theta", "merge", "--redo", commit)
    assert f"the base {base[:12]} of the merge {commit} is no commit here" in said
    forked.git("remote", "add", "other", str(other.path))
    forked.remedy(said, "git fetch --all")
    assert "another result" in forked.theta("merge", "--redo", commit, check=False).stdout
