"""What diff, show, log and blame advise, done as they say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from diff_cases import MODEL, make_conflict
from git_repo import GitRepo, changed, does, safetensors_bytes, version, weights

OTHER = "other.safetensors"


def test_words_that_are_no_sides(history: GitRepo) -> None:
    for words in (["v0", "v1", "main"], ["--colour"], ["nothing", "--", MODEL], ["v0:" + MODEL, "folder"]):
        said = history.refused("git", "theta", "diff", *words)
        history.path.joinpath("folder").mkdir(exist_ok=True)
        assert "Usage: git theta diff" in history.remedy(said, "git theta diff --help").stdout


def test_path_that_was_removed(history: GitRepo) -> None:
    (history.path / MODEL).unlink()
    said = history.refused("git", "theta", "diff", MODEL)
    assert MODEL in history.remedy(said, "git theta diff -- model.safetensors").stdout


def test_files_that_are_not_two(history: GitRepo) -> None:
    history.write(OTHER, version(0))
    said = history.refused("git", "theta", "diff", "--no-index", MODEL)
    done = history.remedy(said, "git theta diff --no-index OLD NEW", put={"OLD": OTHER, "NEW": MODEL})
    assert "layer.1.weight" in done.stdout


def test_one_file_of_a_revision(history: GitRepo) -> None:
    said = history.refused("git", "theta", "diff", f"v0:{MODEL}")
    done = history.remedy(
        said, "git theta diff A:model.pt B:model.pt", put={"A": "v0", "B": "v1", "model.pt": MODEL}
    )
    assert "layer.1.weight" in done.stdout
    done = history.remedy(said, "git theta diff A:model.pt model.pt", put={"A": "v0", "model.pt": MODEL})
    assert "layer.1.weight" in done.stdout


def test_no_common_ancestor(history: GitRepo) -> None:
    history.git("switch", "-q", "--orphan", "alone")
    history.write(MODEL, version(0))
    history.commit("alone", MODEL)
    said = history.refused("git", "theta", "diff", "alone...main")
    assert "layer.1.weight" in history.remedy(said, "git theta diff alone main").stdout


def test_bare_repository(history: GitRepo) -> None:
    bare = history.clone("bare.git", "--bare")
    said = bare.refused("git", "theta", "diff")
    assert MODEL in bare.remedy(said, "git theta diff A B", put={"A": "v0", "B": "v1"}).stdout


def test_base_of_three_versions(history: GitRepo, home: Path) -> None:
    said = history.refused("git", "theta", "diff", "--base", f"v0:{MODEL}", "v0", "v1")
    put = {"BASE": "v0", "A": "v0", "B": "v1", "model.pt": MODEL}
    done = history.remedy(said, "git theta diff --base BASE:model.pt A:model.pt B:model.pt", put=put)
    assert f"ours v0:{MODEL}, theirs v1:{MODEL}" in done.stdout
    said = history.refused("git", "theta", "diff", "--base", "v9", "v0", "v1")
    assert history.head("v1") in history.remedy(said, "git log").stdout
    nowhere = GitRepo(home)
    said = nowhere.refused("git", "theta", "diff", "--no-index", "--base", "v0", ".gitconfig", os.devnull)
    does(said, "type the command in one")
    assert MODEL in history.theta("diff", "--base", "v0", "v0", "v1").stdout


def test_pictures(history: GitRepo) -> None:
    pytest.importorskip("matplotlib")
    history.write(OTHER, version(0))
    history.commit("another")
    history.write("folder/" + OTHER, version(1))
    history.git("add", ".")
    (history.path / MODEL).write_bytes(version(0))
    (history.path / OTHER).write_bytes(version(1))
    said = history.refused("git", "theta", "diff", "--plot", "a.html", "HEAD")
    history.remedy(said, "git theta diff --plot a.html HEAD -- :/folder/other.safetensors")
    assert b"folder/other" in (history.path / "a.html").read_bytes()
    said = history.refused("git", "theta", "diff", "--plot", "b.html", MODEL, OTHER)
    history.remedy(said, f"git theta diff --plot b.html -- :/{MODEL}")
    assert MODEL.encode() in (history.path / "b.html").read_bytes()


def test_picture_of_a_conflict(history: GitRepo) -> None:
    make_conflict(history)
    said = history.refused("git", "theta", "diff", "--plot", "a.html")
    history.remedy(said, f"git theta diff --plot a.html :1:{MODEL} :2:{MODEL}")
    history.remedy(said, f"git theta diff --plot a.html :1:{MODEL} :3:{MODEL}")
    does(said, "what ours changed: ")
    assert (history.path / "a.html").stat().st_size


def test_files_and_tensors_that_are_not_there(history: GitRepo) -> None:
    said = history.refused("git", "theta", "diff", "--json", "--", OTHER)
    assert MODEL in history.remedy(said, "git theta ls-files").stdout
    history.write("notes.txt", "no checkpoint\n")
    said = history.refused("git", "theta", "show", OTHER)
    assert MODEL in history.remedy(said, "git theta ls-files").stdout
    put = {"REV": "v0", "PATH": MODEL}
    assert "layer.1" in history.remedy(said, "git theta show REV:PATH", put=put).stdout
    said = history.refused("git", "theta", "show", MODEL, "--tensor", "layer.7.weight")
    does(said, "did you mean layer.")
    assert "F32" in history.theta("show", MODEL, "--tensor", "layer.1.weight").stdout
    said = history.refused("git", "theta", "show", MODEL, "--tensor", "qqq")
    assert "layer.1.weight" in history.remedy(said, f"git theta show {MODEL}").stdout
    said = history.refused("git", "theta", "show", f"v0:{MODEL}", "--tensor", "qqq")
    assert "layer.1.weight" in history.remedy(said, f"git theta show v0:{MODEL}").stdout


def test_show_of_a_conflict(history: GitRepo) -> None:
    make_conflict(history)
    (history.path / MODEL).unlink()
    said = history.refused("git", "theta", "show", MODEL)
    assert "tensor" in history.remedy(said, f"git theta show :2:{MODEL}").stdout
    assert "git theta show :2:PATH" not in said


@pytest.mark.parametrize("command", ["log", "blame"])
def test_path_without_a_history(history: GitRepo, command: str) -> None:
    history.git("switch", "-q", "-c", "side")
    history.write(OTHER, safetensors_bytes(changed(weights(0), "bias")))
    oid = history.commit("another")
    history.git("switch", "-q", "main")
    said = history.refused("git", "theta", command, OTHER)
    assert oid in history.remedy(said, f"git log --all -- {OTHER}").stdout
    history.git("switch", "-q", "--detach", oid)
    assert "bias" in history.theta(command, OTHER).stdout or command == "log"
    assert oid[:7] in history.theta(command, OTHER).stdout


def test_blame_of_a_removed_path(history: GitRepo) -> None:
    history.git("rm", "-q", MODEL)
    oid = history.commit("remove it")
    said = history.refused("git", "theta", "blame", MODEL)
    assert oid in history.remedy(said, f"git log --all -- {MODEL}").stdout
    assert "layer.1.weight" in history.theta("blame", MODEL, f"{oid}^").stdout


def test_rows_that_are_folded(history: GitRepo) -> None:
    tensors = weights(0, count=30, shape=(4, 4))
    history.write(MODEL, safetensors_bytes(tensors))
    history.commit("many")
    history.write(MODEL, safetensors_bytes(changed(tensors)))
    said = history.git("diff").stdout
    assert "layer.29.weight" not in said.partition("diff --git")[0]
    assert "layer.29.weight" in history.remedy(said, "git theta diff --all").stdout
    sides = said.partition("git theta diff --all ")[2].splitlines()[0]
    assert "layer.29.weight" in history.remedy(said, f"git theta diff --all {sides}").stdout


def test_diff_driver_by_hand(history: GitRepo) -> None:
    said = history.refused("git", "theta", "diff-driver", "a", "b")
    history.write(MODEL, version(0))
    assert MODEL in history.remedy(said, "git diff").stdout
    assert MODEL in history.remedy(said, "git theta diff").stdout
    said = history.git("theta", "diff-driver", MODEL, check=False).stdout
    assert MODEL in history.remedy(said, f"git status {MODEL}").stdout


def test_picture_of_no_difference(history: GitRepo) -> None:
    said = history.refused("git", "theta", "diff", "--plot", "page.html", "v0", "v0")
    command = "git theta diff --plot page.html OLD NEW"
    history.remedy(said, command, put={"OLD": "v0", "NEW": "v1"})
    assert (history.path / "page.html").is_file()
