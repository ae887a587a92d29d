"""Plug-ins of other packages that are broken: looking never fails, and storing only what is theirs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, weights

Install = Callable[..., None]

FORMAT = """
from git_theta.checkpoints.layout import Layout, Span
from git_theta.dtypes import BYTES

class Plugin:
    name, suffixes, streams, probe = {name!r}, (".mine",), False, 8
    def recognises(self, head): return head.startswith(b"MINE")
    def layout(self, source): return Layout(self.name, (Span("file", BYTES, (source.size,), 0),))
    def expected_size(self, layout, head): return None
    def patch(self, skeleton, layout, tensors): return skeleton
    def write(self, target, tensors, like): raise NotImplementedError
"""
KIND = """
from git_theta.updates.interface import Proposal

class Plugin:
    name = {name!r}
    def propose(self, target, bases): return [Proposal(self.name, (base,)) for base in bases[:1]]
    def predictor(self, dtype, shape, bases, parameters):
        self.base = bases[0]
        return self
    def predict(self, start, stop, out): out[:] = self.base.read(start, stop)
"""
STRATEGY = """
from git_theta.merges.interface import Strategy
from git_theta.merges.options import NoOptions

class Plugin(Strategy):
    name, options, summary = {name!r}, NoOptions, "Of a test."
    formula = reference = use = "None."
    def combine(self, block, options, state): return block.models[0]
"""
TRANSPORT = """
class Plugin:
    name = {name!r}
    def serves(self, url): return False
    def open(self, name, url): raise NotImplementedError
"""
TEXTS = {"checkpoints": FORMAT, "updates": KIND, "merges": STRATEGY, "remotes": TRANSPORT}
ALWAYS = {
    "import": "import no_such_module\n",
    "constructor": "    def __init__(self): raise OSError('no licence')\n",
    "interface": "    name = 'another'\n",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package with a plug-in: install(package, group, name, how it ends, how it begins)."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def install(package: str, group: str, name: str, more: str = "", text: str = "") -> None:
        module = package.replace("-", "_")
        (folder / f"{module}.py").write_text((text or TEXTS[group]).format(name=name) + more)
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[git_theta.plugins.{group}]\n{name} = {module}:Plugin\n")

    return install


def warnings(said: str) -> list[str]:
    return [line for line in said.splitlines() if " of package " in line]


def test_looking_never_fails(history: GitRepo, install: Install, tmp_path: Path) -> None:
    """Every kind of plug-in, broken in every way, beside a file of no format and one of a known one."""
    history.write("opaque.pt", "of no format\n" * 40)
    history.commit("opaque")
    for group in TEXTS:
        for way, code in ALWAYS.items():
            install(f"{way}-{group}", group, f"{way}-{group}", code)
    install("asks", "checkpoints", "asks", "    def recognises(self, head): return head and 1/0\n")
    install("first", "merges", "twice")
    install("second", "merges", "twice")
    install("taker", "updates", "delta")
    (tmp_path / "packages" / "import_updates-1.0.dist-info" / "METADATA").unlink()
    packages = {f"{way}-{group}" for group in TEXTS for way in ALWAYS} - {"import-updates"}
    packages |= {"asks", "second", "taker", "import_updates"}
    history.write("opaque.pt", "of no format, too\n" * 40)
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.0.weight", seed=5)))
    assert history.status() == [" M model.safetensors", " M opaque.pt"]
    for command in (
        *("status", "diff", "diff --stat", "log -p --ext-diff -2", "show --ext-diff", "blame notes.txt"),
        *("theta status", "theta diff", "theta log model.safetensors", "theta ls-files -l", "theta du"),
        *("stash", "stash show -p", "stash pop", "theta strategies", "theta show model.safetensors"),
        *("theta blame model.safetensors", "blame model.safetensors", "grep -l version"),
    ):
        done = history.git(*command.split())
        assert "Traceback" not in done.stdout + done.stderr, command
    history.git("remote", "add", "origin", "mine://somewhere")
    said = warnings(history.git("add", "--all").stderr)
    formats = {name for name in packages if name.endswith("checkpoints")}
    assert {line.split(" of package ")[1].split(" ")[0] for line in said} >= {*formats, "asks"}
    assert len(said) == len(set(said))
    history.git("commit", "-q", "-m", "stored all the same")
    assert history.git("status", "--porcelain").stdout == ""
    found = history.theta("doctor", check=False)
    assert {line.split(" of package ")[1].split(" ")[0] for line in warnings(found.stdout)} == packages
    assert not warnings(found.stderr)


def test_only_what_a_broken_format_has_stored_is_refused(repo: GitRepo, install: Install) -> None:
    repo.theta("track", "*.mine", "*.bin")
    install("theirs", "checkpoints", "mine")
    for name in ("model.mine", "model.bin"):
        repo.write(name, "MINE 1")
    repo.commit("mine")
    install("theirs", "checkpoints", "mine", "    def recognises(self, head): return 1/0\n")
    for name in ("model.mine", "model.bin", "new.bin"):
        repo.write(name, "MINE 2")
    assert repo.status() == [" M model.bin", " M model.mine", "?? new.bin"]
    for name in ("model.mine", "model.bin"):
        said = repo.refused("git", "add", name)
        assert f"{name}: the checkpoint format 'mine' of package theirs breaks the interface's rules" in said
        assert "pip uninstall theirs" in said
    (line,) = warnings(repo.git("add", "new.bin").stderr)
    assert line.endswith("see: git theta doctor")
    repo.git("stash", "-q")
    repo.git("stash", "pop", "-q")
    assert (repo.path / "model.mine").read_bytes() == b"MINE 2"
    repo.git("-c", "theta.allowDamaged=true", "add", "--all")


def test_a_file_that_only_a_failing_format_could_read(repo: GitRepo, install: Install) -> None:
    repo.theta("track", "*.mine", "*.bin")
    install("theirs", "checkpoints", "mine", "    def layout(self, source): return source.size[0]\n")
    repo.write("model.bin", "MINE 1")
    said = repo.refused("git", "add", "model.bin")
    assert "model.bin: the checkpoint format 'mine' of package theirs has failed: TypeError(" in said
    assert "pip install --upgrade theirs" in said
    repo.write("other.bin", "no format")
    repo.git("add", "other.bin")
    install("theirs", "checkpoints", "mine")
    repo.commit("mine")
    install("theirs", "checkpoints", "mine", "    def layout(self, source): return source.size[0]\n")
    repo.write("model.bin", "MINE 2")
    for command in ("status", "diff", "theta status", "theta diff", "stash", "stash pop"):
        repo.git(*command.split())
    assert "theirs has failed" in repo.theta("diff").stdout
    repo.write("model.bin", "MINE 1")
    assert repo.status() == []
    repo.git("add", "model.bin")


def test_asked_about_a_file_a_format_fails(repo: GitRepo, install: Install) -> None:
    """Whether it is its own cannot be known: the file's name says so."""
    repo.theta("track", "*.mine", "*.bin")
    install("theirs", "checkpoints", "mine", "    def recognises(self, head): return head and 1/0\n")
    repo.write("model.safetensors", safetensors_bytes(weights()))
    assert not warnings(repo.git("add", "model.safetensors").stderr)
    repo.write("model.bin", "MINE 1")
    assert len(warnings(repo.git("add", "model.bin").stderr)) == 1
    repo.write("model.mine", "MINE 1")
    said = repo.refused("git", "add", "model.mine")
    assert "'mine' of package theirs has failed: ZeroDivisionError" in said
    assert "theirs has failed" in repo.theta("doctor", check=False).stdout


