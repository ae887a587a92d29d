"""git theta merge: two and more branches at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, Once, changed, safetensors_bytes, weights
from merge_cases import tensors_of
from torch_files import without_torch

MODEL = "model.safetensors"
LAYER = "layer.0.weight"


@pytest.fixture
def forked(once: Once) -> GitRepo:
    """A base (tag v0) and three fine-tunes of all tensors on main, medicine and law, each with a file."""
    return once(fork)


def fork(repo: GitRepo) -> None:
    tensors = weights(0, count=2)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.write("notes.txt", "one\ntwo\nthree\n")
    repo.commit("base")
    repo.git("tag", "v0")
    for seed, branch in enumerate(("medicine", "law", "main"), 1):
        repo.git("checkout", "-q", "-B", branch, "v0")
        repo.write(MODEL, safetensors_bytes(changed(tensors, seed=seed)))
        repo.write(f"{branch}.txt", branch)
        repo.commit(f"fine-tune on {branch}")


def tuned(seed: int) -> dict[str, np.ndarray]:
    """What `forked` has on a branch: 0 the base, 1 medicine, 2 law, 3 main."""
    base = weights(0, count=2)
    return changed(base, seed=seed) if seed else base


def mean(*seeds: int) -> dict[str, np.ndarray]:
    models = [tuned(seed) for seed in seeds]
    return {
        name: np.mean([model[name] for model in models], axis=0, dtype=np.float64).astype("f4")
        for name in models[0]
    }


def check_model(repo: GitRepo, expected: dict[str, np.ndarray]) -> None:
    found = tensors_of((repo.path / MODEL).read_bytes())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-7, err_msg=name)


def test_merges_two(forked: GitRepo) -> None:
    before = forked.head()
    done = forked.theta("merge", "medicine", "--strategy", "average")
    assert "3 merged (average)" in done.stdout
    check_model(forked, mean(3, 1))
    assert forked.status() == []
    assert forked.git("log", "-1", "--format=%P").stdout.split() == [before, forked.head("medicine")]
    assert forked.git("log", "-1", "--format=%B").stdout.rstrip() == (
        f"Merge branch 'medicine'\n\nTheta-Path: {MODEL}\nTheta-Strategy: average\nTheta-One-sided: combine"
    )
    assert (forked.path / "medicine.txt").exists()
    assert forked.git("reflog", "-1", "--format=%gs").stdout.startswith("merge medicine")
    assert forked.head("ORIG_HEAD") == before
    assert "Already up to date" in forked.theta("merge", "medicine").stdout


def test_gives_what_git_merge_gives(forked: GitRepo) -> None:
    forked.theta("merge", "medicine", "--strategy", "average")
    blob = forked.head(f"HEAD:{MODEL}")
    forked.git("reset", "-q", "--hard", "HEAD~")
    forked.git("config", "theta.merge", "average")
    forked.git("merge", "-q", "--no-edit", "medicine")
    assert forked.head(f"HEAD:{MODEL}") == blob


def test_criss_cross_as_git_merge(repo: GitRepo) -> None:
    """With two common ancestors, the base is what merging these gives."""
    base = weights(0, count=1, shape=(8, 8))
    repo.git("config", "theta.merge", "task-arithmetic")
    repo.write(MODEL, safetensors_bytes(base))
    repo.commit("base")
    repo.git("branch", "other")
    for seed, branch in enumerate(("other", "main"), 1):
        repo.git("checkout", "-q", branch)
        repo.write(MODEL, safetensors_bytes(changed(base, seed=seed)))
        repo.commit(f"tune {branch}")
    repo.git("tag", "before")
    repo.git("merge", "-q", "--no-edit", "other")
    repo.git("checkout", "-q", "other")
    repo.git("merge", "-q", "--no-edit", "before")
    for seed, branch in enumerate(("other", "main"), 3):
        repo.git("checkout", "-q", branch)
        tuned_again = changed(tensors_of((repo.path / MODEL).read_bytes()), seed=seed)
        repo.write(MODEL, safetensors_bytes(tuned_again))
        repo.commit(f"tune {branch} again")
    repo.theta("merge", "other")
    blob = repo.head(f"HEAD:{MODEL}")
    repo.git("reset", "-q", "--hard", "HEAD~")
    repo.git("merge", "-q", "--no-edit", "other")
    assert repo.head(f"HEAD:{MODEL}") == blob
    sums = {
        name: base[name] + sum(changed(base, seed=s)[name] - base[name] for s in (1, 2, 3, 4))
        for name in base
    }
    check_model(repo, sums)


def test_merges_three_at_once(forked: GitRepo) -> None:
    before = forked.head()
    rule = "layer.1.*: linear weight=0.5,0.3,0.2"
    done = forked.theta("merge", "medicine", "law", "-s", "average", "--rule", rule, check=False)
    assert done.returncode == 0, done.stderr
    parents = [before, forked.head("medicine"), forked.head("law")]
    assert forked.git("log", "-1", "--format=%P").stdout.split() == parents
    expected = mean(3, 1, 2)
    models = [tuned(seed)["layer.1.weight"].astype("f8") for seed in (3, 1, 2)]
    expected["layer.1.weight"] = (0.5 * models[0] + 0.3 * models[1] + 0.2 * models[2]).astype("f4")
    check_model(forked, expected)
    assert {"medicine.txt", "law.txt", "main.txt"} <= {path.name for path in forked.path.iterdir()}
    assert "Merge branches 'medicine' and 'law'" in forked.git("log", "-1", "--format=%s").stdout
    assert forked.theta("merge", "--redo", "HEAD").stdout.startswith(f"{MODEL}: the same result")
    forked.theta("fsck")


def test_three_where_two_changed(forked: GitRepo) -> None:
    """With one-sided=take, the sides that left a tensor or a file alone have no say."""
    base = weights(0, count=2)
    forked.git("checkout", "-q", "-b", "partly", "v0")
    forked.write(MODEL, safetensors_bytes({**base, "bias": base["bias"] + 1}))
    forked.write("other.safetensors", safetensors_bytes({"x": np.arange(4, dtype="f4")}))
    forked.commit("change the bias, add a model")
    forked.git("checkout", "-q", "-b", "still", "v0")
    forked.write("still.txt", "no model changed here")
    forked.commit("change no model")
    forked.git("checkout", "-q", "medicine")
    forked.theta("merge", "partly", "still", "-s", "average", "-o", "one-sided=take", "-m", "All of them")
    assert len(forked.git("log", "-1", "--format=%P").stdout.split()) == 3
    expected = tuned(1)
    expected["bias"] = (expected["bias"] + base["bias"] + 1) / 2
    check_model(forked, expected)
    assert tensors_of((forked.path / "other.safetensors").read_bytes())["x"].tolist() == [0, 1, 2, 3]
    assert forked.git("log", "-1", "--format=%s").stdout == "All of them\n"


def state(repo: GitRepo) -> tuple[object, ...]:
    """All that a refused merge must leave alone."""
    files = {p.name: p.read_bytes() for p in repo.path.iterdir() if p.is_file()}
    merging = sorted(p.name for p in (repo.path / ".git").glob("MERGE*"))
    return repo.head(), repo.git("ls-files", "-s").stdout, files, merging


@pytest.mark.parametrize("heads", [("medicine",), ("medicine", "law")])
def test_stops_at_conflicts_of_tensors(forked: GitRepo, heads: tuple[str, ...]) -> None:
    before = state(forked)
    done = forked.theta("merge", *heads, check=False)
    assert done.returncode == 1
    assert "3 tensors are in conflict; nothing was changed" in done.stderr
    assert LAYER in done.stderr
    assert f"git theta merge {' '.join(heads)} --strategy average" in done.stderr
    assert state(forked) == before


@pytest.mark.parametrize("heads", [("medicine",), ("medicine", "law")])
def test_stops_at_conflicts_of_code(forked: GitRepo, heads: tuple[str, ...]) -> None:
    for branch in ("medicine", "main"):
        forked.git("checkout", "-q", branch)
        forked.write("notes.txt", f"one\n{branch}\nthree\n")
        forked.commit("notes")
    before = state(forked)
    done = forked.theta("merge", *heads, "-s", "average", check=False)
    assert done.returncode == 1
    assert "notes.txt" in done.stderr
    assert "nothing was changed" in done.stderr
    assert state(forked) == before


@pytest.mark.parametrize("heads", [("medicine",), ("medicine", "law")])
def test_stops_where_a_model_was_removed(forked: GitRepo, heads: tuple[str, ...]) -> None:
    forked.git("checkout", "-q", "medicine")
    forked.git("rm", "-q", MODEL)
    forked.commit("remove it")
    forked.git("checkout", "-q", "main")
    before = state(forked)
    done = forked.theta("merge", *heads, "-s", "average", check=False)
    assert done.returncode == 1
    assert MODEL in done.stderr
    assert state(forked) == before


def test_keeps_local_changes(forked: GitRepo) -> None:
    forked.write("medicine.txt", "mine, not tracked")
    before = state(forked)
    assert forked.theta("merge", "medicine", "-s", "average", check=False).returncode == 1
    assert state(forked) == before
    (forked.path / "medicine.txt").unlink()
    forked.write("notes.txt", "a local change that is in nobody's way\n")
    forked.theta("merge", "medicine", "-s", "average")
    assert forked.status() == [" M notes.txt"]
    forked.git("add", "notes.txt")
    done = forked.theta("merge", "law", "-s", "average", check=False)
    assert "staged" in done.stderr


def test_no_commit_and_abort(forked: GitRepo) -> None:
    before = state(forked)
    forked.theta("merge", "medicine", "law", "-s", "average", "--no-commit")
    heads = (forked.path / ".git/MERGE_HEAD").read_text().split()
    assert heads == [forked.head("medicine"), forked.head("law")]
    assert forked.head() == before[0]
    assert "A  law.txt" in forked.status()
    check_model(forked, mean(3, 1, 2))
    refused = forked.theta("merge", "law", check=False)
    assert "not finished" in refused.stderr
    forked.theta("merge", "--abort")
    assert state(forked) == before
    forked.theta("merge", "medicine", "law", "-s", "average", "--no-commit")
    forked.git("commit", "-q", "--no-edit")
    assert "Theta-Strategy: average" in forked.git("log", "-1", "--format=%B").stdout
    assert len(forked.git("log", "-1", "--format=%P").stdout.split()) == 3
    assert forked.theta("merge", "--abort", check=False).returncode == 1


def test_abort_clears_what_git_merge_left_open(forked: GitRepo) -> None:
    before = state(forked)
    assert forked.git("merge", "medicine", check=False).returncode == 1
    assert list((forked.path / ".git/theta/conflicts").iterdir())
    forked.theta("merge", "--abort")
    assert state(forked) == before
    assert not list((forked.path / ".git/theta/conflicts").iterdir())


def test_dry_run(forked: GitRepo) -> None:
    before = state(forked)
    done = forked.theta("merge", "--dry-run", "medicine", "-s", "ties", "--rule", "bias: ours")
    assert "2 combine with ties (changed differently)" in done.stdout
    assert "1 take (changed differently)" in done.stdout
    assert "main and medicine: cosine " in done.stdout
    assert "sign conflicts " in done.stdout
    done = forked.theta("merge", "--dry-run", "medicine", "law", check=False)
    assert done.returncode == 1
    assert "3 conflict (changed differently)" in done.stdout
    assert "medicine and law: cosine " in done.stdout
    assert state(forked) == before


def test_redo_tells_another_result(forked: GitRepo) -> None:
    options = "-s", "dare-ties", "-o", "density=0.4", "-o", "seed=3", "--rule", "bias: ours"
    forked.theta("merge", "medicine", *options)
    forked.git("config", "theta.merge", "average")  # is not what the commit was made with
    assert "the same result" in forked.theta("merge", "--redo", "HEAD").stdout
    message = forked.git("log", "-1", "--format=%B").stdout
    forked.git("commit", "-q", "--amend", "-m", message.replace("seed=3", "seed=4"))
    done = forked.theta("merge", "--redo", "HEAD", check=False)
    assert done.returncode == 1
    assert f"{MODEL}: another result: {LAYER}, layer.1.weight" in done.stdout
    assert "does not say" in forked.theta("merge", "--redo", "v0", check=False).stderr
    forked.git("commit", "-q", "--amend", "-m", message.rstrip() + "\nTheta-Device: cuda:99\n")
    assert "has no device cuda:99" in forked.theta("merge", "--redo", "HEAD", check=False).stderr
    assert "the same result" in forked.theta("merge", "--redo", "HEAD", "--device", "cpu").stdout


def test_renamed_model(forked: GitRepo) -> None:
    base = weights(0, count=4)
    forked.git("checkout", "-q", "-b", "old", "v0")
    forked.write("a.safetensors", safetensors_bytes(base))
    forked.commit("another model")
    forked.git("checkout", "-q", "-b", "moved")
    forked.git("mv", "a.safetensors", "b.safetensors")
    forked.write("b.safetensors", safetensors_bytes(changed(base, LAYER, seed=1)))
    forked.commit("rename it")
    forked.git("checkout", "-q", "old")
    forked.write("a.safetensors", safetensors_bytes(changed(base, LAYER, seed=2)))
    forked.commit("tune it")
    forked.theta("merge", "moved", "-s", "average")
    assert not (forked.path / "a.safetensors").exists()
    found = tensors_of((forked.path / "b.safetensors").read_bytes())[LAYER]
    models = [changed(base, LAYER, seed=seed)[LAYER].astype("f8") for seed in (1, 2)]
    np.testing.assert_allclose(found, np.mean(models, axis=0), atol=1e-7)


def test_fast_forward(forked: GitRepo) -> None:
    forked.git("checkout", "-q", "-b", "behind", "v0")
    assert "Fast-forward" in forked.theta("merge", "law").stdout
    assert forked.head() == forked.head("law")


def test_hooks(forked: GitRepo) -> None:
    hooks = forked.path / "hooks"
    hooks.mkdir()
    forked.git("config", "core.hooksPath", str(hooks))
    for name in ("pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> called\ntest ! -e refuse-{name}\n")
        (hooks / name).chmod(0o755)
    before = forked.head()
    for name in ("pre-merge-commit", "commit-msg"):
        forked.write(f"refuse-{name}", "")
        done = forked.theta("merge", "medicine", "-s", "average", check=False)
        assert done.returncode == 1
        assert f"the hook {name} refused the merge" in done.stderr
        assert forked.head() == before
        assert not (forked.path / "medicine.txt").exists()
        (forked.path / f"refuse-{name}").unlink()
    (forked.path / "called").unlink()
    forked.theta("merge", "medicine", "-s", "average")
    called = (forked.path / "called").read_text().split()
    assert called == ["pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-merge"]


def test_unrelated_and_shallow_histories(forked: GitRepo) -> None:
    forked.git("push", "-q", str(forked.add_remote("origin").path), "main", "medicine")
    url = forked.git("remote", "get-url", "origin").stdout.strip()
    shallow = forked.clone("shallow", "--depth=1", "--no-single-branch", source=f"file://{url}")
    done = shallow.theta("merge", "origin/medicine", "-s", "average", check=False)
    assert "git fetch --deepen" in done.stderr
    forked.git("checkout", "-q", "--orphan", "alone")
    forked.commit("no parent")
    done = forked.theta("merge", "main", "law", "-s", "average", check=False)
    assert "no common ancestor" in done.stderr


def test_missing_objects_stop_it_before_anything_is_written(forked: GitRepo, tmp_path: Path) -> None:
    remote = forked.add_remote("origin")
    forked.git("push", "-q", "origin", "main", "medicine")
    url = str(remote.path)
    clone = forked.clone("clone", source=url)
    theta = remote.path / "theta"
    theta.rename(tmp_path / "away")
    before = state(clone)
    done = clone.theta("merge", "origin/medicine", "-s", "average", check=False)
    assert done.returncode == 1
    assert "missing" in done.stderr
    assert state(clone) == before
    (tmp_path / "away").rename(theta)
    clone.theta("merge", "origin/medicine", "-s", "average")
    check_model(clone, mean(3, 1))


def test_without_torch(forked: GitRepo, tmp_path: Path) -> None:
    environment = without_torch(tmp_path / "stub")
    before = state(forked)
    done = forked.theta("merge", "medicine", "-s", "ties", check=False, **environment)
    assert done.returncode == 1
    assert 'pip install "git-theta[torch]"' in done.stderr
    assert state(forked) == before
    forked.theta("merge", "medicine", "-s", "average", **environment)
    check_model(forked, mean(3, 1))
    forked.theta("merge", "law", "-s", "theirs", **environment)
    check_model(forked, tuned(2))


def test_usage(forked: GitRepo) -> None:
    for arguments in (
        (),
        ("medicine", "--abort"),
        ("--abort", "--redo", "HEAD"),
        ("--redo", "HEAD", "-s", "ties"),
        ("--abort", "-m", "message"),
    ):
        assert forked.theta("merge", *arguments, check=False).returncode == 2
    for dry in ((), ("--dry-run",)):
        rules = ("--rule", "layer.0.*: average", "--rule", "lair.*: ours")
        done = forked.theta("merge", "medicine", *rules, *dry, check=False)
        assert done.returncode == 1
        assert f"no tensor of {MODEL} matches 'lair.*'; nothing was changed" in done.stderr
    assert "not something we can merge" in forked.theta("merge", "nowhere", check=False).stderr
    done = forked.theta("merge", "medicine", "-s", "average", "--device", "abacus", check=False)
    assert "no device" in done.stderr


def test_strategies(forked: GitRepo) -> None:
    listed = forked.theta("strategies").stdout
    assert {"average", "ties", "fisher", "model-stock"} <= {line.split()[0] for line in listed.splitlines()}
    shown = forked.theta("strategies", "dare_ties").stdout
    for words in ("formula", "arXiv:2311.03099", "density", "default 0.5"):
        assert words in shown
    assert forked.theta("strategies", "nothing", check=False).returncode == 1
