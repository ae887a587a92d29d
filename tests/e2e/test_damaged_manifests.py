"""Damaged manifests that a commit has: whatever meets one names a command that leads out."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo, digest, does, version

from git_theta import manifest as manifests

MODEL = "model.safetensors"


def damages(text: bytes) -> dict[str, bytes]:
    """By what is wrong with it, a manifest as an editor, a failing disk or another program leaves it."""
    return {
        "a digest": text.replace(b'"digest":"', b'"digest":"zz', 1),
        "cut off": text[: len(text) // 2],
        "no storage": manifests.write(manifests.parse(text).with_storage({})),
    }


def commit_blob(repo: GitRepo, text: bytes, name: str = MODEL) -> str:
    """Commit a text as it is, past the filter and the hooks; the work tree stays as it is."""
    oid = repo.git("hash-object", "-w", "--stdin", stdin=text).stdout.strip()
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{name}")
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "damaged")
    return repo.head()


@pytest.mark.parametrize("damage", ["a digest", "cut off"])
def test_the_last_whole_version_comes_back(history: GitRepo, damage: str) -> None:
    whole = history.head()[:12]
    commit_blob(history, damages(history.blob(f"HEAD:{MODEL}"))[damage])
    (history.path / MODEL).unlink()
    restore = f"git restore --source={whole} --staged --worktree {MODEL}"
    for command in (
        ["show", f"HEAD:{MODEL}"],
        ["diff", "HEAD^", "HEAD"],
        ["blame", MODEL],
        ["fsck"],
        ["doctor"],
    ):
        assert restore in history.refused("git", "theta", *command), command
    said = history.refused("git", "checkout", "HEAD", "--", MODEL)
    assert "git theta fetch" not in said, "no remote has another manifest for this commit"
    history.follow(said, "then type")
    assert history.digest(MODEL) == digest(version(1))
    history.git("commit", "-q", "-m", "whole again")
    assert history.theta("doctor").returncode == 0


def test_a_switch_goes_on_without_the_damage(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side")
    history.write("other.safetensors", version(0))
    history.commit("another model")
    commit_blob(history, damages(history.blob(f"HEAD:{MODEL}"))["a digest"])
    history.git("switch", "-q", "-f", "--detach", "v0")
    said = history.refused("git", "switch", "-q", "side")
    history.follow(said, "to go back")
    history.follow(said, "to try again then")
    assert history.digest(MODEL) == digest(version(1))
    assert history.digest("other.safetensors") == digest(version(0))
    assert history.git("branch", "--show-current").stdout == "side\n"


def test_the_file_at_hand_is_stored_again(history: GitRepo) -> None:
    for damage, text in damages(history.blob(f"HEAD:{MODEL}")).items():
        commit_blob(history, text)
        said = history.theta("fsck", check=False).stdout
        assert f"git add --renormalize {MODEL}" in said, damage
        history.git("add", "--renormalize", MODEL)
        history.git("commit", "-q", "-m", f"after {damage}")
        assert manifests.parse(history.blob(f"HEAD:{MODEL}")).storage


def test_status_says_what_to_type(history: GitRepo) -> None:
    text = history.blob(f"HEAD:{MODEL}")
    history.write(MODEL, version(2))
    commit_blob(history, damages(text)["cut off"])
    said = history.theta("status").stdout
    assert f"the manifest is cut off: its last line does not end; type: git add --renormalize {MODEL}" in said


def test_what_was_never_whole_is_removed(history: GitRepo) -> None:
    name = "new.safetensors"
    commit_blob(history, damages(history.blob(f"HEAD:{MODEL}"))["cut off"], name)
    said = history.theta("doctor", check=False).stdout
    history.remedy(said, f"git rm -f {name}")
    history.git("commit", "-q", "-m", "without")
    assert history.theta("doctor").returncode == 0


def test_the_commits_of_the_past_are_named(history: GitRepo) -> None:
    text = history.blob(f"HEAD:{MODEL}")
    bad = commit_blob(history, damages(text)["a digest"])
    good = commit_blob(history, text)
    said = history.refused("git", "theta", "show", f"HEAD^:{MODEL}")
    assert history.refused("git", "theta", "fsck").count("hint: git log") == 1
    oid = history.git("rev-parse", f"{bad}:{MODEL}").stdout.strip()
    found = history.remedy(said, f"git log --all --oneline --find-object={oid}").stdout
    assert [good[:7], bad[:7]] == [line[:7] for line in found.splitlines()]


def test_tensors_without_storage_say_what_to_type(history: GitRepo) -> None:
    whole, text = history.head()[:12], history.blob(f"HEAD:{MODEL}")
    commit_blob(history, damages(text)["no storage"])
    (history.path / MODEL).unlink()
    said = history.theta("show", f"HEAD:{MODEL}", COLUMNS="250").stdout
    assert f"bias': no storage line for {manifests.parse(text).tensors[0].digest[:12]}" in said
    assert f"git restore --source={whole} --staged --worktree {MODEL}" in said


def test_a_manifest_outside_of_its_repository(tmp_path: Path, history: GitRepo) -> None:
    folder = GitRepo(tmp_path / "elsewhere")
    folder.write(MODEL, history.blob(f"HEAD:{MODEL}"))
    folder.write("base.safetensors", history.blob(f"HEAD^:{MODEL}"))
    compare = ("diff", "--no-index", "base.safetensors", MODEL)
    said = folder.theta(*compare, check=False, COLUMNS="200").stdout
    does(said, "cd to the repository that the manifest is of")
    paths = [str(folder.path / name) for name in compare[2:]]
    assert "layer.1.weight" in history.theta(*compare[:2], *paths, check=False).stdout


@pytest.mark.parametrize("bad", ["main", "side"])
def test_a_merge_of_a_damaged_version(history: GitRepo, bad: str) -> None:
    text = history.blob(f"HEAD:{MODEL}")
    history.git("switch", "-q", "-c", "side", "v0")
    history.write(MODEL, version(2))
    history.commit("changed")
    history.git("switch", "-q", bad)
    commit_blob(history, damages(text)["a digest"])
    history.git("-c", "theta.skipSmudge=true", "switch", "-q", "-f", "main")
    said = history.refused("git", "theta", "merge", "side")
    assert f"{MODEL}: the version of {bad}: line 2 of the manifest is wrong" in said
    assert "the version of" in history.refused("git", "merge", "-q", "side")
    does(said, f"git merge side, then git theta resolve {MODEL} --ours, or --theirs")
    good, data = ("theirs", version(2)) if bad == "main" else ("ours", version(1))
    other = "ours" if good == "theirs" else "theirs"
    for options in ([], [f"--{other}"], ["--strategy", "average"]):
        said = history.refused("git", "theta", "resolve", MODEL, *options)
        does(said, f"git theta resolve {MODEL} --ours, or --theirs")
    history.theta("resolve", MODEL, f"--{good}")
    history.git("commit", "-q", "--no-edit")
    assert history.digest(MODEL) == digest(data)
