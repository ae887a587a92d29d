"""What changed in a commit: every command that says it says it with the same words and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
from git_repo import GitRepo, safetensors_bytes, weights

MODEL = "model.safetensors"
Tensors = dict[str, np.ndarray]


def rename(tensors: Tensors) -> None:
    tensors["layer.0.proj"] = tensors.pop("layer.0.weight")


def reshape(tensors: Tensors) -> None:
    tensors["layer.1.weight"] = 2 * tensors["layer.1.weight"].reshape(-1)


def cast(tensors: Tensors) -> None:
    tensors["layer.2.weight"] = tensors["layer.2.weight"].astype(np.float16)


def add(tensors: Tensors) -> None:
    tensors["head"] = np.arange(64, dtype=np.float64)


def remove(tensors: Tensors) -> None:
    del tensors["bias"]


def modify(tensors: Tensors) -> None:
    tensors["layer.3.weight"] = tensors["layer.3.weight"] + np.float32(0.5)


def rename_and_modify(tensors: Tensors) -> None:
    """No digest says that this is the same tensor: only its values do."""
    tensors["layer.0.out"] = tensors.pop("layer.0.proj") * np.float32(1.01)


def everything(tensors: Tensors) -> None:
    """All kinds of changes to `weights(0)` in one."""
    for change in (rename, reshape, cast, add, remove, modify):
        change(tensors)


EACH: tuple[tuple[Callable[[Tensors], None], str, dict[str, str]], ...] = (
    (rename, "1 of 5 tensors changed (1 renamed)", {"layer.0.proj": "renamed"}),
    (reshape, "1 of 5 tensors changed (1 reshaped)", {"layer.1.weight": "reshaped"}),
    (cast, "1 of 5 tensors changed (1 cast)", {"layer.2.weight": "cast"}),
    (add, "1 of 6 tensors changed (1 added)", {"head": "added"}),
    (remove, "1 of 6 tensors changed (1 removed)", {"bias": "removed"}),
    (modify, "1 of 5 tensors changed", {"layer.3.weight": "modified"}),
    (rename_and_modify, "1 of 5 tensors changed (1 renamed)", {"layer.0.out": "renamed"}),
)
"""Changes one after the other, and what is said of each."""


def flat(text: str) -> str:
    """On one line, as narrow terminals break lines."""
    return " ".join(text.split())


def listed(repo: GitRepo, *revision: str) -> dict[str, str]:
    """The tensors that `git theta ls-files -l` has as changed."""
    (found,) = json.loads(repo.theta("ls-files", "-l", "--json", *revision).stdout)
    return {one["name"]: one["status"] for one in found["tensors"] if one["status"] != "unchanged"}


def without(statuses: dict[str, str], status: str) -> dict[str, str]:
    return {name: one for name, one in statuses.items() if one != status}


def commit_line(repo: GitRepo) -> str:
    """Commits, and returns what the report says of the model."""
    (said,) = re.findall(rf"^{MODEL}: (.*)$", repo.git("commit", "-m", "next").stderr, re.MULTILINE)
    return str(said)


def test_each_kind_of_change_is_told_alike(repo: GitRepo) -> None:
    tensors = weights(0)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.commit("base")
    stored = []
    for change, amount, statuses in EACH:
        change(tensors)
        repo.write(MODEL, safetensors_bytes(tensors))
        repo.git("add", MODEL)
        assert listed(repo) == without(statuses, "removed")
        said = commit_line(repo)
        assert said.startswith(f"{amount}, ")
        found = json.loads(repo.theta("diff", "--json", "HEAD^", "HEAD").stdout)
        assert {one["name"]: one["status"] for one in found["tensors"]} == statuses
        stored.append(said.removeprefix(f"{amount}, ").rpartition(" (")[0])
    *entries, _ = repo.theta("log", MODEL).stdout.split("\ncommit ")
    for entry, (_, amount, _), size in zip(reversed(entries), EACH, stored, strict=True):
        assert amount in flat(entry)
        assert size in flat(entry)


def test_every_command_tells_the_same_of_many_changes(repo: GitRepo) -> None:
    amount = "6 of 6 tensors changed (1 modified, 1 added, 1 removed, 1 renamed, 1 reshaped, 1 cast)"
    tensors = weights(0)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.commit("base")
    everything(tensors)
    repo.write(MODEL, safetensors_bytes(tensors))
    assert f"{MODEL}: {amount}\n" in repo.theta("status").stdout
    repo.git("add", MODEL)
    staged = repo.theta("status").stdout
    said = commit_line(repo)
    assert f"{MODEL}: {said}\n" in staged
    stored = re.fullmatch(rf"{re.escape(amount)}, (.* stored) \(.*%\)", said)
    assert stored
    assert len(listed(repo, "HEAD")) == 5
    for shown in (
        repo.git("diff", "HEAD^", "HEAD").stdout,
        repo.theta("diff", "--stat", "HEAD^", "HEAD").stdout,
        repo.theta("log", MODEL).stdout.partition("\ncommit ")[0],
    ):
        assert amount in flat(shown)
        assert stored[1] in flat(shown)
    assert stored[1].removesuffix(" stored") in repo.theta("du", "--by", "commit").stdout


def test_every_command_counts_a_first_version_alike(repo: GitRepo) -> None:
    repo.write(MODEL, safetensors_bytes(weights(0)))
    repo.git("add", MODEL)
    said = commit_line(repo)
    stored = re.fullmatch(r"5 tensors, (.*) stored \(.*%\)", said)
    assert stored
    log = flat(repo.theta("log", MODEL).stdout)
    assert "new checkpoint, 5 tensors" in log
    assert f"{stored[1]} stored" in log
    assert (
        f"{MODEL} (safetensors, 5 tensors, 328 KB, stored {stored[1]})" in repo.theta("ls-files", "-l").stdout
    )
    assert stored[1] in repo.theta("du", "--by", "commit").stdout


def test_a_merge_counts_what_no_parent_had(repo: GitRepo) -> None:
    """Its first parent lacks what the second one brings, which was stored with that."""
    tensors = weights(0)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.commit("base")
    repo.git("switch", "-q", "-c", "topic")
    modify(tensors)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.commit("topic")
    repo.git("switch", "-q", "main")
    tensors = weights(0)
    cast(tensors)
    repo.write(MODEL, safetensors_bytes(tensors))
    repo.commit("main")
    done = repo.theta("merge", "topic")
    (said,) = re.findall(rf"^{MODEL}: (1 of .*)$", done.stdout + done.stderr, re.MULTILINE)
    assert said.startswith("1 of 5 tensors changed, ")
    newest = repo.theta("log", MODEL).stdout.partition("\ncommit ")[0]
    _, stored = said.rpartition(" (")[0].split(", ")
    assert stored in flat(newest)
    du = json.loads(repo.theta("du", "--json").stdout)
    (total,) = [one["stored_bytes"] for one in du["commits"] if one["name"] == repo.head()]
    assert total < 1000
