"""Nothing that lies in a work tree is run: no module, no program, nothing that .thetaconfig names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from git_repo import GitRepo, does, safetensors_bytes, weights

MODULES = (
    *("blake3", "numpy", "click", "zstandard", "sqlite3", "torch", "zarr", "git", "safetensors", "plugin"),
    *(
        "json",
        "functools",
        "pathlib",
        "hashlib",
        "subprocess",
        "shlex",
        "tempfile",
        "struct",
        "typing",
        "select",
    ),
    *("dataclasses", "contextlib", "threading", "collections", "enum", "platform", "traceback", "concurrent"),
)


def shadows(repo: GitRepo, marker: Path) -> None:
    """Modules that note that they were imported; but not such as Python has before any program begins."""
    asked = [sys.executable, "-c", "import re, sys; print(*sys.modules)"]
    loaded = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    names = [name for name in MODULES if name not in loaded]
    assert {"blake3", "numpy", "click", "json", "zstandard"} <= set(names)
    for name in names:
        repo.write(f"{name}.py", f"open({str(marker)!r}, 'a').write({name + ' '!r})\nraise ImportError\n")
    for group in ("checkpoints", "updates", "remotes"):
        text = f"[git_theta.plugins.{group}]\nplugin = plugin:Plugin\n"
        repo.write("evil-1.0.dist-info/entry_points.txt", text)
        repo.write("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")


@pytest.mark.parametrize("python_path", [":/nowhere", "/nowhere:sub/.."])
def test_modules_of_a_work_tree_are_not_imported(repo: GitRepo, tmp_path: Path, python_path: str) -> None:
    marker = tmp_path / "ran"
    shadows(repo, marker)
    repo.write("sub/empty", "")
    repo.write("model.safetensors", safetensors_bytes(weights(count=1, shape=(8, 8))))
    repo.commit("hostile")
    clone = GitRepo(tmp_path / "clone")
    repo.git("clone", "-q", ".", str(clone.path), PYTHONPATH=python_path)
    assert clone.digest("model.safetensors") == repo.digest("model.safetensors")
    (clone.path / "model.safetensors").touch()
    assert clone.git("status", "--short", PYTHONPATH=python_path).stdout == ""
    clone.write("model.safetensors", safetensors_bytes(weights(1, count=1, shape=(8, 8))))
    assert "layer.0.weight" in clone.git("diff", PYTHONPATH=python_path).stdout
    clone.git("commit", "-qam", "with hooks", PYTHONPATH=python_path)
    clone.theta("log", "model.safetensors", PYTHONPATH=python_path)
    assert not marker.exists(), marker.read_text()


def test_doctor_names_folders_that_depend_on_where_one_is(repo: GitRepo) -> None:
    said = repo.refused("git", "theta", "doctor", PYTHONPATH=":/usr/x y")
    assert "PYTHONPATH has empty or relative entries" in said
    again = "export PYTHONPATH='/usr/x y'\ngit theta doctor"
    assert "export PYTHONPATH='/usr/x y'" in said
    assert "PYTHONPATH has" not in repo.run("sh", "-c", again, PYTHONPATH=":/usr/x y").stdout
    repo.remedy(repo.refused("git", "theta", "doctor", PYTHONPATH="."), "export PYTHONPATH=''")
    said = repo.refused("git", "theta", "doctor", PATH=f"{os.environ['PATH']}:.")
    does(said, "export PATH=/")
    assert os.environ["PATH"] + "\n" in said


def test_the_users_own_hook_has_the_path_that_it_had(repo: GitRepo) -> None:
    hook = repo.write(".git/hooks/post-commit.theta-chained", '#!/bin/sh\necho "$PATH" > .git/path\n')
    hook.chmod(0o755)
    path = f"{os.environ['PATH']}:node_modules/.bin"
    repo.git("commit", "-q", "--allow-empty", "-m", "empty", PATH=path)
    assert (repo.path / ".git" / "path").read_text().strip().endswith(path)


def test_search_path_keeps_what_is_fixed(tmp_path: Path) -> None:
    code = "import sys, os, git_theta.search_path; print(os.environ['PATH']); print(*sys.path, sep='\\n')"
    (tmp_path / "lib").mkdir()
    environment = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}::.:bin",
        "PYTHONPATH": f":{tmp_path}/lib:lib2",
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    path, *folders = done.stdout.splitlines()
    assert path == os.environ["PATH"]
    assert f"{tmp_path}/lib" in folders
    assert not {"", str(tmp_path), f"{tmp_path}/lib2", "lib2"} & set(folders)


def test_thetaconfig_names_no_program(repo: GitRepo, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = f"touch {marker}"
    repo.write("included", f'[core]\n\tfsmonitor = "{evil}"\n')
    repo.write(
        ".thetaconfig",
        f'[include]\n\tpath = included\n[core]\n\tfsmonitor = "{evil}"\n\tpager = "{evil}"\n'
        f'[filter "theta"]\n\tprocess = "{evil}"\n[diff]\n\texternal = "{evil}"\n'
        f'[alias]\n\ttheta = "!{evil}"\n'
        "[merge]\n\tstrategy = average\n",
    )
    for seed, branch in ((0, "main"), (1, "side"), (2, "main")):
        repo.git("checkout", "-q", *(["-b"] if branch == "side" else []), branch)
        repo.write("model.safetensors", safetensors_bytes(weights(seed, count=1, shape=(8, 8))))
        repo.commit(branch)
    repo.git("merge", "-q", "--no-edit", "side")
    repo.theta("status")
    assert not marker.exists()
