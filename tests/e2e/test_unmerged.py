"""While a merge has conflicts: git theta status and Git's own combined diff say which tensors are open."""

import json
import re

from git_repo import GitRepo, does
from merge_cases import MODEL, clean_and_equal, diverge, model


def marked(repo: GitRepo) -> list[str]:
    """The tensors that git diff marks as open, with how each side's line is marked."""
    lines = repo.git("diff").stdout.splitlines()
    return [line.split()[0] for line in lines if re.search(r"  not merged$", line)]


def test_open_tensors(repo: GitRepo) -> None:
    diverge(
        repo,
        model(both=0, mine=0, gone=0, kept=0),
        model(both=1, mine=1, kept=0),
        model(both=2, mine=0, gone=2, kept=0),
    )
    repo.git("merge", "theirs", check=False)
    said = repo.theta("status").stdout
    assert f"{MODEL}: 2 tensors: both, gone" in said
    assert "No checkpoint has changed" not in said
    assert json.loads(repo.theta("status", "--json").stdout)["unmerged"] == {MODEL: ["both", "gone"]}
    assert marked(repo) == ["++both", "++gone"]
    assert not re.search(r"[-+]kept", repo.git("diff").stdout)
    repo.theta("resolve", MODEL, "--tensor", "gone", "--theirs", check=False)
    assert marked(repo) == ["++both"]
    assert f"{MODEL}: 1 tensor: both" in repo.theta("status").stdout
    repo.git("add", MODEL)  # takes ours unseen: the commit is refused, and status goes on
    assert f"{MODEL}: 1 tensor: both" in repo.theta("status").stdout
    repo.git("checkout", "-q", "-m", "--", MODEL)
    said = repo.theta("status").stdout
    does(said, f"git theta resolve {MODEL} --strategy average (or --ours, or --theirs)")
    repo.theta("resolve", MODEL, "--tensor", "gone", "--theirs", check=False)
    repo.theta("resolve", MODEL, "--strategy", "average")
    assert json.loads(repo.theta("status", "--json").stdout)["unmerged"] == {}
    assert marked(repo) == []


def test_a_file_that_is_open_as_a_whole(repo: GitRepo) -> None:
    diverge(repo, model(a=0), None, model(a=1))
    repo.git("merge", "theirs", check=False)
    said = repo.theta("status").stdout
    assert f"{MODEL}: the whole file" in said
    does(said, f"git theta resolve {MODEL} --ours, or --theirs")
    repo.theta("resolve", MODEL, "--theirs")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, model(a=1))


def test_what_was_written_by_hand_is_not_marked(repo: GitRepo) -> None:
    diverge(repo, model(a=0, b=0), model(a=1, b=0), model(a=2, b=0))
    repo.git("merge", "theirs", check=False)
    assert marked(repo) == ["++a"]
    repo.write(MODEL, model(a=1.5, b=0))
    assert marked(repo) == []
    assert "++a" in repo.git("diff").stdout