PROPOSES = "    def propose(self, target, bases): return 1/0\n"
PREDICTS = "    def predict(self, start, stop, out): return 1/0\n"


@pytest.mark.parametrize("more", [PROPOSES, PREDICTS])
def test_a_failing_update_kind_is_not_used(history: GitRepo, install: Install, more: str) -> None:
    install("theirs", "updates", "mine", more)
    data = safetensors_bytes(changed(weights(0), seed=7))
    history.write("model.safetensors", data)
    (line,) = warnings(history.git("add", "model.safetensors").stderr)
    assert "the update kind 'mine' of package theirs has failed: ZeroDivisionError" in line
    history.git("commit", "-q", "-m", "new")
    (history.path / "model.safetensors").unlink()
    history.git("checkout", "model.safetensors")
    assert (history.path / "model.safetensors").read_bytes() == data


def test_what_a_broken_update_kind_has_stored(history: GitRepo, install: Install) -> None:
    """It cannot be read without it; everything else can, and the message says what to do."""
    install("theirs", "updates", "mine")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.2.weight", seed=7)))
    history.theta("add", "model.safetensors", "--update", "mine")
    history.git("commit", "-q", "-m", "by mine")
    assert b'"update":"mine"' in history.blob("HEAD:model.safetensors")
    install("theirs", "updates", "mine", "import no_such_module\n")
    for command in ("status", "theta status", "theta ls-files", "log -p", "theta log model.safetensors"):
        history.git(*command.split())
    said = history.theta("diff", "HEAD~1", "HEAD").stdout
    assert "'mine' of package theirs cannot be loaded" in said
    (history.path / "model.safetensors").unlink()
    said = history.refused("git", "checkout", "model.safetensors")
    assert "'mine' of package theirs cannot be loaded" in said
    assert "pip uninstall theirs" in said
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.2.weight", seed=8)))
    history.commit("without it")
    install("theirs", "updates", "mine")
    history.git("checkout", "HEAD~1", "model.safetensors")


