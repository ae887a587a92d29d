"""git theta log, blame and show."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from diff_cases import MODEL, make_conflict, write_change
from git_repo import GitRepo, changed, safetensors_bytes, version, weights


@pytest.fixture
def branches(history: GitRepo) -> GitRepo:
    """v0 and v1; one branch that changes the bias, one that changes layer.3; their merge; a new name."""
    one = changed(weights(0), "layer.1.weight")
    history.git("switch", "-q", "-c", "side")
    two = changed(one, "bias", seed=2)
    history.write(MODEL, safetensors_bytes(two))
    history.commit("bias on a side")
    history.git("switch", "-q", "main")
    three = changed(one, "layer.3.weight", seed=3)
    history.write(MODEL, safetensors_bytes(three))
    history.commit("layer 3")
    history.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    history.write(MODEL, safetensors_bytes({**three, "bias": two["bias"]}))
    history.commit("merged")
    history.git("mv", MODEL, "renamed.safetensors")
    history.commit("renamed")
    return history


def subjects(log: str) -> list[str]:
    return re.findall(r"^commit .*\n    (.*)", log, re.MULTILINE)


class TestLog:
    def test_each_commit(self, history: GitRepo) -> None:
        output = history.theta("log", MODEL).stdout
        newest, oldest = output.split("\n\n")[:2]
        assert newest.startswith(f"commit {history.head('v1')[:10]}  A User  ")
        assert "\n    version 1\n" in newest
        old, new = weights(0)["layer.1.weight"], changed(weights(0), "layer.1.weight")["layer.1.weight"]
        relative = np.linalg.norm(new - old) / np.linalg.norm(old)
        assert f"1 of 5 tensors changed, ‖Δ‖/‖w‖ {relative:.4g}" in newest
        assert re.search(r"[\d.]+ KB stored \(1 delta\)", " ".join(newest.split()))
        assert "new checkpoint, 5 tensors, 81.9K parameters" in oldest
        assert "328 KB stored" not in newest

    def test_merges_and_renames(self, branches: GitRepo) -> None:
        output = branches.theta("log", "renamed.safetensors").stdout
        found = subjects(output)
        assert found[:2] == ["renamed", "merged"]
        assert set(found[2:4]) == {"layer 3", "bias on a side"}
        assert found[4:] == ["version 1", "version 0"]
        assert "(merge of 2)" in output
        assert f"    {MODEL} → renamed.safetensors\n" in output

    def test_of_a_tensor(self, branches: GitRepo) -> None:
        output = branches.theta("log", "renamed.safetensors", "--tensor", "b*").stdout
        assert subjects(output) == ["merged", "bias on a side", "version 0"]
        assert re.search(r"^      bias  modified, ‖Δ‖/‖w‖ 0\.\d+, \w+", output, re.MULTILINE)
        assert "      bias  added, " in output

    def test_a_file_that_is_gone(self, history: GitRepo) -> None:
        history.git("rm", "-q", MODEL)
        history.commit("remove it")
        output = history.theta("log", MODEL).stdout
        assert subjects(output) == ["remove it", "version 1", "version 0"]
        assert "deleted checkpoint" in output

    def test_missing_objects(self, history: GitRepo) -> None:
        shutil.rmtree(history.path / ".git/theta/objects")
        assert "1 of 5 tensors changed, 1 unknown" in history.theta("log", MODEL).stdout

    def test_a_commit_is_measured_once(self, history: GitRepo) -> None:
        history.add_remote("origin")
        history.git("push", "-q", "origin", "main")
        shown = history.theta("log", MODEL).stdout
        shutil.rmtree(history.path / ".git/theta/objects")
        assert history.theta("log", MODEL).stdout == shown
        assert history.theta("log", MODEL, "--tensor", "layer.1*").stdout.count("‖Δ‖/‖w‖") == 2
        assert "unknown" not in history.theta("blame", MODEL).stdout
        assert history.objects() == [], "what is known is no reason to fetch anything"

    def test_bytes_of_some_tensors(self, history: GitRepo) -> None:
        output = " ".join(history.theta("log", MODEL, "--tensor", "layer.0.weight").stdout.split())
        every = " ".join(history.theta("log", MODEL, "--tensor", "*").stdout.split())
        alone = re.search(r"([\d.]+ KB) stored \(1 dense\)", output)
        assert alone is not None
        assert float(alone.group(1).split()[0]) < 80.1, "the bytes of one tensor"
        assert "KB stored for all tensors" in every, "the bias shares an object"

    def test_a_path_that_never_was(self, history: GitRepo) -> None:
        done = history.theta("log", "no.safetensors", check=False)
        assert done.returncode == 1
        assert "no commit up to HEAD has changed no.safetensors" in done.stderr

    def test_in_a_subfolder_and_a_bare_repository(self, history: GitRepo) -> None:
        history.write("models/small.safetensors", version(0))
        history.commit("another model")
        folder = GitRepo(history.path / "models")
        assert subjects(folder.theta("log", "small.safetensors").stdout) == ["another model"]
        bare = history.clone("bare.git", "--bare")
        assert subjects(bare.theta("log", MODEL).stdout) == ["version 1", "version 0"]


class TestBlame:
    def blamed(self, output: str) -> dict[str, tuple[str, str]]:
        """Commit and number by tensor."""
        lines = [line.split() for line in output.splitlines()[1:]]
        return {fields[5]: (fields[0], fields[4]) for fields in lines}

    def test_each_tensor(self, history: GitRepo) -> None:
        output = history.theta("blame", MODEL).stdout
        assert output.splitlines()[0].split() == ["commit", "author", "date", "‖Δ‖/‖w‖", "tensor"]
        assert "A User" in output
        found = self.blamed(output)
        assert list(found) == ["bias", *(f"layer.{number}.weight" for number in range(4))]
        old, new = weights(0)["layer.1.weight"], changed(weights(0), "layer.1.weight")["layer.1.weight"]
        relative = f"{np.linalg.norm(new - old) / np.linalg.norm(old):#.4g}"
        assert found["layer.1.weight"] == (history.head("v1")[:10], relative)
        assert found["layer.0.weight"] == found["bias"] == (history.head("v0")[:10], "new")

    def test_goes_through_merges_and_renames(self, branches: GitRepo) -> None:
        found = self.blamed(branches.theta("blame", "renamed.safetensors").stdout)
        commits = {name: commit for name, (commit, _) in found.items()}
        assert commits == {
            "bias": branches.head("side")[:10],
            "layer.0.weight": branches.head("v0")[:10],
            "layer.1.weight": branches.head("v1")[:10],
            "layer.2.weight": branches.head("v0")[:10],
            "layer.3.weight": branches.head("main~2")[:10],
        }

    def test_an_older_revision(self, branches: GitRepo) -> None:
        found = self.blamed(branches.theta("blame", MODEL, "v1").stdout)
        assert found["layer.3.weight"] == (branches.head("v0")[:10], "new")

    def test_a_name_that_came_later(self, history: GitRepo) -> None:
        tensors = {**weights(0), "head": np.ones((3, 3), "float32")}
        history.write(MODEL, safetensors_bytes(tensors))
        history.commit("with a head")
        found = self.blamed(history.theta("blame", MODEL).stdout)
        assert found["head"] == (history.head()[:10], "new")
        assert found["layer.1.weight"][0] == history.head()[:10], "it is what it was in v0 again"

    def test_what_is_not_there(self, history: GitRepo) -> None:
        for arguments, words in {
            ("no.safetensors",): "no commit up to HEAD has changed no.safetensors",
            (MODEL, "v7"): "v7 is not a revision",
        }.items():
            done = history.theta("blame", *arguments, check=False)
            assert done.returncode == 1
            assert words in done.stderr
        history.git("rm", "-q", MODEL)
        history.commit("remove it")
        assert f"there is no {MODEL} in HEAD" in history.theta("blame", MODEL, check=False).stderr


class TestShow:
    def test_all_tensors(self, history: GitRepo) -> None:
        output = history.theta("show", MODEL, COLUMNS="120").stdout
        lines = output.splitlines()
        assert lines[0] == f"{MODEL}  safetensors, 328 KB"
        assert lines[1].split() == ["tensor", "norm", "mean", "std", "min", "max", "zeros"]
        bias = weights(0)["bias"].astype(float)
        cells = lines[2].split()
        assert cells[:3] == ["bias", "F32", "16"]
        values = [np.linalg.norm(bias), bias.mean(), bias.std(), bias.min(), bias.max()]
        assert [float(cell) for cell in cells[3:8]] == pytest.approx(values, rel=1e-3)
        assert cells[8] == "0%"
        assert lines[-1] == "5 tensors, 81.9K parameters"

    def test_other_places(self, history: GitRepo) -> None:
        def norm(*arguments: str) -> str:
            return history.theta("show", *arguments, "--tensor", "layer.1.weight").stdout

        write_change(history, "layer.1.weight")
        texts = {norm(name) for name in (f"v0:{MODEL}", f"v1:{MODEL}", MODEL)}
        assert len(texts) == 3
        assert norm(f":{MODEL}") == norm(f"v1:{MODEL}")
        (history.path / MODEL).unlink()
        assert norm(MODEL) == norm(f"v1:{MODEL}")
        bare = history.clone("bare.git", "--bare")
        assert bare.theta("show", MODEL, "--tensor", "layer.1.weight").stdout == norm(f"v1:{MODEL}")

    def test_while_there_is_a_conflict(self, history: GitRepo) -> None:
        make_conflict(history)
        asked = ("--tensor", "layer.1.weight")
        ours = history.theta("show", f":2:{MODEL}", *asked).stdout
        assert history.theta("show", MODEL, *asked).stdout == ours
        assert history.theta("show", f":3:{MODEL}", *asked).stdout != ours
        for command in (("log", MODEL), ("blame", MODEL)):
            assert history.theta(*command).stdout.count(history.head("v1")[:10]) == 1
        (history.path / MODEL).unlink()
        done = history.theta("show", MODEL, check=False)
        assert done.returncode == 1
        assert f"{MODEL} has a conflict" in done.stderr
        assert f"git theta show :2:{MODEL}" in done.stderr

    def test_one_tensor(self, history: GitRepo) -> None:
        output = history.theta("show", MODEL, "--tensor", "layer.0.weight").stdout
        assert output.startswith("layer.0.weight  F32 160×128\n  norm ")
        assert "█" in output
        first = weights(0)["layer.0.weight"][0, 0]
        assert float(output.split("\n\n")[2].split()[0]) == pytest.approx(first, rel=1e-3)

    def test_missing_objects(self, history: GitRepo) -> None:
        shutil.rmtree(history.path / ".git/theta/objects")
        output = history.theta("show", f"v1:{MODEL}").stdout
        assert output.count("unknown: ") == 5
        assert "unknown: " in history.theta("show", f"v1:{MODEL}", "--tensor", "bias").stdout

    def test_what_is_not_there(self, history: GitRepo) -> None:
        for arguments, words in {
            ("no.safetensors",): "there is no file no.safetensors",
            (f"v7:{MODEL}",): f"there is no file v7:{MODEL}",
            (MODEL, "--tensor", "layer.1.wieght"): "did you mean layer.1.weight",
            (MODEL, "--tensor", "zzz"): "has no tensor zzz",
        }.items():
            done = history.theta("show", *arguments, check=False)
            assert done.returncode == 1
            assert words in done.stderr

    def test_a_file_without_tensors(self, history: GitRepo) -> None:
        output = history.theta("show", "notes.txt").stdout
        assert output.startswith("notes.txt  opaque, 10 B\n")
