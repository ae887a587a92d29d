"""What the first Git-Theta got wrong: each was reproduced there, and holds here.

That Git LFS and git-theta push side by side is in test_beside_lfs.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights
from merge_cases import MODEL, diverge, model
from terminals import on_a_terminal
from torch_files import saved


def check_round_trip(repo: GitRepo, name: str, data: bytes) -> None:
    """Add, commit, delete, check out: the same bytes."""
    repo.write(name, data)
    repo.commit("add")
    (repo.path / name).unlink()
    repo.git("checkout", "--", name)
    assert repo.digest(name) == digest(data)
    assert repo.status() == []


def test_metadata_of_safetensors_survives(repo: GitRepo) -> None:
    metadata = {"format": "pt", "note": "ü", "a": "1"}
    check_round_trip(repo, MODEL, safetensors_bytes(weights(count=1), metadata))


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_safetensors_of_dtypes_that_numpy_lacks(repo: GitRepo, dtype: str) -> None:
    raw = np.random.default_rng(3).integers(0, 256, 1 << 17, np.uint8).tobytes()
    items = len(raw) // (2 if dtype == "BF16" else 1)
    check_round_trip(repo, MODEL, safetensors_bytes({"w": (dtype, (items,), raw)}))
    assert f'"dtype":"{dtype}"'.encode() in repo.blob(f"HEAD:{MODEL}")


def made(value: Callable[[Any], object]) -> bytes:
    """What torch saves of what is made with it."""
    return saved(value(pytest.importorskip("torch")))


def test_bfloat16_of_torch(repo: GitRepo) -> None:
    check_round_trip(repo, "m.pt", made(lambda torch: {"w": torch.randn(200, 200).bfloat16()}))
    assert b'"dtype":"BF16"' in repo.blob("HEAD:m.pt")


def test_nested_training_checkpoint_of_torch(repo: GitRepo) -> None:
    data = made(
        lambda torch: {
            "epoch": 3,
            "model": {"w": torch.ones(200, 200)},
            "optimizer": {"state": {0: {"step": 7, "exp_avg": torch.zeros(200, 200)}}, "lr": 1e-3},
            "arguments": ["--fast", None, 2.5],
        }
    )
    check_round_trip(repo, "m.pt", data)


def test_tied_tensors_of_torch_stay_tied(repo: GitRepo) -> None:
    def tied(torch: Any) -> dict[str, Any]:
        shared = torch.randn(512, 512)
        return {"embedding": shared, "head": shared}

    data = made(tied)
    check_round_trip(repo, "m.pt", data)
    assert sum(path.stat().st_size for path in repo.objects()) < 1.1 * 512 * 512 * 4


def test_smallest_change_is_seen(history: GitRepo) -> None:
    tensors = weights()
    tensors["bias"][0] = 1e-9
    history.write(MODEL, safetensors_bytes(tensors))
    history.commit("before")
    tensors["bias"][0] = 5e-9
    data = safetensors_bytes(tensors)
    history.write(MODEL, data)
    assert history.status() == [f" M {MODEL}"]
    history.commit("after")
    history.git("checkout", "-q", "HEAD~1")
    history.git("checkout", "-q", "main")
    assert history.digest(MODEL) == digest(data)


@pytest.mark.parametrize("strategy", ["average", "interpolate -o alpha=0.5"])
def test_average_is_the_mean_and_can_be_checked_out(repo: GitRepo, strategy: str) -> None:
    diverge(repo, model(w=[1, 1]), model(w=[2, 4]), model(w=[4, 8]))
    repo.theta("merge", "theirs", "--strategy", *strategy.split())
    assert repo.digest(MODEL) == digest(model(w=[3, 6]))
    repo.git("checkout", "-q", "base")
    repo.git("checkout", "-q", "main")
    assert repo.digest(MODEL) == digest(model(w=[3, 6]))
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "main")
    assert bare.clone("clone").digest(MODEL) == digest(model(w=[3, 6]))


def test_states_of_tensors_in_a_merge(repo: GitRepo) -> None:
    """Added on both sides is no deletion, and deleted on both sides is settled."""
    diverge(repo, model(kept=1, gone=[2, 2, 2]), model(kept=1, new=3), model(kept=1, new=4))
    done = repo.git("merge", "--no-edit", "theirs", check=False)
    assert done.returncode == 1
    assert "new: added differently" in done.stderr
    assert "gone" not in done.stdout + done.stderr
    repo.theta("resolve", MODEL, "--strategy", "theirs")
    repo.git("commit", "-q", "--no-edit")
    assert repo.digest(MODEL) == digest(model(kept=1, new=4))


def test_update_of_low_rank_is_small_and_exact(repo: GitRepo) -> None:
    random = np.random.default_rng(8)
    before = random.standard_normal((512, 512), np.float32)
    factors = [random.standard_normal(shape, np.float32) for shape in ((512, 8), (8, 512))]
    after = before + np.float32(0.01) * (factors[0] @ factors[1])
    check_round_trip(repo, MODEL, safetensors_bytes({"w": before}))
    check_round_trip(repo, MODEL, safetensors_bytes({"w": after}))
    (entry,) = json.loads(repo.theta("ls-files", "-l", "--json").stdout)
    (tensor,) = entry["tensors"]
    assert tensor["update"] == "low-rank"
    assert tensor["stored_bytes"] < 0.1 * before.nbytes


def test_diff_and_log_show_values_not_json(history: GitRepo) -> None:
    for command in (["diff", "v0", "v1"], ["log", "-p", "-1"]):
        shown = on_a_terminal(history.path, "git", "--no-pager", *command, "--no-color", "--", MODEL)
        (line,) = {line for line in shown.splitlines() if line.startswith(("M layer.1.weight", "+layer.1."))}
        assert any(text.replace(".", "").replace("-", "").isdigit() for text in line.split()[3:])
        assert '{"' not in shown


def test_push_after_a_merge_that_was_no_fast_forward(history: GitRepo, pushed: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    other = safetensors_bytes(weights(50))
    history.write("other.safetensors", other)
    history.commit("on the side")
    history.git("switch", "-q", "main")
    history.git("merge", "-q", "--no-ff", "--no-edit", "side")
    history.git("push", "-q", "origin", "main")
    clone = pushed.clone("clone")
    assert clone.digest("other.safetensors") == digest(other)
    assert clone.digest(MODEL) == digest(version(1))


def test_push_of_a_new_branch_from_a_fresh_clone(pushed: GitRepo) -> None:
    clone = pushed.clone("clone")
    clone.git("switch", "-q", "-c", "new")
    data = safetensors_bytes(changed(weights(), "bias"))
    clone.write(MODEL, data)
    clone.commit("from the clone")
    clone.git("push", "-q", "-u", "origin", "new")
    assert pushed.clone("second", "-b", "new").digest(MODEL) == digest(data)


def test_existing_pre_push_hook_is_kept_and_runs(plain: GitRepo) -> None:
    hook = plain.write(".git/hooks/pre-push", "#!/bin/sh\ncat > pushed-refs\n")
    hook.chmod(0o755)
    plain.theta("install")
    plain.theta("track", "*.safetensors")
    plain.write(MODEL, version(0))
    plain.git("add", ".gitattributes", MODEL)
    plain.git("commit", "-q", "-m", "first")
    bare = plain.add_remote("origin")
    plain.git("push", "-q", "origin", "main")
    assert "refs/heads/main" in (plain.path / "pushed-refs").read_text()
    assert bare.clone("clone").digest(MODEL) == digest(version(0))
    plain.theta("uninstall")
    assert hook.read_text() == "#!/bin/sh\ncat > pushed-refs\n"


def test_rebase_of_another_commit_over_a_model_then_push(history: GitRepo, pushed: GitRepo) -> None:
    history.git("switch", "-q", "-c", "text", "v0")
    history.write("text.txt", "no model\n")
    history.commit("no model")
    history.git("rebase", "-q", "main")
    history.git("push", "-q", "origin", "text")
    assert pushed.clone("clone", "-b", "text").digest(MODEL) == digest(version(1))
