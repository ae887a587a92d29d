"""Git's -X ours and -X theirs, which git does not hand to merge drivers, in all commands that merge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, Once, safetensors_bytes
from merge_cases import MODEL, clean_and_equal, commit, diverge, model, tensors

BASE = model(both=1, a=2, b=3, mine=4, yours=5)
OURS = model(both=10, a=20, b=3, mine=40, new=1)
THEIRS = model(both=11, a=2, b=30, yours=50, new=2)
# Of what only one side changed, that is taken; `mine` is removed there, `yours` here.
TAKEN = {
    "ours": model(both=10, a=20, b=30, mine=40, new=1),
    "theirs": model(both=11, a=20, b=30, new=2, yours=50),
}


@pytest.fixture
def both(once: Once) -> GitRepo:
    """Ours and theirs have both changed, added and removed tensors; average is configured."""
    return once(diverge_both)


def diverge_both(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, THEIRS)
    repo.git("config", "theta.merge", "average")


def has(repo: GitRepo, side: str) -> None:
    """The work tree has this side's version of what both sides changed, and git agrees."""
    values = _values((repo.path / MODEL).read_bytes())
    assert values == _values(TAKEN[side])
    clean_and_equal(repo, (repo.path / MODEL).read_bytes())


def _values(data: bytes) -> dict[str, list[float]]:
    import json

    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(body[slice(*about["data_offsets"])], np.float32).tolist()
        for name, about in header.items()
    }


@pytest.mark.parametrize(
    "options",
    [
        ["-Xours"],
        ["-X", "theirs"],
        ["--strategy-option=ours"],
        ["--strategy-option", "theirs"],
        ["-s", "recursive", "-X", "ours"],
        ["--strategy-opt=theirs"],
        ["-qXours"],
        ["-Xours", "-Xtheirs", "-Xignore-space-change", "-X", "find-renames=40"],
    ],
)
def test_merge_takes_the_side_where_both_changed_a_tensor(both: GitRepo, options: Sequence[str]) -> None:
    both.git("merge", "--no-edit", *options, "theirs")
    has(both, "theirs" if "theirs" in " ".join(options) else "ours")


def test_other_options_and_messages_are_no_side(both: GitRepo) -> None:
    both.git("config", "--unset", "theta.merge")
    options = ["-Xignore-all-space", "-X", "renormalize", "-m", "-Xours", "--message", "-Xtheirs"]
    assert both.git("merge", *options, "theirs", check=False).returncode == 1
    both.git("merge", "--abort")
    both.git("merge", "-m", "-Xours", "-X", "theirs", "theirs")
    has(both, "theirs")


def test_what_is_configured_for_the_branch_counts_before_what_is_typed(both: GitRepo) -> None:
    both.git("config", "branch.main.mergeOptions", "--no-ff -X theirs")
    both.git("merge", "--no-edit", "theirs")
    has(both, "theirs")
    both.git("reset", "-q", "--hard", "HEAD~1")
    both.git("merge", "--no-edit", "-Xours", "theirs")
    has(both, "ours")


def test_pull(both: GitRepo) -> None:
    both.add_remote("origin")
    both.git("push", "-q", "origin", "theirs:main")
    both.git("pull", "-q", "--no-rebase", "--no-edit", "-X", "theirs", "origin", "main")
    has(both, "theirs")
    both.git("reset", "-q", "--hard", "HEAD~1")
    both.git("pull", "-q", "--rebase", "-Xours", "origin", "main")  # ours: what was pulled
    has(both, "theirs")


@pytest.fixture
def longer(both: GitRepo) -> GitRepo:
    """Both branches have changed notes.txt and a tensor of the model, ours in that order."""
    both.write("notes.txt", "ours\n")
    both.commit("notes")
    commit(both, MODEL, model(both=12, a=20, b=3, mine=40, new=1), "again")
    both.git("switch", "-q", "theirs")
    both.git("rm", "-q", "-f", "--ignore-unmatch", "notes.txt")
    both.write("notes.txt/file", "theirs\n")
    both.commit("notes of theirs")
    both.git("switch", "-q", "main")
    return both


def test_ours_in_a_rebase_is_the_new_base(both: GitRepo) -> None:
    both.git("rebase", "-q", "-Xours", "theirs")
    has(both, "theirs")


