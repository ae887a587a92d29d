"""git theta add: updates that the user has at hand guide what is stored, and can be applied."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from adapters import RANK, SHAPE, lora, model, updates
from git_repo import GitRepo, safetensors_bytes

from git_theta.commands.add import Guided
from git_theta.git.repository import Repository


def product(alpha: float) -> np.ndarray:
    a, b = lora().values()
    return (alpha / RANK * b.astype(np.float64)) @ a.astype(np.float64)


def test_the_adapter_guides_the_prediction(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    changed = model()
    changed["layers.1.weight"] = (changed["layers.1.weight"] + product(8)).astype(np.float32)
    repo.write("model.safetensors", safetensors_bytes(changed))
    data = (repo.path / "model.safetensors").read_bytes()
    repo.theta("add", "model.safetensors", "--update", "low-rank", "--update-data", str(adapter))
    assert updates(repo)["layers.1.weight"] == "low-rank"
    repo.git("commit", "-q", "-m", "tuned")
    (repo.path / "model.safetensors").unlink()
    repo.git("checkout", "-q", "--", "model.safetensors")
    assert (repo.path / "model.safetensors").read_bytes() == data
    assert repo.git("status", "--porcelain").stdout == ""


def test_apply_writes_base_and_update(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply")
    from safetensors.numpy import load_file

    found = load_file(repo.path / "model.safetensors")
    wanted = model()["layers.1.weight"] + product(8)
    np.testing.assert_allclose(found["layers.1.weight"], wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(found["layers.0.weight"], model()["layers.0.weight"])
    assert updates(repo) == {
        "layers.0.weight": "dense",
        "layers.1.weight": "low-rank",
        "layers.2.weight": "dense",
    }
    assert not list(repo.path.glob(".git-theta-*"))


def test_apply_after_a_kill(adapted: tuple[GitRepo, Path]) -> None:
    """Before the file is staged, the same command does not apply the same update twice."""
    from safetensors.numpy import load_file

    repo, adapter = adapted
    repository = Repository(repo.path)
    with (
        closing(repository),
        closing(Guided(repository, repo.path / "model.safetensors", "", adapter)) as one,
    ):
        one.apply()  # and no more
    for times in (1, 2):
        repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply")
        found = load_file(repo.path / "model.safetensors")["layers.1.weight"]
        wanted = model()["layers.1.weight"] + times * product(8)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_an_adapter_of_another_result_does_no_harm(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    changed = model()
    changed["layers.1.weight"] = np.random.default_rng(5).standard_normal(SHAPE, np.float32)
    repo.write("model.safetensors", safetensors_bytes(changed))
    data = (repo.path / "model.safetensors").read_bytes()
    repo.theta("add", "model.safetensors", "--update-data", str(adapter))
    repo.git("commit", "-q", "-m", "other")
    (repo.path / "model.safetensors").unlink()
    repo.git("checkout", "-q", "--", "model.safetensors")
    assert (repo.path / "model.safetensors").read_bytes() == data


def test_what_does_not_fit_is_refused(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    before = (repo.path / "model.safetensors").read_bytes()
    done = repo.theta(
        "add", "model.safetensors", "--update", "scale", "--update-data", str(adapter), check=False
    )
    assert done.returncode == 1
    assert "low-rank, not scale" in done.stderr
    done = repo.theta("add", "model.safetensors", "--update", "no-such-kind", check=False)
    assert done.returncode == 1
    assert "no-such-kind" in done.stderr
    adapter.write_bytes(
        safetensors_bytes({"base_model.model.layers.9.lora_A.weight": np.zeros((4, 9), np.float32)})
    )
    done = repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply", check=False)
    assert done.returncode == 1
    assert "layers.9" in done.stderr
    assert (repo.path / "model.safetensors").read_bytes() == before


OTHERS = {
    "low-rank": lambda r: {
        "layers.1.weight/R": 0.01 * r.standard_normal((SHAPE[0], 4), np.float32),
        "layers.1.weight/C": r.standard_normal((4, SHAPE[1]), np.float32),
    },
    "ia3": lambda r: {"layers.1.weight/ia3": 1 + 0.1 * r.standard_normal((SHAPE[0], 1), np.float32)},
    "sparse": lambda r: {
        "layers.1.weight/indices": np.sort(r.permutation(SHAPE[0] * SHAPE[1])[:300]).astype(np.int64),
        "layers.1.weight/data": r.standard_normal(300, np.float32),
    },
}


def expected(update: str, parts: dict[str, np.ndarray]) -> np.ndarray:
    """The tensor with the update applied."""
    base, (first, *second) = model()["layers.1.weight"].astype(np.float64), parts.values()
    if update == "low-rank":
        return base + first.astype(np.float64) @ second[0]
    if update == "ia3":
        return base * first
    base.ravel()[first] += second[0]
    return base


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("update", OTHERS)
def test_updates_with_the_names_of_the_original(
    adapted: tuple[GitRepo, Path], tmp_path: Path, update: str, apply: bool
) -> None:
    repo, _ = adapted
    parts = OTHERS[update](np.random.default_rng(3))
    file = tmp_path / "update.safetensors"
    file.write_bytes(safetensors_bytes(parts))
    wanted = expected(update, parts).astype(np.float32)
    if not apply:
        repo.write("model.safetensors", safetensors_bytes(model() | {"layers.1.weight": wanted}))
    options = ["--update", update, "--update-data", str(file), *(["--apply"] if apply else [])]
    repo.theta("add", "model.safetensors", *options)
    kinds = {"ia3": "scale", "sparse": "delta"}
    assert updates(repo)["layers.1.weight"] == kinds.get(update, update)
    data = (repo.path / "model.safetensors").read_bytes()
    from safetensors.numpy import load

    np.testing.assert_allclose(load(data)["layers.1.weight"], wanted, rtol=1e-5, atol=1e-6)
    repo.git("commit", "-q", "-m", "updated")
    (repo.path / "model.safetensors").unlink()
    repo.git("checkout", "-q", "--", "model.safetensors")
    assert (repo.path / "model.safetensors").read_bytes() == data
    assert repo.status() == []


def test_what_git_add_says_is_shown(repo: GitRepo) -> None:
    repo.write("odd.safetensors", b"no checkpoint")
    assert "odd.safetensors" in repo.theta("add", "odd.safetensors").stderr
    repo.write("odd.safetensors", b"another one")
    assert repo.theta("add", "odd.safetensors", "--verbose").stdout == "add 'odd.safetensors'\n"


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_modules_to_save_have_the_bytes_of_the_adapter(repo: GitRepo, tmp_path: Path, suffix: str) -> None:
    before = {"lm_head.weight": np.zeros((8, 8), np.float32), "q.weight": np.zeros((8, 8), np.float32)}
    repo.write("model.safetensors", safetensors_bytes(before))
    repo.commit("base")
    head = np.random.default_rng(1).standard_normal((8, 8), np.float32)
    adapter = tmp_path / f"adapter_model.{suffix}"
    name = "base_model.model.lm_head.weight"
    if suffix == "bin":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(head)}, adapter)
    else:
        adapter.write_bytes(safetensors_bytes({name: head}))
    repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply")
    data = safetensors_bytes(before | {"lm_head.weight": head})
    assert (repo.path / "model.safetensors").read_bytes() == data
    repo.git("commit", "-q", "-m", "applied")
    (repo.path / "model.safetensors").unlink()
    repo.git("checkout", "-q", "--", "model.safetensors")
    assert (repo.path / "model.safetensors").read_bytes() == data


def test_an_adapter_is_not_added_to_codes(repo: GitRepo, tmp_path: Path) -> None:
    """Quantised weights: what they mean is not in them. The file stays as it was."""
    data = safetensors_bytes({"q.weight": np.ones((4, 4), np.uint8)})
    repo.write("model.safetensors", data)
    repo.commit("base")
    adapter = tmp_path / "adapter_model.safetensors"
    parts = {"A": np.ones((1, 4), np.float32), "B": np.ones((4, 1), np.float32)}
    lora = {f"base_model.model.q.lora_{part}.weight": value for part, value in parts.items()}
    adapter.write_bytes(safetensors_bytes(lora))
    said = repo.refused("git", "theta", "add", "model.safetensors", "--update-data", str(adapter), "--apply")
    assert "'q.weight', which holds U8" in said
    assert (repo.path / "model.safetensors").read_bytes() == data
    whole = {"base_model.model.q.weight": np.full((4, 4), 2, np.uint8)}
    adapter.write_bytes(safetensors_bytes(whole))
    repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply")
    assert (repo.path / "model.safetensors").read_bytes() == safetensors_bytes(
        {"q.weight": next(iter(whole.values()))}
    )


def test_a_part_of_an_adapter_is_applied(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply", "--scale", "0.25")
    from safetensors.numpy import load_file

    found = load_file(repo.path / "model.safetensors")["layers.1.weight"]
    np.testing.assert_allclose(found, model()["layers.1.weight"] + product(2), rtol=1e-5, atol=1e-6)
    assert updates(repo)["layers.1.weight"] == "low-rank"


def test_patterns_are_regular_expressions(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    config = {
        "r": 8,
        "lora_alpha": 1,
        "rank_pattern": {r"layers\.[01]": 4},
        "alpha_pattern": {"(layers).1": 12},
    }
    adapter.with_name("adapter_config.json").write_text(json.dumps(config))
    repo.theta("add", "model.safetensors", "--update-data", str(adapter), "--apply")
    from safetensors.numpy import load_file

    found = load_file(repo.path / "model.safetensors")["layers.1.weight"]
    np.testing.assert_allclose(found, model()["layers.1.weight"] + product(12), rtol=1e-5, atol=1e-6)
