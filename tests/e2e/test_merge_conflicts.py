"""Tensors that both sides have changed: how they are resolved, and what cannot be committed until then."""

import json
from pathlib import Path

import pytest
from git_repo import GitRepo, digest
from merge_cases import (
    AVERAGE,
    BASE,
    COUNTS,
    MERGED,
    MODEL,
    OURS,
    THEIRS,
    clean_and_equal,
    commit,
    counts,
    diverge,
    model,
)

from git_theta.manifest import parse


def open_tensors(repo: GitRepo) -> list[str]:
    [file] = (repo.path / ".git" / "theta" / "conflicts").glob("*.json")
    found: list[str] = json.loads(file.read_text())["tensors"]
    return found


def refused(repo: GitRepo, *command: str) -> None:
    head = repo.head()
    done = repo.git(*command, check=False, GIT_EDITOR="true")
    assert done.returncode != 0
    assert "not merged yet" in done.stderr
    assert f"git theta resolve {MODEL} --" in done.stderr
    assert repo.head() == head


def test_what_can_be_merged_is_merged_and_the_message_says_how_to_finish(diverged: GitRepo) -> None:
    repo = diverged
    done = repo.git("merge", "theirs", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"git-theta: {MODEL}: 4 tensors: 2 taken from one side, 2 in conflict",
        "  a, b: changed differently by main and theirs, and no strategy is chosen",
        f"git-theta: to finish: git theta resolve {MODEL} --strategy average (or --ours, or --theirs), "
        "then: git commit",
    ]
    assert repo.digest(MODEL) == digest(MERGED)
    assert repo.status() == [f"UU {MODEL}"]
    assert open_tensors(repo) == ["a", "b"]


def test_abort_restores_everything(conflict: GitRepo) -> None:
    conflict.git("merge", "--abort")
    clean_and_equal(conflict, OURS)
    conflict.write("notes.txt", "text")
    conflict.commit("the record is void now")


def test_resolve_by_a_strategy(conflict: GitRepo) -> None:
    refused(conflict, "commit", "-a", "--no-edit")
    assert conflict.status() == [f"UU {MODEL}"]
    done = conflict.theta("resolve", MODEL, "--strategy", "average")
    assert done.stdout.endswith("To finish: git commit\n")
    assert conflict.status() == [f"M  {MODEL}"]
    conflict.git("commit", "-q", "--no-edit")
    assert len(conflict.git("rev-parse", "HEAD^@").stdout.split()) == 2
    clean_and_equal(conflict, AVERAGE)
    assert list((conflict.path / ".git" / "theta" / "conflicts").iterdir()) == []


def test_resolve_step_by_step(conflict: GitRepo) -> None:
    done = conflict.theta("resolve", MODEL, "--theirs", "--tensor", "a", check=False)
    assert done.returncode == 1
    assert "1 tensor is still open" in done.stdout
    assert open_tensors(conflict) == ["b"]
    assert conflict.status() == [f"UU {MODEL}"]
    assert conflict.digest(MODEL) == digest(model(a=30, b=20, c=50, d=40))
    refused(conflict, "commit", "-a", "--no-edit")
    conflict.theta("resolve", MODEL, "--rule", "b: linear weight=0.25")
    assert conflict.staged() == [MODEL]
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, model(a=30, b=35, c=50, d=40))


def test_resolve_refuses_globs_that_are_about_nothing(conflict: GitRepo) -> None:
    for arguments in (("--ours", "--tensor", "a", "--tensor", "aa*"), ("--rule", "aa*: average")):
        done = conflict.theta("resolve", MODEL, *arguments, check=False)
        assert done.returncode == 1
        assert f"no tensor of {MODEL} matches 'aa*'" in done.stderr
    done = conflict.theta("resolve", MODEL, "--tensor", "a", check=False)
    assert "no merge strategy" in done.stderr
    assert open_tensors(conflict) == ["a", "b"]


