"""Manifests with conflict markers: merged as text by a Git without git-theta, and committed by somebody."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, digest, version
from marked_manifests import MODEL, OURS, THEIRS, merged_without


@pytest.mark.parametrize("style", ["merge", "diff3", "zdiff3"])
def test_committed_markers_lead_out(history: GitRepo, style: str) -> None:
    text = merged_without(history, style)
    (history.path / MODEL).unlink()
    said = history.git("checkout", "--", MODEL).stderr
    assert f"{MODEL}: this is a text with conflict markers" in said
    assert history.digest(MODEL) == digest(text)
    assert history.status() == []
    for command in ("doctor", "fsck", "status"):
        found = history.theta(command, check=False).stdout
        assert "conflict markers" in found, command
        assert f"git theta checkout --ours {MODEL}" in found, command
    assert "conflict markers" in history.theta("diff", "v1", "HEAD").stdout
    history.write("notes.txt", "x\n")
    history.git("stash", "-q")
    history.git("stash", "pop", "-q")
    for side, data in (("theirs", THEIRS), ("base", version(0)), ("ours", OURS)):
        history.theta("checkout", f"--{side}", MODEL)
        assert history.digest(MODEL) == digest(data), side
    history.commit("settled")
    assert history.theta("fsck").returncode == 0
    assert history.theta("doctor", check=False).stdout.count("conflict markers") == 0


def test_markers_are_not_added_and_resolve_merges_them(history: GitRepo) -> None:
    text = merged_without(history)
    history.write("copy.safetensors", text)
    history.write(MODEL, text + b"\n")
    for name in (MODEL, "copy.safetensors"):
        refused = history.git("-c", "theta.allowDamaged=true", "add", name, check=False)
        assert refused.returncode != 0
        assert f"{name}: this is a text with conflict markers" in refused.stderr
    history.remedy(refused.stderr, "git theta checkout --ours copy.safetensors")
    assert history.digest("copy.safetensors") == digest(OURS)
    refused = history.git("add", MODEL, check=False)
    history.remedy(refused.stderr, f"git theta checkout --ours {MODEL}")
    assert history.digest(MODEL) == digest(OURS)
    history.git("checkout", "-f", "HEAD", "--", MODEL)
    history.theta("resolve", MODEL, "--strategy", "average")
    (history.path / "copy.safetensors").unlink()
    history.git("commit", "-q", "-m", "averaged")
    manifest = history.blob(f"HEAD:{MODEL}")
    assert manifest.startswith(b'{"git-theta":')
    assert b"<<<<<<<" not in manifest
    assert "3 " in history.theta("diff", "--stat", "v0", "HEAD", "--", MODEL).stdout


def test_markers_with_other_line_ends(history: GitRepo) -> None:
    text = merged_without(history).replace(b"\n", b"\r\n")
    history.write(MODEL, text + b"\r\n")
    refused = history.git("add", MODEL, check=False)
    assert "conflict markers" in refused.stderr
    history.theta("checkout", "--theirs", MODEL)
    assert history.digest(MODEL) == digest(THEIRS)


def test_markers_that_were_staged_are_not_committed(history: GitRepo) -> None:
    merged_without(history, commit=False)
    refused = history.git("commit", "-m", "merged", check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: this is a text with conflict markers" in refused.stderr
    history.remedy(refused.stderr.replace("hint: ", "  "), f"git theta checkout --ours {MODEL}")
    history.git("add", MODEL)
    history.git("commit", "-q", "-m", "merged")
    assert history.digest(MODEL) == digest(OURS)
    assert len(history.git("rev-parse", "HEAD^@").stdout.split()) == 2