def test_strategies(history: GitRepo, install: Install) -> None:
    install("theirs", "merges", "mine", "import no_such_module\n")
    history.git("checkout", "-q", "-b", "side", "v0")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.1.weight", seed=9)))
    history.commit("side")
    done = history.theta("strategies")
    assert "average" in done.stdout
    assert len(warnings(done.stderr)) == 1
    for command in (("strategies", "mine"), ("merge", "main", "--strategy", "mine")):
        said = history.refused("git", "theta", *command)
        assert "the merge strategy 'mine' of package theirs cannot be loaded" in said
        assert "pip uninstall theirs" in said
    install("theirs", "merges", "mine", "    def combine(self, block, options, state): return 1/0\n")
    said = history.refused("git", "theta", "merge", "main", "--strategy", "mine")
    assert "the merge strategy 'mine' of package theirs has failed: ZeroDivisionError" in said
    history.git("reset", "-q", "--hard")
    history.git("-c", "theta.merge=average", "merge", "-q", "--no-edit", "main")


OPTIONS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Chosen:
    def __post_init__(self):
        if asked: 1/0
        asked.append(1)

asked = []
Plugin.options = Chosen
"""


def test_no_method_of_a_strategy_fails_unnamed(history: GitRepo, install: Install) -> None:
    """Planning, merging, and the merge driver: all say which package it is."""
    history.git("checkout", "-q", "-b", "side", "v0")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.1.weight", seed=9)))
    history.commit("side")
    ways = {
        f"{name}: {code}": f"    def {name}(self, *arguments): {code}\n"
        for name in ("needs_base", "unit", "surveys", "coefficients")
        for code in ("raise OSError('no licence')", "return 'x'")
    }
    ways["prepare"] = "    def prepare(self, blocks, options, survey): raise OSError('no licence')\n"
    ways["combine"] = "    def combine(self, block, options, state): return block.models[0].reshape(-1)[:1]\n"
    ways["survey"] = "    def surveys(self, options): return True\n    def survey(self, *of): return 1/0\n"
    ways["options"] = OPTIONS
    for way, code in ways.items():
        install("theirs", "merges", "mine", code)
        for command in ("git theta merge main --strategy mine", "git -c theta.merge=mine merge main"):
            said = history.refused(*command.split())
            assert "the merge strategy 'mine' of package theirs has failed: " in said, (way, command, said)
            assert "pip install --upgrade theirs" in said, (way, command)
            history.git("reset", "-q", "--hard", "side")


def test_what_a_user_asks_a_failing_plug_in_for(history: GitRepo, install: Install) -> None:
    """An update kind for one file, and a remote of a transport."""
    data = safetensors_bytes(changed(weights(0), seed=7))
    history.write("model.safetensors", data)
    for code in ("return 1/0", "return [7]", "return None"):
        install("theirs", "updates", "mine", f"    def propose(self, target, bases): {code}\n")
        said = history.refused("git", "theta", "add", "model.safetensors", "--update", "mine")
        assert "the update kind 'mine' of package theirs has failed: " in said
        assert "pip install --upgrade theirs" in said
    history.git("checkout", "-q", "model.safetensors")
    history.git("remote", "add", "origin", "mine://somewhere")
    for code in ("return 1/0", "return 'x'"):
        more = f"    def serves(self, url): return True\n    def open(self, name, url): {code}\n"
        install("theirs", "remotes", "mine", more)
        said = history.refused("git", "theta", "push", "origin")
        assert "the transport 'mine' of package theirs has failed: " in said
        assert "pip install --upgrade theirs" in said


def test_merging_files_of_a_failing_format(repo: GitRepo, install: Install) -> None:
    tensors = FORMAT.replace(
        '(Span("file", BYTES, (source.size,), 0),)',
        '(Span("w", dtype("F32"), ((source.size - 8) // 4,), 8),)',
    ).replace("import BYTES", "import dtype")
    install("theirs", "checkpoints", "mine", text=tensors)
    repo.theta("track", "*.mine")
    for branch, value in (("main", 1.0), ("ours", 2.0), ("theirs", 4.0)):
        repo.git("checkout", "-q", "-B", branch, *([] if branch == "main" else ["main"]))
        repo.write("model.mine", b"MINE0000" + struct.pack("<8f", *[value] * 8))
        repo.commit(branch)
    repo.git("checkout", "-q", "ours")
    for code in ("return 1/0", "return None"):
        more = f"    def patch(self, skeleton, layout, tensors): {code}\n"
        install("theirs", "checkpoints", "mine", more, text=tensors)
        said = repo.refused("git", "theta", "merge", "theirs", "--strategy", "average")
        assert "the checkpoint format 'mine' of package theirs has failed: " in said
        assert "pip install --upgrade theirs" in said
        repo.git("reset", "-q", "--hard", "ours")
