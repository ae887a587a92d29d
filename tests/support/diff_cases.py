"""Changes of `history`'s model for the tests of comparing, and what they print."""

from __future__ import annotations

import re

from git_repo import GitRepo, changed, safetensors_bytes, weights

MODEL = "model.safetensors"


def rows(output: str) -> list[str]:
    """Letter and name of each row of a table."""
    return re.findall(r"^[MADRSC?] [\w.]+", output, re.MULTILINE)


def write_change(repo: GitRepo, *names: str, seed: int = 5) -> None:
    """Change tensors of the second version in the work tree."""
    tensors = changed(changed(weights(0), "layer.1.weight"), *names, seed=seed)
    repo.write(MODEL, safetensors_bytes(tensors))


def make_conflict(repo: GitRepo) -> None:
    """The path as a failed merge leaves it: v0 is the base, v1 ours, and theirs changed the bias, too."""
    write_change(repo, "bias", "layer.1.weight")
    repo.git("add", MODEL)
    theirs = repo.head(f":{MODEL}")
    repo.git("reset", "-q", "--hard", "v1")
    stages = [repo.head(f"v0:{MODEL}"), repo.head(f"v1:{MODEL}"), theirs]
    lines = [f"0 {'0' * 40}\t{MODEL}"]
    lines += [f"100644 {oid} {stage}\t{MODEL}" for stage, oid in enumerate(stages, 1)]
    repo.git("update-index", "--index-info", stdin="\n".join([*lines, ""]).encode())
