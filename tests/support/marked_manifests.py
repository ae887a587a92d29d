"""A manifest with conflict markers: what a git makes of a merge that knows nothing of tensors."""

from __future__ import annotations

import os

from git_repo import GitRepo, changed, safetensors_bytes, weights

MODEL = "model.safetensors"
BASE = weights(0)
OURS = safetensors_bytes(changed(BASE, "layer.0.weight", "bias", seed=3))
THEIRS = safetensors_bytes(changed(BASE, "layer.2.weight", "bias", seed=4))


def merged_without(repo: GitRepo, style: str = "merge", commit: bool = True) -> bytes:
    """Both sides change the model, and somebody merges them whose git knows nothing of tensors."""
    repo.git("checkout", "-q", "-B", "theirs", "v0")
    repo.write(MODEL, THEIRS)
    repo.commit("theirs")
    repo.git("checkout", "-q", "-B", "main", "v0")
    # Older than the index: a file of the same second is read again, by a git that has no filter for it.
    os.utime(repo.write(MODEL, OURS), (1, 1))
    repo.commit("ours")
    home = repo.path.parent / "another home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = B\nemail = b@example.com\n[core]\nhooksPath = /dev/null\n"
    )
    repo.git("-c", f"merge.conflictStyle={style}", "merge", "theirs", check=False, HOME=str(home))
    text = (repo.path / MODEL).read_bytes()
    assert text.startswith(b"<<<<<<< ")
    repo.git("add", "-A", HOME=str(home))
    if commit:
        repo.git("commit", "-q", "-m", "merged without git-theta", HOME=str(home))
    return text
