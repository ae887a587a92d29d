"""What is advised about conflicts of tensors by drivers, hooks, resolve, mergetool and checkout, done."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo, digest, does
from marked_manifests import merged_without
from merge_cases import AVERAGE, BASE, COUNTS, MODEL, OURS, clean_and_equal, commit, counts, diverge, model

RESOLVE = f"git theta resolve {MODEL} --strategy average"


pytestmark = pytest.mark.usefixtures("no_editor")


def test_merge(diverged: GitRepo) -> None:
    repo = diverged
    said = repo.refused("git", "merge", "theirs")
    refused = repo.refused("git", "commit", "-a")
    warned = repo.git("add", MODEL).stderr
    does(warned, f"rather type: {RESOLVE}")
    repo.remedy(refused, f"git theta resolve {MODEL} --strategy average")
    repo.remedy(said, "git commit")
    clean_and_equal(repo, AVERAGE)


def test_rebase(counted: GitRepo) -> None:
    repo = counted
    said = repo.refused("git", "rebase", "theirs")
    other = repo.refused("git", "theta", "merge", "theirs")
    repo.remedy(other, "git rebase --abort")
    clean_and_equal(repo, COUNTS[1])
    repo.refused("git", "rebase", "theirs")
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    repo.remedy(other, "git rebase --continue")
    clean_and_equal(repo, counts(a=10, b=4))


@pytest.mark.parametrize("command", ["cherry-pick", "revert"])
def test_one_commit(counted: GitRepo, command: str) -> None:
    repo = counted
    said = repo.refused("git", command, "theirs")
    assert "average" not in said
    other = repo.refused("git", "theta", "merge", "base", "theirs")
    repo.remedy(other, f"git {command} --abort")
    clean_and_equal(repo, COUNTS[1])
    repo.refused("git", command, "theirs")
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    repo.remedy(other, f"git {command} --continue")
    assert repo.git("log", "--format=%s", "-1").stdout.strip()
    assert repo.status() == []


def test_stash(repo: GitRepo) -> None:
    commit(repo, MODEL, COUNTS[0], "base")
    repo.git("branch", "other")
    repo.write(MODEL, COUNTS[2])
    repo.git("stash", "-q")
    commit(repo, MODEL, COUNTS[1], "ours")
    repo.git("switch", "-q", "other")
    commit(repo, "other.txt", b"other", "other")
    repo.git("switch", "-q", "main")
    said = repo.refused("git", "stash", "pop")
    other = repo.refused("git", "theta", "merge", "other")
    repo.remedy(other, "git reset --merge")
    assert repo.digest(MODEL) == digest(COUNTS[1])
    repo.refused("git", "stash", "pop")
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    repo.remedy(said, "git stash drop")
    repo.git("commit", "-q", "-m", "popped")
    clean_and_equal(repo, COUNTS[2])


def test_am(counted: GitRepo) -> None:
    repo = counted
    repo.git("format-patch", "-q", "-1", "-o", ".git", "theirs")
    said = repo.refused("git", "am", "-3", ".git/0001-theirs.patch")
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    repo.remedy(said, "git am --continue")
    clean_and_equal(repo, COUNTS[2])


def test_merge_that_is_not_finished(conflict: GitRepo) -> None:
    said = conflict.refused("git", "theta", "merge", "base")
    conflict.remedy(said, "git theta merge --abort")
    clean_and_equal(conflict, OURS)
    said = conflict.refused("git", "theta", "merge", "--abort")
    assert "nothing to commit" in conflict.remedy(said, "git status").stdout
    conflict.refused("git", "merge", "theirs")
    said = conflict.theta("resolve", MODEL, "--theirs").stdout
    conflict.remedy(said, "git commit")
    assert conflict.status() == []


def test_removed_on_one_side(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, None)
    repo.refused("git", "merge", "theirs")
    said = repo.refused("git", "theta", "resolve", MODEL, "--strategy", "average")
    repo.remedy(said, f"git theta resolve {MODEL} --ours")
    assert repo.digest(MODEL) == digest(OURS)
    said = repo.refused("git", "theta", "checkout", "--theirs", MODEL)
    assert repo.remedy(said, "git status").stdout


def test_changed_since_the_merge(conflict: GitRepo) -> None:
    mine = model(a=5, b=6, c=7, d=8)
    conflict.write(MODEL, mine)
    said = conflict.refused("git", "theta", "resolve", MODEL, "--ours")
    conflict.remedy(said, f"git checkout -m -- {MODEL}")
    conflict.theta("resolve", MODEL, "--strategy", "average")
    assert conflict.digest(MODEL) == digest(AVERAGE)
    conflict.git("checkout", "-m", "--", MODEL)
    conflict.write(MODEL, mine)
    conflict.remedy(said, f"git add {MODEL}")
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, mine)


def test_no_conflict_there(conflict: GitRepo) -> None:
    conflict.write("notes.txt", "text")
    conflict.git("add", "notes.txt")
    for command in (
        ["resolve", "notes.txt", "--ours"],
        ["checkout", "--ours", "notes.txt"],
        ["mergetool", "--answers", "/dev/null", "notes.txt"],
    ):
        said = conflict.refused("git", "theta", *command)
        assert MODEL in conflict.remedy(said, "git status").stdout
    conflict.theta("resolve", MODEL, "--ours")
    conflict.git("commit", "-q", "--no-edit")
    said = conflict.refused("git", "theta", "mergetool", "--answers", "/dev/null")
    conflict.remedy(said, "git status")


def test_strategy_that_was_not_given(conflict: GitRepo) -> None:
    said = conflict.refused("git", "theta", "resolve", MODEL, "--tensor", "a")
    does(said, "add --strategy NAME, --ours or --theirs")
    conflict.theta("resolve", MODEL, "--tensor", "a", "--strategy", "average", check=False)
    conflict.theta("resolve", MODEL, "--theirs")
    assert conflict.digest(MODEL) == digest(model(a=20, b=40, c=50, d=40))


def test_mergetool(conflict: GitRepo) -> None:
    said = conflict.refused("git", "theta", "mergetool")
    conflict.write(".git/answers", "nonsense\n")
    wrong = conflict.remedy(
        said, "git theta mergetool --answers FILE", check=False, put={"FILE": ".git/answers"}
    )
    assert "--answers" in conflict.remedy(wrong.stderr, "git theta mergetool --help").stdout
    conflict.write(".git/answers", "average @all\n")
    conflict.remedy(said, "git theta mergetool --answers FILE", put={"FILE": ".git/answers"})
    assert conflict.digest(MODEL) == digest(AVERAGE)
    conflict.git("checkout", "-m", "--", MODEL)
    conflict.remedy(said, "git theta resolve", check=False)
    conflict.run("git", "theta", "resolve", MODEL, "--strategy", "average")
    assert conflict.digest(MODEL) == digest(AVERAGE)


def test_format_that_cannot_hold_the_result(repo: GitRepo, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def saved(epoch: int, count: int) -> bytes:
        place = tmp_path / "saved"
        torch.save({"pair": tuple(torch.ones(2) for _ in range(count)), "epoch": epoch}, place)
        return place.read_bytes()

    name = "model.pt"
    ours, theirs = saved(2, 1), saved(1, 2)
    diverge(repo, saved(1, 1), ours, theirs, name)
    before = repo.digest(name)
    said = repo.refused("git", "theta", "merge", "theirs")
    assert repo.digest(name) == before
    repo.remedy(said, "git merge theirs", check=False)
    repo.remedy(said, f"git theta resolve {name} --ours")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, ours, name)


def test_shallow_clone(repo: GitRepo) -> None:
    diverge(repo, model(a=1, b=2), model(a=3, b=2), model(a=1, b=4))
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "main", "theirs")
    shallow = repo.clone("shallow", "--depth=1", "--no-single-branch", source=f"file://{bare.path}")
    said = shallow.refused("git", "merge", "--allow-unrelated-histories", "origin/theirs")
    shallow.git("merge", "--abort")
    shallow.remedy(said, "git fetch --deepen=100")
    shallow.git("merge", "--no-edit", "origin/theirs")
    clean_and_equal(shallow, model(a=3, b=4))
    shallow = repo.clone("second", "--depth=1", "--no-single-branch", source=f"file://{bare.path}")
    said = shallow.refused("git", "theta", "merge", "origin/theirs")
    shallow.remedy(said, "git fetch --unshallow")
    shallow.theta("merge", "origin/theirs")
    clean_and_equal(shallow, model(a=3, b=4))


def test_lost_blob(conflict: GitRepo) -> None:
    bare = conflict.add_remote("origin")
    conflict.git("push", "-q", "origin", "main", "theirs")
    conflict.git("fetch", "-q")
    oid = conflict.head(f"theirs:{MODEL}")
    (conflict.path / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    assert bare.path.exists()
    conflict.refused("git", "theta", "checkout", "--theirs", "--to", "side", MODEL)
    said = conflict.refused("git", "theta", "resolve", MODEL, "--theirs")
    conflict.remedy(said, "git fetch --refetch")
    conflict.theta("checkout", "--theirs", "--to", "side", MODEL)
    conflict.theta("resolve", MODEL, "--theirs")


def test_markers_of_what_is_not_here(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    merged_without(history)
    head = history.head()
    history.git("switch", "-q", "--orphan", "alone")
    tree = history.head(f"{head}^{{tree}}")
    commit = history.git("commit-tree", "-m", "without history", tree).stdout.strip()
    history.git("-c", "core.hooksPath=/dev/null", "push", "-q", "origin", f"{commit}:refs/heads/main")
    clone = bare.clone("clone", "-b", "main")
    said = clone.refused("git", "theta", "checkout", "--theirs", MODEL)
    history.git("push", "-q", "origin", "theirs")
    history.git("push", "-q", "origin", f"{head}^1:refs/heads/ours")
    clone.remedy(said, "git fetch --all")
    clone.theta("checkout", "--theirs", MODEL)
    assert clone.path.joinpath(MODEL).stat().st_size > 10_000
    assert history.remedy(said, f"git log --all -- {MODEL}").stdout
