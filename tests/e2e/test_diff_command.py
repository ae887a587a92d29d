"""git theta diff."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from diff_cases import MODEL, make_conflict, rows, write_change
from git_repo import GitRepo, changed, safetensors_bytes, version, weights

from git_theta.checkpoints.pytorch import PyTorch
from git_theta.dtypes import dtype
from git_theta.tensors import ArrayTensor

_ROW = {"name", "status", "dtype", "shape", "norm", "relative_norm", "rms", "max_abs", "cosine"}


def answer(repo: GitRepo, *arguments: str) -> dict[str, object]:
    """What --json prints, which must be one strict JSON object."""

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    text = repo.theta("diff", "--json", *arguments).stdout
    found: dict[str, object] = json.loads(text, parse_constant=refuse)
    return found


def test_every_pair_of_sides(history: GitRepo) -> None:
    write_change(history, "bias")
    history.git("add", MODEL)
    write_change(history, "bias", "layer.3.weight")
    expected = {
        (): ["bias", "layer.3.weight"],
        ("--cached",): ["bias"],
        ("--staged", "v0"): ["bias", "layer.1.weight"],
        ("HEAD",): ["bias", "layer.3.weight"],
        ("v0",): ["bias", "layer.1.weight", "layer.3.weight"],
        ("v0", "v1"): ["layer.1.weight"],
        ("v0..v1",): ["layer.1.weight"],
        ("v0..",): ["layer.1.weight"],
        ("..v0",): ["layer.1.weight"],
    }
    for arguments, names in expected.items():
        found = rows(history.theta("diff", *arguments, "--sort", "name").stdout)
        assert {row[2:] for row in found} == set(names), arguments


def test_three_dots_start_at_the_common_ancestor(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    history.write(MODEL, safetensors_bytes(changed(weights(0), "bias")))
    history.commit("side")
    assert rows(history.theta("diff", "main...side").stdout) == ["M bias"]
    assert len(rows(history.theta("diff", "main..side").stdout)) == 2


def test_paths(history: GitRepo) -> None:
    history.write("models/small.safetensors", version(0))
    history.commit("another model")
    history.write("models/small.safetensors", version(1))
    write_change(history, "bias")
    history.write("notes.txt", "not of interest\n")
    both = history.theta("diff").stdout
    assert re.findall("^diff.*", both, re.MULTILINE) == [
        f"diff --theta a/{MODEL} b/{MODEL}",
        "diff --theta a/models/small.safetensors b/models/small.safetensors",
    ]
    for arguments in (("--", "models"), ("models",), ("HEAD", "--", "models/*.safetensors")):
        assert rows(history.theta("diff", *arguments).stdout) == ["M layer.1.weight"]


def test_what_makes_no_sense(history: GitRepo) -> None:
    for arguments, words in {
        ("v7",): "neither a revision nor a path",
        ("v7", "--", MODEL): "v7 is not a revision",
        ("v0", "v1", "v0"): "3 revisions are given, and two can be compared",
        ("--cached", "v0", "v1"): "one can be compared with the index",
        (f"v0:{MODEL}",): "compared with one other file",
        ("--plot", "picture.bmp"): "does not end in .png, .svg or .html",
        ("--plot", "x.png", "--stat"): "--plot goes neither",
        ("--metric", "beauty"): "is none of",
        ("--sort", "beauty"): "is not one of",
        ("--no-index", MODEL): "compares two files",
        ("--base", "v7", "v0", "v1"): "v7 is not a revision",
        ("--base", "v0", "v0", "v1", "--stat"): "--stat does not go with --base",
        ("--base", "v0", "v0", "v1", "--metric", "rms"): "--metric does not go with --base",
    }.items():
        done = history.theta("diff", *arguments, check=False)
        assert done.returncode in (1, 2), arguments
        assert words in done.stderr, arguments
        assert "Traceback" not in done.stderr


def test_exit_codes(history: GitRepo) -> None:
    assert history.theta("diff", "--exit-code").returncode == 0
    assert history.theta("diff", "--exit-code", "v0", "v1", check=False).returncode == 1
    assert history.theta("diff", "v0", "v1").returncode == 0
    assert history.theta("diff", "--exit-code", "v7", "v1", check=False).returncode == 2
    history.write(MODEL, history.blob(f"v0:{MODEL}") + b"rubbish\n")
    done = history.theta("diff", "--exit-code", check=False)
    assert done.returncode == 2
    assert "of the manifest is not JSON" in done.stdout


def test_json(history: GitRepo) -> None:
    found = answer(history, "v0", "v1")
    assert found["schema"] == "git-theta diff 1"
    assert found["path"] == MODEL
    assert (found["old"]["label"], found["new"]["label"]) == ("v0", "v1")  # type: ignore[index]
    (row,) = found["tensors"]  # type: ignore[misc]
    assert row.keys() >= _ROW | {"changed_fraction"}
    old, new = weights(0)["layer.1.weight"], changed(weights(0), "layer.1.weight")["layer.1.weight"]
    a, b = old.astype(float).ravel(), new.astype(float).ravel()
    assert row["name"] == "layer.1.weight"
    assert row["shape"] == [160, 128]
    assert row["norm"] == pytest.approx(np.linalg.norm(b - a), rel=1e-6)
    assert row["relative_norm"] == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-6)
    assert row["rms"] == pytest.approx(np.sqrt(np.mean((b - a) ** 2)), rel=1e-6)
    assert row["max_abs"] == pytest.approx(np.abs(b - a).max(), rel=1e-6)
    assert row["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
    assert row["changed_fraction"] == np.mean(old != new)


def test_json_of_a_file_that_is_the_same(history: GitRepo) -> None:
    for arguments in (("v1", "HEAD", "--", MODEL), (f"v1:{MODEL}", f"HEAD:{MODEL}"), ("--", MODEL)):
        found = answer(history, *arguments)
        assert found["identical"] is True
        assert found["tensors"] == []
    assert history.theta("diff", "--json", "v1", "HEAD").stdout == ""


def test_json_of_several_files_is_several_objects(history: GitRepo) -> None:
    history.write("another.safetensors", version(0))
    history.commit("another model")
    text = history.theta("diff", "--json", "v0", "HEAD").stdout
    first, end = json.JSONDecoder().raw_decode(text)
    second, _ = json.JSONDecoder().raw_decode(text[end:].lstrip())
    assert [first["path"], second["path"]] == ["another.safetensors", MODEL]
    assert first["old"] is None


def test_rows_and_columns(history: GitRepo) -> None:
    many = weights(0, count=30, shape=(4, 4))
    history.write(MODEL, safetensors_bytes(many))
    history.commit("many tensors")
    history.write(MODEL, safetensors_bytes(changed(many)))
    folded = history.theta("diff").stdout
    assert len(rows(folded)) == 20
    assert "and 11 more tensors; all of them: the same command with --all" in folded
    assert len(rows(history.theta("diff", "--all").stdout)) == 31
    assert len(rows(history.theta("diff", "--top", "3").stdout)) == 3
    assert len(rows(history.theta("diff", "--tensor", "layer.1*.weight").stdout)) == 11
    names = [row[2:] for row in rows(history.theta("diff", "--all", "--sort", "name").stdout)]
    assert names[:3] == ["bias", "layer.0.weight", "layer.1.weight"]
    titles = history.theta("diff", "--metric", "rms,cosine", "--metric", "max").stdout
    assert re.search(r"tensor +RMS Δ +cosine +max \|Δ\|", titles)


def test_stat_reads_no_values(history: GitRepo) -> None:
    shutil.rmtree(history.path / ".git/theta/objects")
    output = history.theta("diff", "--stat", "v0", "v1").stdout
    assert re.search(r"layer.1.weight \| modified, \w+, [\d.]+ KB ~+", output)
    assert "1 of 5 tensors changed" in output
    assert output.startswith(MODEL)


def test_across_formats(history: GitRepo) -> None:
    tensors = [
        (name, ArrayTensor(dtype("F32"), array.shape, array.tobytes()))
        for name, array in changed(weights(0), "bias").items()
    ]
    with (history.path / "model.pt").open("wb") as file:
        PyTorch().write(file, tensors, None)
    history.commit("the same in another format")
    for arguments in (
        (f"v0:{MODEL}", "HEAD:model.pt"),
        (f"v0:{MODEL}", "model.pt"),
        ("--no-index", MODEL, "model.pt"),
    ):
        output = history.theta("diff", *arguments).stdout
        assert output.startswith(f"diff --theta a/{MODEL} b/model.pt\n")
        assert "format safetensors → pytorch" in output
        assert "M bias" in rows(output)


def test_three_ways(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    history.write(MODEL, safetensors_bytes(changed(weights(0), "bias", "layer.1.weight", seed=7)))
    history.commit("side")
    output = history.theta("diff", "--base", "v0", "main", "side").stdout
    assert output.startswith(f"diff --theta {MODEL}: v0, ours main, theirs side\n")
    assert "1 tensor changed on both sides, 0 only by ours, 1 only by theirs" in output
    found = answer(history, "--base", "v0", "main", "side", "--", MODEL)
    assert found["schema"] == "git-theta three-way 1"
    by_name = {row["name"]: row for row in found["tensors"]}  # type: ignore[attr-defined]
    assert (by_name["bias"]["ours"], by_name["bias"]["theirs"]) == ("unchanged", "modified")
    base, ours, theirs = (
        values["layer.1.weight"].astype(float).ravel()
        for values in (
            weights(0),
            changed(weights(0), "layer.1.weight"),
            changed(weights(0), "bias", "layer.1.weight", seed=7),
        )
    )
    a, b = ours - base, theirs - base
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert by_name["layer.1.weight"]["cosine"] == pytest.approx(cosine, abs=1e-5)
    assert by_name["layer.1.weight"]["conflict_fraction"] == pytest.approx(np.mean(a * b < 0), abs=1e-3)
    blobs = [f"{revision}:{MODEL}" for revision in ("v0", "main", "side")]
    assert answer(history, "--base", *blobs)["summary"] == found["summary"]


def test_a_conflict(history: GitRepo) -> None:
    make_conflict(history)
    for arguments in ((), ("--cached",)):
        output = history.theta("diff", *arguments).stdout
        assert output.count("diff --theta") == 1
        assert f"{MODEL}: base, ours stage 2, theirs stage 3" in output
    assert answer(history)["schema"] == "git-theta three-way 1"


def test_a_picture_of_a_conflict(history: GitRepo, tmp_path: Path) -> None:
    make_conflict(history)
    page = tmp_path / "a page.html"
    done = history.theta("diff", "--plot", str(page), check=False)
    assert done.returncode == 1
    assert f"{MODEL} has a conflict" in done.stderr
    assert not page.exists()
    theirs = done.stderr.partition("theirs: ")[2].strip()
    assert len(rows(history.run("sh", "-c", theirs).stdout)) == 2
    assert "layer.1.weight" in page.read_text()


def test_only_what_is_asked_for_is_fetched(history: GitRepo) -> None:
    history.write(MODEL, safetensors_bytes(changed(weights(0))))
    history.commit("all")
    history.add_remote("origin")
    history.git("push", "-q", "origin", "main")
    shutil.rmtree(history.path / ".git/theta/objects")
    one = ("--tensor", "layer.3.weight")
    assert rows(history.theta("diff", *one, "v0", "main").stdout) == ["M layer.3.weight"]
    assert len(history.objects()) == 2, "one tensor, before and after"
    history.theta("diff", *one, "--base", "v0", "v1", "main")
    assert len(history.objects()) == 2
    assert len(rows(history.theta("diff", "v0", "main").stdout)) == 5
    assert len(history.objects()) > 2


def test_a_bare_repository(history: GitRepo) -> None:
    bare = history.clone("bare.git", "--bare")
    for arguments in (("v0", "v1"), ("v0", "v1", "--", MODEL), (f"v0:{MODEL}", f"v1:{MODEL}")):
        assert rows(bare.theta("diff", *arguments).stdout) == ["M layer.1.weight"]
    done = bare.theta("diff", check=False)
    assert done.returncode == 1
    assert "a bare repository has no work tree" in done.stderr


def test_before_the_first_commit(repo: GitRepo) -> None:
    repo.git("checkout", "-q", "--orphan", "empty")
    repo.write(MODEL, version(0))
    repo.git("add", MODEL)
    assert "new checkpoint" in repo.theta("diff", "--cached").stdout


def test_pictures(history: GitRepo, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png, svg, page = (tmp_path / f"change.{suffix}" for suffix in ("png", "svg", "html"))
    for file in (png, svg, page):
        assert rows(history.theta("diff", "--plot", str(file), "v0", "v1").stdout) == ["M layer.1.weight"]
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert "layer.1.weight" in page.read_text()
    done = history.theta("diff", "--plot", str(tmp_path / "no folder" / "x.html"), "v0", "v1", check=False)
    assert done.returncode == 1
    assert "no folder" in done.stderr


def test_a_picture_shows_one_checkpoint(history: GitRepo, tmp_path: Path) -> None:
    history.write("another.safetensors", version(0))
    history.commit("another model")
    done = history.theta("diff", "--plot", str(tmp_path / "x.html"), "v0", "HEAD", check=False)
    assert done.returncode == 1
    assert f"these differ: another.safetensors, {MODEL}" in done.stderr
