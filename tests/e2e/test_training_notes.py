"""Merging what a training run notes about itself: counters, and the state of a trainer."""

from __future__ import annotations

from typing import Any

import pytest
from git_repo import GitRepo
from torch_files import NAME, loaded, saved, sides

torch = pytest.importorskip("torch")


pytestmark = pytest.mark.usefixtures("no_editor")


def trained(steps: int, epoch: int = 1) -> dict[str, Any]:
    """As Lightning saves it, after some steps."""
    score, file = torch.tensor(steps / 8), f"/runs/epoch={steps}.ckpt"
    checkpointing = {
        "best_model_score": score,
        "best_model_path": file,
        "current_score": score,
        "best_k_models": {file: score},
        "kth_value": score,
    }
    return {
        "epoch": epoch,
        "pytorch-lightning_version": f"2.{steps}",
        "state_dict": {"w": torch.full((4,), float(steps)), "bn.num_batches_tracked": torch.tensor(steps)},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": checkpointing},
        "loops": {"fit_loop": {"total": steps}},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(float(steps)), "exp_avg": torch.full((4,), float(steps))}}}
        ],
    }


def check(found: Any, mean: float, steps: int) -> None:
    wanted = trained(steps)
    assert torch.equal(found["state_dict"]["w"], torch.full((4,), mean))
    state, kept = found["optimizer_states"][0]["state"][0], wanted["optimizer_states"][0]["state"][0]
    assert torch.equal(state["exp_avg"], torch.full((4,), mean))
    assert state["step"] == kept["step"]
    assert found["state_dict"]["bn.num_batches_tracked"] == steps
    assert found["callbacks"] == wanted["callbacks"]
    assert found["loops"] == wanted["loops"]


@pytest.mark.parametrize("configured", [True, False])
def test_training_checkpoints_can_be_averaged(repo: GitRepo, configured: bool) -> None:
    sides(repo, trained(1), trained(4), trained(2))
    if configured:
        said = repo.git("merge", "--no-edit", "theirs", GIT_THETA_MERGE="average").stderr
    else:
        said = repo.theta("merge", "theirs", "-s", "average").stdout
    assert "2 merged (average)" in said
    assert "of the training kept as ours" in said
    check(loaded(repo), (4 + 2) / 2, 4)


def test_a_side_that_is_taken_has_its_counters(repo: GitRepo) -> None:
    sides(repo, trained(1), trained(4), trained(2))
    repo.theta("merge", "theirs", "-s", "theirs")
    check(loaded(repo), 2, 2)
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.theta("merge", "theirs", "-s", "average", "--rule", "*.num_batches_tracked: theirs")
    assert loaded(repo)["state_dict"]["bn.num_batches_tracked"] == 2
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.write(NAME, saved(trained(1)))
    repo.git("commit", "-qam", "as before")
    repo.git("merge", "-q", "--no-edit", "theirs")
    check(loaded(repo), 2, 2)


def test_epochs_are_a_conflict_whose_hint_is_no_average(repo: GitRepo) -> None:
    sides(repo, trained(1, 1), trained(4, 2), trained(2, 3))
    said = repo.refused("git", "theta", "merge", "theirs", "--strategy", "average")
    assert "epoch: no tensor: changed differently by main (2) and theirs (3)" in said
    repo.remedy(said, "git theta merge theirs --strategy average --rule 'epoch: ours'")
    check(loaded(repo), 3, 4)
    assert loaded(repo)["epoch"] == 2
    repo.git("reset", "-q", "--hard", "HEAD^")
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average")
    assert "average (or" not in said
    repo.remedy(said, f"git theta resolve {NAME} --ours")
    check(loaded(repo), 3, 4)


def test_weights_called_like_loops_are_weights(repo: GitRepo) -> None:
    sides(repo, *({"loops.0.weight": torch.full((4,), float(value))} for value in (1, 2, 4)))
    repo.theta("merge", "theirs", "-s", "average")
    assert torch.equal(loaded(repo)["loops.0.weight"], torch.full((4,), 3.0))
