"""What people do with Git all day, with a checkpoint in the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

from git_theta import manifest

MODEL = "model.safetensors"


def test_git_stores_a_manifest_and_gives_the_file_back(repo: GitRepo) -> None:
    data = safetensors_bytes(weights(), {"made by": "a test", "z": "a"})
    repo.write(MODEL, data)
    repo.commit("add a model")
    stored = manifest.parse(repo.blob(f"HEAD:{MODEL}"))
    assert [line.name for line in stored.tensors] == ["bias", *(f"layer.{n}.weight" for n in range(4))]
    assert len(repo.blob(f"HEAD:{MODEL}")) < 4000
    (repo.path / MODEL).unlink()
    repo.git("checkout", "--", MODEL)
    assert repo.digest(MODEL) == digest(data)
    assert repo.status() == []


@pytest.mark.parametrize("command", ["checkout v0", "switch --detach v0", "reset --hard v0"])
def test_going_to_another_version_and_back(history: GitRepo, command: str) -> None:
    history.git(*command.split())
    assert history.digest(MODEL) == digest(version(0))
    assert history.status() == []
    history.git(*command.replace("v0", "v1").split())
    assert history.digest(MODEL) == digest(version(1))
    assert history.status() == []


def test_restoring_one_file(history: GitRepo) -> None:
    history.write(MODEL, "not a model any more")
    history.git("restore", MODEL)
    assert history.digest(MODEL) == digest(version(1))
    history.git("restore", "--source=v0", "--staged", "--worktree", MODEL)
    assert history.digest(MODEL) == digest(version(0))
    assert history.staged() == [MODEL]
    assert history.blob(f":{MODEL}") == history.blob(f"v0:{MODEL}")


def test_stash_and_pop(history: GitRepo) -> None:
    data = safetensors_bytes(changed(weights(), "bias"))
    history.write(MODEL, data)
    history.git("stash")
    assert history.digest(MODEL) == digest(version(1))
    assert history.status() == []
    history.git("stash", "pop")
    assert history.digest(MODEL) == digest(data)
    assert history.status() == [f" M {MODEL}"]


def test_stash_keeps_what_is_staged_apart(history: GitRepo) -> None:
    staged, unstaged = (safetensors_bytes(changed(weights(), "bias", seed=seed)) for seed in (1, 2))
    history.write(MODEL, staged)
    history.git("add", MODEL)
    history.write(MODEL, unstaged)
    history.git("stash")
    history.git("stash", "pop", "--index")
    assert history.digest(MODEL) == digest(unstaged)
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(staged)


def test_branches_and_tags(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "experiment", "v0")
    data = safetensors_bytes(changed(weights(), "layer.0.weight"))
    history.write(MODEL, data)
    history.git("commit", "-q", "-a", "-m", "experiment")
    history.git("tag", "-a", "best", "-m", "the best one")
    history.git("switch", "-q", "main")
    assert history.digest(MODEL) == digest(version(1))
    history.git("branch", "-m", "experiment", "kept")
    history.git("switch", "-q", "kept")
    assert history.digest(MODEL) == digest(data)
    history.git("checkout", "-q", "v0")
    history.git("checkout", "-q", "best")
    assert history.digest(MODEL) == digest(data)


def test_touched_file_is_unchanged(history: GitRepo) -> None:
    assert history.status() == []
    os.utime(history.path / MODEL, (1, 1))
    assert history.status() == []
    os.utime(history.path / MODEL, (2, 2))
    before = history.objects()
    history.git("add", MODEL)
    assert history.staged() == []
    assert history.objects() == before


def test_renormalizing_changes_nothing(history: GitRepo) -> None:
    history.git("add", "--renormalize", ".")
    assert history.staged() == []
    assert history.status() == []


def test_fresh_clone_is_clean_and_cleans_to_the_same_blob(history: GitRepo, pushed: GitRepo) -> None:
    clone = pushed.clone("clone")
    assert clone.digest(MODEL) == digest(version(1))
    assert clone.status() == []
    os.utime(clone.path / MODEL, (1, 1))
    clone.git("add", "--renormalize", ".")
    assert clone.status() == []
    assert clone.head() == history.head()


def test_same_bytes_make_the_same_blob_whatever_the_index_knows(history: GitRepo) -> None:
    history.git("rm", "-q", MODEL)
    history.git("commit", "-q", "-m", "remove the model")
    history.write(MODEL, version(1))
    history.git("add", MODEL)
    assert history.blob(f":{MODEL}") == history.blob(f"v1:{MODEL}")


def test_moving(history: GitRepo) -> None:
    before = history.objects()
    (history.path / "models").mkdir()
    history.git("mv", MODEL, "models/renamed.safetensors")
    assert history.status() == [f"R  {MODEL} -> models/renamed.safetensors"]
    history.git("commit", "-q", "-m", "move")
    assert history.digest("models/renamed.safetensors") == digest(version(1))
    history.git("checkout", "-q", "v0")
    assert history.digest(MODEL) == digest(version(0))
    assert not (history.path / "models/renamed.safetensors").exists()
    assert history.objects() == before


def test_removing(history: GitRepo) -> None:
    history.git("rm", "-q", MODEL)
    assert not (history.path / MODEL).exists()
    history.git("commit", "-q", "-m", "remove")
    history.git("revert", "--no-edit", "HEAD")
    assert history.digest(MODEL) == digest(version(1))
    assert history.blob(f"HEAD:{MODEL}") == history.blob(f"v1:{MODEL}")


def test_copied_file_stores_nothing(history: GitRepo) -> None:
    before = history.objects()
    history.write("copy.safetensors", version(1))
    history.commit("copy")
    assert history.objects() == before
    assert history.head("HEAD:copy.safetensors") == history.head(f"HEAD:{MODEL}")


def test_two_models_in_one_commit(repo: GitRepo) -> None:
    files = {f"{name}.safetensors": safetensors_bytes(weights(seed)) for seed, name in enumerate("ab")}
    for name, data in files.items():
        repo.write(name, data)
    repo.commit("two models")
    for name in files:
        (repo.path / name).unlink()
    repo.git("checkout", "--", ".")
    assert {name: repo.digest(name) for name in files} == {n: digest(data) for n, data in files.items()}


def test_same_tensor_in_two_files_is_stored_once(repo: GitRepo) -> None:
    shared = weights(0, count=3)
    repo.write("a.safetensors", safetensors_bytes(shared))
    repo.commit("a")
    before = repo.objects()
    other = weights(7, count=1)["layer.0.weight"]
    # Other names and another order: a tensor is known by its bytes.
    tensors = {"new": other, "x": shared["layer.2.weight"], "y": shared["layer.0.weight"]}
    repo.write("b.safetensors", safetensors_bytes(tensors))
    repo.commit("b")
    first, second = (manifest.parse(repo.blob(f"HEAD:{name}.safetensors")) for name in "ab")
    assert second.storage[second.tensor("x").digest] == first.storage[first.tensor("layer.2.weight").digest]
    new = set(repo.objects()) - set(before)
    assert sum(path.stat().st_size for path in new) < 1.2 * other.nbytes


def test_same_tensor_twice_in_one_commit_is_stored_once(repo: GitRepo) -> None:
    repo.write("a.safetensors", safetensors_bytes(weights(0)))
    repo.write("b.safetensors", safetensors_bytes(weights(0), {"another": "header"}))
    repo.commit("both")
    tensors = [path for path in repo.objects() if path.stat().st_size > 40_000]
    assert len(tensors) == 4
    (repo.path / "b.safetensors").unlink()
    repo.git("checkout", "--", ".")
    assert repo.digest("b.safetensors") == digest(safetensors_bytes(weights(0), {"another": "header"}))


def test_changed_tensor_costs_what_it_weighs(history: GitRepo) -> None:
    first, second = (manifest.parse(history.blob(f"v{number}:{MODEL}")) for number in range(2))
    assert {line.name for line in set(second.tensors) - set(first.tensors)} == {"layer.1.weight"}
    new = set(second.oids()) - set(first.oids())
    assert len(new) == 1


def test_executable_bit_and_time_are_no_change_of_content(history: GitRepo) -> None:
    path = Path(history.path / MODEL)
    path.chmod(0o755)
    history.git("commit", "-q", "-a", "-m", "executable")
    assert history.head(f"HEAD:{MODEL}") == history.head(f"v1:{MODEL}")


def test_a_fine_tune_is_one_object(repo: GitRepo) -> None:
    """Each object costs a remote a request; so what is small shares one, and is read from it by itself."""
    tensors = weights(0, count=12, shape=(384, 256))
    repo.write("model.safetensors", safetensors_bytes(tensors))
    repo.commit("base")
    before = set(repo.objects())
    tuned = safetensors_bytes(changed(tensors))
    repo.write("model.safetensors", tuned)
    repo.commit("tuned")
    (made,) = set(repo.objects()) - before
    assert made.stat().st_size > 12 * (64 << 10)
    repo.git("checkout", "-q", "HEAD~")
    repo.git("checkout", "-q", "main")
    assert repo.digest("model.safetensors") == digest(tuned)
    repo.theta("fsck")
