"""What is equal on every side that has it is one tensor, also where it is saved under two names."""

from __future__ import annotations

import io

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, diverge, written

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
VALUES = np.arange(1, 25, dtype=np.float32).reshape(6, 4)


def file(embed: float, head: float | None, embed_name: str = EMBED, head_name: str = HEAD) -> bytes:
    """A model with these multiples of the same embedding and head; None is no head."""
    found = {embed_name: VALUES * np.float32(embed), "norm.weight": np.ones(4, np.float32)}
    if head is not None:
        found[head_name] = VALUES * np.float32(head)
    return safetensors_bytes(found)


def check(repo: GitRepo, embed: float, head: float | None, *names: str) -> None:
    embed_name, head_name = names or (EMBED, HEAD)
    found = written(repo)
    np.testing.assert_array_equal(found[embed_name], VALUES * np.float32(embed))
    assert (head_name in found) == (head is not None)
    if head is not None:
        np.testing.assert_array_equal(found[head_name], VALUES * np.float32(head))


AVERAGE = "GIT_THETA_MERGE"


def test_a_head_that_one_side_adds_is_the_merged_embedding(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, None), file(5, 5))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 4, 4)
    said = repo.theta("fsck", check=False)
    assert said.returncode == 0


def test_ours_adds_it(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, 3), file(5, None))
    repo.theta("merge", "theirs", "-s", "linear", "-o", "weight=0.25")
    check(repo, 4.5, 4.5)


def test_both_add_it(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, 3), file(5, 5))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 4, 4)


def test_the_embedding_was_changed_by_the_other_side_alone(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, None), file(1, 1))
    repo.git("merge", "-q", "theirs")
    check(repo, 3, 3)


def test_one_side_removes_the_copy(repo: GitRepo) -> None:
    diverge(repo, file(1, 1), file(3, None), file(5, 5))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 4, None)


@pytest.mark.parametrize("strategy", ["dare-linear", "dare-ties", "della", "della-linear"])
def test_random_choices_are_the_same_for_copies(repo: GitRepo, strategy: str) -> None:
    diverge(repo, file(1, 1), file(3, 3), file(5, 5))
    repo.theta("merge", "theirs", "-s", strategy)
    found = written(repo)
    np.testing.assert_array_equal(found[EMBED], found[HEAD])
    assert len({*found[EMBED].reshape(-1)} - {*VALUES.reshape(-1)}) > 0


@pytest.mark.parametrize("answer", [("--ours",), ("--theirs",), ("--strategy", "average")])
def test_a_conflict_is_one_of_both(repo: GitRepo, answer: tuple[str, ...]) -> None:
    diverge(repo, file(1, None), file(3, None), file(5, 5))
    said = repo.refused("git", "merge", "theirs")
    assert f"  {HEAD}, {EMBED}: changed differently by main and theirs, and no strategy is chosen" in said
    repo.theta("resolve", MODEL, *answer)
    value = {"--ours": 3, "--theirs": 5, "--strategy": 4}[answer[0]]
    check(repo, value, value)
    repo.git("commit", "-q", "--no-edit")


def test_a_conflict_of_both_is_settled_by_an_answer_for_the_embedding(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, None), file(5, 5))
    repo.refused("git", "merge", "theirs")
    repo.theta("resolve", MODEL, "--strategy", "average", "--tensor", EMBED)
    check(repo, 4, 4)


def test_applying_a_change(repo: GitRepo) -> None:
    diverge(repo, file(1, None), file(3, None), file(5, 5))
    repo.git("cherry-pick", "theirs")
    check(repo, 7, 7)


def test_untied_on_one_side_is_another_tensor(repo: GitRepo) -> None:
    diverge(repo, file(1, 1), file(3, 4), file(5, 5))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 4, 4.5)
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.git("checkout", "-q", "-B", "apart", "base")
    repo.write(MODEL, file(7, 9))
    repo.commit("apart")
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 6, 7)


def test_a_rule_for_one_of_them_counts(repo: GitRepo) -> None:
    diverge(repo, file(1, 1), file(3, 3), file(5, 5))
    repo.theta("merge", "theirs", "-s", "average", "--rule", "lm_head.*: ours")
    check(repo, 4, 3)


def test_copies_under_other_names(repo: GitRepo) -> None:
    names = "a.weight", "b.weight"
    diverge(repo, file(1, None, *names), file(3, None, *names), file(5, 5, *names))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    check(repo, 4, 4, *names)


@pytest.mark.parametrize("value", [0, 1, 1e-5])
def test_what_is_equal_as_it_was_initialised_is_not_one(repo: GitRepo, value: float) -> None:
    start = np.full((6, 4), value, np.float32)
    ours = {"a.weight": VALUES, "a.scale": VALUES[0]}
    theirs = {"a.weight": start, "a.scale": start[0], "b.weight": start, "b.scale": start[0]}
    diverge(
        repo, *(safetensors_bytes(one) for one in ({"a.weight": start, "a.scale": start[0]}, ours, theirs))
    )
    repo.git("merge", "-q", "theirs")
    for name, wanted in (ours | {"b.weight": start, "b.scale": start[0]}).items():
        np.testing.assert_array_equal(written(repo)[name], wanted)


def test_a_tied_head_stays_equal_where_one_side_saves_it_twice(repo: GitRepo) -> None:
    torch = pytest.importorskip("torch")

    def saved(embed: float, twice: bool) -> bytes:
        file, values = io.BytesIO(), torch.full((6, 4), float(embed))
        torch.save({EMBED: values, HEAD: values.clone() if twice else values}, file)
        return file.getvalue()

    diverge(repo, saved(1, False), saved(3, False), saved(5, True), "m.pt")
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average")
    found = torch.load(repo.path / "m.pt")
    assert {name: set(one.flatten().tolist()) for name, one in found.items()} == {EMBED: {4.0}, HEAD: {4.0}}
    repo.git("reset", "-q", "--hard", "HEAD^")
    said = repo.refused("git", "merge", "theirs")
    assert f"  {EMBED}, {HEAD}: changed differently by main and theirs" in said.replace(
        f"{HEAD}, {EMBED}", f"{EMBED}, {HEAD}"
    )
    repo.theta("resolve", "m.pt", "--theirs")
    found = torch.load(repo.path / "m.pt")
    assert {name: set(one.flatten().tolist()) for name, one in found.items()} == {EMBED: {5.0}, HEAD: {5.0}}
