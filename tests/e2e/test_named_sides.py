"""The rule `side NAME`, which takes one of several branches."""

import pytest
from git_repo import GitRepo, does
from merge_cases import MODEL, clean_and_equal, commit, diverge, model

NAMES = {"main": 1, "theirs": 2, "law": 3}


@pytest.fixture
def three(repo: GitRepo) -> GitRepo:
    """Three branches that have all changed w and head; law has removed `gone` and added `new`."""
    diverge(
        repo,
        model(w=0, head=0, gone=0, mine=0),
        model(w=3, head=1, gone=1, mine=5),
        model(w=6, head=2, gone=2, mine=0),
    )
    repo.git("switch", "-q", "-c", "law", "base")
    commit(repo, MODEL, model(w=9, head=3, mine=0, new=7), "law")
    repo.git("switch", "-q", "main")
    return repo


@pytest.mark.parametrize(("name", "head"), NAMES.items())
def test_by_name(three: GitRepo, name: str, head: int) -> None:
    three.theta(
        "merge", "theirs", "law", "-s", "average", "--rule", f"head: side {name}", "--rule", "gone: side law"
    )
    clean_and_equal(three, model(w=6, head=head, mine=5 / 3, new=7))
    message = three.git("log", "-1", "--format=%B").stdout
    assert f"Theta-Rule: head: side name={head}" in message
    assert "the same result" in three.theta("merge", "--redo", "HEAD").stdout


def test_for_all_tensors(three: GitRepo) -> None:
    three.theta("merge", "theirs", "law", "-s", "side law")
    clean_and_equal(three, model(w=9, head=3, mine=0, new=7))


def test_by_number_and_of_two_sides(three: GitRepo) -> None:
    three.theta("merge", "theirs", "-s", "side", "-o", "name=2")
    clean_and_equal(three, model(w=6, head=2, gone=2, mine=0))
    three.git("reset", "-q", "--hard", "HEAD^")
    three.git("merge", "theirs", check=False)
    three.theta("resolve", MODEL, "--strategy", "side theirs", "--tensor", "head", check=False)
    three.theta("resolve", MODEL, "--strategy", "side main")
    three.git("commit", "-q", "--no-edit")
    clean_and_equal(three, model(w=3, head=2, gone=1, mine=5))


def test_a_name_of_no_side(three: GitRepo) -> None:
    refused = three.theta("merge", "theirs", "law", "-s", "average", "--rule", "head: side lwa", check=False)
    assert refused.returncode
    assert "no side of this merge is called lwa" in refused.stderr
    does(refused.stderr, "the sides are 1 (main), 2 (theirs) and 3 (law); name one, or give its number")
    refused = three.theta("merge", "theirs", "law", "-s", "side", check=False)
    assert "side NAME needs a name" in refused.stderr
    three.theta("merge", "theirs", "law", "-s", "side 3")
    clean_and_equal(three, model(w=9, head=3, mine=0, new=7))