def test_a_rebase_that_goes_on_remembers(longer: GitRepo) -> None:
    stopped = longer.git("rebase", "-X", "theirs", "theirs", check=False)
    assert stopped.returncode == 1, stopped.stdout  # a file and a folder of one name
    assert _values((longer.path / MODEL).read_bytes())["both"] == [10]
    longer.git("rebase", "--skip", GIT_EDITOR=":")
    assert _values((longer.path / MODEL).read_bytes())["both"] == [12]


def test_cherry_pick_and_revert(both: GitRepo) -> None:
    both.git("cherry-pick", "-Xtheirs", "theirs")
    has(both, "theirs")
    commit(both, MODEL, model(both=14, a=20, b=30, new=2, yours=50), "more")
    both.git("revert", "--no-edit", "-Xours", "HEAD~1")
    assert _values((both.path / MODEL).read_bytes())["both"] == [14]


def test_a_cherry_pick_that_goes_on_remembers(longer: GitRepo) -> None:
    longer.git("switch", "-q", "theirs")
    stopped = longer.git("cherry-pick", "-Xtheirs", "base..main", check=False)
    assert stopped.returncode == 1, stopped.stdout
    longer.git("cherry-pick", "--skip", GIT_EDITOR=":")
    assert _values((longer.path / MODEL).read_bytes())["both"] == [12]


def test_apply_with_three_ways(both: GitRepo) -> None:
    if "--ours" not in both.git("apply", "-h", check=False).stdout:
        pytest.skip("this git apply knows no --ours")
    patch = both.git("diff", "--binary", "--no-ext-diff", "--no-textconv", "base", "theirs").stdout
    both.git("apply", "--3way", "--theirs", stdin=patch.encode())
    assert _values((both.path / MODEL).read_bytes()) == _values(TAKEN["theirs"])


def test_a_stash_has_no_such_option_and_heeds_none_of_a_branch(both: GitRepo) -> None:
    both.git("config", "--unset", "theta.merge")
    both.git("config", "branch.main.mergeOptions", "-X theirs")
    before = _values((both.path / MODEL).read_bytes())["both"]
    both.write(MODEL, model(both=7, a=20, b=3, mine=40, new=1))
    both.git("stash", "-q")
    commit(both, MODEL, model(both=8, a=20, b=3, mine=40, new=1), "more")
    both.git("stash", "pop")
    assert _values((both.path / MODEL).read_bytes())["both"] == [8 + 7 - before[0]]


def test_metadata_that_both_changed(repo: GitRepo) -> None:
    sides = [
        safetensors_bytes(tensors(w=1, v=value), {"step": name})
        for value, name in zip((1, 2, 3), "bot", strict=True)
    ]
    diverge(repo, *sides)
    repo.git("merge", "--no-edit", "-Xtheirs", "theirs")
    clean_and_equal(repo, sides[2])
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("merge", "--no-edit", "-Xours", "theirs")
    clean_and_equal(repo, sides[1])


def test_a_file_that_is_no_checkpoint_on_some_side_is_taken_whole(repo: GitRepo) -> None:
    diverge(repo, model(w=1), model(w=2), b"no checkpoint at all " * 20)
    assert repo.git("merge", "--no-edit", "theirs", check=False).returncode == 1
    repo.git("merge", "--abort")
    repo.git("merge", "--no-edit", "-Xtheirs", "theirs")
    clean_and_equal(repo, b"no checkpoint at all " * 20)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("merge", "--no-edit", "-Xours", "theirs")
    clean_and_equal(repo, model(w=2))


def test_git_theta_merge_takes_a_side_too(both: GitRepo) -> None:
    both.theta("merge", "-X", "theirs", "theirs")
    has(both, "theirs")
    assert "Theta-Strategy: theirs" in both.git("log", "-1", "--format=%B").stdout
    both.git("reset", "-q", "--hard", "HEAD~1")
    refused = both.theta("merge", "-Xours", "-s", "average", "theirs", check=False)
    assert "-X goes with no --strategy" in refused.stderr
    both.write("notes.txt", "ours\n")
    both.commit("notes")
    both.git("switch", "-q", "theirs")
    both.write("notes.txt", "theirs\n")
    both.commit("notes")
    both.git("switch", "-q", "main")
    done = both.theta("merge", "-Xours", "theirs", check=False)
    if done.returncode:  # git merge-tree knows -X from Git 2.43 on
        both.remedy(done.stderr.replace("hint: ", "  "), "git merge -Xours theirs")
    has(both, "ours")
    assert (Path(both.path) / "notes.txt").read_text() == "ours\n"
