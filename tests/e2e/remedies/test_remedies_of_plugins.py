"""What is advised about plug-in packages, typed in an environment that pip may change."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from git_repo import GitRepo, does

from git_theta.checkpoints.registry import GROUP
from git_theta.merges.registry import GROUP as STRATEGIES
from git_theta.updates.registry import GROUP as UPDATES

TESTS = Path(__file__).parents[2]
MINE = """
from git_theta.checkpoints.layout import Layout, Span
from git_theta.dtypes import BYTES


class Format:
    name, suffixes, streams, probe = "mine", (".mine",), False, 8

    def recognises(self, head):
        return head.startswith(b"MINE")

    def layout(self, source):
        return Layout("mine", (Span("file", BYTES, (source.size,), 0),))

    def expected_size(self, layout, head):
        return None

    def patch(self, skeleton, layout, tensors):
        return skeleton

    def write(self, target, tensors, like):
        raise NotImplementedError
"""
KIND = """
class Kind:
    name = "odd"

    def propose(self, target, bases):
        return []

    def predictor(self, dtype, shape, bases, parameters):
        raise NotImplementedError
"""


def wheel(folder: Path, package: str, version: str, points: str, **modules: str) -> None:
    """Write a package as pip installs it."""
    info = f"{package}-{version}.dist-info"
    files = {f"{name}.py": text for name, text in modules.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment with git-theta, of which pip is; the folder where pip finds packages."""
    if shutil.which("pip") is None:
        pytest.skip("needs pip")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    standard = sysconfig.get_path("stdlib")
    ours = [path for path in sys.path if Path(path).is_dir() and not path.startswith((standard, str(TESTS)))]
    ours += [path for path in sys.path if path.startswith(standard) and path.endswith("site-packages")]
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in ours))
    script = python.with_name("git-theta")
    script.write_text(f"#!{python}\nimport sys\nfrom git_theta.cli.entry import main\nsys.exit(main())\n")
    script.chmod(0o755)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, value in {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_PYTHON": str(python),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_NO_DEPS": "1",
        "PIP_YES": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }.items():
        monkeypatch.setenv(name, value)
    return wheels


def doctor(repo: GitRepo) -> str:
    """What doctor says that is wrong with plug-ins."""
    said = repo.theta("doctor", check=False).stdout.splitlines()
    found = [at for at, line in enumerate(said) if " of package theirs " in line]
    return "\n".join(line for at in found for line in said[at : at + 2])


def bring(repo: GitRepo, environment: Path, version: str, points: str, **modules: str) -> str:
    """Install a package, and what doctor says of it."""
    wheel(environment, "theirs", version, points, **modules)
    repo.run("pip", "install", "-q", "--upgrade", "theirs")
    return doctor(repo)


def is_mine(repo: GitRepo) -> bool:
    return repo.blob(":model.mine").startswith(b'{"git-theta":2,"format":"mine"')


def test_formats(repo: GitRepo, environment: Path) -> None:
    """A file whose format is of a package, which then is broken in one way after the other."""
    repo.theta("track", "*.mine")
    points = f"[{GROUP}]\nmine = mine:Format\n"
    assert bring(repo, environment, "1.0", points, mine=MINE) == ""
    repo.write("model.mine", "MINE 1")
    repo.commit("mine")
    assert is_mine(repo)
    said = bring(repo, environment, "1.1", points, mine="import no_such_module\n")
    repo.write("model.mine", "MINE 2")
    refused = repo.refused("git", "add", "model.mine")
    assert "the checkpoint format 'mine' of package theirs cannot be loaded" in refused
    wheel(environment, "theirs", "1.2", points, mine=MINE)
    for text in (said, refused):
        repo.remedy(text, "pip install --upgrade theirs")
    repo.git("add", "model.mine")
    assert is_mine(repo)
    said = bring(repo, environment, "1.3", points, mine=MINE.replace('"mine"', '"other"'))
    repo.write("model.mine", "MINE 3")
    refused = repo.refused("git", "add", "model.mine")
    does(said, "pip uninstall theirs")
    repo.remedy(refused, "pip uninstall theirs")
    assert doctor(repo) == ""
    repo.git("add", "model.mine")
    assert not is_mine(repo)
    done = repo.run("python", "-c", BY_NAME.format("checkpoints", "mine"), check=False)
    does(done.stderr, "pip install the package that brings it")
    bring(repo, environment, "1.4", points, mine=MINE)
    repo.run("python", "-c", BY_NAME.format("checkpoints", "mine"))


BY_NAME = "from git_theta.{} import registry; registry.by_name({!r})"


def test_names_that_two_packages_want(repo: GitRepo, environment: Path) -> None:
    said = bring(repo, environment, "1.0", f"[{GROUP}]\npytorch = mine:Format\n", mine=MINE)
    repo.remedy(said, "pip uninstall theirs")
    assert doctor(repo) == ""


def test_metadata_that_pip_cannot_read(repo: GitRepo, environment: Path, tmp_path: Path) -> None:
    bring(repo, environment, "1.0", f"[{GROUP}]\nmine = mine:Format\n", mine=MINE)
    (points,) = (tmp_path / "venv").glob("lib/*/site-packages/theirs-1.0.dist-info/entry_points.txt")
    points.write_text(f"[{GROUP}]\nmine = mine:Format\nrubbish\n")
    assert repo.run("pip", "uninstall", "theirs", check=False).returncode
    repo.remedy(doctor(repo), f"rm -r {points.parent}")
    assert doctor(repo) == ""


def test_other_plug_ins(repo: GitRepo, environment: Path) -> None:
    asks = ("python", "-c", BY_NAME.format("updates", "odd"))
    points = f"[{UPDATES}]\nodd = odd:Kind\n"
    said = repo.run(*asks, check=False).stderr
    does(said, "pip install the package that brings it")
    found = bring(repo, environment, "1.0", points, odd="import no_such_module\n")
    said = repo.run(*asks, check=False).stderr
    wheel(environment, "theirs", "1.1", points, odd=KIND)
    for text in (said, found):
        repo.remedy(text, "pip install --upgrade theirs")
    repo.run(*asks)
    assert doctor(repo) == ""
    said = bring(repo, environment, "1.2", f"[{STRATEGIES}]\nodd = odd:Kind\n", odd=KIND)
    repo.remedy(said, "pip uninstall theirs")
    assert doctor(repo) == ""


def test_git_theta_that_was_only_copied(repo: GitRepo, environment: Path, tmp_path: Path) -> None:
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    path = packages / "shared.pth"
    copied = tmp_path / "copied"
    copied.mkdir()
    info = distribution("git-theta")
    for folder in path.read_text().split():
        for one in Path(folder).iterdir():
            if not one.name.startswith(("git_theta-", "git_theta.egg")) and not one.name.endswith(".pth"):
                target = copied / one.name
                if not target.exists() and not one.name.startswith((".", "tests", "docs")):
                    target.symlink_to(one)
    path.write_text(f"{copied}\n")
    version = info.version
    repo.write("model.pt", "of no format")
    said = repo.refused("git", "add", "model.pt")
    wheel(environment, "git_theta", version, info.read_text("entry_points.txt") or "")
    repo.remedy(said, "pip install git-theta")
    repo.git("add", "model.pt")
