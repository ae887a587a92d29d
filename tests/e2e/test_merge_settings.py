"""Where the strategy of a merge comes from: command line, environment, git's configuration, .thetaconfig."""

import pytest
from git_repo import GitRepo

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merges.rule_sources import command_line
from git_theta.merges.rules import Rules
from git_theta.merging.settings import rules_for

VERSIONED = """\
[merge "models/*.safetensors"]
	strategy = ties
	density = 0.2
	rule = lm_head.*: ours
	rule = *.layers.0.*: linear weight=0.7
[merge "other.safetensors"]
	strategy = average
"""


def rules(repo: GitRepo, path: str = "models/a.safetensors", strategy: str | None = None) -> Rules:
    layers = [command_line(strategy)] if strategy else []
    return rules_for(Repository(repo.path), path, *layers)


def chosen(found: Rules, name: str = "x") -> str:
    return str(found.choose(name))


def test_each_place_goes_before_the_next(plain: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules(plain) == Rules()
    plain.write(".thetaconfig", VERSIONED)
    assert chosen(rules(plain)) == "ties density=0.2"
    assert chosen(rules(plain), "lm_head.weight") == "ours"
    assert chosen(rules(plain), "model.layers.0.q") == "linear weight=0.7"
    assert chosen(rules(plain, "other.safetensors")) == "average"
    assert rules(plain, "elsewhere/a.safetensors") == Rules()
    plain.git("config", "theta.merge", "linear")
    plain.git("config", "theta.merge.weight", "0.25")
    assert chosen(rules(plain)) == "linear weight=0.25"
    monkeypatch.setenv("GIT_THETA_MERGE", "slerp t=0.4")
    assert chosen(rules(plain)) == "slerp t=0.4"
    assert chosen(rules(plain, strategy="theirs")) == "theirs"


def test_versioned_settings_are_read_in_subfolders_and_bare_repositories(plain: GitRepo) -> None:
    plain.write(".thetaconfig", VERSIONED)
    plain.write("models/readme", "")
    plain.commit()
    below = GitRepo(plain.path / "models")
    assert chosen(rules(below)) == "ties density=0.2"
    assert chosen(rules(plain.clone("bare.git", "--bare"))) == "ties density=0.2"


def test_mistakes_name_the_file_and_the_rule(plain: GitRepo) -> None:
    plain.write(".thetaconfig", "[merge]\n\trule = a: avrage\n")
    with pytest.raises(ThetaError, match=r"\.thetaconfig: rule 'a: avrage'"):
        rules(plain)
    plain.write(".thetaconfig", "<<<<<<< ours\n")
    with pytest.raises(ThetaError, match=r"\.thetaconfig cannot be read: bad config line 1"):
        rules(plain)
    plain.write(".thetaconfig", "[include]\n\tpath = ../secret\n[merge]\n\tstrategy = average\n")
    assert chosen(rules(plain)) == "average"
