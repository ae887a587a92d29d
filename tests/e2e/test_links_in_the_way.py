"""A hostile repository has links wherever a file is to be written; what they lead to stays as it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_repo import GitRepo, digest, does, safetensors_bytes, weights
from merge_cases import MODEL, model

from git_theta.git.repository import Repository
from git_theta.merging import half_merged, provenance
from git_theta.remotes import pushed

BASE, OURS, THEIRS = model(a=1, b=2), model(a=10, b=2), model(a=30, b=2)
DEEP = f"deep/{MODEL}"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of the user's, outside of the repository."""
    path = tmp_path / "elsewhere" / MODEL
    path.parent.mkdir()
    path.write_bytes(b"*.txt text\n")
    path.chmod(0o600)
    yield path
    assert path.read_bytes() == b"*.txt text\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def fork(repo: GitRepo, name: str, theirs: bytes = THEIRS) -> None:
    """Two branches on which a file has changed, main being checked out."""
    for branch, data in (("main", BASE), ("theirs", theirs), ("main", OURS)):
        repo.git("switch", "-q", *([] if branch == "main" else ["-c"]), branch)
        repo.write(name, data)
        repo.commit(branch)


def conflict(repo: GitRepo, name: str) -> None:
    fork(repo, name)
    repo.git("merge", "theirs", check=False)


def test_in_place_of_a_checkpoint(repo: GitRepo, victim: Path) -> None:
    """And under the names that temporary files once had."""
    conflict(repo, MODEL)
    (repo.path / MODEL).unlink()
    (repo.path / MODEL).symlink_to(victim)
    for number in range(1, 1 << 10):
        (repo.path / f".{MODEL}.{number}.theta").symlink_to(victim)
    repo.theta("checkout", "--theirs", MODEL)
    assert not (repo.path / MODEL).is_symlink()
    assert repo.digest(MODEL) == digest(THEIRS)
    (repo.path / "named").symlink_to(victim)
    said = repo.refused("git", "theta", "checkout", "--theirs", "--to", "named", MODEL)
    assert "a symbolic link leads from named to somewhere else" in said
    repo.theta("resolve", "--ours", MODEL)
    assert repo.digest(MODEL) == digest(OURS)


def test_in_place_of_a_folder(repo: GitRepo, victim: Path) -> None:
    conflict(repo, DEEP)
    (repo.path / DEEP).unlink()
    (repo.path / "deep").rmdir()
    (repo.path / "deep").symlink_to(victim.parent)
    said = repo.refused("git", "theta", "checkout", "--theirs", DEEP)
    assert f"{DEEP} is beyond a symbolic link" in said
    repo.refused("git", "theta", "resolve", DEEP, "--strategy", "average")
    assert repo.git("ls-files", "-u").stdout.count(DEEP) == 3
    does(said, f"rm {repo.path.resolve() / 'deep'}; then the same again")
    (repo.path / "deep").unlink()
    repo.theta("checkout", "--theirs", DEEP)
    assert repo.digest(DEEP) == digest(THEIRS)
    repo.theta("resolve", "--theirs", DEEP)
    assert repo.git("ls-files", "-u").stdout == ""
    assert repo.digest(DEEP) == digest(THEIRS)


def test_in_place_of_the_attributes(plain: GitRepo, victim: Path) -> None:
    attributes = plain.path / ".gitattributes"
    attributes.symlink_to(victim)
    said = plain.refused("git", "theta", "track", "*.safetensors")
    assert ".gitattributes is a symbolic link, and git-theta writes nothing through it" in said
    plain.refused("git", "theta", "untrack", "*.txt")
    attributes.unlink()
    attributes.symlink_to(victim.parent / "new")  # which is not there
    plain.refused("git", "theta", "track", "*.safetensors")
    plain.remedy(said, "rm .gitattributes")
    plain.theta("track", "*.safetensors")
    assert attributes.read_text() == "*.safetensors filter=theta diff=theta merge=theta -text\n"


def test_in_place_of_the_attributes_of_a_folder(history: GitRepo, victim: Path) -> None:
    """git theta track answers a line that outdoes its own in the nearest file."""
    history.write(DEEP, safetensors_bytes(weights(1)))
    history.write("deep/.gitattributes", f"{MODEL} !filter\n")
    history.git("add", "deep/.gitattributes")
    attributes = history.path / "deep" / ".gitattributes"
    outside = victim.parent.parent / "attributes"
    outside.write_bytes(attributes.read_bytes())
    history.git("add", DEEP)
    attributes.unlink()
    attributes.symlink_to(outside)
    before = outside.read_bytes()
    history.theta("track", DEEP, check=False)
    assert outside.read_bytes() == before


