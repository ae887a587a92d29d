"""The examples of docs/plugins.md, installed as a package: they pass their tests, and git uses them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes, weights

from git_theta.checkpoints import registry as formats
from git_theta.merges import registry as strategies
from git_theta.remotes import registry as transports
from git_theta.updates import registry as kinds

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
(TOML,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path with the modules of the page, and what pip would write beside them."""
    folder = tmp_path / "package"
    info = folder / "examples-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n")
    points = re.sub(r'^\[project\.entry-points\."(.*)"\]$', r"[\1]", TOML, flags=re.MULTILINE)
    (info / "entry_points.txt").write_text(points.replace('"', ""))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_every_kind_is_on_the_page() -> None:
    """With its group, a short module, and its tests."""
    groups = {module.GROUP for module in (formats, kinds, strategies, transports)}
    assert groups == set(re.findall(r'entry-points\."(.*)"\]', TOML))
    examples = [name for name in MODULES if not name.startswith("test_")]
    assert len(examples) == len(groups)
    assert set(MODULES) == {*examples, *(f"test_{name}" for name in examples)}
    assert max(MODULES[name].count("\n") for name in examples) <= 50


def test_the_examples_pass_their_tests(package: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def vector(*numbers: float) -> bytes:
    return b"VEC1 %d\n" % len(numbers) + np.array(numbers, "<f4").tobytes()


def test_git_stores_and_merges_with_them(repo: GitRepo, package: Path) -> None:
    repo.theta("track", "*.vec")
    before = weights(count=1)
    repo.write("model.safetensors", safetensors_bytes(before))
    repo.write("a.vec", vector(1, 2, 3))
    repo.commit("base")
    assert repo.blob("HEAD:a.vec").startswith(b'{"git-theta":2,"format":"vec"')
    repo.write("model.safetensors", safetensors_bytes({name: -array for name, array in before.items()}))
    repo.commit("all signs turned")
    assert b'"update":"negated"' in repo.blob("HEAD:model.safetensors")
    repo.git("checkout", "-q", "-b", "side")
    repo.write("a.vec", vector(1.5, 3, 3))
    repo.commit("side")
    repo.git("checkout", "-q", "main")
    repo.write("a.vec", vector(2, 2.5, 3))
    repo.commit("main")
    repo.theta("merge", "side", "--strategy", "cautious")
    assert (repo.path / "a.vec").read_bytes() == vector(1.5, 2.5, 3)
    assert "cautious" in repo.theta("strategies").stdout


def test_objects_go_to_the_shelf_and_back(history: GitRepo, package: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "a shelf"
    shelf.mkdir()
    history.git("remote", "add", "shelf", f"shelf://{shelf}")
    history.theta("push", "--all", "shelf")
    assert {path.name for path in shelf.iterdir()} == {path.name for path in history.objects()}
    clone = history.clone("clone", "--no-checkout")
    clone.git("remote", "remove", "origin")
    clone.git("remote", "add", "shelf", f"shelf://{shelf}")
    clone.git("checkout", "-q", "main")
    assert clone.digest("model.safetensors") == history.digest("model.safetensors")
    found = json.loads(clone.theta("doctor", "--json").stdout)
    assert {"level": "ok", "text": "remote shelf: objects can go there", "remedy": ""} in found
