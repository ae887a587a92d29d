"""What git theta merge, strategies, options and rules advise, done as they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo, digest, does
from merge_cases import AVERAGE, BASE, MEAN, MODEL, OURS, THEIRS, clean_and_equal, commit, diverge, model
from stripped_manifests import identity_of
from torch_files import without_torch

OTHER = "other.txt"


pytestmark = pytest.mark.usefixtures("no_editor")


def refused(repo: GitRepo, *options: str) -> str:
    """What a merge of theirs says that stops before it changes anything."""
    before = repo.head(), repo.status()
    said = repo.refused("git", "theta", "merge", "theirs", *options)
    assert (repo.head(), repo.status()) == before
    return said


def averaged(repo: GitRepo, *options: str) -> None:
    """The merge by average now succeeds."""
    repo.theta("merge", "theirs", "--strategy", "average", *options)
    clean_and_equal(repo, MEAN)


def test_open_tensors(diverged: GitRepo) -> None:
    said = refused(diverged)
    assert "average" in diverged.remedy(said, "git theta strategies").stdout
    diverged.remedy(said, "git theta merge theirs --strategy average")
    clean_and_equal(diverged, MEAN)
    diverged.git("reset", "-q", "--hard", "HEAD^")
    diverged.remedy(said, "git merge theirs", check=False)
    diverged.write(".git/answers", "average @all\n")
    diverged.remedy(said, f"git theta mergetool {MODEL}", check=False)
    diverged.theta("mergetool", MODEL, "--answers", ".git/answers")
    diverged.git("commit", "-q", "--no-edit")
    clean_and_equal(diverged, AVERAGE)


def test_conflicts_of_other_files(diverged: GitRepo) -> None:
    for branch in ("theirs", "main"):
        diverged.git("switch", "-q", branch)
        commit(diverged, OTHER, branch.encode(), "text")
    diverged.git("switch", "-q", "-c", "third", "base")
    commit(diverged, "third.txt", b"third", "text")
    diverged.git("switch", "-q", "main")
    said = refused(diverged, "third", "--strategy", "average")
    does(said, "merge the branches one after the other, with git merge")
    said = refused(diverged, "--strategy", "average")
    diverged.remedy(said, "git merge theirs", check=False, GIT_THETA_MERGE="average")
    diverged.write(OTHER, "both")
    diverged.git("add", OTHER)
    diverged.remedy(said, "git commit")
    clean_and_equal(diverged, AVERAGE)


def test_renamed_where_every_tensor_changed(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, None)
    repo.git("switch", "-q", "theirs")
    commit(repo, "moved.safetensors", THEIRS, "rename it")
    repo.git("reset", "-q", "--soft", "base")
    repo.git("commit", "-q", "-m", "rename it")
    repo.git("switch", "-q", "main")
    said = refused(repo, "--strategy", "average")
    repo.remedy(said, "git merge -Xfind-renames=15 theirs", GIT_THETA_MERGE="average")
    clean_and_equal(repo, AVERAGE, "moved.safetensors")


def test_what_stands_in_the_way(diverged: GitRepo) -> None:
    diverged.write(OTHER, "mine")
    diverged.git("add", OTHER)
    said = refused(diverged, "--strategy", "average")
    diverged.remedy(said, "git stash")
    averaged(diverged)
    diverged.git("stash", "pop", "-q")
    assert diverged.staged() == [OTHER]
    diverged.git("reset", "-q", "--hard", "HEAD^")
    diverged.git("switch", "-q", "theirs")
    commit(diverged, OTHER, b"theirs", "text")
    diverged.git("switch", "-q", "main")
    diverged.write(OTHER, "mine")
    said = refused(diverged, "--strategy", "average")
    does(said, "mend what git says, then: git merge --ff-only ")
    (diverged.path / OTHER).unlink()
    merged = said.split("git merge --ff-only ")[1].split()[0]
    diverged.remedy(said, f"git merge --ff-only {merged}")
    clean_and_equal(diverged, MEAN)


def test_local_changes_where_the_merge_is_only_staged(diverged: GitRepo) -> None:
    diverged.write(MODEL, model(a=0, b=0, c=0, d=0))
    said = refused(diverged, "--strategy", "average", "--no-commit")
    diverged.remedy(said, "git stash")
    said = diverged.theta("merge", "theirs", "--strategy", "average", "--no-commit").stdout
    diverged.remedy(said, "git theta merge --abort")
    clean_and_equal(diverged, OURS)
    diverged.theta("merge", "theirs", "--strategy", "average", "--no-commit")
    diverged.remedy(said, "git commit")
    clean_and_equal(diverged, MEAN)


def test_hook_that_refuses(diverged: GitRepo) -> None:
    hook = diverged.write(".git/hooks/commit-msg", "#!/bin/sh\necho too short >&2\nexit 1\n")
    hook.chmod(0o755)
    said = refused(diverged, "--strategy", "average")
    does(said, "see what it says above")
    assert "too short" in said
    hook.unlink()
    averaged(diverged)


def test_heads(diverged: GitRepo) -> None:
    said = diverged.refused("git", "theta", "merge", "nowhere")
    assert "theirs" in diverged.remedy(said, "git branch --all").stdout
    bare = diverged.clone("bare.git", "--bare")
    said = bare.refused("git", "theta", "merge", "theirs")
    does(said, "git theta merge in a clone")
    averaged(diverged)
    said = diverged.refused("git", "theta", "merge", "--redo", "nowhere")
    assert diverged.head()[:7] in diverged.remedy(said, "git log --merges").stdout
    said = diverged.refused("git", "theta", "merge", "--redo", "base")
    assert diverged.head() in diverged.remedy(said, "git log --grep=^Theta-Path:").stdout
    assert "the same result" in diverged.theta("merge", "--redo", "HEAD").stdout
    diverged.git("switch", "-q", "--orphan", "unborn")
    said = diverged.refused("git", "theta", "merge", "theirs")
    diverged.remedy(said, "git merge --ff-only BRANCH", put={"BRANCH": "theirs"})
    clean_and_equal(diverged, THEIRS)


def test_unrelated_histories(diverged: GitRepo) -> None:
    diverged.git("switch", "-q", "--orphan", "alone")
    commit(diverged, OTHER, b"alone", "alone")
    said = diverged.refused("git", "theta", "merge", "theirs")
    diverged.remedy(said, "git merge --allow-unrelated-histories theirs")
    assert diverged.digest(MODEL) == digest(THEIRS)


def test_git_that_is_too_old(diverged: GitRepo, tmp_path: Path) -> None:
    git = diverged.run("sh", "-c", "command -v git").stdout.strip()
    program = tmp_path / "old" / "git"
    program.parent.mkdir()
    answer = "*version) echo git version 2.37.1"
    program.write_text(f'#!/bin/sh\ncase $1 in\n{answer} ;;\n*) exec {git} "$@" ;;\nesac\n')
    program.chmod(0o755)
    old = {"PATH": f"{program.parent}:{diverged.run('sh', '-c', 'echo $PATH').stdout.strip()}"}
    said = diverged.refused("git-theta", "merge", "theirs", **old)
    diverged.remedy(said, "git config theta.merge STRATEGY", put={"STRATEGY": "average"}, **old)
    does(said, "use git merge with: git config theta.merge ")
    diverged.git("merge", "--no-edit", "theirs", **old)
    clean_and_equal(diverged, AVERAGE)


def test_long_globs(diverged: GitRepo) -> None:
    said = refused(diverged, "--rule", f"{'?' * 300}: ours", "-s", "average")
    does(said, "put the name in double quotes, or use * in place of a part")
    averaged(diverged, "--rule", "*: average")


def test_devices(diverged: GitRepo, tmp_path: Path) -> None:
    does(refused(diverged, "-s", "ties", "--device", "abacus"), "choose auto, cpu, cuda, cuda:N or mps")
    does(refused(diverged, "-s", "ties", "--device", "cuda:99"), "choose --device auto or --device cpu")
    averaged(diverged, "--device", "cpu")


def test_options(diverged: GitRepo) -> None:
    ties = ["--strategy", "ties"]
    said = refused(diverged, "--strategy", "tise")
    does(said, "did you mean ties?")
    said = refused(diverged, *ties, "-o", "densty=0.3")
    does(said, "its options: ")
    assert "density" in diverged.remedy(said, "git theta strategies ties").stdout
    said = refused(diverged, *ties, "-o", "density=much")
    assert "density" in diverged.remedy(said, "git theta strategies ties").stdout
    does(refused(diverged, *ties, "-o", "density"), "for example: density=0.2")
    does(refused(diverged, "-o", "density=0.2"), "add --strategy NAME")
    does(refused(diverged, "--rule", "a: ties 'x"), "close what quotes open")
    does(refused(diverged, "--rule", "ties"), "rules read: GLOB: STRATEGY key=value ..., for example: ")
    does(refused(diverged, "--rule", "a: average rows=all"), "choose one of common, pad, ours")
    does(refused(diverged, "--rename", "a -> "), "for example: model.layers.* -> transformer.h.*")
    said = refused(diverged, "--rule", "zz*: ours")
    assert "a" in diverged.remedy(said, f"git theta show {MODEL}").stdout
    does(refused(diverged, *ties, "--rename", "a -> b"), "remove that rename rule")
    rules = ["--rule", "lm_head.*: linear weight=0.7", "--rename", "model.layers.* -> transformer.h.*"]
    refused(diverged, *ties, *rules)  # of no tensor, but read
    averaged(diverged, "--rule", "a: average rows=common")


def test_values_of_options(diverged: GitRepo) -> None:
    linear = ["--strategy", "linear"]
    said = refused(diverged, *linear, "-o", "weight=1,2,3")
    does(said, "give one value per model, ours first, with commas between them")
    said = refused(diverged, *linear, "-o", "weight=1,-1")
    does(said, "give other weights, or normalize=false")
    said = refused(diverged, "--strategy", "interpolate", "-o", "alpha=0.5", "-o", "beta=0.5")
    does(said, "give only one of them")
    said = refused(diverged, "--strategy", "della", "-o", "density=0.5", "-o", "epsilon=0.9")
    does(said, "choose epsilon smaller than density and than 1 − density")
    diverged.theta("merge", "theirs", *linear, "-o", "weight=1,1")
    clean_and_equal(diverged, MEAN)


def test_configuration(diverged: GitRepo) -> None:
    diverged.git("config", "theta.merge.densty", "0.2")
    said = refused(diverged)
    assert "ties" in diverged.remedy(said, "git theta strategies").stdout
    diverged.git("config", "--unset", "theta.merge.densty")
    diverged.write(".thetaconfig", "<<<<<<< ours\n")
    does(refused(diverged), "mend .thetaconfig, or remove what is wrong in it")
    diverged.write(".thetaconfig", "[merge]\n\tstrategy = average\n")
    diverged.theta("merge", "theirs")
    assert diverged.digest(MODEL) == digest(AVERAGE)


def test_statistics(diverged: GitRepo) -> None:
    commit(diverged, "fisher.safetensors", model(a=1, b=1, c=1, d=1), "statistics")
    commit(diverged, "part.safetensors", model(a=1), "of another model")
    fisher = ["--strategy", "fisher"]
    good = "HEAD:fisher.safetensors"
    does(refused(diverged, *fisher), "give one value per model, ours first, with commas between them")
    said = refused(diverged, *fisher, "-o", f"fisher=HEAD:nothing.safetensors,{good}")
    does(said, "name a checkpoint as REV:PATH")
    said = refused(diverged, *fisher, "-o", f"fisher=HEAD:part.safetensors,{good}")
    does(said, "give statistics of the same model, or merge b with another strategy")
    diverged.theta(
        "merge", "--dry-run", "theirs", "--rule", "b: average", *fisher, "-o", f"fisher={good},{good}"
    )
    diverged.theta("merge", "theirs", *fisher, "-o", f"fisher={good},{good}")
    clean_and_equal(diverged, MEAN)


def test_without_torch(diverged: GitRepo, tmp_path: Path) -> None:
    environment = without_torch(tmp_path / "stub")
    said = diverged.refused("git", "theta", "merge", "theirs", "-s", "ties", **environment)
    does(said, 'pip install "git-theta[torch]"')
    averaged(diverged)


def test_manifest_without_storage_is_completed(diverged: GitRepo) -> None:
    oid = diverged.hash_object(identity_of(diverged.blob(f"theirs:{MODEL}")))
    diverged.git("switch", "-q", "theirs")
    diverged.git("update-index", "--cacheinfo", f"100644,{oid},{MODEL}")
    diverged.commit_index("without storage")
    diverged.git("switch", "-q", "-f", "main", check=False)
    merged = diverged.theta("merge", "theirs", "-s", "average")
    assert "2 merged (average)" in merged.stdout + merged.stderr
