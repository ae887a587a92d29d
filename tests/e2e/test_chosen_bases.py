"""git theta merge --base REV and --allow-unrelated-histories."""

import pytest
from git_repo import GitRepo, does
from merge_cases import MODEL, clean_and_equal, commit, diverge, model


@pytest.fixture
def three(repo: GitRepo) -> GitRepo:
    """A base, an earlier commit of another model, and two sides."""
    commit(repo, MODEL, model(w=100, u=100), "earlier")
    repo.git("tag", "earlier")
    diverge(repo, model(w=1, u=1), model(w=3, u=1), model(w=4, u=6))
    return repo


def unrelated(repo: GitRepo, name: str, content: bytes) -> None:
    """A branch of that name without any ancestor."""
    repo.git("checkout", "-q", "--orphan", name)
    repo.write(MODEL, content)
    repo.git("add", "--all")
    repo.git("commit", "-q", "-m", name)
    repo.git("switch", "-q", "main")


def trailer(repo: GitRepo) -> str:
    return repo.git("log", "-1", "--format=%(trailers:key=Theta-Base,valueonly)").stdout.strip()


def test_task_vectors_from_another_base(three: GitRepo) -> None:
    before = three.head()
    three.theta("merge", "theirs", "-s", "task-arithmetic", "--base", "earlier")
    clean_and_equal(three, model(w=100 + (3 - 100) + (4 - 100), u=100 + (1 - 100) + (6 - 100)))
    assert three.git("log", "-1", "--format=%P").stdout.split() == [before, three.head("theirs")]
    assert trailer(three) == three.head("earlier")
    assert "the same result" in three.theta("merge", "--redo", "HEAD").stdout


def test_the_table_holds_against_the_base_that_was_typed(three: GitRepo) -> None:
    """Of u only theirs differs from what history says; against ours as the base, it is theirs in any case."""
    three.theta("merge", "theirs", "--base", "main")
    clean_and_equal(three, model(w=4, u=6))
    assert three.git("log", "-1", "--format=%P").stdout.count(" ") == 1


def test_a_base_and_three_sides(three: GitRepo) -> None:
    three.git("switch", "-q", "-c", "law", "base")
    commit(three, MODEL, model(w=7, u=8), "law")
    three.git("switch", "-q", "main")
    three.theta("merge", "theirs", "law", "-s", "task-arithmetic", "-o", "lambda=0.5", "--base", "earlier")
    w = 100 + 0.5 * ((3 - 100) + (4 - 100) + (7 - 100))
    u = 100 + 0.5 * ((1 - 100) + (6 - 100) + (8 - 100))
    clean_and_equal(three, model(w=w, u=u))
    assert "the same result" in three.theta("merge", "--redo", "HEAD").stdout


def test_a_fast_forward_is_none_with_a_base(three: GitRepo) -> None:
    three.git("switch", "-q", "--detach", "base")
    three.theta("merge", "theirs", "-s", "interpolate", "-o", "form=3", "-o", "beta=1", "--base", "earlier")
    clean_and_equal(three, model(w=100 + (4 - 1), u=100 + (6 - 1)))


def test_a_base_that_is_no_commit(three: GitRepo) -> None:
    refused = three.theta("merge", "theirs", "-s", "average", "--base", "bsae", check=False)
    assert "bsae is no commit to take as the base" in refused.stderr
    assert "earlier" not in three.remedy(refused.stderr, "git branch --all").stdout
    assert three.theta("merge", "theirs", "--base", "base", "--ff-only", check=False).returncode == 2


def test_unrelated_histories(repo: GitRepo) -> None:
    commit(repo, MODEL, model(w=1, mine=2), "ours")
    unrelated(repo, "alone", model(w=4, yours=5))
    unrelated(repo, "more", model(w=7))
    refused = repo.theta("merge", "alone", "-s", "average", check=False).stderr
    assert "no common ancestor" in refused
    does(
        refused,
        "for strategies without a base, git theta merge has that option, too, and for others --base REV",
    )
    refused = repo.theta("merge", "alone", "--allow-unrelated-histories", check=False).stderr
    assert "w: added differently" in refused
    repo.remedy(refused, "git theta merge --allow-unrelated-histories alone --strategy average")
    clean_and_equal(repo, model(w=2.5, mine=2, yours=5))
    assert trailer(repo) == "none"
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.theta("merge", "alone", "more", "-s", "linear", "-o", "weight=1,1,2", "--allow-unrelated-histories")
    clean_and_equal(repo, model(w=(1 + 4 + 14) / 4, mine=2, yours=5))
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_a_strategy_that_needs_a_base_finds_one_that_is_named(repo: GitRepo) -> None:
    commit(repo, MODEL, model(w=1), "ours")
    unrelated(repo, "alone", model(w=4))
    unrelated(repo, "pretrained", model(w=10))
    refused = repo.theta("merge", "alone", "-s", "ties", "--allow-unrelated-histories", check=False).stderr
    assert "ties needs the common ancestor" in refused
    repo.theta("merge", "alone", "-s", "task-arithmetic", "--base", "pretrained")
    clean_and_equal(repo, model(w=10 - 9 - 6))


def test_the_option_changes_nothing_where_there_is_an_ancestor(three: GitRepo) -> None:
    three.theta("merge", "theirs", "-s", "task-arithmetic", "--allow-unrelated-histories")
    clean_and_equal(three, model(w=3 + 4 - 1, u=6))
    assert trailer(three) == ""
