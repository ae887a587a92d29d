"""Merging does what it is for: the merged model is better than either parent at what both were taught."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo

torch = pytest.importorskip("torch")

OPTIONS = {"average": {}, "ties": {"density": "0.5"}, "task-arithmetic": {"weight": "0.6"}}
FIRST, SECOND = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)


class Digits:
    """scikit-learn's digits: 8 x 8 pixels, ten classes; every fourth one is kept for the test."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.tensor(data.data / 16, dtype=torch.float32)
        classes = torch.tensor(data.target)
        kept = torch.arange(len(classes)) % 4 == 0
        self.train, self.test = (images[~kept], classes[~kept]), (images[kept], classes[kept])

    def fit(self, model: torch.nn.Module, classes: tuple[int, ...], steps: int, rate: float) -> None:
        images, targets = self.train
        chosen = torch.isin(targets, torch.tensor(classes))
        images, targets = images[chosen], targets[chosen]
        optimiser = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(steps):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(images), targets).backward()
            optimiser.step()

    def accuracy(self, model: torch.nn.Module) -> float:
        images, targets = self.test
        with torch.no_grad():
            return float((model(images).argmax(1) == targets).float().mean())


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 10))


def save(model: torch.nn.Module, repo: GitRepo) -> None:
    torch.save(model.state_dict(), repo.path / "digits.pt")


def load(repo: GitRepo) -> torch.nn.Module:
    model = network()
    model.load_state_dict(torch.load(Path(repo.path) / "digits.pt", weights_only=True))
    return model


@pytest.mark.slow
def test_merged_digits_beat_both_parents(repo: GitRepo) -> None:
    torch.manual_seed(0)
    digits = Digits()
    model = network()
    digits.fit(model, FIRST + SECOND, steps=20, rate=3e-3)
    save(model, repo)
    repo.commit("a base that knows a little of all digits")
    repo.git("tag", "v0")
    accuracies = {}
    for branch, classes in (("second", SECOND), ("first", FIRST)):
        repo.git("checkout", "-q", "-b", branch, "v0")
        model = load(repo)
        digits.fit(model, classes, steps=20, rate=3e-3)
        save(model, repo)
        repo.commit(f"taught {classes}")
        accuracies[branch] = digits.accuracy(model)
    for strategy, options in OPTIONS.items():
        repo.git("checkout", "-q", "-B", "merged", "first")
        repo.git("config", "theta.merge", strategy)
        for key, value in options.items():
            repo.git("config", f"theta.merge.{key}", value)
        repo.git("merge", "-q", "-m", f"merge with {strategy}", "second")
        accuracies[strategy] = digits.accuracy(load(repo))
        for key in options:
            repo.git("config", "--unset", f"theta.merge.{key}")
    parents = max(accuracies["first"], accuracies["second"])
    assert min(accuracies[strategy] for strategy in OPTIONS) > parents + 0.2, accuracies
