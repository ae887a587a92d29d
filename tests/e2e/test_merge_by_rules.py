"""Rules as users write them down: strategies by path and tensor, renames, rows, Fisher information."""

from __future__ import annotations

import numpy as np
import pytest
from git_repo import GitRepo, digest, safetensors_bytes
from merge_cases import MODEL, clean_and_equal, commit, diverge, model
from safetensors.numpy import load

RENAMED = """\
[merge]
	strategy = average
	rename = old.* -> new.*
"""


def test_the_places_in_their_order(repo: GitRepo) -> None:
    """Command line, environment, git's configuration, .thetaconfig: each goes before the next."""
    diverge(repo, model(a=1, b=1), model(a=2, b=4), model(a=4, b=8))
    repo.write(".thetaconfig", "[merge]\n\tstrategy = base\n\trule = b: ours\n")
    repo.commit("settings")

    def merged(*options: str, **environment: str) -> None:
        repo.git("reset", "-q", "--hard", "main")
        repo.theta("merge", "theirs", *options, **environment)

    repo.git("switch", "-q", "-c", "merged", "main")
    merged()
    assert repo.digest(MODEL) == digest(model(a=1, b=4))
    repo.git("config", "theta.merge", "interpolate")
    repo.git("config", "theta.merge.alpha", "0.25")
    merged()
    assert repo.digest(MODEL) == digest(model(a=2.5, b=5))
    merged(GIT_THETA_MERGE="theirs")
    assert repo.digest(MODEL) == digest(model(a=4, b=8))
    merged("-s", "linear", "-o", "weight=0.5", "--rule", "b: base", GIT_THETA_MERGE="theirs")
    assert repo.digest(MODEL) == digest(model(a=3, b=1))


@pytest.mark.parametrize("command", [("git", "merge", "--no-edit"), ("git", "theta", "merge")])
def test_tensors_that_one_side_has_renamed(repo: GitRepo, command: tuple[str, ...]) -> None:
    ours = {"old.a": 10, "old.b": 2, "kept": 5}
    theirs = {"new.a": 30, "new.b": 4, "kept": 3}
    diverge(repo, *(model(**one) for one in ({"old.a": 1, "old.b": 2, "kept": 3}, ours, theirs)))
    refused = repo.run(*command, "theirs", check=False, GIT_THETA_MERGE="average")
    assert "old.a: removed by theirs, changed by main" in refused.stderr
    repo.git("reset", "-q", "--hard")
    repo.write(".thetaconfig", RENAMED)
    repo.commit("settings")
    repo.run(*command, "theirs")
    found = {name: value.tolist() for name, value in load((repo.path / MODEL).read_bytes()).items()}
    assert found == {"new.a": [20], "new.b": [4], "kept": [5]}
    if "theta" in command:
        assert "Theta-Rename: old.* -> new.*" in repo.git("log", "-1", "--format=%B").stdout
        repo.git("rm", "-q", "-f", ".thetaconfig")
        assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
        repo.git("checkout", "-q", "HEAD", ".thetaconfig")
    clean_and_equal(repo, (repo.path / MODEL).read_bytes())


def test_rows_of_ours(repo: GitRepo) -> None:
    def rows(*values: float) -> bytes:
        return safetensors_bytes({"wte": np.array(values, np.float32).reshape(-1, 1).repeat(2, axis=1)})

    diverge(repo, rows(1, 2, 3), rows(10, 20, 5, 6), rows(30, 40, 7, 8, 9))
    repo.theta("merge", "theirs", "--rule", "wte: average rows=ours")
    clean_and_equal(repo, rows(20, 30, 6, 7))
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_fisher_information_from_checkpoints(repo: GitRepo) -> None:
    diverge(repo, model(a=[0, 0], b=1), model(a=[2, 10], b=2), model(a=[8, 30], b=4))
    commit(repo, "fisher/ours.safetensors", model(a=[1, 0], b=3), "Fisher information of ours")
    repo.git("switch", "-q", "theirs")
    commit(repo, "fisher.safetensors", model(a=[2, 0], b=1), "Fisher information of theirs")
    repo.git("tag", "measured")
    repo.git("switch", "-q", "main")
    sources = f"{repo.head()}:fisher/ours.safetensors,measured:fisher.safetensors"
    lacking = repo.theta("merge", "theirs", "-s", "fisher", "-o", "fisher=HEAD:a,HEAD:b", check=False)
    assert lacking.returncode == 1
    assert "HEAD:a" in lacking.stderr
    repo.git("merge", "--no-edit", "theirs", GIT_THETA_MERGE=f"fisher fisher={sources}")
    clean_and_equal(repo, model(a=[6, 20], b=2.5))
    repo.git("reset", "-q", "--hard", "HEAD~")
    repo.theta("merge", "theirs", "-s", "fisher", "-o", f"fisher={sources}")
    clean_and_equal(repo, model(a=[6, 20], b=2.5))
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