def test_in_gits_own_folder(repo: GitRepo, victim: Path) -> None:
    """Nothing that is checked out comes here; all the same."""
    fork(repo, MODEL, model(a=1, b=5))
    git = repo.path / ".git"
    for name in ("MERGE_MSG", "MERGE_MODE", "MERGE_HEAD", "hooks/pre-push", "theta/pushed"):
        (git / name).unlink(missing_ok=True)
        (git / name).symlink_to(victim)
    (git / "MERGE_HEAD").unlink()
    repo.theta("merge", "--no-commit", "theirs")
    for name in ("MERGE_MSG", "MERGE_MODE"):
        assert not (git / name).is_symlink()
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--no-edit")
    repository = Repository(repo.path)
    said = pushed.record(repository, ["0" * 40])
    assert "cannot note what was pushed" in said
    half_merged.begin(repository, repo.head(), repo.head("HEAD^^{tree}"))
    [record] = (git / "theta" / "staging").iterdir()
    record.unlink()
    record.symlink_to(victim)
    half_merged.begin(repository, repo.head(), repo.head("HEAD^^{tree}"))
    assert not record.is_symlink()
    message = git / "COMMIT_EDITMSG"
    message.unlink(missing_ok=True)
    message.symlink_to(victim)
    provenance.complete(repository, message)
    repository.close()
    repo.theta("install", "--local")
    assert not (git / "hooks" / "pre-push").is_symlink()
    assert (git / "hooks" / "pre-push.theta-chained").is_symlink()


def test_in_place_of_what_the_user_names(history: GitRepo, victim: Path) -> None:
    (history.path / "page.html").symlink_to(victim)
    (history.path / "pages").symlink_to(victim.parent)
    for name in ("page.html", "pages/page.html"):
        said = history.refused("git", "theta", "diff", "--plot", name, "v0", "v1")
        assert f"a symbolic link leads from {name} to somewhere else" in said
        does(said, "name the place itself: ")
        place = said.partition("name the place itself: ")[2].strip()
        assert place.startswith(str(victim.parent.resolve()))
    os.mkfifo(history.path / "pipe.html")
    said = history.refused("git", "theta", "diff", "--plot", "pipe.html", "v0", "v1")
    does(said, "move it away, or name another place")
    history.theta("diff", "--plot", "page2.html", "v0", "v1")
    assert (history.path / "page.html").is_symlink()


def test_in_place_of_a_base_that_an_adapter_is_applied_to(history: GitRepo, victim: Path) -> None:
    adapter = {"layer.0.weight/R": weights(3)["layer.0.weight"][:2], "layer.0.weight/C": weights(4)["bias"]}
    history.write("adapter.bin", safetensors_bytes(adapter))
    (history.path / "base.safetensors").symlink_to(victim)
    words = ("--update-data", "adapter.bin", "--apply")
    said = history.refused("git", "theta", "add", "base.safetensors", *words)
    assert "a symbolic link leads from base.safetensors to somewhere else" in said


def test_in_place_of_the_folder_of_hooks(history: GitRepo, tmp_path: Path) -> None:
    """For users who keep their hooks in a folder of each repository."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "pre-push").write_text("#!/bin/sh\n")
    (outside / "pre-push").chmod(0o755)
    history.git("config", "--global", "core.hooksPath", ".githooks")
    (history.path / ".githooks").symlink_to(outside)
    for command in (["install", "--local"], ["track", "*.bin"], ["fetch"]):
        history.theta(*command, check=False)
        assert [path.name for path in outside.iterdir()] == ["pre-push"]
    said = history.theta("install", "--local").stdout
    assert f"in {history.path / '.githooks'} (it is reached by a symbolic link of the work tree)" in said
    assert "git theta hook" in said  # by hand, whoever wants that
    said = history.refused("git", "theta", "install", "--server")
    assert "is reached by a symbolic link of the work tree, so pre-receive cannot be installed" in said
    (history.path / ".githooks").unlink()
    (history.path / ".githooks").mkdir()
    said = history.theta("install", "--local").stdout
    assert "(it is in the work tree, and git does not ignore it)" in said
    os.mkfifo(history.path / ".githooks" / "pre-push")
    assert history.theta("status", check=False).returncode <= 1


def test_what_leads_to_a_device_is_not_read(history: GitRepo) -> None:
    (history.path / "sub").mkdir()
    (history.path / "sub" / ".gitattributes").symlink_to("/dev/zero")
    (history.path / "other").mkdir()
    (history.path / "patterns").write_text("*.bin filter=theta\n")
    (history.path / "other" / ".gitattributes").symlink_to("../patterns")  # Git does not follow it either
    history.git("add", "sub", "other", "patterns")
    said = history.theta("status").stdout
    assert "*.bin" not in said
    history.theta("track", "*.ckpt")
    history.theta("doctor", check=False)
    history.write("lora/adapter_model.safetensors", safetensors_bytes(weights(1)))
    (history.path / "lora" / "adapter_config.json").symlink_to("/dev/zero")
    adapter = "lora/adapter_model.safetensors"
    said = history.refused("git", "theta", "add", MODEL, "--update-data", adapter)
    assert "it is no regular file" in said
    does(said, "mend it, or move it away")
    (history.path / adapter).unlink()
    (history.path / adapter).symlink_to("/dev/zero")
    assert "it is no regular file" in history.refused("git", "theta", "add", MODEL, "--update-data", adapter)