@pytest.mark.parametrize(("side", "a", "b"), [("ours", 10, 20), ("theirs", 30, 40), ("base", 1, 2)])
def test_resolve_by_taking_a_side(conflict: GitRepo, side: str, a: float, b: float) -> None:
    conflict.git("add", MODEL)
    conflict.theta("resolve", ".", f"--{side}")
    assert conflict.digest(MODEL) == digest(model(a=a, b=b, c=50, d=40))
    conflict.git("commit", "-q", "--no-edit")
    assert conflict.status() == []


def test_resolve_in_a_subfolder_and_open_it_again(repo: GitRepo) -> None:
    name = "models/my model.safetensors"
    diverge(repo, BASE, OURS, THEIRS, name)
    repo.git("merge", "theirs", check=False)
    folder = GitRepo(repo.path / "models")
    folder.theta("resolve", "my model.safetensors", "--ours")
    assert repo.staged() == [name]
    folder.git("checkout", "-m", "my model.safetensors")
    assert repo.git("ls-files", "-u").stdout.count("\n") == 3
    assert open_tensors(repo) == ["a", "b"]
    folder.theta("resolve", "my model.safetensors", "--strategy", "average")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, AVERAGE, name)


def test_resolve_refuses_to_overwrite_what_was_changed_since(conflict: GitRepo) -> None:
    mine = conflict.write(MODEL, model(a=5, b=6, c=7, d=8))
    done = conflict.theta("resolve", MODEL, "--ours", check=False)
    assert done.returncode == 1
    assert "was changed since the merge" in done.stderr
    assert digest(mine.read_bytes()) == digest(model(a=5, b=6, c=7, d=8))
    conflict.git("add", MODEL)
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, model(a=5, b=6, c=7, d=8))


def test_resolve_without_a_conflict(history: GitRepo) -> None:
    done = history.theta("resolve", MODEL, "--ours", check=False)
    assert done.returncode == 1
    assert f"{MODEL} has no conflict" in done.stderr


def test_sides_can_be_taken_out(conflict: GitRepo) -> None:
    for side, wanted in (("base", BASE), ("ours", OURS), ("theirs", THEIRS)):
        conflict.theta("checkout", f"--{side}", "--to", "side.out", MODEL)
        assert conflict.digest("side.out") == digest(wanted)
    conflict.theta("checkout", "--theirs", MODEL)
    assert conflict.digest(MODEL) == digest(THEIRS)
    assert conflict.status() == [f"UU {MODEL}", "?? side.out"]


def test_add_and_commit_are_refused_also_where_nothing_was_merged(repo: GitRepo) -> None:
    diverge(repo, model(a=1, b=2), model(a=3, b=4), model(a=5, b=6))
    repo.git("merge", "theirs", check=False)
    assert repo.digest(MODEL) == digest(model(a=3, b=4))
    warned = repo.git("add", MODEL)
    assert f"{MODEL}: a, b are not merged yet, and this takes ours" in warned.stderr
    refused(repo, "commit", "--no-edit")
    refused(repo, "merge", "--continue")
    repo.theta("resolve", MODEL, "--ours")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, model(a=3, b=4))


def test_rebase_continue_is_refused(counted: GitRepo) -> None:
    repo = counted
    repo.git("switch", "-q", "theirs")
    done = repo.git("rebase", "main", check=False)
    assert "changed differently by the new base and theirs" in done.stderr
    assert "then: git rebase --continue" in done.stderr
    repo.git("add", MODEL)
    refused(repo, "rebase", "--continue")
    assert "git rebase --continue" in repo.theta("resolve", MODEL, "--theirs").stdout
    repo.git("rebase", "--continue", GIT_EDITOR="true")
    assert repo.git("rev-parse", "--abbrev-ref", "HEAD").stdout.strip() == "theirs"
    clean_and_equal(repo, COUNTS[2])


def test_cherry_pick_continue_is_refused(counted: GitRepo) -> None:
    repo = counted
    done = repo.git("cherry-pick", "theirs", check=False)
    assert "then: git cherry-pick --continue" in done.stderr
    repo.git("add", MODEL)
    refused(repo, "cherry-pick", "--continue")
    for words in (["theirs"], ["--abort"]):
        assert "git cherry-pick --abort" in repo.theta("merge", *words, check=False).stderr
    assert "git cherry-pick --continue" in repo.theta("resolve", MODEL, "--theirs").stdout
    repo.git("cherry-pick", "--continue", GIT_EDITOR="true")
    clean_and_equal(repo, COUNTS[2])


