"""git theta du counts each object once, and says what git-lfs would have stored."""

from __future__ import annotations

import json

from git_repo import GitRepo


def test_du(history: GitRepo) -> None:
    sizes = [history.git("cat-file", "-s", f"v{number}:model.safetensors").stdout for number in range(2)]
    assert all(sizes)
    found = json.loads(history.theta("du", "--json").stdout)
    objects = [path for path in (history.path / ".git/theta/objects").rglob("*") if path.is_file()]
    assert found["total"]["stored_bytes"] == sum(path.stat().st_size for path in objects)
    assert found["total"]["count"] == 2
    size = (history.path / "model.safetensors").stat().st_size
    assert found["total"]["git_lfs_bytes"] == 2 * size
    assert [share["title"] for share in found["commits"]] == ["version 0", "version 1"]
    assert [share["name"] for share in found["paths"]] == ["model.safetensors"]
    assert sum(share["count"] for share in found["updates"]) >= 2
    for share in found["updates"]:
        assert 0 < share["stored_bytes"] <= found["total"]["stored_bytes"]


def test_du_of_a_range(history: GitRepo) -> None:
    found = json.loads(history.theta("du", "--json", "v0..v1").stdout)
    assert [share["title"] for share in found["commits"]] == ["version 1"]
    text = history.theta("du", "--by", "commit").stdout
    assert text.startswith("COMMIT")
    assert "version 0" in text
    assert "PATH" not in text


def test_du_of_nothing_known(history: GitRepo) -> None:
    done = history.theta("du", "no-such-branch", check=False)
    assert done.returncode == 1
    assert "no-such-branch" in done.stderr


def test_du_before_the_first_commit(plain: GitRepo) -> None:
    assert json.loads(plain.theta("du", "--json").stdout)["total"]["count"] == 0
    refused = plain.theta("repack", check=False)
    assert refused.returncode == 1
    assert refused.stderr == "error: there is no commit here yet\nhint: git commit\n"
