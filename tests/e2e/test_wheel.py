"""The wheel that is built from this tree, in a virtual environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from git_repo import GitRepo, version

SOURCE = Path(__file__).parents[2]


@pytest.mark.slow
def test_wheel_has_what_git_needs(tmp_path: Path, plain: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("git_theta", "hooks", "docs", "LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        source = SOURCE / name
        if source.is_dir():
            shutil.copytree(source, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, tree)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(tree)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("git_theta-*.whl")

    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    packages = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)],
        check=True,
    )
    # What it depends on is borrowed, but not the git-theta that is installed here.
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if "git_theta" not in found.name and found.suffix != ".pth" and not (packages / found.name).exists():
            (packages / found.name).symlink_to(found)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    where = plain.run("python", "-c", "import git_theta; print(git_theta.__file__)").stdout
    assert where.startswith(str(packages))

    plain.theta("install")
    plain.theta("track", "*.safetensors")
    plain.write("model.safetensors", version(0))
    said = plain.git("add", "--all").stderr
    assert said == ""
    assert "5 tensors" in plain.git("commit", "-m", "base").stderr
    bare = plain.add_remote("origin")
    plain.git("push", "-q", "origin", "main")
    clone = bare.clone("clone")
    assert (clone.path / "model.safetensors").read_bytes() == version(0)
    assert plain.theta("doctor").returncode == 0
    shared = Path(sysconfig.get_path("data", vars={"base": str(folder), "installed_base": str(folder)}))
    assert (shared / "share" / "man" / "man1" / "git-theta.1").exists()
