"""What is predicted in a process that takes denormal numbers for zero could not be read by any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, does, safetensors_bytes, version, weights

torch = pytest.importorskip("torch")
MODEL = "model.safetensors"


@pytest.fixture
def flushing(tmp_path: Path) -> dict[str, str]:
    """An environment in which every Python takes denormal numbers for zero."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)
    (tmp_path / "sitecustomize.py").write_text("import torch; torch.set_flush_denormal(True)\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_nothing_is_predicted_without_denormals(history: GitRepo, flushing: dict[str, str]) -> None:
    history.write(MODEL, safetensors_bytes(changed(weights(0), seed=3)))
    said = history.refused("git", "add", MODEL, **flushing)
    does(said, "in Python: torch.set_flush_denormal(False); else start git without what was preloaded")
    assert history.staged() == []
    history.git("add", MODEL)
    assert history.staged() == [MODEL]


def test_no_update_is_read_without_denormals(history: GitRepo, flushing: dict[str, str]) -> None:
    history.git("rm", "-q", "--cached", MODEL)
    (history.path / MODEL).unlink()
    said = history.refused("git", "checkout", "v1", "--", MODEL, **flushing)
    assert "denormal numbers" in said
    does(said, "else start git without what was preloaded")
    history.git("checkout", "v1", "--", MODEL)
    assert history.digest(MODEL) == digest(version(1))
