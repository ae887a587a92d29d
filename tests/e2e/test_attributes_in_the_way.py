"""Attributes that change text on its way to the work tree: manifests come through, or they are named."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


def add_line(repo: GitRepo, line: str, name: str = ".gitattributes") -> None:
    """A line that comes later, so that it has the last word."""
    path = repo.path / name
    repo.write(name, (path.read_text() if path.exists() else "") + line + "\n")
    repo.git("add", name)
    repo.git("commit", "-q", "-m", line)


def wrong(repo: GitRepo) -> str:
    """What doctor finds, as a message with remedies."""
    return repo.theta("doctor", check=False).stdout.replace("       type: ", "  ")


@pytest.mark.parametrize("how", ["* text=auto eol=crlf", "* text eol=crlf", "autocrlf"])
def test_line_ends(history: GitRepo, how: str) -> None:
    if how == "autocrlf":
        history.git("config", "core.autocrlf", "true")
        add_line(history, "*.safetensors !text")
    else:
        add_line(history, how)
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(version(1))
    assert history.status() == []
    (history.path / MODEL).unlink()
    history.git("-c", "theta.skipSmudge=true", "checkout", "--", MODEL)
    assert (history.path / MODEL).read_bytes() == history.blob(f"HEAD:{MODEL}").replace(b"\n", b"\r\n")
    (history.path / MODEL).touch()
    history.git("add", "-A")
    assert history.status() == []
    assert MODEL in history.theta("status").stdout.partition("Manifests in place")[2]
    history.theta("diff", "v0")
    history.theta("pull", check=False)
    assert history.digest(MODEL) == digest(version(1))
    assert history.status() == []
    said = wrong(history)
    assert f"overrides git-theta for {MODEL}" in said
    history.remedy(said, f"git theta track {MODEL}")
    assert "overrides" not in wrong(history)


def test_pattern_that_a_later_line_overrides(history: GitRepo) -> None:
    add_line(history, "* text=auto")
    add_line(history, "small.safetensors -filter")
    assert "outdoes" in history.theta("track", "*.safetensors").stdout
    assert "overrides git-theta for model" not in wrong(history)
    assert history.git("check-attr", "filter", "small.safetensors").stdout.endswith("unset\n")
    assert "outdoes" not in history.theta("track", "*.safetensors").stdout


def test_folder_below_has_the_last_word(history: GitRepo) -> None:
    history.write("sub/b.safetensors", version(0))
    history.commit("below")
    add_line(history, "*.safetensors text", "sub/.gitattributes")
    said = wrong(history)
    assert "overrides git-theta for sub/b.safetensors" in said
    assert "overrides git-theta for sub/b.safetensors" in history.theta("track", "*.safetensors").stdout
    history.remedy(said, "git -C sub theta track b.safetensors")
    assert "overrides" not in wrong(history)
    (history.path / "sub/.gitattributes").write_text("*.safetensors text\n")
    history.theta("track", "sub/b.safetensors")
    assert "overrides" not in wrong(history)


def test_file_in_the_git_folder_has_the_last_word(history: GitRepo) -> None:
    """As git-annex has it."""
    history.write(".git/info/attributes", "* filter=annex\n")
    assert f"overrides git-theta for {MODEL}" in wrong(history)
    history.theta("track", MODEL)
    assert "overrides" not in wrong(history)
    history.write(MODEL, version(0))
    history.commit("as ever")
    assert history.blob(f"HEAD:{MODEL}") == history.blob(f"v0:{MODEL}")


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-32BE"])
def test_encodings_are_named_and_spoil_nothing(history: GitRepo, encoding: str) -> None:
    add_line(history, f"*.safetensors working-tree-encoding={encoding}")
    new = safetensors_bytes(weights(5))
    history.write(MODEL, new)
    refused = history.git("add", MODEL, check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: the attribute working-tree-encoding ({encoding}) stands in the way" in refused.stderr
    assert "the attribute working-tree-encoding" in wrong(history)
    history.git("checkout", "-f", "v1")
    history.git("checkout", "-f", "main")
    (history.path / MODEL).unlink()
    said = history.git("checkout", "--", MODEL).stderr
    assert f"{MODEL}: this is a manifest in another encoding" in said
    (history.path / MODEL).touch()
    history.git("add", "-A")  # what Git has stays as it is
    assert history.status() == []
    history.write("notes.txt", "other\n")
    history.git("stash", "-q")
    history.git("stash", "pop", "-q")
    history.run("sh", "-e", "-c", f"git theta track {MODEL} && git theta pull")
    assert f"git theta track {MODEL} && git theta pull" in said
    assert history.digest(MODEL) == digest(version(1))
    history.write(MODEL, new)
    history.remedy(refused.stderr, f"git theta track {MODEL}")
    history.commit("in UTF-8")
    assert history.status() == []
    history.git("checkout", "-q", "-f", "v0")
    history.git("checkout", "-q", "main")
    assert history.digest(MODEL) == digest(new)


def test_ident_is_named(history: GitRepo) -> None:
    add_line(history, "* ident")
    said = wrong(history)
    assert "the attribute ident is not as git-theta needs it (unset)" in said
    history.remedy(said, f"git theta track {MODEL}")
    assert "the attribute" not in wrong(history)


def test_manifest_in_git_with_other_line_ends(history: GitRepo) -> None:
    """It gives the checkpoint, is no phantom change, and is named and mended."""
    text = history.blob(f"HEAD:{MODEL}").replace(b"\n", b"\r\n")
    history.stage(text, MODEL)
    refused = history.git("commit", "-m", "crlf", check=False)
    assert "a manifest whose lines end in CRLF" in refused.stderr
    history.commit_index("crlf")
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(version(1))
    (history.path / MODEL).touch()
    history.git("add", "-A")
    assert history.status() == []
    assert "CRLF" in history.theta("fsck", check=False).stdout
    history.remedy(wrong(history), f"git rm -q --cached {MODEL} && git add {MODEL}")
    history.git("commit", "-q", "-m", "mended")
    assert history.theta("fsck").returncode == 0
    assert history.git("diff", "--quiet", "HEAD", "v1", "--", MODEL, check=False).returncode == 0
