"""Texts in place of a checkpoint: pointers of other tools, and what git-theta itself writes for people.

Named by what stores and by what looks, never stored as if they were models, and what Git has stays as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1234567\n"
ORIGINAL = json.dumps(
    {
        "encoder": {
            "weight": {
                "tensor_metadata": {"shape": [2], "dtype": "float32", "hash": list(range(16))},
                "lfs_metadata": {"version": "lfs", "oid": "sha256:00", "size": "5"},
                "theta_metadata": {"update_type": "dense", "last_commit": ""},
            }
        }
    },
    indent=4,
)
TEXTS = {
    "lfs": (LFS, "a pointer of Git LFS"),
    "lfs of old": (LFS.replace("git-lfs.github.com", "hawser.github.com"), "a pointer of Git LFS"),
    "lfs of older": (LFS.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"), "LFS"),
    "lfs crlf": (LFS.replace("\n", "\r\n"), "a pointer of Git LFS"),
    "annex": ("/annex/objects/SHA256E-s65808--" + "cd" * 32 + ".safetensors\n", "a pointer of git-annex"),
    "annex link": ("../.git/annex/objects/ab/cd/SHA256E-s65808--00", "a pointer of git-annex"),
    "original": (ORIGINAL, "metadata of the original Git-Theta"),
    "shown": ("git-theta tensors 1 safetensors\nbias  F32  [16]  norm 4  0123456789ab  dense\n", "shows"),
    "edited": ('{\n  "git-theta": 1,\n  "format": "safetensors"\n}\n', "a manifest that was edited"),
}


def test_add_refuses_every_kind(history: GitRepo) -> None:
    for number, (text, what) in enumerate(TEXTS.values()):
        name = [MODEL, "other.pt"][number % 2]
        history.write(name, text)
        refused = history.git("-c", "theta.allowDamaged=true", "add", name, check=False)
        assert refused.returncode != 0
        assert f"git-theta: {name}: this is " in refused.stderr
        assert what in refused.stderr
    assert history.staged() == []


@pytest.mark.parametrize("name", [MODEL, "other.pt"])
def test_what_looks_does_not_refuse_and_stash_brings_it_back(history: GitRepo, name: str) -> None:
    text = LFS
    history.write(name, text)
    for command in (["status"], ["diff"], ["diff", "--stat"]):
        assert history.git(*command).returncode == 0
    history.git("stash", "-q", "-u")
    assert history.status() == []
    history.git("stash", "pop", "-q")
    assert (history.path / name).read_bytes() == text.encode()


ROADS: dict[str, Callable[[GitRepo], list[str]]] = {
    "hash-object": lambda repo: ["hash-object", "-w", f"--path={MODEL}", MODEL],
    "update-index": lambda repo: ["update-index", MODEL],
    "renormalize": lambda repo: ["add", "--renormalize", "."],
    "commit -a": lambda repo: ["commit", "-qam", "x"],
    "commit PATH": lambda repo: ["commit", "-qm", "x", MODEL],
    "theta add": lambda repo: ["theta", "add", MODEL],
    "theta add --update": lambda repo: ["theta", "add", MODEL, "--update", "delta"],
}


@pytest.mark.parametrize("road", ROADS)
def test_other_roads_are_closed_too(history: GitRepo, road: str) -> None:
    history.write(MODEL, LFS)
    refused = history.git(*ROADS[road](history), check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: this is a pointer of Git LFS" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert history.staged() == []


@pytest.mark.parametrize("kind", ["lfs", "lfs crlf", "edited"])
def test_what_git_has_stays_as_it_is(history: GitRepo, kind: str) -> None:
    """A commit that has such a text can be checked out, looked at, stashed and left, and is not changed."""
    text, what = TEXTS[kind]
    before = history.head()
    history.commit_as_it_is(text.encode())
    out = history.git("checkout", "-f", "HEAD", "--", MODEL)
    (line,) = [line for line in out.stderr.splitlines() if line.startswith("git-theta: ")]
    assert line.startswith(f"git-theta: {MODEL}: this is ")
    assert what in line
    assert (history.path / MODEL).read_bytes() == text.encode()
    (history.path / MODEL).touch()
    assert history.status() == []
    history.git("add", "-A")
    history.git("add", "--renormalize", ".")
    assert history.staged() == []
    history.write("notes.txt", "changed\n")
    history.git("stash", "-q")
    history.git("stash", "pop", "-q")
    history.git("commit", "-qam", "other things")
    for command in (
        ["checkout", "-q", before],
        ["checkout", "-q", "main"],
        ["log", "-p", "-3"],
        ["blame", MODEL],
    ):
        history.git(*command)
    assert history.status() == []
    for command in ("doctor", "status", "fsck", "ls-files"):
        found = history.theta(command, check=False).stdout
        assert what in found, command
    assert history.theta("doctor", check=False).returncode == 1
    assert history.theta("fsck", check=False).returncode == 1
    assert what in history.theta("diff", "v1", "HEAD", "--", MODEL).stdout


@pytest.mark.parametrize("kind", ["shown", "edited"])
def test_what_was_lost_in_it_is_brought_back(history: GitRepo, kind: str) -> None:
    text = TEXTS[kind][0]
    history.write(MODEL, text)
    refused = history.git("add", MODEL, check=False)
    history.remedy(refused.stderr, f"git restore {MODEL}")
    assert history.digest(MODEL) == digest(version(1))
    v1 = history.head("v1")[:12]
    history.commit_as_it_is(text.encode())
    history.git("checkout", "-f", "HEAD", "--", MODEL)
    said = history.theta("doctor", check=False).stdout
    command = f"git restore --source={v1} --staged --worktree {MODEL}"
    assert command in said
    history.run("sh", "-e", "-c", command)
    history.git("commit", "-q", "-m", "back")
    assert history.digest(MODEL) == digest(version(1))
    assert history.theta("fsck").returncode == 0


def test_commit_refuses_what_came_past_the_filter(history: GitRepo) -> None:
    history.stage(LFS.encode())
    refused = history.git("commit", "-m", "x", check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: this is a pointer of Git LFS" in refused.stderr
    assert f"git add --renormalize {MODEL}" in refused.stderr  # the work tree has the checkpoint
    history.git("add", "--renormalize", MODEL)
    assert history.staged() == []


def test_rebase_stops_at_what_came_past_the_filter(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    history.write("notes.txt", "side\n")
    history.git("commit", "-qam", "side")
    history.git("rebase", "main", check=False)
    history.write("notes.txt", "solved\n")
    history.git("add", "notes.txt")
    history.stage(LFS.encode())
    history.write(MODEL, LFS)
    refused = history.git("rebase", "--continue", check=False)
    assert refused.returncode != 0
    assert "a pointer of Git LFS" in refused.stderr


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
class TestRealLfs:
    """A repository of Git LFS that changes over to git-theta."""

    NEW = safetensors_bytes(changed(weights(0), "bias"))

    def half_done(self, repo: GitRepo) -> GitRepo:
        """A clone of one where the patterns are git-theta's, but a file is still a pointer."""
        repo.git("lfs", "install", check=False)
        repo.write(".gitattributes", "*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        repo.write(MODEL, self.NEW)
        repo.commit("with Git LFS")
        repo.theta("track", "*.safetensors")
        repo.git("add", ".gitattributes")
        repo.git("commit", "-q", "-m", "track with git-theta")
        bare = repo.add_remote("origin")
        repo.git("push", "-q", "-u", "origin", "main")
        return bare.clone("clone")

    def test_doctor_leads_out_where_the_file_is(self, repo: GitRepo) -> None:
        self.half_done(repo)
        said = repo.theta("doctor", check=False).stdout
        assert f"{MODEL}: this is a pointer of Git LFS" in said
        repo.run("sh", "-e", "-c", f"git add --renormalize {MODEL}")
        repo.git("commit", "-q", "-m", "converted")
        assert repo.blob(f"HEAD:{MODEL}").startswith(b'{"git-theta":')
        assert "pointer" not in repo.theta("doctor", check=False).stdout

    def test_clone_leads_out_where_it_is_not(self, repo: GitRepo) -> None:
        clone = self.half_done(repo)
        assert clone.blob(f"HEAD:{MODEL}").startswith(b"version https://git-lfs")
        assert clone.status() == []
        command = f"git lfs smudge < {MODEL} > {MODEL}.new && mv {MODEL}.new {MODEL}"
        (clone.path / MODEL).unlink()
        assert command in clone.git("checkout", "--", MODEL).stderr
        clone.write("copy.safetensors", clone.blob(f"HEAD:{MODEL}"))
        refused = clone.git("add", "copy.safetensors", check=False)
        clone.remedy(refused.stderr, command.replace(MODEL, "copy.safetensors"))
        clone.run("sh", "-e", "-c", command)
        assert clone.digest("copy.safetensors") == digest(self.NEW)
        assert clone.digest(MODEL) == digest(self.NEW)
        clone.commit("converted")
        assert clone.blob(f"HEAD:{MODEL}").startswith(b'{"git-theta":')


def test_json_of_status_names_them(history: GitRepo) -> None:
    history.commit_as_it_is(LFS.encode())
    history.git("checkout", "-f", "HEAD", "--", MODEL)
    found = json.loads(history.theta("status", "--json").stdout)
    assert "a pointer of Git LFS" in found["stand_ins"][MODEL]