def test_conflict_of_a_stash(repo: GitRepo) -> None:
    commit(repo, MODEL, COUNTS[0], "base")
    repo.write(MODEL, COUNTS[2])
    repo.git("stash", "-q")
    commit(repo, MODEL, COUNTS[1], "ours")
    done = repo.git("stash", "pop", check=False)
    assert "changed differently by main and the stash" in done.stderr
    repo.theta("resolve", MODEL, "--ours")
    repo.git("commit", "-q", "-m", "popped")
    clean_and_equal(repo, counts(a=10, b=4))


@pytest.mark.parametrize("command", [("checkout", "-q", "-m"), ("switch", "-q", "-m", "-c", "new")])
def test_checkout_that_takes_local_changes_along(repo: GitRepo, command: tuple[str, ...]) -> None:
    diverge(repo, counts(a=1, b=2), counts(a=1, b=2), counts(a=3, b=4))
    repo.write(MODEL, counts(a=5, b=6))
    done = repo.git(*command, "theirs")
    # Newer Git (2.55) puts them into a stash, and then silences the merge driver.
    assert f"git theta resolve {MODEL}" in done.stderr or "local changes are stashed" in done.stderr
    repo.write("notes.txt", "text")
    repo.git("add", "notes.txt")
    refused(repo, "commit", "-a", "-m", "would lose what was local")
    repo.theta("resolve", MODEL, "--ours")
    repo.git("commit", "-q", "--allow-empty", "-m", "one of both")
    assert repo.digest(MODEL) in (digest(counts(a=3, b=4)), digest(counts(a=5, b=6)))  # as Git calls them


def test_a_file_that_one_side_has_removed(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, None)
    repo.git("merge", "theirs", check=False)
    done = repo.theta("resolve", MODEL, "--strategy", "average", check=False)
    assert "was removed on one side (theirs)" in done.stderr
    repo.theta("resolve", MODEL, "--ours")
    assert repo.status() == []
    repo.git("merge", "--abort")
    repo.git("merge", "theirs", check=False)
    repo.theta("resolve", MODEL, "--theirs")
    assert repo.status() == [f"D  {MODEL}"]
    assert not (repo.path / MODEL).exists()


def test_a_file_that_both_sides_have_added(repo: GitRepo) -> None:
    diverge(repo, None, model(a=1, b=2, same=5), model(a=3, c=4, same=5))
    repo.git("config", "theta.merge", "average")
    done = repo.git("merge", "theirs", check=False)
    assert "a: added differently by main and theirs, and no rule says what to do with it" in done.stderr
    repo.theta("resolve", MODEL, "--strategy", "average")
    repo.git("commit", "-q", "--no-edit")
    names = [line.name for line in parse(repo.blob(f"HEAD:{MODEL}")).tensors]
    assert names == ["a", "b", "c", "same"]


def test_a_killed_driver_leaves_a_conflict_that_cannot_be_committed(
    diverged: GitRepo, tmp_path: Path
) -> None:
    repo = diverged
    killer = tmp_path / "sitecustomize.py"
    killer.write_text(
        "import os, sys\n"
        "if 'merge-driver' in sys.argv:\n"
        "    import git_theta.merges.engine, git_theta.merging.checkpoint_merge as merging\n"
        "    merging.CheckpointMerge.plan = lambda *_: os.kill(os.getpid(), 9)\n"
    )
    done = repo.git("merge", "theirs", check=False, PYTHONPATH=str(tmp_path))
    assert repo.digest(MODEL) == digest(OURS)
    if done.returncode == 2:  # newer Git (2.55) does not even begin
        clean_and_equal(repo, OURS)
        repo.git("merge", "theirs", check=False)
    refused(repo, "commit", "-a", "--no-edit")
    repo.theta("resolve", MODEL, "--strategy", "average")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, AVERAGE)
