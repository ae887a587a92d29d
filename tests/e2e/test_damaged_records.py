"""A damaged record of a conflict keeps everybody from committing what nobody has decided on."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, digest, does, safetensors_bytes, version
from merge_cases import AVERAGE, BASE, MODEL, THEIRS, clean_and_equal, diverge, model

from git_theta.git.repository import Repository
from git_theta.merging import half_merged


def record(repo: GitRepo, kind: str = "conflicts") -> Path:
    [file] = (repo.path / ".git" / "theta" / kind).glob("*.json")
    return file


def damages(text: bytes) -> list[bytes]:
    """A bit of the commit, of the root and of the checksum; other fields; and what a power failure leaves."""
    found = []
    for part in (b'"head": "', b'"root": "', b'"checksum": "', b"tensors"):
        flipped = bytearray(text)
        flipped[text.index(part) + len(part) + 3] ^= 1
        found.append(bytes(flipped))
    return [*found, text.replace(b'"a"', b'"c"'), text[:100], b"\0" * len(text), b""]


def test_nothing_is_committed_whatever_the_damage(conflict: GitRepo) -> None:
    file, head = record(conflict), conflict.head()
    for number, text in enumerate(damages(file.read_bytes())):
        file.write_bytes(text)
        command = ("commit", "-q", "-a", "--no-edit", *(["--no-verify"] if number == 0 else []))
        said = conflict.refused("git", *command)
        assert f"{MODEL}: git-theta's record of what its merge has left open is damaged" in said
        assert conflict.head() == head
    assert conflict.status() == [f"UU {MODEL}"]
    assert "what its merge has left open is damaged" in conflict.theta("doctor", check=False).stdout


@pytest.mark.parametrize("staged", [False, True])
def test_merging_it_again_leads_out(conflict: GitRepo, staged: bool) -> None:
    file = record(conflict)
    file.write_bytes(file.read_bytes().replace(b'"a"', b'"z"'))
    if staged:
        conflict.git("add", MODEL)
    said = conflict.refused("git", "commit", "-a", "--no-edit")
    conflict.remedy(said, f"git checkout -m -- {MODEL}")
    assert "not merged yet" in conflict.refused("git", "commit", "-a", "--no-edit")
    conflict.theta("resolve", MODEL, "--strategy", "average")
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, AVERAGE)


def test_what_was_decided_by_hand_need_not_be_decided_again(conflict: GitRepo) -> None:
    mine = model(a=5, b=6, c=7, d=8)
    conflict.write(MODEL, mine)
    conflict.git("add", MODEL)
    file = record(conflict)
    file.write_bytes(file.read_bytes()[:-9])
    said = conflict.refused("git", "commit", "--no-edit")
    conflict.remedy(said, f"rm -f {file}")
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, mine)


def test_of_a_merge_that_is_over_it_is_in_nobodys_way(conflict: GitRepo) -> None:
    record(conflict).write_bytes(b"")
    conflict.git("merge", "--abort")
    conflict.write("notes.txt", "text")
    conflict.git("add", "notes.txt")
    conflict.git("commit", "-q", "-m", "notes")


def test_a_commit_that_does_not_say_how_it_was_merged_says_that(conflict: GitRepo) -> None:
    file = record(conflict)
    fields = json.loads(file.read_bytes())
    del fields["checksum"]
    file.write_text(json.dumps(fields, indent=1))  # as older versions have written it: it counts
    assert "not merged yet" in conflict.refused("git", "commit", "-a", "--no-edit")
    conflict.theta("resolve", MODEL, "--strategy", "average")
    file = record(conflict, "merged")
    file.write_bytes(file.read_bytes().replace(b"average", b"avorage"))
    said = conflict.git("commit", "--no-edit").stderr
    assert f"{MODEL}: the record of its merge is damaged" in said
    assert "Theta-" not in conflict.git("log", "-1", "--format=%B").stdout
    assert conflict.digest(MODEL) == digest(AVERAGE)


def test_half_of_a_merge_is_not_committed_whatever_its_record_says(repo: GitRepo) -> None:
    diverge(repo, BASE, BASE, THEIRS)
    with closing(Repository(repo.path)) as repository:
        half_merged.begin(repository, repo.head(), repo.head("theirs^{tree}"))
    repo.git("read-tree", "-m", "-u", "main", "theirs")  # as a kill leaves it
    file, head = record(repo, "staging"), repo.head()
    text = file.read_bytes()
    assert "was stopped half-way" in repo.refused("git", "commit", "-q", "-m", "no merge")
    file.write_bytes(text.replace(b'"tree": "', b'"tree": "0'))
    said = repo.refused("git", "commit", "-q", "-m", "no merge")
    assert "record of a merge without a commit is damaged" in said
    does(said, f"git theta merge --abort, or to keep what is staged: rm -f {file.relative_to(repo.path)}")
    repo.theta("merge", "--abort")
    assert (repo.head(), repo.status()) == (head, [])
    file.write_bytes(text[:50])
    said = repo.refused("git", "commit", "-q", "--allow-empty", "-m", "more")
    repo.remedy(said, f"rm -f {file.relative_to(repo.path)}")
    repo.git("commit", "-q", "--allow-empty", "-m", "more")


def test_an_adapter_is_not_applied_twice_whatever_the_record_says(history: GitRepo) -> None:
    name = "layer.0.weight"
    (history.path / "lora").mkdir()
    adapter = {
        f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight": np.ones((1, 128), np.float32),
        f"base_model.model.{name.removesuffix('.weight')}.lora_B.weight": np.ones((160, 1), np.float32),
    }
    history.write("lora/adapter_model.safetensors", safetensors_bytes(adapter))
    history.write("lora/adapter_config.json", json.dumps({"r": 1, "lora_alpha": 1}))
    command = ["git", "theta", "add", MODEL, "--update-data", "lora/adapter_model.safetensors", "--apply"]
    lock = history.path / ".git" / "index.lock"
    lock.touch()
    history.refused(*command)
    lock.unlink()
    applied, file = history.digest(MODEL), record(history, "applied")
    assert applied != digest(version(1))
    file.write_bytes(file.read_bytes().replace(b'"result": "', b'"result": "0'))
    said = history.refused(*command)
    assert f"{MODEL}: the record of what was applied to it is damaged" in said
    assert history.digest(MODEL) == applied
    history.remedy(said, f"git checkout -- {MODEL}")
    history.remedy(said, f"rm -f {file.relative_to(history.path)}")
    history.run(*command)
    assert history.digest(MODEL) == applied


def test_repack_rewrites_nothing_while_it_is_not_known_what_was_pushed(history: GitRepo) -> None:
    history.add_remote("origin")
    history.git("push", "-q", "../origin.git", "main")
    file = history.path / ".git" / "theta" / "pushed"
    text = file.read_text()
    file.write_text(("0" if text[0] != "0" else "1") + text[1:])
    head = history.head()
    said = history.refused("git", "theta", "repack", "main")
    assert "so it is not known what must stay" in said
    assert history.head() == head
    assert "it is not known what must stay" in history.theta("doctor", check=False).stdout
    history.remedy(said, f"sed -i.old 1d {history.path}/.git/theta/pushed")
    history.theta("repack", "main")
