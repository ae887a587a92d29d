"""New rows of both sides stand for other things, and are never merged unless a rule says so."""

from __future__ import annotations

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, bfloat16, diverge, written

NAME = "embed.weight"


def file(rows: int, value: float) -> bytes:
    """An embedding whose rows are this value, times their number."""
    column = np.arange(1, rows + 1, dtype=np.float32)[:, None]
    return safetensors_bytes({NAME: np.float32(value) * column * np.ones((1, 2), np.float32)})


def has(repo: GitRepo, *values: float) -> None:
    """The embedding's rows, by what they are in each of two columns."""
    np.testing.assert_array_equal(written(repo)[NAME], np.repeat(np.float32(values)[:, None], 2, 1))


CONFIGURED = "[merge]\n\tstrategy = {}\n\trows = {}\n"


@pytest.mark.parametrize("strategy", ["average", "task-arithmetic", "ties"])
@pytest.mark.parametrize(("ours", "theirs"), [(5, 6), (5, 5)])
def test_rows_that_both_added_are_a_conflict(repo: GitRepo, strategy: str, ours: int, theirs: int) -> None:
    repo.write(".thetaconfig", CONFIGURED.format(strategy, "pad"))
    diverge(repo, file(4, 1), file(ours, 2), file(theirs, 4))
    said = repo.refused("git", "merge", "theirs")
    assert (
        f"  {NAME}: main and theirs have new rows (base [4, 2], main [{ours}, 2], theirs [{theirs}, 2]), "
        "and no rule says what to do with them" in said
    )
    has(repo, 2, 4, 6, 8, 10)
    repo.remedy(said, f"git theta resolve {MODEL} --strategy average -o rows=pad")
    merged = [3, 6, 9, 12, 15, 24][:theirs]
    has(repo, *merged)
    repo.git("commit", "-q", "--no-edit")


def test_a_side_settles_it(repo: GitRepo) -> None:
    repo.write(".thetaconfig", CONFIGURED.format("average", "pad"))
    diverge(repo, file(4, 1), file(5, 2), file(6, 4))
    said = repo.refused("git", "merge", "theirs")
    repo.remedy(said, f"git theta resolve {MODEL} --strategy average", check=False)
    assert "still open" in repo.theta("resolve", MODEL, "--strategy", "average", check=False).stdout
    repo.theta("resolve", MODEL, "--theirs")
    has(repo, 4, 8, 12, 16, 20, 24)


@pytest.mark.parametrize(("ours", "theirs", "wanted"), [(5, 4, [3, 6, 9, 12, 10]), (4, 5, [3, 6, 9, 12, 20])])
def test_rows_of_one_side_are_kept(repo: GitRepo, ours: int, theirs: int, wanted: list[float]) -> None:
    repo.write(".thetaconfig", CONFIGURED.format("average", "pad"))
    diverge(repo, file(4, 1), file(ours, 2), file(theirs, 4))
    repo.git("merge", "-q", "theirs")
    has(repo, *wanted)


def test_a_rule_says_otherwise(repo: GitRepo) -> None:
    repo.write(".thetaconfig", "[merge]\n\trule = embed.*: task-arithmetic rows=pad\n")
    diverge(repo, file(4, 1), file(5, 2), file(6, 4))
    repo.git("merge", "-q", "theirs")
    has(repo, 5, 10, 15, 20, 10, 24)


def test_the_command_names_the_option(repo: GitRepo) -> None:
    diverge(repo, file(4, 1), file(5, 2), file(6, 4))
    said = repo.refused("git", "theta", "merge", "theirs", "-s", "linear", "-o", "rows=pad")
    command = "git theta merge theirs --strategy linear --rule 'GLOB: average rows=pad'"
    repo.remedy(said, command, put={"GLOB": "embed.*"})
    has(repo, 3, 6, 9, 12, 15, 24)


def test_the_option_for_different_rows(repo: GitRepo) -> None:
    diverge(repo, file(4, 1), file(3, 2), file(4, 4))
    said = repo.refused("git", "merge", "theirs")
    repo.remedy(said, f"git theta resolve {MODEL} --strategy average -o rows=pad")
    has(repo, 3, 6, 9, 16)
    repo.git("reset", "-q", "--hard", "ORIG_HEAD")
    said = repo.refused("git", "theta", "merge", "theirs", "--strategy", "average")
    command = "git theta merge theirs --strategy average --rule 'GLOB: average rows=pad'"
    repo.remedy(said, command, put={"GLOB": "*"})
    has(repo, 3, 6, 9, 16)


def test_the_option_for_different_dtypes(repo: GitRepo) -> None:
    base, ours = (safetensors_bytes({"w": np.full((2, 2), value, np.float32)}) for value in (1, 2))
    theirs = safetensors_bytes({"w": bfloat16(np.full((2, 2), 4, np.float32))})
    diverge(repo, base, ours, theirs)
    said = repo.refused("git", "theta", "merge", "theirs", "--strategy", "average")
    assert "dtypes differ" in said
    command = "git theta merge theirs --strategy average --rule 'GLOB: average'"
    repo.remedy(said, command, put={"GLOB": "w"})
    np.testing.assert_array_equal(written(repo)["w"], np.full((2, 2), 3, np.float32))
