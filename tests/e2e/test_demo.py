"""git theta demo tells its story to the end, and leaves the user's own configuration alone."""

from __future__ import annotations

from pathlib import Path

from git_repo import GitRepo


def test_demo(home: Path, tmp_path: Path) -> None:
    before = (home / ".gitconfig").read_bytes()
    folder = tmp_path / "demo"
    done = GitRepo(tmp_path).theta("demo", str(folder))
    assert "LoRA, rank 8" in done.stdout
    assert '"digest"' not in done.stdout  # no patch
    assert "\x1b" not in done.stdout
    assert done.stdout.count("# the same bytes as were added") == 2
    assert (home / ".gitconfig").read_bytes() == before
    clone = GitRepo(folder / "clone")
    assert clone.git("status", "--porcelain").stdout == ""
    work, cloned = ((folder / name / "model.safetensors").read_bytes() for name in ("work", "clone"))
    assert work == cloned
    again = GitRepo(tmp_path).theta("demo", str(folder), check=False)
    assert again.returncode == 1
    assert "not empty" in again.stderr
